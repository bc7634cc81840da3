//! Random networks, planned for several devices without running: nothing panics, and what is refused is refused in words.

use std::collections::BTreeSet;
use std::panic::catch_unwind;

use octconv::network::{Graph, Network, NetworkOptions, NetworkPlan, Node, Op, ValueShape};
use octconv::verify::NetworkCase;
use octconv::{Activation, DeviceFacts, Dtype, Error, InputSize, Precision, wgpu};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use rayon::prelude::*;
use serde_json::Value;

/// Devices that every random network fits on: a GPU and a software device, each with wgpu's default limits and no
/// features, and with all that octconv can use.
fn devices() -> Vec<DeviceFacts> {
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 16, ..wgpu::Limits::default() };
    let features = wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::SHADER_INT64
        | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let of = |software, side, subgroup_sizes| {
        let small = DeviceFacts { software, ..DeviceFacts::default() };
        let full = DeviceFacts {
            features,
            limits: limits.clone(),
            software,
            matrix: Some(side),
            subgroup_sizes,
            ..DeviceFacts::default()
        };
        [small, full]
    };
    [of(false, 16, [32; 2]), of(true, 8, [8; 2])].concat()
}

/// Devices that are too small for some.
fn small_devices() -> Vec<DeviceFacts> {
    let with = |change: &dyn Fn(&mut wgpu::Limits)| {
        let mut facts = DeviceFacts::default();
        change(&mut facts.limits);
        facts
    };
    vec![
        with(&|limits| limits.max_storage_buffers_per_shader_stage = 4),
        with(&|limits| limits.max_storage_buffer_binding_size = 2000),
        with(&|limits| limits.max_buffer_size = 4096),
        with(&|limits| limits.max_compute_invocations_per_workgroup = 32),
        with(&|limits| {
            limits.max_compute_invocations_per_workgroup = 64;
            limits.max_compute_workgroup_storage_size = 512;
            limits.max_compute_workgroups_per_dimension = 3;
        }),
    ]
}

/// All that can be asked of a network without a device. The error is that of the first question that is refused.
fn plan(network: &Network, size: InputSize, keep: &[String], facts: &DeviceFacts) -> Result<NetworkPlan, Error> {
    let graph = Graph::new(network)?;
    let shapes = graph.shapes(size)?;
    let nodes = graph.len();
    assert_eq!([graph.macs(size)?.len(), graph.min_bytes(size, 4, 4)?.len(), shapes.len() - 1], [nodes; 3]);
    graph.cost(size)?;
    let dtype = if facts.features.contains(wgpu::Features::SHADER_F16) { Dtype::F16 } else { Dtype::F32 };
    let options = NetworkOptions { precision: Precision::of(dtype), keep: keep.to_vec(), ..Default::default() };
    let plan = NetworkPlan::new(&graph, size, &options, facts)?;
    assert!(plan.live_bytes() <= plan.activation_bytes());
    for layer in plan.layers() {
        let id = 1 + network.nodes.iter().position(|node| node.name == layer.node).unwrap();
        let made = layer.spec.shapes(layer.size)?;
        assert!(matches!(shapes[id], ValueShape::Map { high, low, .. } if (high, low) == (made.y_h, made.y_l)));
    }
    assert_eq!(plan.stages().iter().map(|stage| stage.steps.len()).sum::<usize>(), plan.dispatches());
    Ok(plan)
}

/// Runs `check` with each number, and panics with those at which it did.
fn each(numbers: std::ops::Range<u64>, check: impl Fn(u64) + Sync + std::panic::RefUnwindSafe) {
    let failed: Vec<u64> = numbers.into_par_iter().filter(|&i| catch_unwind(|| check(i)).is_err()).collect();
    assert!(failed.is_empty(), "failed at {failed:?}");
}

#[test]
fn every_network_is_planned() {
    let (devices, small) = (devices(), small_devices());
    each(0..2000, |seed| {
        let case = NetworkCase::random(seed);
        assert_eq!(case, NetworkCase::random(seed));
        let NetworkCase { network, size, keep, .. } = &case;
        for facts in &devices {
            plan(network, *size, keep, facts).unwrap_or_else(|error| panic!("{error}: {case:?}"));
        }
        if case.any_variant {
            let facts = &devices[2 * (seed % 2) as usize];
            case.plan(&Graph::new(network).unwrap(), facts).unwrap_or_else(|error| panic!("{error}: {case:?}"));
        }
        for facts in &small {
            match plan(network, *size, keep, facts).map_err(of_node) {
                Ok(_) | Err(Error::Limit { .. }) => {}
                Err(error) => panic!("{error:?}: {case:?}"),
            }
        }
    });
}

