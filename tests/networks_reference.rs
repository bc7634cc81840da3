//! Whole networks on the CPU against PyTorch's: the files that `tests/networks/make_fixtures.py` wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use octconv::InputSize;
use octconv::network::reference::{Value, run};
use octconv::network::zoo::{self, Settings};
use octconv::network::{Checkpoint, Graph, random_input};
use octconv::reference::Tensor;
use serde::Deserialize;

/// How many cases `make_fixtures.py` writes.
const CASES: usize = 29;

/// Over the largest |logit|, or a stage's mean of |x|.
const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Case {
    network: String,
    alpha: f64,
    width: f64,
    input: [u32; 5],
    seed: u64,
    logits: Vec<f64>,
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    node: String,
    h: Option<Summary>,
    l: Option<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    shape: [u32; 5],
    mean_abs: f64,
    samples: Vec<f64>,
}

#[test]
fn agrees_with_pytorch() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/networks");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert_eq!(files.len(), CASES, "fixtures in {}", folder.display());
    let failures: Vec<String> = files.iter().flat_map(|file| failures(file)).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Everything in which a run and a file disagree.
fn failures(file: &Path) -> Vec<String> {
    let start = Instant::now();
    let name = file.file_stem().unwrap().to_string_lossy();
    let case: Case = serde_json::from_slice(&fs::read(file).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let settings = Settings { alpha: case.alpha, width: case.width, ..Settings::default() };
    let graph = Graph::new(&zoo::build(&case.network, &settings).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let [n, c, t, h, w] = case.input;
    let input = random_input((n * c * t * h * w) as usize, case.seed);
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
    let size = InputSize { n, t, h, w };
    let output = run(&graph, &checkpoint, size, &input, &mut visit).unwrap_or_else(|e| panic!("{name}: {e}"));
    let Value::Vector { data, .. } = output else { panic!("{name}: the output is no vector") };
    let sums = data.chunks(data.len() / n as usize).map(|row| row.iter().sum::<f64>());
    failures.extend(sums.filter(|sum| (sum - 1.0).abs() > 1e-12).map(|sum| format!("{name}: prob sums to {sum}")));
    // The logits too.
    if seen != case.stages.len() + 1 {
        failures.push(format!("{name}: {seen} of {} values", case.stages.len() + 1));
    }
    println!("{name}: {:.2} s", start.elapsed().as_secs_f64());
    failures
}

/// Where one frequency of a stage is not as it should be.
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

/// The worst of the numbers, if it is too far off.
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
