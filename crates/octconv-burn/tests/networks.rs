//! Networks as modules against octconv's reference.

mod common;

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use common::{device, difference, values};
use octconv_burn::octconv;
use octconv_burn::octconv::network::zoo::{self, Settings};
use octconv_burn::octconv::network::{Checkpoint, Graph, Network, Op, random_input};
use octconv_burn::octconv::{InputSize, reference};
use octconv_burn::{NetworkError, NotAccelerated, OctNetwork, Value};
use serde_json::json;

fn network(name: &str, alpha: f64) -> Network {
    zoo::build(name, &Settings { alpha, ..Settings::default() }).unwrap()
}

/// A network with random weights, an input, and the answer of octconv's reference to it.
struct Case {
    network: Network,
    checkpoint: Checkpoint,
    input: TensorData,
    answer: Vec<f32>,
}

impl Case {
    fn new(network: Network, [n, h, w]: [u32; 3]) -> Self {
        let graph = Graph::new(&network).unwrap();
        let checkpoint = Checkpoint::random(&graph, 7);
        let shape = [n, network.input.channels, h, w].map(|axis| axis as usize);
        let input = random_input(shape.iter().product(), 3);
        let size = InputSize::image(n, h, w);
        let answer = reference::network::run(&graph, &checkpoint, size, &input, &mut |_, _| {}).unwrap().to_f32();
        Self { network, checkpoint, input: TensorData::new(input, shape), answer }
    }

    fn module(&self, device: &Device) -> OctNetwork {
        OctNetwork::from_checkpoint(&self.network, self.checkpoint.clone(), device).unwrap()
    }

    #[track_caller]
    fn check(&self, what: &str, module: &OctNetwork, device: &Device) {
        let answer = values(&module.forward(Tensor::from_data(self.input.clone(), device)));
        let difference = difference(&answer, &self.answer);
        assert!(difference < 1e-4, "{} {what}: the answer differs by {difference}", self.network.name);
    }
}

/// On the device and folded, each convolution by octconv's kernels.
#[track_caller]
fn computes_what_the_reference_does(name: &str, alpha: f64, size: [u32; 3]) {
    let case = Case::new(network(name, alpha), size);
    let module = case.module(&device());
    let input = Tensor::from_data(case.input.clone(), &device());
    for (what, module) in [("on the device", &module), ("folded", &module.folded(&device()).unwrap())] {
        case.check(what, module, &device());
        let convolutions = module.network().nodes.iter().filter(|node| matches!(node.op, Op::Conv(_)));
        let found = module.acceleration(&input);
        assert!(found.iter().map(|(node, _)| node).eq(convolutions.map(|node| &node.name)), "{found:?}");
        for (node, variant) in found {
            variant.unwrap_or_else(|error| panic!("{name} {what}: {node}: {error}"));
        }
    }
}

#[test]
fn a_network_says_why_not() {
    let network = network("cifar-resnet20", 0.5);
    let flex = Device::flex();
    let found = OctNetwork::new(&network, &flex).unwrap().acceleration(&Tensor::zeros([1, 3, 16, 16], &flex));
    assert_eq!(found.len(), network.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_))).count());
    assert!(found.iter().all(|(_, why)| matches!(why, Err(NotAccelerated::Device))), "{found:?}");
}

/// A convolution into both frequencies, a pool with these fields, and a convolution out of both.
fn pooled(pool: serde_json::Value) -> Network {
    let mut pool = pool;
    for (name, value) in [("name", "pool"), ("op", "pool"), ("input", "split")] {
        pool[name] = value.into();
    }
    let network = json!({
        "name": format!("pool {pool}"),
        "input": { "channels": 3 },
        "nodes": [
            { "name": "split", "op": "conv", "input": "input", "channels": 8, "alpha": 0.5, "kernel": [3, 3], "padding": [1, 1] },
            pool,
            { "name": "join", "op": "conv", "input": "pool", "channels": 4, "alpha": 0.0, "kernel": [1, 1] },
        ],
        "output": "join"
    });
    serde_json::from_value(network).unwrap()
}

