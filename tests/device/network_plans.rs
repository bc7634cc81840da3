//! What becomes of plans of networks on a device.

use octconv::network::{
    Axes, Checkpoint, Conv, Graph, Input, Model, Network, NetworkOptions, NetworkPlan, Node, Op, Pool, PoolKind,
    ValueView, random_input,
};
use octconv::reference::network as reference;
use octconv::{Activation, Context, ContextOptions, DeviceFacts, Downsample, Error, InputSize, wgpu};

use crate::harness::{context, open};

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

/// The answer on a device, and the reference's, to the same input with the same weights.
fn infer(context: &Context, network: &Network, size: InputSize) -> (Vec<f32>, Vec<f32>) {
    let graph = Graph::new(network).unwrap();
    let checkpoint = Checkpoint::random(&graph, 1);
    let InputSize { n, t, h, w } = size;
    let input = random_input((n * network.input.channels * t * h * w) as usize, 1);
    let expected = reference::run(&graph, &checkpoint, size, &input, &mut |_, _| {}).unwrap().to_f32();
    let model = Model::new(context.engine(), graph, checkpoint).unwrap();
    let plan = model.plan(size, &NetworkOptions::default()).unwrap();
    let inference = model.compile(plan, |_| {}).unwrap();
    (inference.run(context, &input).unwrap(), expected)
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{what}: {found} in place of {expected}");
    }
}

/// A stem whose map is larger than all others is made and pooled a band of rows after the other, on sizes that do not
/// divide too, unless somebody keeps the map.
pub fn a_large_stem_is_pooled_in_bands() {
    for (padding, h, w) in [(1, 64, 48), (1, 61, 47), (0, 57, 63)] {
        let stem = Conv {
            kernel: [7, 7],
            stride: 2,
            padding: [3, 3],
            downsample: Downsample::StridedConv,
            activation: Activation::Relu,
            ..Conv::new("input", 24)
        };
        let [kernel, stride, padding] = [3, 2, padding].map(|axis| Axes::Image([axis; 2]));
        let pool = Op::Pool(Pool { input: "stem".into(), kind: PoolKind::Max, kernel, stride, padding });
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

pub fn an_output_that_is_concatenated_is_whole() {
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

pub fn plans_of_other_networks_and_devices_are_refused() {
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
        assert!(matches!(&error, Error::Plan { problem: found } if found.starts_with(problem)), "{error}");
    }
}

/// In the words of the reference, whichever node has it.
pub fn variances_without_a_root_are_refused() {
    let norm = Node { name: "n".into(), op: Op::Norm { input: "a".into(), activation: Activation::None } };
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

/// A small network with every way to connect nodes: two sizes share weights and pipelines, and each, recorded twice,
/// gives what the reference gives, in kept values too.
pub fn sizes_share_weights_and_pipelines() {
    // Of its own, whose pipelines are counted.
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
        Node { name: name("norm"), op: Op::Norm { input: name("b"), activation: Activation::Silu } },
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
    let short = model.compile(plan, |_| {}).unwrap().run(context, &[0.0; 5]);
    assert_eq!(refusal(short), "tensor input has 5 elements, but its shape 1x3x8x8 has 192");
    let [first, other, again] = made[..] else { panic!("{made:?}") };
    // Another size, its widths as even and odd as the first, may want another tile here and there, and no more; the same
    // size wants nothing new.
    assert!(other.0 <= first.0 + 3 && other.1 < 2 * first.1, "{made:?}");
    assert_eq!(again, other);
}

/// Each frequency fits into a buffer, and both together do not.
pub fn frequencies_are_apart_where_no_buffer_holds_both() {
    let limits = wgpu::Limits { max_buffer_size: 1 << 16, ..Default::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    assert_eq!(context.engine().facts().limits.max_buffer_size, 1 << 16);
    let network = network(vec![octave("a", "input", 16), octave("b", "a", 2)]);
    // 61,440 and 15,360 bytes of a.
    let (found, expected) = infer(&context, &network, InputSize::image(1, 48, 40));
    close("b", &found, &expected);
}
