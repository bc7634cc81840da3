//! Descriptions of networks and what plans make of them: what is refused and in which words, what is folded into which
//! dispatch, what is copied, and how much memory it takes. Nothing here needs a device but the last test.
#![cfg(all(feature = "network", feature = "context"))]

use octconv::network::{
    Axes, Checkpoint, Conv, Graph, Input, Model, Network, NetworkOptions, NetworkPlan, Node, Op, Pool, PoolKind,
    ValueView, reference, zoo,
};
use octconv::{Activation, Context, ContextOptions, DeviceFacts, Error, InputSize, wgpu};

fn conv(name: &str, conv: Conv) -> Node {
    Node { name: name.into(), op: Op::Conv(conv) }
}

/// 3x3, half of the channels low.
fn octave(name: &str, input: &str, channels: u32) -> Node {
    conv(name, Conv { alpha: 0.5, kernel: [3, 3], padding: [1, 1], ..Conv::new(input, channels) })
}

fn network(nodes: Vec<Node>) -> Network {
    let output = nodes.last().map_or_else(String::new, |node| node.name.clone());
    Network {
        name: "test".into(),
        input: Input { channels: 3 },
        rounding: Default::default(),
        norm_eps: 1e-5,
        nodes,
        output,
        stages: Vec::new(),
        picture: None,
    }
}

fn refusal<T>(result: Result<T, Error>) -> String {
    result.err().expect("nothing was refused").to_string()
}

fn plan(network: &Network, size: InputSize, options: &NetworkOptions) -> NetworkPlan {
    NetworkPlan::new(&Graph::new(network).unwrap(), size, options, &DeviceFacts::default()).unwrap()
}

fn built_in(name: &str, alpha: f64) -> Network {
    zoo::build(name, &zoo::Settings { alpha, ..Default::default() }).unwrap()
}

mod descriptions {
    use super::*;