#[test]
fn pools_compute_what_the_reference_does() {
    let mut cases = Vec::new();
    for mean in [
        json!({ "kind": "average", "count_include_pad": true }),
        json!({ "kind": "average" }),
        json!({ "kind": "max" }),
    ] {
        for pool in [
            json!({ "kernel": [2, 2], "stride": [2, 2] }),
            json!({ "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1] }),
            json!({ "kernel": [3, 2], "stride": [2, 3], "padding": [[2, 1], [0, 1]] }),
            json!({ "kernel": [3, 3], "stride": [1, 1], "padding": [[0, 2], [1, 1]] }),
        ] {
            for ceil in [false, true] {
                let mut fields = mean.clone();
                fields["ceil_mode"] = ceil.into();
                fields.as_object_mut().unwrap().extend(pool.as_object().unwrap().clone());
                cases.push(pooled(fields));
            }
        }
    }
    for network in cases {
        for [h, w] in [[6, 6], [7, 9]] {
            let case = Case::new(network.clone(), [2, h, w]);
            for device in [Device::flex(), device()] {
                let module = case.module(&device);
                let x = Tensor::from_data(case.input.clone(), &device);
                let Value::Map(answer) = module.forward_to(x, "join") else { panic!("the answer is a map") };
                let difference = difference(&values(&answer.into_plain()), &case.answer);
                assert!(difference < 1e-5, "{} at {h}x{w} on {device:?} differs by {difference}", network.name);
            }
        }
    }
}

#[test]
fn cifar_resnet20_computes_what_the_reference_does() {
    computes_what_the_reference_does("cifar-resnet20", 0.5, [2, 16, 18]);
}

#[test]
fn resnet50_computes_what_the_reference_does() {
    computes_what_the_reference_does("resnet50", 0.5, [1, 33, 35]);
}

#[test]
fn mobilenet_v1_computes_what_the_reference_does() {
    computes_what_the_reference_does("mobilenet-v1", 0.5, [1, 32, 32]);
}

#[test]
fn densenet121_computes_what_the_reference_does() {
    computes_what_the_reference_does("densenet121", 0.25, [1, 32, 32]);
}

#[test]
fn se_resnet50_computes_what_the_reference_does() {
    computes_what_the_reference_does("se-resnet50", 0.25, [1, 32, 32]);
}

#[test]
fn networks_run_on_other_backends() {
    for (name, alpha) in [("cifar-resnet20", 0.25), ("mobilenet-v2", 0.375), ("symbol-resnet26", 0.125)] {
        let case = Case::new(network(name, alpha), [1, 32, 32]);
        let flex = Device::flex();
        let module = case.module(&flex);
        case.check("on flex", &module, &flex);
        // And from there by a record, whose paths are the names of the tensors.
        let bytes = module.into_record().into_bytes().unwrap();
        let other = OctNetwork::new(&case.network, &device()).unwrap();
        let other = other.load_record(ModuleRecord::from_bytes(bytes).unwrap());
        case.check("from a record", &other, &device());
    }
}

#[test]
fn checkpoints_come_back() {
    for name in ["cifar-resnet20", "se-resnet50", "densenet121"] {
        let network = network(name, 0.25);
        let checkpoint = Checkpoint::random(&Graph::new(&network).unwrap(), 1);
        let bytes = checkpoint.to_safetensors().unwrap();
        let module = OctNetwork::from_safetensors(&network, &bytes, &Device::flex()).unwrap();
        assert_eq!(module.to_safetensors().unwrap(), bytes, "{name}");
        assert_eq!(module.network(), &network);
    }
}

#[test]
fn parameters_are_named_as_the_tensors() {
    #[derive(Default)]
    struct Names {
        path: Vec<String>,
        found: BTreeSet<String>,
    }
    impl ModuleVisitor for Names {
        fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
            self.found.insert(self.path.join(".").replace("running_", ""));
        }
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
    }
    let network = network("se-resnet50", 0.25);
    let mut names = Names::default();
    OctNetwork::new(&network, &Device::flex()).unwrap().visit(&mut names);
    let wanted: BTreeSet<_> = Graph::new(&network).unwrap().tensors().into_iter().map(|tensor| tensor.name).collect();
    assert_eq!(names.found, wanted);
}

#[test]
fn a_network_trains() {
    let device = device();
    let autodiff = device.clone().autodiff();
    let case = Case::new(network("cifar-resnet20", 0.25), [4, 16, 16]);
    let mut module = case.module(&autodiff);
    let mut optimizer = SgdConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..3 {
        let Value::Vector(scores) = module.forward_to(Tensor::from_data(case.input.clone(), &autodiff), "fc") else {
            panic!("scores are a vector")
        };
        // Every sample is of class 3.
        let loss = log_softmax(scores, 1).narrow(1, 3, 1).mean().neg();
        losses.push(values(&loss)[0]);
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        module = optimizer.step(0.05, module, gradients);
    }
    assert!(losses[2] < losses[0], "{losses:?}");
    // What it has learned, and the statistics of its batch norms, come along.
    let module = module.valid();
    let x = || Tensor::from_data(case.input.clone(), &device);
    let folded = module.folded(&device).unwrap();
    assert!(difference(&values(&folded.forward(x())), &values(&module.forward(x()))) < 1e-4);
    let back = OctNetwork::from_checkpoint(&case.network, module.to_checkpoint(), &device).unwrap();
    assert!(difference(&values(&back.forward(x())), &values(&module.forward(x()))) < 1e-5);
    assert_ne!(module.to_checkpoint(), case.checkpoint);
}

#[test]
fn refuses_what_has_no_module() {
    let refused = |name| match OctNetwork::new(&network(name, 0.25), &Device::flex()) {
        Err(error @ NetworkError::Unsupported { .. }) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    let wanted =
        "node maxpool: a pool with a time axis cannot be a module here: use octconv's own network on the device";
    assert_eq!(refused("c2d-resnet50"), wanted);
    let mut wrong = network("cifar-resnet20", 0.25);
    wrong.output = "nothing".into();
    let error = OctNetwork::new(&wrong, &Device::flex()).unwrap_err();
    assert!(matches!(error, NetworkError::Refused(_)), "{error}");
    let network = network("cifar-resnet20", 0.25);
    let error = OctNetwork::from_checkpoint(&network, Checkpoint::default(), &Device::flex()).unwrap_err();
    assert!(matches!(error, NetworkError::Refused(octconv::Error::Checkpoint { .. })), "{error}");
}
