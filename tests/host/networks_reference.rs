//! Whole networks on the CPU reference against PyTorch: the files that `tests/networks/make_fixtures.py` writes.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::fixture::{Fixture, Stage, Summary};
use octconv::network::zoo::{self, Settings};
use octconv::network::{Checkpoint, Graph, HostTensor, TensorSpec};
use octconv::reference::Tensor;
use octconv::reference::network::{Value, run};
use octconv::{Error, InputSize};
use rayon::prelude::*;

/// How many cases `make_fixtures.py` writes.
const CASES: usize = 52;

/// Relative to the largest |logit|, or to a stage's mean of |x|.
const TOLERANCE: f64 = 1e-6;

#[test]
fn agrees_with_pytorch() {
    let fixtures = crate::fixture::all();
    assert_eq!(fixtures.len(), CASES);
    let failures: Vec<String> = fixtures.par_iter().flat_map_iter(|(name, fixture)| failures(name, fixture)).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Every disagreement of a run with a file.
fn failures(name: &str, case: &Fixture) -> Vec<String> {
    let start = Instant::now();
    let graph = Graph::new(&case.network()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let checkpoint = Checkpoint::random(&graph, case.seed);

    let mut failures = Vec::new();
    let mut seen = 0;
    let mut stages: BTreeMap<&str, &Stage> = case.stages.iter().map(|stage| (stage.node.as_str(), stage)).collect();
    let mut visit = |node: &str, value: &Value| {
        let problems = match (value, stages.remove(node)) {
            (Value::Map { high, low }, Some(stage)) => {
                seen += 1;
                [disagreement(high.as_ref(), stage.h.as_ref()), disagreement(low.as_ref(), stage.l.as_ref())]
            }
            (Value::Vector { data, .. }, None) if node == "fc" => {
                seen += 1;
                let largest = case.logits.iter().fold(0.0, |max: f64, v| max.max(v.abs()));
                [Some(compare(data, &case.logits, largest)).filter(|p| !p.is_empty()), None]
            }
            (_, Some(_)) => [Some("is no map".into()), None],
            (_, None) => [None, None],
        };
        failures.extend(problems.into_iter().flatten().map(|problem| format!("{name}: {node} {problem}")));
    };
    let output =
        run(&graph, &checkpoint, case.size(), &case.input(), &mut visit).unwrap_or_else(|e| panic!("{name}: {e}"));
    let Value::Vector { data, .. } = output else { panic!("{name}: the output is no vector") };
    let sums = data.chunks(data.len() / case.size().n as usize).map(|row| row.iter().sum::<f64>());
    failures.extend(sums.filter(|sum| (sum - 1.0).abs() > 1e-12).map(|sum| format!("{name}: prob sums to {sum}")));
    // All stages, and the logits.
    if seen != case.stages.len() + 1 {
        failures.push(format!("{name}: {seen} of {} values", case.stages.len() + 1));
    }
    println!("{name}: {:.2} s", start.elapsed().as_secs_f64());
    failures
}

/// How one frequency of a stage disagrees, if it does.
fn disagreement(ours: Option<&Tensor>, theirs: Option<&Summary>) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (None, None) => return None,
        (Some(ours), Some(theirs)) => (ours, theirs),
        (Some(_), None) => return Some("has a frequency that it should not have".into()),
        (None, Some(_)) => return Some("lacks a frequency".into()),
    };
    let shape = [ours.dims.n, ours.dims.c, ours.dims.t, ours.dims.h, ours.dims.w];
    if shape != theirs.shape {
        return Some(format!("is {shape:?}, PyTorch's is {:?}", theirs.shape));
    }
    let elements = ours.data.len();
    let samples: Vec<f64> = (0..theirs.samples.len()).map(|k| ours.data[k * elements / theirs.samples.len()]).collect();
    let mean_abs = ours.data.iter().map(|v| v.abs()).sum::<f64>() / elements as f64;
    let problems = compare(&samples, &theirs.samples, theirs.mean_abs)
        + &compare(&[mean_abs], &[theirs.mean_abs], theirs.mean_abs);
    (!problems.is_empty()).then_some(problems)
}

