//! The built-in networks: their exact costs, and their descriptions as JSON.

use octconv::network::zoo::{self, Settings, Stem};
use octconv::network::{Graph, Network, NetworkCost, Op, Resize, ValueShape};
use octconv::{Error, InputSize, Rounding};

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
    ("mobilenet-v2", 1.125, 4_243_006, &[(0.0, 392_307_120), (0.5, 292_764_600)]),
    ("mobilenet-v2-by8", 1.125, 4_356_616, &[(0.5, 338_765_800)]),
    // Without octaves: the parameters of torchvision's resnet18 and resnet34, and of kuangliu/pytorch-cifar's.
    ("resnet18", 1.0, 11_689_512, &[(0.0, 1_814_073_344), (0.5, 1_071_368_192)]),
    ("resnet34", 1.0, 21_797_672, &[(0.0, 3_663_761_408), (0.5, 2_010_662_912)]),
    (
        "cifar-resnet18",
        1.0,
        11_173_962,
        &[(0.0, 555_422_720), (0.125, 484_969_472), (0.25, 423_363_584), (0.5, 326_693_888)],
    ),
    (
        "cifar-resnet34",
        1.0,
        21_282_122,
        &[(0.0, 1_159_402_496), (0.125, 996_051_968), (0.25, 853_935_104), (0.5, 633_402_368)],
    ),
    (
        "cifar-resnet50",
        1.0,
        23_520_842,
        &[(0.0, 1_297_829_888), (0.125, 1_126_731_776), (0.25, 975_982_592), (0.5, 735_531_008)],
    ),
    (
        "cifar-resnet101",
        1.0,
        42_512_970,
        &[(0.0, 2_509_983_744), (0.125, 2_125_811_712), (0.25, 1_790_398_464), (0.5, 1_265_848_320)],
    ),
    (
        "cifar-resnet152",
        1.0,
        58_156_618,
        &[(0.0, 3_722_137_600), (0.125, 3_124_891_648), (0.25, 2_604_814_336), (0.5, 1_796_165_632)],
    ),
    ("cifar-resnet20", 1.0, 272_474, &[]),
    ("cifar-resnet44", 1.0, 661_338, &[]),
    ("cifar-resnet56", 1.0, 855_770, &[]),
    // Multiply-adds are those of the networks above, which have the same convolutions.
    ("symbol-resnet26", 1.0, 15_991_336, &[(0.25, 1_858_158_592), (0.5, 1_480_032_256)]),
    ("symbol-resnet50", 1.0, 25_553_192, &[(0.0, 4_089_184_256), (0.125, 3_565_196_288)]),
    ("symbol-resnet101", 1.0, 44_545_320, &[(0.125, 6_624_878_592)]),
    ("symbol-resnet200", 1.0, 64_669_992, &[(0.125, 12_564_261_888)]),
    ("symbol-resnext50", 1.0, 25_025_064, &[(0.25, 3_170_988_544)]),
    ("symbol-resnext101", 1.0, 44_173_864, &[(0.25, 5_683_476_480), (0.5, 4_022_550_528)]),
    ("symbol-se-resnet50", 1.0, 28_084_184, &[(0.125, 3_567_711_232)]),
    ("symbol-densenet121", 1.0, 7_978_856, &[(0.125, 2_398_420_736)]),
    ("c2d-resnet50", 1.0, 24_327_632, &[(0.0, 19_289_505_792)]),
    ("i3d-resnet50", 1.0, 28_043_472, &[(0.0, 28_109_406_208), (0.1, 25_534_408_612)]),
    ("i3d-resnet50-nl", 1.0, 35_397_840, &[(0.0, 36_237_115_392), (0.1, 32_670_623_796), (0.5, 21_239_537_664)]),
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

/// Those of the official Symbol code have its conventions.
#[test]
fn symbol_networks_round_down_and_normalise_in_their_way() {
    let network = build("symbol-resnet50", 0.125, 1.0);
    assert_eq!((network.rounding, network.norm_eps), (Rounding::Floor, 1e-4));
    let picture = network.picture.unwrap();
    for (channel, mean) in [124.0, 117.0, 104.0].into_iter().enumerate() {
        // A value of a picture, as the network wants it.
        let wanted = (200.0 - mean) * 0.0167;
        let found = (200.0 / 255.0 - f64::from(picture.mean[channel])) / f64::from(picture.std[channel]);
        assert!((wanted - found).abs() < 1e-6, "{found} in place of {wanted}");
    }
}