#[test]
fn every_network_has_a_plain_form() {
    each(0..2000, |seed| {
        let NetworkCase { network, size, .. } = NetworkCase::random(seed);
        let shapes = |network: &Network| Graph::new(network).unwrap().shapes(size);
        let (octave, plain) = (shapes(&network).unwrap(), shapes(&network.plain()));
        let Ok(plain) = plain else {
            // A pool of low frequency alone may fit where that of high frequency would have an empty window.
            assert!(octave.iter().any(|shape| matches!(shape, ValueShape::Map { high: None, .. })), "{plain:?}");
            return;
        };
        assert_eq!(octave.len(), plain.len());
        for (octave, plain) in octave.into_iter().zip(plain) {
            match (octave, plain) {
                (ValueShape::Map { high, low, .. }, ValueShape::Map { high: Some(all), low: None, .. }) => {
                    let channels = high.map_or(0, |high| high.c) + low.map_or(0, |low| low.c);
                    assert_eq!(all.c, channels);
                    assert!(high.is_none_or(|high| (high.n, high.t, high.h, high.w) == (all.n, all.t, all.h, all.w)));
                }
                (octave, plain) => assert_eq!(octave, plain),
            }
        }
        assert_eq!(network.plain().plain(), network.plain());
    });
}

/// The error without the name of its node.
fn of_node(error: Error) -> Error {
    match error {
        Error::Node { error, .. } => *error,
        other => other,
    }
}

/// A device without limits, as `octconv cost` has it.
fn ample() -> DeviceFacts {
    let limits = wgpu::Limits {
        max_buffer_size: u64::MAX,
        max_storage_buffer_binding_size: u64::MAX,
        max_storage_buffers_per_shader_stage: 16,
        ..wgpu::Limits::default()
    };
    DeviceFacts { limits, ..DeviceFacts::default() }
}

/// Numbers of any size, small ones more often.
fn wild() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 0..=4u32,
        2 => 0..=70u32,
        1 => 0..=(1u32 << 20) + 1,
        1 => (0..=31u32).prop_map(|bits| u32::MAX >> bits),
    ]
}

/// Mostly sizes that a network can have.
fn wild_size() -> impl Strategy<Value = InputSize> {
    let side = || prop_oneof![6 => 1..=3u32, 6 => 1..=40u32, 1 => wild()];
    let few = || prop_oneof![12 => 1..=3u32, 1 => wild()];
    (few(), few(), side(), side()).prop_map(|(n, t, h, w)| InputSize::video(n, t, h, w))
}

/// The places of all numbers and switches of a description.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| leaves(value, &format!("{at}/{name}"), found))
        }
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(i, value)| leaves(value, &format!("{at}/{i}"), found));
        }
        Value::Number(_) | Value::Bool(_) => found.push(at.into()),
        Value::String(_) | Value::Null => {}
    }
}

/// A random network with a few other numbers, if it can be read.
fn changed(seed: u64, changes: &[(Index, u32)]) -> Option<Network> {
    let mut description = serde_json::to_value(NetworkCase::random(seed).network).unwrap();
    let mut places = Vec::new();
    leaves(&description, "", &mut places);
    for (place, number) in changes {
        let leaf = description.pointer_mut(&places[place.index(places.len())]).unwrap();
        *leaf = if leaf.is_boolean() { (number % 2 == 0).into() } else { (*number).into() };
    }
    serde_json::from_value(description).ok()
}