/// The number that is furthest off, if that is too far; otherwise nothing.
fn compare(ours: &[f64], theirs: &[f64], scale: f64) -> String {
    if ours.len() != theirs.len() {
        return format!("has {} numbers, PyTorch's {}", ours.len(), theirs.len());
    }
    let error = |i: &usize| {
        let error = (ours[*i] - theirs[*i]).abs() / scale;
        if error.is_nan() { f64::INFINITY } else { error }
    };
    match (0..ours.len()).max_by(|a, b| error(a).total_cmp(&error(b))) {
        Some(i) if error(&i) > TOLERANCE => {
            format!("is {} at {i} where PyTorch's is {} (error {:.1e})", ours[i], theirs[i], error(&i))
        }
        _ => String::new(),
    }
}

/// A network of one conv of weight 1, and a pool of both frequencies.
fn pooled(kind: &str, kernel: u32, rounding: &str) -> Graph {
    let json = format!(
        r#"{{"name": "pooled", "input": {{"channels": 1}}, "rounding": "{rounding}", "output": "pool", "nodes": [
            {{"name": "split", "op": "conv", "input": "input", "channels": 2, "alpha": 0.5}},
            {{"name": "pool", "op": "pool", "input": "split", "kind": "{kind}",
              "kernel": [{kernel}, {kernel}], "stride": [2, 2], "padding": [0, 0]}},
            {{"name": "unread", "op": "global_pool", "input": "pool"}}]}}"#
    );
    Graph::new(&serde_json::from_str(&json).unwrap()).unwrap()
}

fn ones(graph: &Graph) -> Checkpoint {
    let tensor = |spec: TensorSpec| {
        let data = vec![1.0; spec.shape.iter().product()];
        (spec.name, HostTensor { shape: spec.shape, data })
    };
    Checkpoint { tensors: graph.tensors().into_iter().map(tensor).collect() }
}

#[test]
fn windows_that_reach_beyond_low_frequency_are_partial() {
    let input: Vec<f32> = (0..36).map(|v| v as f32).collect();
    // H is 6x6 and L is 3x3. Windows of 3 give 2x2 in H, so 1 in L. Windows of 2 give 3x3 in H, so 2x2 in L, where all
    // windows but the first are partial.
    for (kind, kernel, high, low) in [
        ("max", 3, vec![14.0, 16.0, 26.0, 28.0], vec![31.5]),
        ("average", 2, vec![3.5, 5.5, 7.5, 15.5, 17.5, 19.5, 27.5, 29.5, 31.5], vec![10.5, 13.5, 28.5, 31.5]),
    ] {
        let graph = pooled(kind, kernel, "ceil");
        let size = InputSize::image(1, 6, 6);
        let value = run(&graph, &ones(&graph), size, &input, &mut |_, _| {}).unwrap();
        let Value::Map { high: Some(h), low: Some(l) } = value else { panic!("{value:?}") };
        assert_eq!((h.data, l.data), (high, low), "{kind}");
    }
}

#[test]
fn mistakes_are_errors() {
    let graph = pooled("max", 2, "floor");
    let size = InputSize::image(1, 4, 4);
    let attempt = |checkpoint: &Checkpoint, size: InputSize, length: usize| {
        run(&graph, checkpoint, size, &vec![0.0; length], &mut |_, _| {}).map(drop)
    };
    let whole = ones(&graph);
    assert_eq!(attempt(&whole, size, 16), Ok(()));
    assert!(matches!(attempt(&whole, size, 15), Err(Error::Length { tensor: "input", found: 15, .. })));
    assert!(
        matches!(attempt(&Checkpoint::default(), size, 16), Err(Error::Checkpoint { misfits }) if misfits.len() == 2)
    );
    assert!(matches!(attempt(&whole, InputSize::image(1, 0, 4), 0), Err(Error::Argument { .. })));
    assert!(matches!(attempt(&whole, InputSize::image(1 << 20, 1 << 10, 1 << 10), 0), Err(Error::Limit { .. })));

    let graph = Graph::new(&zoo::build("cifar-resnet20", &Settings::default()).unwrap()).unwrap();
    let mut checkpoint = Checkpoint::random(&graph, 1);
    checkpoint.tensors.get_mut("layer2.0.conv1.norm_h.var").unwrap().data[3] = -1.0;
    let refusal = run(&graph, &checkpoint, InputSize::image(1, 8, 8), &[0.0; 192], &mut |_, _| {});
    assert!(matches!(refusal, Err(Error::Node { node, .. }) if node == "layer2.0.conv1"));
}