    #[test]
    fn unknown_fields_and_operations() {
        let read = |node: &str| {
            let text = format!(r#"{{"name": "n", "input": {{"channels": 1}}, "nodes": [{node}], "output": "a"}}"#);
            serde_json::from_str::<Network>(&text).map_err(|error| error.to_string())
        };
        assert!(read(r#"{"name": "a", "op": "conv", "input": "input", "channels": 2}"#).is_ok());
        let error = read(r#"{"name": "a", "op": "conv", "input": "input", "channels": 2, "strid": 2}"#).unwrap_err();
        assert!(error.contains("strid"), "{error}");
        let error = read(r#"{"name": "a", "op": "convolve"}"#).unwrap_err();
        assert!(error.contains("convolve") && error.contains("global_pool"), "{error}");
        let error = read(r#"{"name": "a", "op": "conv", "input": "input"}"#).unwrap_err();
        assert!(error.contains("channels"), "{error}");
    }

    #[test]
    fn names_that_do_not_hold_together() {
        let graph = |nodes: Vec<Node>| refusal(Graph::new(&network(nodes)));
        assert_eq!(graph(vec![octave("a", "b", 4)]), "node a: it reads b, which no node in front of it makes");
        let twice = vec![octave("a", "input", 4), octave("a", "input", 4)];
        assert_eq!(graph(twice), "node a: there is another value of this name");
        assert_eq!(graph(vec![octave("input", "input", 4)]), "node input: there is another value of this name");
        assert_eq!(graph(Vec::new()), "output is : must be the name of a node");
        let missing = Network { stages: vec!["b".into()], ..network(vec![octave("a", "input", 4)]) };
        assert_eq!(refusal(Graph::new(&missing)), "stages is b: must be the name of a node");
    }

    #[test]
    fn kinds_that_do_not_fit() {
        let vector = Node { name: "v".into(), op: Op::GlobalPool { input: "input".into() } };
        let after = |node: Node| refusal(Graph::new(&network(vec![vector.clone(), node])));
        assert_eq!(after(octave("a", "v", 4)), "node a: it reads v, which is a vector: must be a map");
        let linear =
            |input: &str| Node { name: "l".into(), op: Op::Linear { input: input.into(), outputs: 0, bias: true } };
        assert_eq!(after(linear("input")), "node l: it reads input, which is a map: must be a vector");
        assert_eq!(after(linear("v")), "node l: outputs is 0: must be at least 1");
        let residual = conv("a", Conv { residual: Some("input".into()), ..Conv::new("input", 4) });
        let message = "node a: its residual input has 3 high and 0 low channels: must have 4 and 0";
        assert_eq!(after(residual), message);
        let split = conv("a", Conv { split: Some([3, 2]), ..Conv::new("input", 4) });
        assert_eq!(after(split), "node a: split is 3 + 2: must sum to the 4 channels");
    }

    #[test]
    fn windows_that_do_not_fit() {
        let pool = |kernel, stride, padding| {
            let axes = |side| Axes::Image([side, side]);
            let (kernel, stride, padding) = (axes(kernel), axes(stride), axes(padding));
            let pool = Pool { input: "input".into(), kind: PoolKind::Max, kernel, stride, padding };
            network(vec![Node { name: "p".into(), op: Op::Pool(pool) }])
        };
        let graph = |kernel, stride, padding| refusal(Graph::new(&pool(kernel, stride, padding)));
        assert_eq!(graph(0, 1, 0), "node p: kernel is 0: must be 1 to 1024");
        assert_eq!(graph(2, 0, 0), "node p: stride is 0: must be 1 to 1024");
        assert_eq!(graph(2, 1, 2), "node p: padding is 2: must be less than the kernel's 2");
        let shapes = Graph::new(&pool(9, 1, 1)).unwrap().shapes(InputSize::image(1, 6, 20));
        assert!(refusal(shapes).starts_with("node p: kernel is 9: must be at most the map's 6 with padding 1"));
    }

    #[test]
    fn sizes_that_do_not_fit() {
        let graph = Graph::new(&built_in("resnet50", 0.5)).unwrap();
        assert!(refusal(graph.shapes(InputSize::image(1, 0, 64))).contains("h is 0"));
        let strided = conv("b", Conv { stride: 2, ..Conv::new("a", 4) });
        let residual = conv("c", Conv { residual: Some("b".into()), ..Conv::new("a", 4) });
        let graph = Graph::new(&network(vec![conv("a", Conv::new("input", 4)), strided, residual])).unwrap();
        assert_eq!(refusal(graph.shapes(InputSize::image(1, 8, 8))), "node c: its residual b has another size");
    }
}

#[test]
fn a_model_that_does_not_fit_is_refused_with_the_figure() {
    let graph = Graph::new(&built_in("resnet50", 0.5)).unwrap();
    let plan = |size, limits: wgpu::Limits| {
        NetworkPlan::new(&graph, size, &NetworkOptions::default(), &DeviceFacts { limits, ..DeviceFacts::default() })
    };
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 20, ..Default::default() };
    let message = refusal(plan(InputSize::image(1, 224, 224), limits));
    let wanted =
        "node conv1: a map of 1x64x112x112, in bytes, needs 3211264, but max_storage_buffer_binding_size is 1048576";
    assert_eq!(message, wanted);
    let message = refusal(plan(InputSize::image(1 << 12, 1 << 12, 1 << 12), wgpu::Limits::default()));
    assert!(message.starts_with("node conv1: a map of 4096x64x2048x2048 needs 1099511627776"), "{message}");
}

#[test]
fn bytes_are_those_of_each_tensor_once() {
    let nodes = vec![
        octave("a", "input", 4),
        conv("b", Conv { residual: Some("a".into()), alpha: 0.5, ..Conv::new("a", 4) }),
        Node { name: "mean".into(), op: Op::GlobalPool { input: "b".into() } },
        Node { name: "fc".into(), op: Op::Linear { input: "mean".into(), outputs: 10, bias: false } },
        Node { name: "softmax".into(), op: Op::Softmax { input: "fc".into() } },
    ];
    let graph = Graph::new(&network(nodes)).unwrap();
    // 8x8: a map of 2 + 2 channels has 2 * 64 + 2 * 16 elements.
    let map = 160;
    let halves = graph.min_bytes(InputSize::image(1, 8, 8), 2, 2).unwrap();
    let a = 2 * (3 * 64 + map + 9 * 3 * 4);
    // Its input, the residual, its output, and 4x4 weights.
    let b = 2 * (3 * map + 16);
    assert_eq!(halves, [a, b, 2 * (map + 4), 4 * (4 + 10) + 2 * 40, 4 * 20]);
    let floats = graph.min_bytes(InputSize::image(1, 8, 8), 4, 4).unwrap();
    assert_eq!(floats[..2], [2 * a, 2 * b]);
}

#[test]
fn pooled_inputs_are_written_by_the_layer_before() {
    let nodes = vec![octave("a", "input", 8), octave("b", "a", 8), octave("c", "b", 8)];
    let plan = plan(&network(nodes), InputSize::image(1, 32, 32), &NetworkOptions::default());
    // Only the input, which no layer has written, is pooled in a dispatch of its own.
    let kernels: Vec<_> = plan.trace().into_iter().map(|(node, kernel)| (node.to_owned(), kernel)).collect();
    let pools: Vec<_> = kernels.iter().filter(|(_, kernel)| kernel == "pool").map(|(node, _)| node.as_str()).collect();
    assert_eq!((pools, kernels.len()), (vec!["a"], 4), "{kernels:?}");
}

#[test]
fn a_bottleneck_is_a_dispatch_a_layer() {
    let plan = plan(&built_in("resnet50", 0.5), InputSize::image(1, 224, 224), &NetworkOptions::default());
    let stages = plan.stages();
    let layer1 = stages.iter().find(|stage| stage.name.starts_with("layer1")).unwrap();
    // Three blocks of three layers and one shortcut, with norms, residuals, activations and pooling in them.
    assert_eq!(layer1.steps.len(), 10);
    assert_eq!(stages.iter().map(|stage| stage.steps.len()).sum::<usize>(), plan.dispatches());
}

#[test]
fn concatenations_are_written_in_place() {
    for alpha in [0.0, 0.25] {
        let plan = plan(&built_in("densenet121", alpha), InputSize::image(2, 64, 64), &NetworkOptions::default());
        let copies = plan.trace().into_iter().filter(|(_, kernel)| kernel.contains("copy")).count();
        assert_eq!(copies, 0);
    }
    // A value that a convolution reads as well has to be whole, and is copied.
    let mut nodes = vec![octave("a", "input", 8), octave("b", "a", 8)];
    nodes.push(Node { name: "both".into(), op: Op::Concat { inputs: vec!["a".into(), "b".into(), "a".into()] } });
    nodes.push(octave("c", "both", 8));
    let plan = plan(&network(nodes), InputSize::image(1, 9, 7), &NetworkOptions::default());
    let copied: Vec<_> = plan.trace().into_iter().filter(|(_, kernel)| kernel.contains("copy")).collect();
    // a twice, in both frequencies.
    assert_eq!(copied.len(), 4, "{copied:?}");
}

#[test]
fn memory_shrinks_with_alpha() {
    let bytes = |alpha| {
        let plan = plan(&built_in("resnet50", alpha), InputSize::image(1, 224, 224), &NetworkOptions::default());
        assert!(plan.live_bytes() <= plan.activation_bytes());
        (plan.live_bytes() as f64, plan.activation_bytes() as f64)
    };
    let (plain, quarter, half) = (bytes(0.0), bytes(0.25), bytes(0.5));
    // The paper has .81 and .63 of the activations; here pooled copies, scratch, input and answer count too.
    assert!(quarter.0 / plain.0 < 0.83 && half.0 / plain.0 < 0.65, "{quarter:?} {half:?} of {plain:?}");
    assert!(half.1 < quarter.1 && quarter.1 < plain.1, "{half:?} {quarter:?} {plain:?}");
}

#[test]
fn kept_values_stay() {
    let message = refusal(NetworkPlan::new(
        &Graph::new(&network(vec![octave("a", "input", 8)])).unwrap(),
        InputSize::image(1, 8, 8),
        &NetworkOptions { keep: vec!["b".into()], ..Default::default() },
        &DeviceFacts::default(),
    ));
    assert_eq!(message, "keep is b: must be the name of a node");
}

/// A small network with every way to connect nodes: two sizes share weights and pipelines, and each, recorded twice,
/// gives what the reference gives, in kept values too.
#[test]
fn sizes_share_weights_and_pipelines() {
    let context = Context::new(&ContextOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let relu = |node: Node| match node.op {
        Op::Conv(conv) => {
            Node { op: Op::Conv(Conv { norm: true, bias: true, activation: Activation::Relu, ..conv }), ..node }
        }
        op => Node { op, ..node },
    };
    let name = String::from;
    let nodes = vec![
        relu(octave("a", "input", 8)),
        relu(octave("b", "a", 8)),
        Node { name: name("norm"), op: Op::Norm { input: name("b"), activation: Activation::Silu } },
        Node { name: name("both"), op: Op::Concat { inputs: vec![name("a"), name("norm"), name("b")] } },
        relu(octave("c", "both", 6)),
        conv("d", Conv { residual: Some(name("input")), ..Conv::new("c", 3) }),
    ];
    let graph = Graph::new(&network(nodes)).unwrap();
    let model = Model::new(context.octconv(), graph.clone(), Checkpoint::random(&graph, 3)).unwrap();
    let mut after_first = None;
    for (n, h, w) in [(1, 64, 62), (1, 63, 61), (1, 64, 62)] {
        let size = InputSize::image(n, h, w);
        let options = NetworkOptions { keep: vec![name("both"), name("b")], ..Default::default() };
        let mut reports = 0;
        let plan = model.plan(size, &options).unwrap();
        let inference = model.compile(plan, |progress| reports += usize::from(progress.done <= progress.of)).unwrap();
        assert_eq!(reports, inference.plan().dispatches());
        let known = (context.octconv().pipelines(), model.weight_bytes());
        assert_eq!(*after_first.get_or_insert(known), known);

        let input: Vec<f32> = (0..3 * n * h * w).map(|i| (f64::from(i) * 0.7).sin() as f32).collect();
        let close = |what: &str, found: &[f32], expected: &[f32]| {
            assert_eq!(found.len(), expected.len(), "{what}");
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "{what}: {found} in place of {expected}");
            }
        };
        let mut kept = Vec::new();
        let expected = reference::run(&graph, model.checkpoint(), size, &input, &mut |node, value| {
            if ["both", "b"].contains(&node) {
                kept.push((node.to_owned(), value.to_f32()));
            }
        });
        let expected = expected.unwrap().to_f32();
        for _ in 0..2 {
            close("d", &context.infer(&inference, &input).unwrap(), &expected);
        }
        assert_eq!(kept.len(), 2);
        for (node, expected) in &kept {
            let value = inference.value(node).unwrap();
            assert!(matches!(value, ValueView::Map { high: Some(_), low: Some(_) }));
            close(node, &context.read_value(&value).unwrap(), expected);
        }
        assert!(inference.value("a").is_none());
    }
    let short = context.infer(
        &model.compile(model.plan(InputSize::image(1, 8, 8), &Default::default()).unwrap(), |_| {}).unwrap(),
        &[0.0; 5],
    );
    assert_eq!(refusal(short), "tensor input has 5 elements, but its shape 1x3x8x8 has 192");
}
