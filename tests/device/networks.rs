//! Whole networks on a device, against what an independent PyTorch implementation computes (tests/networks/*.json, written
//! by tests/networks/make_fixtures.py): logits, and every stage on the way, so that a difference shows where it starts.

use crate::common::{context_as, runs_f16};
use crate::fixture::{Fixture, Summary};
use octconv::network::{Checkpoint, Graph, Inference, Model, NetworkOptions, TensorView, ValueView, zoo};
use octconv::{Accuracy, Context, Dtype, Precision};

/// Cases of networks that have others: they are compared on the CPU alone (tests/host/networks_reference.rs). Another alpha
/// means other kernels to compile, minutes of them, which the tests of kernels have gone through by themselves.
const ON_CPU_ALONE: [&str; 14] = [
    "cifar-resnet20-a0.75-32x32",
    "densenet121-a0-64x64",
    "densenet121-a0.75-64x64",
    "mobilenet-v1-a0-64x64",
    "resnet18-small-a0.5-32x32",
    "resnet50-bottleneck-a0.5-64x64",
    "resnext50-bottleneck-3x3-a0.5-64x64",
    "resnext101-conv-a0.5-64x64",
    "mobilenet-v1-a0.25-64x64",
    "mobilenet-v1-a0.75-64x64",
    "resnet50-a0-64x64",
    "resnet50-a0.25-64x64",
    "resnet50-a0.75-64x64",
    "i3d-resnet50-nl-a0.1-2x4x75x61",
];

/// Deeper forms of networks that a device runs. They are compared on the CPU alone too: the blocks are the same, and where
/// alpha is another one, the tests of kernels have gone through its kernels.
const DEEPER: [&str; 7] = [
    "cifar-resnet34",
    "cifar-resnet101",
    "cifar-resnet152",
    "resnet34",
    "symbol-resnet101",
    "symbol-resnet200",
    "symbol-resnext101",
];

/// Relative to a stage's mean of |x|.
const TOLERANCE: f64 = 1e-4;

/// Relative to the largest |logit|: four roundings to f16.
const HALF_TOLERANCE: f64 = 2e-3;

fn fixtures() -> Vec<(String, Fixture)> {
    let all = crate::fixture::all();
    assert!(ON_CPU_ALONE.iter().all(|alone| all.iter().any(|(name, _)| name == alone)), "a case is missing");
    all.into_iter().filter(|(name, _)| !ON_CPU_ALONE.contains(&name.as_str())).collect()
}

impl Fixture {
    fn graph(&self) -> Graph {
        let mut network = self.network();
        // Logits are compared, and not what softmax leaves of them.
        network.output = "fc".into();
        network.nodes.retain(|node| node.name != "prob");
        Graph::new(&network).unwrap()
    }

    fn infer(&self, context: &Context, dtype: Dtype) -> (Inference, Vec<f32>) {
        let graph = self.graph();
        let checkpoint = Checkpoint::random(&graph, self.seed);
        let model = Model::new(context.engine(), graph, checkpoint).unwrap();
        let keep = match dtype {
            Dtype::F32 => self.stages.iter().map(|stage| stage.node.clone()).collect(),
            Dtype::F16 => Vec::new(),
        };
        // A software device runs all families, and what stands for a GPU those of exact layers.
        let accuracy = if context.engine().facts().software { Accuracy::Fast } else { Accuracy::Exact };
        let options = NetworkOptions { precision: Precision::of(dtype), accuracy, keep, ..Default::default() };
        let plan = model.plan(self.size(), &options).unwrap();
        let inference = model.compile(plan, |_| {}).unwrap();
        let logits = inference.run(context, &self.input()).unwrap();
        (inference, logits)
    }

    /// The first stage that differs, with how far it is off.
    fn differing_stage(&self, context: &Context, inference: &Inference) -> Option<String> {
        self.stages.iter().find_map(|stage| {
            let Some(ValueView::Map { high, low }) = inference.value(&stage.node) else {
                return Some(format!("{} is no map", stage.node));
            };
            [("H", high, &stage.h), ("L", low, &stage.l)].into_iter().find_map(|(name, view, expected)| {
                let problem = compare(context, view, expected.as_ref())?;
                Some(format!("{} {name}: {problem}", stage.node))
            })
        })
    }
}

fn compare(context: &Context, view: Option<TensorView>, expected: Option<&Summary>) -> Option<String> {
    let (view, expected) = match (view, expected) {
        (None, None) => return None,
        (Some(view), Some(expected)) => (view, expected),
        (view, _) => return Some(format!("is there: {}", view.is_some())),
    };
    let dims = view.dims;
    if [dims.n, dims.c, dims.t, dims.h, dims.w] != expected.shape {
        return Some(format!("{dims} in place of {:?}", expected.shape));
    }
    let values = context.read(view.buffer, view.offset, dims.elements(), view.dtype).unwrap();
    let mean_abs = values.iter().map(|&v| f64::from(v.abs())).sum::<f64>() / values.len() as f64;
    let apart = (mean_abs - expected.mean_abs).abs();
    if apart.is_nan() || apart > TOLERANCE * expected.mean_abs {
        return Some(format!("mean of absolutes {mean_abs} in place of {}", expected.mean_abs));
    }
    expected.samples.iter().enumerate().find_map(|(k, &sample)| {
        let at = k * values.len() / expected.samples.len();
        let apart = (f64::from(values[at]) - sample).abs();
        let near = apart <= TOLERANCE * expected.mean_abs.max(sample.abs());
        (!near).then(|| format!("element {at} is {} in place of {sample}", values[at]))
    })
}

