//! Descriptions of networks and what plans make of them: what is refused and in which words, what is folded into which
//! dispatch, what is copied, and how much memory it takes; at the end, what becomes of plans on a device.

use std::sync::OnceLock;

use octconv::network::{
    Attention, Axes, Checkpoint, Conv, Ends, Excite, Graph, Input, Model, Network, NetworkOptions, NetworkPlan, Node,
    Op, Pool, PoolKind, Upsample, UpsampleMode, UpsampleTo, ValueView, random_input, zoo,
};
use octconv::reference::network as reference;
use octconv::{
    Activation, Context, ContextOptions, DeviceFacts, Downsample, Dtype, Error, InputSize, Options, Plan, Precision,
    Rounding, TensorBinding, wgpu,
};

use crate::common::{context as shared_context, context_as, has_f16};

fn conv(name: &str, conv: Conv) -> Node {
    Node { name: name.into(), op: Op::Conv(conv) }
}

/// 3x3, half of the channels low.
fn octave(name: &str, input: &str, channels: u32) -> Node {
    conv(name, Conv { alpha: 0.5, kernel: [3, 3], padding: [1, 1], ..Conv::new(input, channels) })
}

fn linear(name: &str, input: &str, outputs: u32, bias: bool) -> Node {
    let activation = Activation::None;
    Node { name: name.into(), op: Op::Linear { input: input.into(), outputs, bias, activation } }
}

fn upsample(name: &str, input: &str, to: UpsampleTo) -> Node {
    let upsample = Upsample { input: input.into(), mode: UpsampleMode::Bilinear, align_corners: false, to };
    Node { name: name.into(), op: Op::Upsample(upsample) }
}

fn add(name: &str, inputs: &[&str]) -> Node {
    let inputs = inputs.iter().map(|input| input.to_string()).collect();
    Node { name: name.into(), op: Op::Add { inputs, activation: Activation::Relu } }
}

fn attention(name: &str, [queries, keys, values]: [&str; 3]) -> Node {
    let [queries, keys, values] = [queries, keys, values].map(String::from);
    Node { name: name.into(), op: Op::Attention(Attention { queries, keys, values, scale: None }) }
}

fn concat(name: &str, inputs: &[&str]) -> Node {
    Node { name: name.into(), op: Op::Concat { inputs: inputs.iter().map(|input| input.to_string()).collect() } }
}

fn square(input: &str, kind: PoolKind, kernel: u32, stride: u32) -> Pool {
    Pool::new(input, kind, Axes::Image([kernel; 2]), Axes::Image([stride; 2]))
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

fn open(options: &ContextOptions) -> Context {
    Context::new(options).unwrap_or_else(|error| panic!("{error}"))
}

/// The device of those tests that need no special one.
fn context() -> &'static Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(|| open(&ContextOptions::default()))
}

/// The answer on a device, and the reference's, to the same input with the same weights.
fn infer(context: &Context, network: &Network, size: InputSize) -> (Vec<f32>, Vec<f32>) {
    infer_with(context, network, size, &NetworkOptions::default())
}

fn infer_with(context: &Context, network: &Network, size: InputSize, options: &NetworkOptions) -> (Vec<f32>, Vec<f32>) {
    let graph = Graph::new(network).unwrap();
    let checkpoint = Checkpoint::random(&graph, 1);
    let InputSize { n, t, h, w } = size;
    let input = random_input((n * network.input.channels * t * h * w) as usize, 1);
    let expected = reference::run(&graph, &checkpoint, size, &input, &mut |_, _| {}).unwrap().to_f32();
    let model = Model::new(context.engine(), graph, checkpoint).unwrap();
    let inference = model.compile(model.plan(size, options).unwrap(), |_| {}).unwrap();
    (inference.run(context, &input).unwrap(), expected)
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{what}: {found} in place of {expected}");
    }
}

mod descriptions {
    use super::*;