/// For pictures of 32x32, a ResNet whose stem shrinks them to 8x8 costs a fifteenth of one whose stem does not.
#[test]
fn the_stem_is_a_choice() {
    for (name, own, stem, macs, params) in [
        ("cifar-resnet18", 326_693_888, Stem::MaxPool, 21_859_328, 11_181_642),
        ("cifar-resnet50", 735_531_008, Stem::MaxPool, 48_287_744, 23_528_522),
    ] {
        let cost = |stem| {
            let network = zoo::build(name, &Settings { alpha: 0.5, stem, ..Settings::default() }).unwrap();
            Graph::new(&network).unwrap().cost(InputSize::image(1, 32, 32)).unwrap()
        };
        assert_eq!((cost(None).macs, cost(Some(Stem::Small)).macs), (own, own), "{name}");
        assert_eq!((cost(Some(stem)).macs, cost(Some(stem)).params), (macs, params), "{name}");
    }
}

/// Multiply-adds and parameters that fit the paper's table of medium models, where "‡" means another stem.
#[test]
fn stems_of_big_little_nets_fit_the_table() {
    for (name, stem, macs, params) in [
        ("resnet50", Stem::Bottleneck, 2_441_003_008, 25_574_824),
        ("resnext50", Stem::Bottleneck3x3, 2_665_891_840, 25_063_080),
        ("resnext101", Stem::Conv, 4_138_156_032, 44_214_696),
    ] {
        let settings = Settings { alpha: 0.5, stem: Some(stem), ..Settings::default() };
        let graph = Graph::new(&zoo::build(name, &settings).unwrap()).unwrap();
        let cost = graph.cost(InputSize::image(1, 224, 224)).unwrap();
        assert_eq!((cost.macs, cost.params), (macs, params), "{name}");
    }
}

/// The headline of the paper: 82.9% with 22.2 G, which counts pools and activations too.
#[test]
fn the_cost_of_the_headline() {
    let graph = Graph::new(&build("resnet152-v1f", 0.125, 1.0)).unwrap();
    assert_eq!(graph.cost(InputSize::image(1, 320, 320)).unwrap().macs, 22_078_156_800);
}

/// The paper says 33.3 G for I3D with non-local blocks, and 28.9 G at alpha = 0.1. Without the products of attention, these
/// are 0.2% less and 3.6% more: the paper does not say what a non-local block with octaves is.
#[test]
fn the_convolutions_of_non_local_blocks() {
    for (alpha, convolutions, attention) in [(0.0, 33_247_428_608, 2_989_686_784), (0.1, 29_954_615_732, 2_716_008_064)]
    {
        let network = build("i3d-resnet50-nl", alpha, 1.0);
        let macs = Graph::new(&network).unwrap().macs(zoo::default_size("i3d-resnet50-nl").unwrap()).unwrap();
        let of = |wanted: bool| -> u64 {
            let nodes = network.nodes.iter().zip(&macs);
            nodes.filter(|(node, _)| matches!(node.op, Op::Attention(_)) == wanted).map(|(_, macs)| macs).sum()
        };
        assert_eq!((of(false), of(true)), (convolutions, attention), "alpha {alpha}");
    }
}

#[test]
fn every_name_builds_at_every_alpha() {
    for &name in zoo::NAMES {
        for alpha in [0.0, 0.125, 0.25, 0.5, 0.75, 1.0] {
            // 32 groups do not divide the low channels, an eighth of 128.
            if name.contains("resnext") && alpha == 0.125 {
                continue;
            }
            let network = build(name, alpha, 1.0);
            let graph = Graph::new(&network).unwrap_or_else(|e| panic!("{name} at alpha {alpha}: {e}"));
            let shapes = graph.shapes(zoo::default_size(name).unwrap()).unwrap();
            let classes = if name.starts_with("cifar") { 10 } else { 1000 };
            let classes = if name.starts_with("c2d") || name.starts_with("i3d") { 400 } else { classes };
            assert_eq!(shapes.last(), Some(&ValueShape::Vector { n: 1, c: classes }), "{name}");
            assert_eq!((network.output.as_str(), network.stages.last().unwrap().as_str()), ("prob", "fc"), "{name}");
        }
    }
}

