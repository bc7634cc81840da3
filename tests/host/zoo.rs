//! The built-in networks: their exact costs, and their descriptions as JSON.

use octconv::network::zoo::{self, Settings, Stem};
use octconv::network::{Graph, Network, NetworkCost, ValueShape};
use octconv::{Error, InputSize};

fn build(name: &str, alpha: f64, width: f64) -> Network {
    let settings = Settings { alpha, width, ..Settings::default() };
    zoo::build(name, &settings).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Name, width and parameters. Then for some alphas: alpha, and the multiply-adds at the default size.
type Row = (&'static str, f64, u64, &'static [(f64, u64)]);

const COSTS: &[Row] = &[
    (
        "resnet26",
        1.0,
        15_995_176,
        &[
            (0.0, 2_342_256_640),
            (0.125, 2_086_961_152),
            (0.25, 1_858_158_592),
            (0.5, 1_480_032_256),
            (0.75, 1_207_877_632),
        ],
    ),
    (
        "resnet50",
        1.0,
        25_557_032,
        &[
            (0.0, 4_089_184_256),
            (0.125, 3_565_196_288),
            (0.25, 3_103_526_912),
            (0.5, 2_367_143_936),
            (0.75, 1_880_035_328),
        ],
    ),
    (
        "resnet101",
        1.0,
        44_549_160,
        &[
            (0.0, 7_801_405_440),
            (0.125, 6_624_878_592),
            (0.25, 5_597_675_520),
            (0.5, 3_991_240_704),
            (0.75, 2_982_100_992),
        ],
    ),
    ("resnet152", 1.0, 60_192_808, &[(0.0, 11_513_626_624), (0.5, 5_615_337_472)]),
    (
        "resnet200",
        1.0,
        64_673_832,
        &[(0.0, 15_007_481_856), (0.125, 12_564_261_888), (0.25, 10_439_258_112), (0.5, 7_143_899_136)],
    ),
    ("resnet152-v1f", 1.0, 60_222_224, &[(0.125, 10_819_341_312)]),
    ("se-resnet152-v1e", 1.0, 66_841_080, &[]),
    (
        "resnext50",
        1.0,
        25_028_904,
        &[(0.0, 4_230_479_872), (0.25, 3_170_988_544), (0.5, 2_386_511_872), (0.75, 1_877_049_856)],
    ),
    ("resnext101", 1.0, 44_177_704, &[]),
    (
        "se-resnet50",
        1.0,
        28_088_024,
        &[
            (0.0, 4_091_699_200),
            (0.125, 3_567_711_232),
            (0.25, 3_106_041_856),
            (0.5, 2_369_658_880),
            (0.75, 1_882_550_272),
        ],
    ),
    ("densenet121", 1.0, 7_978_856, &[(0.0, 2_834_161_664), (0.125, 2_398_420_736), (0.25, 2_017_246_208)]),
    ("mobilenet-v1", 1.0, 4_231_976, &[(0.0, 568_740_352), (0.5, 318_167_680)]),
    ("mobilenet-v1", 0.75, 2_585_560, &[(0.0, 325_400_448), (0.375, 211_379_016)]),
    ("mobilenet-v2", 1.0, 3_505_960, &[(0.0, 313_619_328), (0.375, 254_031_408)]),
    ("cifar-resnet20", 1.0, 272_474, &[]),
    ("cifar-resnet44", 1.0, 661_338, &[]),
    ("cifar-resnet56", 1.0, 855_770, &[]),
    ("c2d-resnet50", 1.0, 24_327_632, &[(0.0, 19_289_505_792)]),
    ("i3d-resnet50", 1.0, 28_043_472, &[(0.0, 28_109_406_208)]),
];

#[test]
fn costs_are_those_of_the_table() {
    for &(name, width, params, macs) in COSTS {
        let size = zoo::default_size(name).unwrap();
        for &(alpha, macs) in macs {
            let cost = Graph::new(&build(name, alpha, width)).unwrap().cost(size).unwrap();
            assert_eq!(cost.macs, macs, "{name} x{width} at alpha {alpha}");
        }
        // Every alpha has the parameters of the plain network.
        for alpha in [0.0, 0.5] {
            let NetworkCost { params: found, .. } = Graph::new(&build(name, alpha, width)).unwrap().cost(size).unwrap();
            assert_eq!(found, params, "{name} x{width} at alpha {alpha}");
        }
    }
}

/// The headline of the paper: 82.9% with 22.2 G, which counts pools and activations too.
#[test]
fn the_cost_of_the_headline() {
    let graph = Graph::new(&build("resnet152-v1f", 0.125, 1.0)).unwrap();
    assert_eq!(graph.cost(InputSize::image(1, 320, 320)).unwrap().macs, 22_078_156_800);
}

#[test]
fn every_name_builds_at_every_alpha() {
    for &name in zoo::NAMES {
        for alpha in [0.0, 0.125, 0.25, 0.5, 0.75, 1.0] {
            // 32 groups do not divide the low channels, an eighth of 128.
            if name.starts_with("resnext") && alpha == 0.125 {
                continue;
            }
            let network = build(name, alpha, 1.0);
            let graph = Graph::new(&network).unwrap_or_else(|e| panic!("{name} at alpha {alpha}: {e}"));
            let shapes = graph.shapes(zoo::default_size(name).unwrap()).unwrap();
            let classes = if name.starts_with("cifar") { 10 } else { 1000 };
            let classes = if name.contains("d-resnet50") { 400 } else { classes };
            assert_eq!(shapes.last(), Some(&ValueShape::Vector { n: 1, c: classes }), "{name}");
            assert_eq!((network.output.as_str(), network.stages.last().unwrap().as_str()), ("prob", "fc"), "{name}");
        }
    }
}

#[test]
fn descriptions_survive_json() {
    for &name in zoo::NAMES {
        let network = build(name, 0.25, 1.0);
        let json = serde_json::to_string(&network).unwrap();
        let back: Network = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(back, network, "{name}");
    }
}

#[test]
fn stages_end_layers() {
    let stages = |name: &str| build(name, 0.5, 1.0).stages.join(" ");
    let layers = "conv1 maxpool layer1.2.conv3 layer2.3.conv3 layer3.5.conv3 layer4.2.conv3 fc";
    assert_eq!(stages("resnet50"), layers);
    assert_eq!(stages("se-resnet50"), layers.replace(".conv3", ".se"));
    assert_eq!(stages("c2d-resnet50"), layers.replace(" layer2", " pool2 layer2"));
    assert!(stages("resnet152-v1f").starts_with("stem.2 stem.pool.conv3 layer1.2.conv3 layer2.7.conv3 "));
    assert!(stages("se-resnet152-v1e").starts_with("stem.2 maxpool layer1.2.se layer2.7.se "));
    assert_eq!(stages("cifar-resnet20"), "conv1 layer1.2.conv2 layer2.2.conv2 layer3.2.conv2 fc");
    assert_eq!(
        stages("mobilenet-v1"),
        "features.0 features.1.1 features.3.1 features.5.1 features.11.1 features.13.1 fc"
    );
}

#[test]
fn settings_reach_the_network() {
    let settings = Settings { alpha: 0.25, input_channels: Some(1), classes: Some(7), ..Settings::default() };
    let network = zoo::build("cifar-resnet20", &settings).unwrap();
    assert_eq!(network.picture.as_ref().map(|picture| picture.mean.len()), Some(1));
    let shapes = Graph::new(&network).unwrap().shapes(InputSize::image(3, 28, 28)).unwrap();
    assert_eq!((shapes[0].elements(), shapes.last()), (3 * 28 * 28, Some(&ValueShape::Vector { n: 3, c: 7 })));
    let settings = Settings { input_channels: Some(5), ..settings };
    assert_eq!(zoo::build("resnet50", &settings).unwrap().picture, None);
}

#[test]
fn what_does_not_exist_is_refused() {
    let refusal = |name: &str, alpha: f64, width: f64| {
        let settings = Settings { alpha, width, ..Settings::default() };
        match zoo::build(name, &settings) {
            Err(error @ Error::Argument { .. }) => error.to_string(),
            other => panic!("{name}, alpha {alpha}, width {width}: {other:?}"),
        }
    };
    let unknown = refusal("resnet51", 0.0, 1.0);
    assert!(unknown.starts_with("network is resnet51: must be one of resnet26, resnet50,"), "{unknown}");
    assert!(zoo::NAMES.iter().all(|name| unknown.contains(name)), "{unknown}");
    assert_eq!(zoo::default_size("resnet51").unwrap_err().to_string(), unknown);
    for alpha in [-0.1, 1.5, f64::NAN] {
        assert_eq!(refusal("resnet50", alpha, 1.0), format!("alpha is {alpha}: must be in [0, 1]"));
    }
    assert_eq!(refusal("resnet50", 0.0, 0.5), "width is 0.5: must be 1: resnet50 has no width multiplier");
    for width in [0.0, -1.0, 1e9, f64::NAN] {
        assert_eq!(refusal("mobilenet-v2", 0.0, width), format!("width is {width}: must be in [0.03125, 16]"));
    }
    for (name, stem, rule) in [
        ("cifar-resnet20", Stem::Conv, "must be one of max-pool, small for cifar-resnet20"),
        ("resnet152-v1f", Stem::MaxPool, "must not be given: resnet152-v1f has a stem of its own"),
        ("mobilenet-v1", Stem::Small, "must not be given: mobilenet-v1 has a stem of its own"),
    ] {
        let settings = Settings { stem: Some(stem), ..Settings::default() };
        let refusal = zoo::build(name, &settings).unwrap_err().to_string();
        assert_eq!(refusal, format!("stem is {stem}: {rule}"));
    }
    let unknown = "tall".parse::<Stem>().unwrap_err().to_string();
    assert_eq!(unknown, "stem is tall: must be one of max-pool, conv, bottleneck, bottleneck-3x3, small");
    // The graph refuses counts of 0, not the zoo.
    let none = Settings { input_channels: Some(0), classes: Some(0), ..Settings::default() };
    assert!(Graph::new(&zoo::build("resnet50", &none).unwrap()).is_err());
}