    /// One of them would have the other's weights, which may be fewer than its kernel reads.
    #[test]
    fn two_nodes_with_tensors_of_one_name() {
        let excite = Excite { input: "input".into(), reduced: 2, residual: None, activation: Activation::None };
        let excite = Node { name: "a".into(), op: Op::Excite(excite) };
        let pool = Node { name: "p".into(), op: Op::GlobalPool { input: "a".into() } };
        // The input has no low frequency.
        for (name, clashes) in [("a.squeeze", true), ("a.excite_h", true), ("a.excite_l", false), ("a.b", false)] {
            let nodes = vec![excite.clone(), pool.clone(), linear(name, "p", 1, true)];
            let made = Graph::new(&network(nodes)).map(drop);
            let problem = format!("nodes a and {name} both have a tensor {name}.weight: rename one of them");
            assert_eq!(made, if clashes { Err(Error::Description { problem }) } else { Ok(()) });
        }
    }

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
        let linear = |input: &str| linear("l", input, 0, true);
        assert_eq!(after(linear("input")), "node l: it reads input, which is a map: must be a vector");
        assert_eq!(after(linear("v")), "node l: outputs is 0: must be at least 1");
        let residual = conv("a", Conv { residual: Some("input".into()), ..Conv::new("input", 4) });
        let message = "node a: its residual input has 3 high and 0 low channels: must have 4 and 0";
        assert_eq!(after(residual), message);
        let split = conv("a", Conv { split: Some([3, 2]), ..Conv::new("input", 4) });
        assert_eq!(after(split), "node a: split is 3 + 2: must sum to the 4 channels");
    }

    #[test]
    fn terms_that_do_not_fit() {
        let halves = [octave("a", "input", 4), conv("b", Conv { stride: 2, ..Conv::new("a", 4) })];
        let after = |node: Node| Graph::new(&network([halves.as_slice(), &[node]].concat()));
        let message = "node c: its input b has 4 high and 0 low channels: must have 2 and 2, as a has";
        assert_eq!(refusal(after(add("c", &["a", "b"]))), message);
        let shapes = |node| after(node).unwrap().shapes(InputSize::image(1, 8, 8));
        let half = conv("c", Conv { alpha: 0.5, stride: 2, ..Conv::new("a", 4) });
        let nodes = [halves.as_slice(), &[half, add("d", &["a", "c"])]].concat();
        let graph = Graph::new(&network(nodes)).unwrap();
        assert_eq!(refusal(graph.shapes(InputSize::image(1, 8, 8))), "node d: its inputs differ in size: c");
        assert!(shapes(upsample("c", "b", UpsampleTo::Like("a".into()))).is_ok());

        let means = Node { name: "v".into(), op: Op::GlobalPool { input: "input".into() } };
        let with_means = |node: Node| refusal(Graph::new(&network(vec![means.clone(), node])));
        let (map, vector) = ("input, which is a map: must be a vector", "v, which is a vector: must be a map");
        assert_eq!(with_means(concat("c", &["v", "input"])), format!("node c: it reads {map}"));
        assert_eq!(with_means(concat("c", &["input", "v"])), format!("node c: it reads {vector}"));
        assert_eq!(with_means(add("c", &["v", "v"])), format!("node c: it reads {vector}"));
        let like = |input: &str, like: &str| with_means(upsample("c", input, UpsampleTo::Like(like.into())));
        assert_eq!([like("v", "input"), like("input", "v")], [0; 2].map(|_| format!("node c: it reads {vector}")));
    }

    #[test]
    fn windows_that_do_not_fit() {
        let pool = |kernel, stride, padding| {
            let axes = |side| Axes::Image([side, side]);
            let pool = Pool { padding, ..Pool::new("input", PoolKind::Max, axes(kernel), axes(stride)) };
            network(vec![Node { name: "p".into(), op: Op::Pool(pool) }])
        };
        let ends = |before, behind| Axes::Image([Ends { before, behind }; 2]);
        let graph = |kernel, stride, padding| refusal(Graph::new(&pool(kernel, stride, padding)));
        assert_eq!(graph(0, 1, ends(0, 0)), "node p: kernel is 0: must be 1 to 1024");
        assert_eq!(graph(2, 0, ends(0, 0)), "node p: stride is 0: must be 1 to 1024");
        assert_eq!(graph(2, 1, ends(2, 0)), "node p: padding is 2: must be less than the kernel's 2 before the map");
        let message = "node p: padding is 4: must be at most kernel + stride - 2, which is 3, behind the map";
        assert_eq!(graph(3, 2, ends(1, 4)), message);
        let mut counts = pool(3, 2, ends(1, 1));
        let Op::Pool(maxima) = &mut counts.nodes[0].op else { panic!() };
        maxima.count_include_pad = true;
        let message = "node p: count_include_pad is true: must be left out of a max pool";
        assert_eq!(refusal(Graph::new(&counts)), message);

        let shapes = |network: &Network, h, w| Graph::new(network).unwrap().shapes(InputSize::image(1, h, w));
        let refused = shapes(&pool(9, 1, ends(1, 1)), 6, 20);
        assert_eq!(refusal(refused), "node p: kernel is 9: must be at most 8: the map's 6, padding 1 and 1");
        // Chainer would make a row of -infinity of it.
        let message = "node p: a map of 4 rows has nothing for the last of the 3 windows it must have";
        assert_eq!(refusal(shapes(&pool(2, 2, ends(0, 2)), 4, 5)), message);
        let mut up = pool(5, 2, ends(0, 0));
        let Op::Pool(rounded_up) = &mut up.nodes[0].op else { panic!() };
        rounded_up.ceil_mode = true;
        let message = "node p: kernel is 5: must be at most 4: the map's 3, padding 0 and 0, and stride - 1 because the \
                       size is rounded up";
        assert_eq!(refusal(shapes(&up, 3, 8)), message);
        assert!(shapes(&up, 4, 8).is_ok());
    }

    /// The size at full resolution decides how many windows there are, even if there is no high frequency.
    #[test]
    fn low_frequencies_that_are_too_small() {
        let low = conv("a", Conv { split: Some([0, 4]), ..Conv::new("input", 4) });
        let padding = Axes::Image([Ends { before: 0, behind: 2 }; 2]);
        let pool = Pool { padding, ..square("a", PoolKind::Max, 2, 2) };
        let graph = Graph::new(&network(vec![low, Node { name: "p".into(), op: Op::Pool(pool) }])).unwrap();
        let message = "node p: a low-frequency map of 2 rows has nothing for the last of the 2 windows it must have";
        assert_eq!(refusal(graph.shapes(InputSize::image(1, 4, 5))), message);
        assert!(graph.shapes(InputSize::image(1, 5, 5)).is_ok());
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

    #[test]
    fn more_channels_than_can_be_counted() {
        let concat = |inputs: Vec<String>| Node { name: "c".into(), op: Op::Concat { inputs } };
        let graph = |channels, nodes| refusal(Graph::new(&Network { input: Input { channels }, ..network(nodes) }));
        let message = "node c: its inputs have more than 4294967295 channels together";
        assert_eq!(graph(1 << 31, vec![concat(vec!["input".into(); 2])]), message);
        // Of high frequency as many as can be, and half a million of low frequency.
        let inputs = [vec!["input".into(); 4095], vec!["a".into()]].concat();
        assert_eq!(graph(1 << 20, vec![octave("a", "input", 1 << 20), concat(inputs)]), message);
    }

    #[test]
    fn slopes_that_are_no_numbers() {
        let activation = Activation::LeakyRelu { slope: f32::NAN };
        let norm = Node { name: "n".into(), op: Op::Norm { input: "input".into(), affine: true, activation } };
        assert_eq!(refusal(Graph::new(&network(vec![norm]))), "node n: slope is NaN: must be finite");
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
    assert!(message.starts_with("the input of 4096x3x4096x4096 needs 206158430208"), "{message}");
}

#[test]
fn what_exceeds_a_binding_is_refused_with_the_figure() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 14, ..Default::default() };
    let facts = DeviceFacts { limits, ..DeviceFacts::default() };
    let means = Node { name: "means".into(), op: Op::GlobalPool { input: "input".into() } };
    let fc = linear("fc", "means", 10, true);
    let excite = Excite { input: "input".into(), reduced: 2000, residual: None, activation: Activation::None };
    let excite = Node { name: "se".into(), op: Op::Excite(excite) };
    let norm =
        Node { name: "bn".into(), op: Op::Norm { input: "input".into(), affine: true, activation: Activation::None } };
    for (nodes, channels, (n, side), what, bytes) in [
        (vec![means.clone()], 3, (1, 64), "the input of 1x3x64x64", 49152),
        (vec![means.clone()], 5, (1000, 1), "the input of 1000x5x1x1", 20000),
        (vec![means.clone(), fc], 3, (1000, 1), "node fc: a vector of 1000x10", 40000),
        (vec![excite], 3, (1, 8), "node se: the matrices", 56012),
        (vec![norm], 3000, (1, 1), "node bn: the factors and shifts", 24000),
    ] {
        let graph = Graph::new(&Network { input: Input { channels }, ..network(nodes) }).unwrap();
        let size = InputSize::image(n, side, side);
        let plan = |facts: &DeviceFacts| NetworkPlan::new(&graph, size, &NetworkOptions::default(), facts);
        let wanted = format!("{what}, in bytes, needs {bytes}, but max_storage_buffer_binding_size is 16384");
        assert_eq!(refusal(plan(&facts)), wanted);
        plan(&DeviceFacts::default()).unwrap();
    }
    // No convolution is needed for the type to be refused.
    let graph = Graph::new(&network(vec![means])).unwrap();
    let options = NetworkOptions {
        precision: Precision { activations: Dtype::F16, ..Precision::default() },
        ..Default::default()
    };
    let error = NetworkPlan::new(&graph, InputSize::image(1, 8, 8), &options, &facts).unwrap_err();
    assert_eq!(error, Error::Feature { what: "f16 activations", feature: "SHADER_F16" });
}