fn check(context: &Context, fixture: &Fixture) {
    let (inference, logits) = fixture.infer(context, Dtype::F32);
    assert_eq!(fixture.differing_stage(context, &inference), None);
    let expected = &fixture.logits;
    assert_eq!(logits.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    for (i, (found, expected)) in logits.iter().zip(expected).enumerate() {
        let apart = (f64::from(*found) - expected).abs() / largest;
        assert!(apart < 1e-4, "logit {i} is {found} in place of {expected}");
    }
}

/// Every logit in f16. The first two may be nearer to each other than f16 can tell, so classes are not compared.
fn check_halves(fixture: &Fixture) {
    // One device for all networks in f16, and one for those in f32: many kernels are the same in all of them.
    let context = context_as(false, Dtype::F16);
    if !runs_f16(context) {
        let graph = fixture.graph();
        let checkpoint = Checkpoint::random(&graph, fixture.seed);
        let model = Model::new(context.engine(), graph, checkpoint).unwrap();
        let options = NetworkOptions { precision: Precision::of(Dtype::F16), ..Default::default() };
        let message = model.plan(fixture.size(), &options).unwrap_err().to_string();
        assert!(message.contains("SHADER_F16"), "{message}");
        return;
    }
    let (_, logits) = fixture.infer(context, Dtype::F16);
    assert_eq!(logits.len(), fixture.logits.len());
    let classes = fixture.logits.len() / fixture.size().n as usize;
    for (found, expected) in logits.chunks(classes).zip(fixture.logits.chunks(classes)) {
        let largest = expected.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
            let apart = (f64::from(found) - expected).abs() / largest;
            assert!(apart < HALF_TOLERANCE, "logit {i} is {found} in place of {expected}");
        }
    }
}

fn check_network(network: &str) {
    let mut count = 0;
    for (name, fixture) in fixtures().into_iter().filter(|(_, fixture)| fixture.network == network) {
        let started = std::time::Instant::now();
        check(context_as(false, Dtype::F32), &fixture);
        check_halves(&fixture);
        println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
        count += 1;
    }
    assert!(count > 0, "no fixture of {network}");
}

/// What GPUs run, of networks that have between them every kind of node: other maps are kept pooled.
#[test]
fn as_a_gpu() {
    for wanted in ["se-resnet50-a0.5-64x64", "densenet121-a0.25-64x64", "mobilenet-v2-a0.375-64x64"] {
        let (_, fixture) = fixtures().into_iter().find(|(name, _)| name == wanted).expect(wanted);
        check(context_as(true, Dtype::F32), &fixture);
    }
}

/// One test a network, so that one can be run alone.
macro_rules! networks {
    ($($name:ident: $network:literal)*) => {
        $(#[test]
        fn $name() {
            check_network($network);
        })*

        #[test]
        fn every_network_has_a_test() {
            let names: Vec<_> = zoo::NAMES.iter().copied().filter(|name| !DEEPER.contains(name)).collect();
            assert_eq!(names, [$($network),*]);
            assert!(DEEPER.iter().all(|name| zoo::NAMES.contains(name)));
        }
    };
}

networks! {
    resnet18: "resnet18"
    resnet26: "resnet26"
    resnet50: "resnet50"
    resnet101: "resnet101"
    resnet152: "resnet152"
    resnet200: "resnet200"
    resnet152_v1f: "resnet152-v1f"
    se_resnet152_v1e: "se-resnet152-v1e"
    resnext50: "resnext50"
    resnext101: "resnext101"
    se_resnet50: "se-resnet50"
    densenet121: "densenet121"
    mobilenet_v1: "mobilenet-v1"
    mobilenet_v2: "mobilenet-v2"
    mobilenet_v2_by8: "mobilenet-v2-by8"
    cifar_resnet18: "cifar-resnet18"
    cifar_resnet20: "cifar-resnet20"
    cifar_resnet44: "cifar-resnet44"
    cifar_resnet50: "cifar-resnet50"
    cifar_resnet56: "cifar-resnet56"
    symbol_resnet26: "symbol-resnet26"
    symbol_resnet50: "symbol-resnet50"
    symbol_resnext50: "symbol-resnext50"
    symbol_se_resnet50: "symbol-se-resnet50"
    symbol_densenet121: "symbol-densenet121"
    c2d_resnet50: "c2d-resnet50"
    i3d_resnet50: "i3d-resnet50"
    i3d_resnet50_nl: "i3d-resnet50-nl"
}