/// The same networks every time. `PROPTEST_RNG_SEED` gives others, and `PROPTEST_CASES` more.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1904);
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 1500;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    /// Sizes and numbers without sense are refused in words, and nothing overflows.
    #[test]
    fn wild_networks_are_refused_or_planned(
        seed in any::<u64>(),
        changes in prop::collection::vec((any::<Index>(), wild()), 0..=3),
        size in wild_size(),
    ) {
        let Some(network) = changed(seed, &changes) else { return Ok(()) };
        for facts in devices().into_iter().chain(small_devices()).chain([ample()]) {
            if let Err(error) = plan(&network, size, &[], &facts) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// The time of planning grows with the square of their numbers.
#[test]
fn more_nodes_than_any_network_has_are_refused() {
    let norm = |i: usize, input: &str| Node {
        name: format!("n{i}"),
        op: Op::Norm { input: input.into(), affine: true, activation: Activation::None },
    };
    let refusal = |nodes: Vec<Node>| {
        let output = nodes.last().unwrap().name.clone();
        let network = Network { nodes, output, ..NetworkCase::random(0).network };
        Graph::new(&Network { stages: Vec::new(), ..network }).err().map(|error| error.to_string())
    };
    let nodes = |count| (0..count).map(|i| norm(i, "input")).collect();
    assert_eq!(refusal(nodes(4096)), None);
    assert_eq!(refusal(nodes(4097)).unwrap(), "nodes is a list of 4097: must have at most 4096");
    let concat = |count| vec![Node { name: "all".into(), op: Op::Concat { inputs: vec!["input".into(); count] } }];
    assert_eq!(refusal(concat(16_384)), None);
    let wanted = "nodes is a list whose nodes read 16385 values: must read at most 16384";
    assert_eq!(refusal(concat(16_385)).unwrap(), wanted);
}

/// What random networks have between them, or they would prove little.
#[test]
fn networks_have_everything() {
    let facts = [false, true].map(|software| DeviceFacts { software, ..DeviceFacts::default() });
    let mut found = BTreeSet::new();
    for seed in 0..800 {
        let case = NetworkCase::random(seed);
        let nodes = &case.network.nodes;
        let graph = Graph::new(&case.network).unwrap();
        let plan = case.plan(&graph, &facts[seed as usize % 2]).unwrap();
        for (name, kernel) in plan.trace() {
            let of_pool = nodes.iter().any(|node| node.name == name && matches!(node.op, Op::Pool(_)));
            let banded = of_pool && !kernel.contains("pool");
            found.insert(if banded { "a stem in bands".into() } else { first_word(&kernel) });
        }
        for node in nodes {
            let read = nodes.iter().any(|other| other.reads().contains(&node.name.as_str()));
            if !read && case.network.output != node.name {
                found.insert("a node for nothing".into());
            }
            let described = serde_json::to_value(node).unwrap();
            found.extend(described["op"].as_str().map(String::from));
            for switch in [
                "depthwise",
                "ceil_mode",
                "count_include_pad",
                "residual",
                "time",
                "align_corners",
                "factor",
                "size",
                "like",
            ] {
                if !matches!(described[switch], Value::Null | Value::Bool(false)) {
                    found.insert(switch.into());
                }
            }
        }
        for shape in plan.shapes() {
            found.extend(match shape {
                ValueShape::Map { high: Some(_), low: Some(_), .. } => Some("both frequencies".into()),
                ValueShape::Map { high: None, .. } => Some("low frequency alone".into()),
                ValueShape::Map { size, .. } if size.h * size.w == 1 => Some("one position".into()),
                _ => None,
            });
        }
    }
    // Kernels, operations, switches, and what this test looks for. Of matrix units there are none in f32.
    for wanted in [
        "direct",
        "pointwise",
        "staged",
        "winograd",
        "reduce",
        "add",
        "upsample",
        "resample",
        "sum",
        "activate",
        "pool",
        "max",
        "average",
        "copy",
        "scale",
        "attention",
        "global",
        "conv",
        "norm",
        "activation",
        "concat",
        "excite",
        "gate",
        "global_pool",
        "linear",
        "softmax",
        "depthwise",
        "ceil_mode",
        "count_include_pad",
        "residual",
        "time",
        "align_corners",
        "factor",
        "size",
        "like",
        "a stem in bands",
        "a node for nothing",
        "both frequencies",
        "low frequency alone",
        "one position",
    ] {
        assert!(found.contains(wanted), "{wanted} is not in {found:?}");
    }
}

fn first_word(text: &str) -> String {
    text.split(' ').next().unwrap().into()
}