#[test]
fn bytes_are_those_of_each_tensor_once() {
    let nodes = vec![
        octave("a", "input", 4),
        conv("b", Conv { residual: Some("a".into()), alpha: 0.5, ..Conv::new("a", 4) }),
        Node { name: "mean".into(), op: Op::GlobalPool { input: "b".into() } },
        linear("fc", "mean", 10, false),
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

    let nodes = vec![
        octave("a", "input", 4),
        add("sum", &["a", "a", "a"]),
        upsample("up", "sum", UpsampleTo::Factor(Axes::Image([2.0; 2]))),
        Node { name: "act".into(), op: Op::Activation { input: "up".into(), activation: Activation::Relu } },
    ];
    let graph = Graph::new(&network(nodes)).unwrap();
    let bytes = graph.min_bytes(InputSize::image(1, 8, 8), 4, 4).unwrap();
    assert_eq!(bytes[1..], [4 * 2 * map, 4 * (map + 4 * map), 0]);
    assert_eq!(graph.macs(InputSize::image(1, 8, 8)).unwrap()[1..], [0; 3]);
}

#[test]
fn pooled_inputs_are_written_by_the_layer_before() {
    let nodes = vec![octave("a", "input", 8), octave("b", "a", 8), octave("c", "b", 8)];
    let plan = plan(&network(nodes), InputSize::image(1, 32, 32), &NetworkOptions::default());
    // Only the input, which no layer has written, may be pooled in a dispatch of its own, or on load.
    let trace = plan.trace();
    assert!(trace.iter().all(|(node, kernel)| *node == "a" || kernel != "pool"), "{trace:?}");
    let pooled: Vec<_> =
        plan.layers().map(|layer| (layer.node, layer.options.pooled_input, layer.options.pooled_output)).collect();
    assert_eq!(pooled[1..], [("b", true, true), ("c", true, false)]);
    assert!(pooled[0].2, "{pooled:?}");
}

/// Nothing is left of a map of one row or column if odd sizes are rounded down: there is no pooled copy of it.
#[test]
fn maps_that_floor_to_nothing_have_no_pooled_copy() {
    let nodes = vec![conv("a", Conv { stride: 2, ..Conv::new("input", 4) }), conv("b", Conv::new("a", 4))];
    let network = Network { rounding: Rounding::Floor, ..network(nodes) };
    for (h, w, positions) in [(2, 2, 1), (2, 9, 4), (8, 3, 4)] {
        let size = InputSize::image(1, h, w);
        let plan = plan(&network, size, &NetworkOptions::default());
        assert_eq!(plan.layers().map(|layer| layer.options.pooled_output).collect::<Vec<_>>(), [false, false]);
        assert_eq!(plan.graph().cost(size).unwrap().macs, positions * (3 * 4 + 4 * 4));
    }
}

/// A layer of 1x1 can do without pool(X_H), and reads it where by the estimates it is faster with it.
#[test]
fn layers_of_1x1_read_pooled_maps_where_that_pays() {
    let graph = Graph::new(&built_in("resnet50", 0.5)).unwrap();
    for (software, features) in [(false, wgpu::Features::empty()), (true, wgpu::Features::SHADER_INT64)] {
        let facts = DeviceFacts { software, features, ..DeviceFacts::default() };
        let plan = NetworkPlan::new(&graph, InputSize::image(1, 224, 224), &NetworkOptions::default(), &facts).unwrap();
        let mut read = 0;
        for layer in plan.layers() {
            let estimate = |pooled_input| {
                let options = Options { pooled_input, ..Options::default() };
                Plan::new(layer.spec, layer.size, &options, &facts).map(|plan| plan.estimate(&facts))
            };
            let (1, [1, 1], Ok(with), Ok(without)) =
                (layer.spec.stride(), layer.spec.kernel(), estimate(true), estimate(false))
            else {
                continue;
            };
            assert!(!layer.options.pooled_input || with < without, "{}: {with} and {without}", layer.node);
            read += usize::from(layer.options.pooled_input);
        }
        assert!(read > 0, "software {software}");
    }
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

/// An upsampled map is written into the channels of a concatenation, and read from there. A value whose size alone is taken
/// may lie there too.
#[test]
fn what_is_upsampled_is_concatenated_in_place() {
    let pool = Node { name: "small".into(), op: Op::Pool(square("input", PoolKind::Max, 2, 2)) };
    let nodes = vec![
        pool,
        octave("deep", "small", 6),
        octave("flat", "input", 4),
        upsample("up", "deep", UpsampleTo::Like("flat".into())),
        upsample("small.up", "up", UpsampleTo::Factor(Axes::Image([0.5, 1.5]))),
        concat("both", &["up", "flat"]),
        octave("c", "both", 4),
        upsample("small.c", "c", UpsampleTo::Like("small.up".into())),
        concat("all", &["small.c", "small.up"]),
    ];
    let network = network(nodes);
    for size in [InputSize::image(2, 12, 10), InputSize::image(1, 9, 7)] {
        let trace = plan(&network, size, &NetworkOptions::default());
        let copies = trace.trace().into_iter().filter(|(_, kernel)| kernel.contains("copy")).count();
        assert_eq!(copies, 0, "{:?}", trace.trace());
        let (found, expected) = infer(context(), &network, size);
        close("all", &found, &expected);
    }
}

/// Attention is a dispatch for each frequency, stores no scores, and is written into the channels of a concatenation. It
/// reads whole maps.
#[test]
fn attention_takes_the_memory_of_its_maps() {
    let pool = Node { name: "small".into(), op: Op::Pool(square("a", PoolKind::Max, 2, 2)) };
    let nodes = vec![
        octave("a", "input", 8),
        pool,
        octave("v", "small", 6),
        attention("y", ["a", "small", "v"]),
        octave("b", "input", 4),
        concat("both", &["y", "b"]),
        attention("z", ["y", "v", "v"]),
    ];
    let network = network(nodes[..6].to_vec());
    for size in [InputSize::image(2, 24, 20), InputSize::image(1, 9, 7)] {
        let plan = plan(&network, size, &NetworkOptions::default());
        let of = |node: &str| plan.trace().into_iter().filter(|(name, _)| *name == node).count();
        assert_eq!((of("y"), of("both")), (2, 0), "{:?}", plan.trace());
        let elements = |id: usize| plan.shapes()[id].elements();
        let all: u64 = (0..plan.shapes().len()).map(elements).sum();
        // Tensors begin at multiples of 256 bytes.
        assert!(plan.live_bytes() <= 4 * all + 256 * 2 * plan.shapes().len() as u64);
        let (found, expected) = infer(context(), &network, size);
        close("both", &found, &expected);
    }
    // What attention reads is copied into the concatenation.
    let mut network = self::network(nodes);
    let size = InputSize::image(1, 24, 20);
    network.output = "both".into();
    let copies = |network: &Network| {
        let plan = plan(network, size, &NetworkOptions::default());
        plan.trace().into_iter().filter(|(_, kernel)| kernel.contains("copy")).count()
    };
    assert_eq!(copies(&network), 2);
}

/// Runs a network in f32, and in f16 if the device has it; and as for a GPU.
fn infer_in_all_types(network: &Network, size: InputSize) {
    for dtype in [Dtype::F32, Dtype::F16] {
        for gpu in [false, true] {
            if dtype == Dtype::F16 && !has_f16(shared_context()) {
                continue;
            }
            let context = context_as(gpu, dtype);
            let options = NetworkOptions { precision: Precision::of(dtype), ..Default::default() };
            let (found, expected) = infer_with(context, network, size, &options);
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(1.0, |most: f32, v| most.max(v.abs()));
            let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let allowed = if dtype == Dtype::F16 { 1e-2 } else { 1e-5 };
            assert!(apart <= allowed * largest, "{size:?} {dtype:?} {gpu}: {apart} of {largest}");
        }
    }
}

/// The nodes that have dispatches.
fn dispatched(network: &Network, size: InputSize, keep: &[&str]) -> Vec<String> {
    let keep = keep.iter().map(|name| name.to_string()).collect();
    let plan = plan(network, size, &NetworkOptions { keep, ..Default::default() });
    let mut nodes: Vec<String> = plan.trace().into_iter().map(|(node, _)| node.to_owned()).collect();
    nodes.dedup();
    nodes
}

/// Networks with an upsampling next to a convolution, the nodes that are planned together with others, and a node whose
/// value is asked for, so that they are not.
fn doublings() -> Vec<(Vec<Node>, Vec<&'static str>, &'static str)> {
    let nearest = |input: &str| {
        let to = UpsampleTo::Factor(Axes::Image([2.0; 2]));
        let upsample = Upsample { input: input.into(), mode: UpsampleMode::Nearest, align_corners: false, to };
        Node { name: "up".into(), op: Op::Upsample(upsample) }
    };
    let small = || Node { name: "small".into(), op: Op::Pool(square("input", PoolKind::Max, 2, 2)) };
    let full = |name: &str, input: &str, channels, activation| {
        let conv = Conv { kernel: [3, 3], padding: [1, 1], bias: true, activation, ..Conv::new(input, channels) };
        Node { name: name.into(), op: Op::Conv(conv) }
    };
    let single = |name: &str, input: &str, conv: Conv| {
        let conv = Conv { input: input.into(), norm: true, activation: Activation::Silu, ..conv };
        Node { name: name.into(), op: Op::Conv(conv) }
    };
    let deep = |activation| full("deep", "small", 6, activation);
    let last = |input: &str| full("last", input, 4, Activation::None);
    let plain = Conv::new("", 5);
    vec![
        (vec![small(), deep(Activation::HardSwish), nearest("deep"), last("up")], vec!["deep"], "deep"),
        // Groups, and an even kernel with as much padding as keeps the size.
        (
            vec![
                full("wide", "input", 8, Activation::Relu),
                conv("deep", Conv { groups: 2, kernel: [1, 5], padding: [0, 2], ..Conv::new("wide", 6) }),
                nearest("deep"),
            ],
            vec!["deep"],
            "deep",
        ),
        (
            vec![
                full("skip", "input", 6, Activation::Relu),
                small(),
                deep(Activation::None),
                nearest("deep"),
                add("sum", &["skip", "up"]),
                last("sum"),
            ],
            vec!["deep", "up"],
            "up",
        ),
        // Both maps of the sum are doubled. One convolution makes the sum, and the other what it adds.
        (
            vec![
                small(),
                deep(Activation::None),
                nearest("deep"),
                full("other", "small", 6, Activation::None),
                Node { name: "up too".into(), ..nearest("other") },
                add("sum", &["up", "up too"]),
            ],
            vec!["deep", "up", "other"],
            "up",
        ),
        // The network's input is added.
        (
            vec![small(), full("deep", "small", 3, Activation::None), nearest("deep"), add("sum", &["up", "input"])],
            vec!["deep", "up"],
            "deep",
        ),
        (vec![small(), nearest("small"), single("one", "up", plain.clone()), last("one")], vec!["up"], "up"),
        // Two convolutions, of which one adds a map.
        (
            vec![
                small(),
                nearest("small"),
                single("one", "up", Conv { groups: 3, ..Conv::new("", 3) }),
                single("two", "up", Conv { residual: Some("one".into()), ..Conv::new("", 3) }),
                concat("all", &["one", "two"]),
            ],
            vec!["up"],
            "up",
        ),
        (
            vec![
                full("skip", "input", 5, Activation::Relu),
                small(),
                nearest("small"),
                concat("both", &["up", "skip"]),
                single("one", "both", plain.clone()),
                single("two", "both", Conv::new("", 7)),
                concat("all", &["two", "one"]),
            ],
            vec!["up", "both", "all"],
            "both",
        ),
        (
            vec![
                full("skip", "input", 5, Activation::Relu),
                small(),
                nearest("small"),
                concat("both", &["skip", "up"]),
                single("one", "both", plain),
            ],
            vec!["up", "both"],
            "up",
        ),
    ]
}

#[test]
fn an_upsampling_is_part_of_the_convolution_next_to_it() {
    for (nodes, hidden, kept) in doublings() {
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        let network = network(nodes);
        // The maps that are doubled have odd sizes too.
        for size in [InputSize::image(1, 18, 14), InputSize::image(3, 8, 20), InputSize::image(1, 34, 2)] {
            let wanted: Vec<&String> = names.iter().filter(|name| !hidden.contains(&name.as_str())).collect();
            assert_eq!(dispatched(&network, size, &[]).iter().collect::<Vec<_>>(), wanted, "{hidden:?}");
            assert!(dispatched(&network, size, &[kept]).iter().any(|name| name == kept || name == "up"), "{hidden:?}");
            infer_in_all_types(&network, size);
        }
    }
}

/// Each of these would give other values, or has a reader that wants the map between.
#[test]
fn other_upsamplings_stay() {
    let up = |mode, to| {
        let align_corners = false;
        Node { name: "up".into(), op: Op::Upsample(Upsample { input: "a".into(), mode, align_corners, to }) }
    };
    let factor = |h, w| UpsampleTo::Factor(Axes::Image([h, w]));
    let nearest = |to| up(UpsampleMode::Nearest, to);
    let a = |more: Conv| conv("a", Conv { input: "input".into(), ..more });
    let same = || Conv { kernel: [3, 3], padding: [1, 1], ..Conv::new("", 4) };
    let then = |more: Conv| conv("b", Conv { input: "up".into(), ..more });
    let double = || nearest(factor(2.0, 2.0));
    for nodes in [
        vec![a(same()), up(UpsampleMode::Bilinear, factor(2.0, 2.0))],
        vec![a(same()), nearest(factor(2.0, 3.0))],
        // 16 rows of 8, but not each of them twice.
        vec![a(same()), nearest(factor(2.1, 2.1))],
        vec![a(same()), nearest(UpsampleTo::Size(Axes::Image([17, 14])))],
        vec![a(Conv { padding: [0, 0], ..same() }), double()],
        vec![a(Conv { stride: 2, ..same() }), double()],
        vec![a(Conv { depthwise: true, channels: 3, ..same() }), double()],
        vec![a(Conv { alpha: 0.5, ..same() }), double()],
        vec![
            a(same()),
            double(),
            concat("all", &["up", "up"]),
            conv("c", Conv::new("a", 1)),
            concat("d", &["all", "up"]),
        ],
        vec![a(Conv { stride: 2, ..same() }), double(), then(same())],
        vec![a(Conv { stride: 2, ..same() }), double(), then(Conv { padding: [1, 1], ..Conv::new("", 4) })],
        vec![a(Conv { stride: 2, ..same() }), double(), then(Conv { stride: 2, ..Conv::new("", 4) })],
        vec![a(Conv { stride: 2, ..same() }), double(), then(Conv { residual: Some("up".into()), ..Conv::new("", 4) })],
    ] {
        let network = network(nodes);
        let size = InputSize::image(1, 8, 8);
        assert!(dispatched(&network, size, &[]).contains(&"up".to_owned()), "{network:?}");
        let (found, expected) = infer(context(), &network, size);
        close("all", &found, &expected);
    }
}

/// The sum writes what the next layer wants pooled, and is a dispatch for each frequency and each term but the first.
#[test]
fn sums_are_pooled_as_they_are_made() {
    let nodes = vec![
        octave("a", "input", 8),
        octave("b", "a", 8),
        add("two", &["a", "b"]),
        octave("c", "two", 8),
        Node { name: "act".into(), op: Op::Activation { input: "c".into(), activation: Activation::Tanh } },
        octave("d", "act", 8),
        add("four", &["act", "d", "two", "act"]),
    ];
    let network = network(nodes);
    let size = InputSize::image(1, 16, 14);
    let plan = plan(&network, size, &NetworkOptions::default());
    let of = |node: &str| -> Vec<String> {
        plan.trace().into_iter().filter(|(name, _)| *name == node).map(|(_, kernel)| kernel).collect()
    };
    assert_eq!([of("two"), of("act"), of("four")], [vec!["sum"; 2], vec!["activate"; 2], vec!["sum"; 6]]);
    let pooled: Vec<_> = plan.layers().map(|layer| layer.options.pooled_input).collect();
    assert_eq!(pooled[2..], [true, true]);
    let (found, expected) = infer(context(), &network, size);
    close("four", &found, &expected);
}

/// In one buffer a network takes hardly more than is alive at once, and gives the same. The buffer may be the caller's.
#[test]
fn a_network_may_lie_in_one_buffer() {
    let network = built_in("cifar-resnet20", 0.5);
    let size = InputSize::image(2, 20, 18);
    let options = NetworkOptions { one_buffer: true, ..Default::default() };
    let (found, expected) = infer_with(context(), &network, size, &options);
    close("one buffer", &found, &expected);

    let graph = Graph::new(&network).unwrap();
    let checkpoint = Checkpoint::random(&graph, 1);
    let model = Model::new(context().engine(), graph, checkpoint).unwrap();
    let plan = model.plan(size, &options).unwrap();
    let &[bytes] = plan.buffer_bytes() else { panic!("{:?}", plan.buffer_bytes()) };
    assert_eq!(bytes, plan.activation_bytes());
    assert!(bytes <= model.plan(size, &NetworkOptions::default()).unwrap().activation_bytes());
    assert!(bytes as f64 <= 1.02 * plan.live_bytes() as f64, "{bytes} for {}", plan.live_bytes());

    let offset = 512;
    let words = (bytes + 2 * offset).div_ceil(4);
    let arena = context().upload(&vec![f32::NAN; words as usize], Dtype::F32).unwrap();
    let at = |buffer, offset| TensorBinding { buffer, offset };
    let inference = model.compile_at(plan.clone(), &[at(&arena, offset)], |_| {}).unwrap();
    let InputSize { n, t, h, w } = size;
    let input = random_input((n * network.input.channels * t * h * w) as usize, 1);
    close("the caller's buffer", &inference.run(context(), &input).unwrap(), &expected);
    // The caller's memory stays.
    inference.destroy();
    let around = context().read(&arena, 0, words, Dtype::F32).unwrap();
    let behind = ((offset + bytes) / 4) as usize;
    assert!(around[..(offset / 4) as usize].iter().chain(&around[behind..]).all(|value| value.is_nan()));

    let refused = |places: &[TensorBinding<'_>]| {
        let error = model.compile_at(plan.clone(), places, |_| {}).map(drop).unwrap_err();
        error.to_string()
    };
    assert_eq!(refused(&[]), "places is 0: must be 1, as many as the plan has buffers");
    let message = refused(&[at(&arena, 1280)]);
    assert!(message.starts_with("tensor activations: its ") && message.contains("from offset 1280 on"), "{message}");
    let apart = model.plan(size, &NetworkOptions::default()).unwrap();
    let large = context().tensor(apart.activation_bytes(), Dtype::F32).unwrap();
    let places: Vec<_> = apart.buffer_bytes().iter().map(|_| at(&large, 256)).collect();
    let message = model.compile_at(apart, &places, |_| {}).map(drop).unwrap_err().to_string();
    assert_eq!(message, "tensor activations: it overlaps with activations in their buffer");
}

/// Each thread that runs one inference gets the answer to its own input, and threads that compile one model share its weights.
#[test]
fn threads_share_one_network() {
    let network = built_in("cifar-resnet20", 0.5);
    let size = InputSize::image(1, 8, 8);
    let graph = Graph::new(&network).unwrap();
    let model = Model::new(context().engine(), graph.clone(), Checkpoint::random(&graph, 1)).unwrap();
    let plan = model.plan(size, &NetworkOptions::default()).unwrap();
    let compiled: Vec<_> = std::thread::scope(|scope| {
        let compile = || model.compile(plan.clone(), |_| {}).unwrap();
        let threads = [(); 2].map(|()| scope.spawn(compile));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let alone = Model::new(context().engine(), graph.clone(), Checkpoint::random(&graph, 1)).unwrap();
    alone.compile(plan.clone(), |_| {}).unwrap();
    assert_eq!(model.weight_bytes(), alone.weight_bytes());

    let inference = &compiled[0];
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let input = random_input((3 * size.h * size.w) as usize, thread);
            let expected = reference::run(&graph, model.checkpoint(), size, &input, &mut |_, _| ()).unwrap().to_f32();
            scope.spawn(move || {
                for _ in 0..25 {
                    close("the thread's own", &inference.run(context(), &input).unwrap(), &expected);
                }
            });
        }
    });

    // What records may itself run something, as long as it waits for that.
    let input = random_input((3 * size.h * size.w) as usize, 9);
    let mut inner = Vec::new();
    let record = |_: &mut wgpu::ComputePass<'_>| inner = inference.run(context(), &input).unwrap();
    pollster::block_on(context().run_and_read_async(record, &[])).unwrap();
    assert_eq!(inner, inference.run(context(), &input).unwrap());

    // What is bound keeps its weights, and later inferences have weights again.
    let before = inference.run(context(), &input).unwrap();
    model.forget_weights();
    assert_eq!(model.weight_bytes(), 0);
    assert_eq!(inference.run(context(), &input).unwrap(), before);
    let later = model.compile(plan.clone(), |_| {}).unwrap();
    assert_eq!(later.run(context(), &input).unwrap(), before);
    model.destroy();
    assert_eq!(model.weight_bytes(), 0);
    assert!(matches!(later.run(context(), &input), Err(Error::Gpu { .. })));
    let after = model.compile(plan, |_| {}).unwrap();
    assert_eq!(after.run(context(), &input).unwrap(), before);
    after.destroy();
    assert!(matches!(after.run(context(), &input), Err(Error::Gpu { .. })));
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
    assert!(half.1 / plain.1 < 0.7 && half.1 < quarter.1 && quarter.1 < plain.1, "{half:?} {quarter:?} {plain:?}");
}

/// A stem whose map is larger than all others is made and pooled a band of rows after the other, on sizes that do not
/// divide too, unless somebody keeps the map.
#[test]
fn a_large_stem_is_pooled_in_bands() {
    for (padding, ceil_mode, h, w) in [(1, false, 64, 48), (1, false, 61, 47), (0, false, 57, 63), (0, true, 60, 64)] {
        let stem = Conv {
            kernel: [7, 7],
            stride: 2,
            padding: [3, 3],
            downsample: Downsample::StridedConv,
            activation: Activation::Relu,
            ..Conv::new("input", 24)
        };
        let padding = Axes::Image([Ends::from(padding); 2]);
        let pool = Op::Pool(Pool { padding, ceil_mode, ..square("stem", PoolKind::Max, 3, 2) });
        let nodes = vec![conv("stem", stem), Node { name: "pool".into(), op: pool }, octave("a", "pool", 8)];
        let network = network(nodes);
        let size = InputSize::image(2, h, w);
        let pools = |options| {
            let plan = plan(&network, size, &options);
            plan.trace().into_iter().filter(|(_, kernel)| kernel == "max pool").count()
        };
        assert!(pools(NetworkOptions::default()) > 1);
        assert_eq!(pools(NetworkOptions { keep: vec!["stem".into()], ..Default::default() }), 1);
        let (found, expected) = infer(context(), &network, size);
        close("a", &found, &expected);
    }
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

#[test]
fn an_output_that_is_concatenated_is_whole() {
    let nodes = |output: &str| {
        let inputs = vec!["a".into(), "b".into()];
        let concat = Node { name: "both".into(), op: Op::Concat { inputs } };
        Network { output: output.into(), ..network(vec![octave("a", "input", 8), octave("b", "input", 4), concat]) }
    };
    let copies = |output: &str| {
        let plan = plan(&nodes(output), InputSize::image(2, 8, 6), &NetworkOptions::default());
        plan.trace().into_iter().filter(|(_, kernel)| kernel.contains("copy")).count()
    };
    // Both frequencies of b, which would else be written where they belong in both.
    assert_eq!((copies("both"), copies("b")), (0, 2));
    let (found, expected) = infer(context(), &nodes("b"), InputSize::image(2, 8, 6));
    close("b", &found, &expected);
}

/// Each frequency fits into a buffer, and both together do not.
#[test]
fn frequencies_are_apart_where_no_buffer_holds_both() {
    let limits = wgpu::Limits { max_buffer_size: 1 << 16, ..Default::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    assert_eq!(context.engine().facts().limits.max_buffer_size, 1 << 16);
    let network = network(vec![octave("a", "input", 16), octave("b", "a", 2)]);
    // 61,440 and 15,360 bytes of a.
    let (found, expected) = infer(&context, &network, InputSize::image(1, 48, 40));
    close("b", &found, &expected);
}

#[test]
fn plans_of_other_networks_and_devices_are_refused() {
    let engine = context().engine();
    let size = InputSize::image(1, 8, 8);
    let model = |network: &Network| {
        let graph = Graph::new(network).unwrap();
        Model::new(engine, graph.clone(), Checkpoint::random(&graph, 1)).unwrap()
    };
    let ours = network(vec![octave("a", "input", 4)]);
    let wider = network(vec![octave("a", "input", 8)]);
    let named = Network { name: "other".into(), ..ours.clone() };
    let facts = engine.facts();
    let compile = |network: &Network, facts: &DeviceFacts| {
        let graph = Graph::new(network).unwrap();
        let plan = NetworkPlan::new(&graph, size, &NetworkOptions::default(), facts).unwrap();
        model(&ours).compile(plan, |_| {}).map(drop)
    };
    assert_eq!(compile(&ours, facts), Ok(()));
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 60000, ..facts.limits.clone() };
    let software = DeviceFacts { software: !facts.software, ..facts.clone() };
    let features = facts.features ^ wgpu::Features::SHADER_F16;
    for (network, facts, problem) in [
        (&wider, facts, "its network has the name test, as the model's, but another description"),
        (&named, facts, "its network is other, and the model's test"),
        (&ours, &DeviceFacts { limits, ..facts.clone() }, "it was made for a device with other limits"),
        (&ours, &DeviceFacts { features, ..facts.clone() }, "it was made for the features "),
        (&ours, &software, "it was made for software being "),
    ] {
        let error = compile(network, facts).unwrap_err();
        assert!(matches!(&error, Error::Plan { problem: found } if found.to_string().starts_with(problem)), "{error}");
    }
}

/// In the words of the reference, whichever node has it.
#[test]
fn variances_without_a_root_are_refused() {
    let norm =
        Node { name: "n".into(), op: Op::Norm { input: "a".into(), affine: true, activation: Activation::None } };
    let network = network(vec![octave("a", "input", 4), norm]);
    let graph = Graph::new(&network).unwrap();
    let size = InputSize::image(1, 8, 8);
    for (frequency, var) in [("h", -1.0), ("l", f32::NAN)] {
        let mut checkpoint = Checkpoint::random(&graph, 1);
        checkpoint.tensors.get_mut(&format!("n.norm_{frequency}.var")).unwrap().data[1] = var;
        let expected = reference::run(&graph, &checkpoint, size, &[0.0; 192], &mut |_, _| {}).unwrap_err();
        assert!(matches!(&expected, Error::Node { node, .. } if node == "n"), "{expected}");
        let model = Model::new(context().engine(), graph.clone(), checkpoint).unwrap();
        let plan = model.plan(size, &NetworkOptions::default()).unwrap();
        assert_eq!(model.compile(plan, |_| {}).unwrap_err(), expected);
    }
}

/// A NaN among the weights reaches the answer through an excitation, a pool and the softmax, with the kernels of either kind of device.
#[test]
fn a_weight_that_is_no_number_reaches_the_answer() {
    let excite = Excite { input: "b".into(), reduced: 2, residual: None, activation: Activation::Relu };
    let nodes = vec![
        octave("a", "input", 8),
        octave("b", "a", 8),
        Node { name: "c".into(), op: Op::Excite(excite) },
        Node { name: "d".into(), op: Op::GlobalPool { input: "c".into() } },
        linear("e", "d", 10, true),
        Node { name: "f".into(), op: Op::Softmax { input: "e".into() } },
    ];
    let network = network(nodes);
    let graph = Graph::new(&network).unwrap();
    let size = InputSize::image(1, 8, 8);
    let input = random_input(3 * 8 * 8, 1);
    let mut checkpoint = Checkpoint::random(&graph, 1);
    checkpoint.tensors.get_mut("a.w_hh").unwrap().data[7] = f32::NAN;
    let expected = reference::run(&graph, &checkpoint, size, &input, &mut |_, _| {}).unwrap().to_f32();
    assert!(expected.iter().all(|value| value.is_nan()));
    for gpu in [false, true] {
        let context = context_as(gpu, Dtype::F32);
        let model = Model::new(context.engine(), graph.clone(), checkpoint.clone()).unwrap();
        let inference = model.compile(model.plan(size, &NetworkOptions::default()).unwrap(), |_| {}).unwrap();
        let found = inference.run(context, &input).unwrap();
        assert!(found.len() == expected.len() && found.iter().all(|value| value.is_nan()), "{gpu}: {found:?}");
    }
}

/// A small network with every way to connect nodes: two sizes share weights and pipelines, and each, recorded twice,
/// gives what the reference gives, in kept values too.
#[test]
fn sizes_share_weights_and_pipelines() {
    let context = &open(&ContextOptions::default());
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
        Node { name: name("norm"), op: Op::Norm { input: name("b"), affine: true, activation: Activation::Silu } },
        Node { name: name("both"), op: Op::Concat { inputs: vec![name("a"), name("norm"), name("b")] } },
        relu(octave("c", "both", 6)),
        conv("d", Conv { residual: Some(name("input")), ..Conv::new("c", 3) }),
    ];
    let graph = Graph::new(&network(nodes)).unwrap();
    let model = Model::new(context.engine(), graph.clone(), Checkpoint::random(&graph, 3)).unwrap();
    let mut made = Vec::new();
    for (n, h, w) in [(1, 64, 62), (1, 63, 66), (1, 64, 62)] {
        let size = InputSize::image(n, h, w);
        let options = NetworkOptions { keep: vec![name("both"), name("b")], ..Default::default() };
        let mut reports = 0;
        let plan = model.plan(size, &options).unwrap();
        let inference = model.compile(plan, |progress| reports += usize::from(progress.done <= progress.of)).unwrap();
        assert_eq!(reports, inference.plan().dispatches());
        made.push((context.engine().pipelines(), model.weight_bytes()));

        let input: Vec<f32> = (0..3 * n * h * w).map(|i| (f64::from(i) * 0.7).sin() as f32).collect();
        let mut kept = Vec::new();
        let expected = reference::run(&graph, model.checkpoint(), size, &input, &mut |node, value| {
            if ["both", "b"].contains(&node) {
                kept.push((node.to_owned(), value.to_f32()));
            }
        });
        let expected = expected.unwrap().to_f32();
        for _ in 0..2 {
            close("d", &inference.run(context, &input).unwrap(), &expected);
        }
        assert_eq!(kept.len(), 2);
        for (node, expected) in &kept {
            let value = inference.value(node).unwrap();
            assert!(matches!(value, ValueView::Map { high: Some(_), low: Some(_) }));
            close(node, &value.read(context).unwrap(), expected);
        }
        assert!(inference.value("a").is_none());
    }
    let plan = model.plan(InputSize::image(1, 8, 8), &Default::default()).unwrap();
    // Both forms make the same. Half of it is nothing.
    let input = vec![0.5; 3 * 8 * 8];
    let right = model.compile(plan.clone(), |_| {}).unwrap().run(context, &input).unwrap();
    let awaited = |most: usize| {
        let compiled = model.compile_async(plan.clone(), async |progress| {
            assert_eq!(progress.of, plan.dispatches());
            progress.done <= most
        });
        pollster::block_on(compiled).unwrap()
    };
    assert_eq!(awaited(plan.dispatches()).unwrap().run(context, &input).unwrap(), right);
    assert!(awaited(plan.dispatches() / 2).is_none());
    let short = model.compile(plan, |_| {}).unwrap().run(context, &[0.0; 5]);
    assert_eq!(refusal(short), "tensor input has 5 elements, but its shape 1x3x8x8 has 192");
    let [first, other, again] = made[..] else { panic!("{made:?}") };
    // Another size, its widths as even and odd as the first, may want another tile here and there, and no more; the same
    // size wants nothing new.
    assert!(other.0 <= first.0 + 3 && other.1 < 2 * first.1, "{made:?}");
    assert_eq!(again, other);
}

/// A device that binds four buffers at once: an excitation with a residual leaves its means to another dispatch.
#[test]
fn few_buffers() {
    // Octave layers need more.
    let graph = Graph::new(&built_in("se-resnet50", 0.0)).unwrap();
    let most = |buffers: u32| {
        let mut facts = DeviceFacts::default();
        facts.limits.max_storage_buffers_per_shader_stage = buffers;
        let plan = NetworkPlan::new(&graph, InputSize::image(1, 64, 64), &NetworkOptions::default(), &facts).unwrap();
        let of_scales = plan.sources().into_iter().filter(|(kernel, _)| kernel == "scale");
        of_scales.map(|(_, source)| source.matches("var<storage").count()).max().unwrap()
    };
    assert_eq!([4, 8].map(most), [4, 5]);
}

/// The same device, and a convolution that makes a doubled map, its sum with another, and the means of the sum.
#[test]
fn few_buffers_of_what_is_doubled() {
    let full = |name: &str, input: &str, stride| {
        conv(name, Conv { kernel: [3, 3], padding: [1, 1], stride, ..Conv::new(input, 16) })
    };
    let up = Upsample {
        input: "deep".into(),
        mode: UpsampleMode::Nearest,
        align_corners: false,
        to: UpsampleTo::Factor(Axes::Image([2.0; 2])),
    };
    let network = network(vec![
        full("skip", "input", 1),
        Node { name: "small".into(), op: Op::Pool(square("input", PoolKind::Max, 2, 2)) },
        full("deep", "small", 1),
        Node { name: "up".into(), op: Op::Upsample(up) },
        add("sum", &["skip", "up"]),
        full("last", "sum", 2),
    ]);
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    for context in [&context, self::context()] {
        let (found, expected) = infer(context, &network, InputSize::image(1, 32, 32));
        close("last", &found, &expected);
    }
}