#[test]
fn the_plain_form_is_the_network_at_alpha_0() {
    for &name in zoo::NAMES {
        let plain = build(name, 0.0, 1.0);
        for alpha in [0.0, 0.25, 1.0] {
            assert_eq!(build(name, alpha, 1.0).plain(), plain, "{name} at alpha {alpha}");
        }
        let mut exact = plain.clone();
        // Exact numbers of channels in place of alpha.
        for node in &mut exact.nodes {
            if let Op::Conv(conv) = &mut node.op {
                conv.split = Some([conv.channels / 4, conv.channels - conv.channels / 4]);
            }
        }
        assert_eq!(exact.plain(), plain, "{name}");
        let size = zoo::default_size(name).unwrap();
        let cost = |network: &Network| Graph::new(network).unwrap().cost(size).unwrap();
        assert_eq!(cost(&build(name, 0.5, 1.0).plain()), cost(&plain), "{name}");
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
    let with_blocks = "conv1 maxpool layer1.2.conv3 pool2 layer2.3.nl.out layer3.5.nl.out layer4.2.conv3 fc";
    assert_eq!(stages("i3d-resnet50-nl"), with_blocks);
    let blocks = "conv1 maxpool block1.2.se block2.3.se block3.5.se block4.2.se tail fc";
    assert_eq!(stages("symbol-se-resnet50"), blocks);
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
    assert!(unknown.starts_with("network is resnet51: must be one of resnet18, resnet26, resnet34,"), "{unknown}");
    assert!(zoo::NAMES.iter().all(|name| unknown.contains(name)), "{unknown}");
    assert_eq!(zoo::default_size("resnet51").unwrap_err().to_string(), unknown);
    for alpha in [-0.1, 1.5, f64::NAN] {
        assert_eq!(refusal("resnet50", alpha, 1.0), format!("alpha is {alpha}: must be in [0, 1]"));
    }
    assert_eq!(refusal("resnet50", 0.0, 0.5), "width is 0.5: must be 1: resnet50 has no width multiplier");
    for width in [0.0, -1.0, 1e9, f64::NAN] {
        assert_eq!(refusal("mobilenet-v1", 0.0, width), format!("width is {width}: must be in [0.03125, 16]"));
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
    // int(16 / 20) channels would be none.
    assert_eq!(refusal("mobilenet-v2", 0.0, 0.05), "width is 0.05: must be in [0.0625, 16]");
    for (name, width) in [("mobilenet-v1", 1.0 / 32.0), ("mobilenet-v2", 1.0 / 16.0), ("mobilenet-v2-by8", 1.0 / 32.0)]
    {
        assert!(Graph::new(&build(name, 0.5, width)).is_ok(), "{name}");
    }
    // The graph refuses counts of 0, not the zoo.
    let none = Settings { input_channels: Some(0), classes: Some(0), ..Settings::default() };
    assert!(Graph::new(&zoo::build("resnet50", &none).unwrap()).is_err());
}

/// As torchvision's recipe for ImageNet has it, and the official Symbol code for its networks.
#[test]
fn pictures_are_made_as_in_training() {
    let resize = |name: &str, input_channels| {
        let settings = Settings { input_channels, ..Default::default() };
        zoo::build(name, &settings).unwrap().picture.map(|picture| picture.resize)
    };
    for name in ["resnet50", "mobilenet-v2", "densenet121", "se-resnet152-v1e"] {
        assert_eq!(resize(name, None), Some(Resize::Shorter(256)), "{name}");
        assert_eq!(resize(name, Some(1)), Some(Resize::Shorter(256)), "{name}");
    }
    assert_eq!(resize("symbol-resnet50", None), Some(Resize::Crop));
    assert_eq!(resize("cifar-resnet20", None), Some(Resize::Fit));
}
