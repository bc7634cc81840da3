use std::sync::OnceLock;

use octconv::Error;
use octconv::network::{Checkpoint, Graph, HostTensor, Network};

use crate::check;
use crate::draw::Draw;

/// A checkpoint of any tensors with names of every dialect, for a small network.
pub fn fit(data: &[u8]) {
    let mut draw = Draw::new(data);
    let mut checkpoint = Checkpoint::default();
    for tensor in graph().tensors() {
        if draw.once_in(24) {
            continue;
        }
        let names = names(&tensor.name);
        let name = draw.choose(&names);
        let name = if draw.once_in(12) { format!("module.{name}") } else { name };
        add(&mut draw, &mut checkpoint, name, &tensor.shape);
        // A sum of biases has several parts. Any other tensor must not be there twice.
        if draw.once_in(24) {
            let other = draw.choose(&names);
            add(&mut draw, &mut checkpoint, other, &tensor.shape);
        }
    }
    for (name, channels) in MORE {
        if draw.once_in(12) {
            add(&mut draw, &mut checkpoint, name.into(), &[channels]);
        }
    }
    to_small_network(checkpoint);
    if !draw.is_empty() {
        others(&mut draw);
    }
}

/// Tensors for the network of other nodes: also weights of all paths in one, matrices in parts, paths with more groups than
/// their layer, and any number that is added to variances.
fn others(draw: &mut Draw) {
    let mut checkpoint = Checkpoint::default();
    let [is_whole, is_parted, is_gluon] = [0; 3].map(|_| draw.flag());
    for tensor in other_graph().tensors() {
        let (name, shape) = (tensor.name, tensor.shape);
        if draw.once_in(24)
            || (is_whole && name.starts_with("whole.w_"))
            || (is_parted && name.ends_with("squeeze.weight"))
        {
            continue;
        }
        let theirs = name.replace("layer1.0.se.squeeze", "L1_B0.se_block.conv1");
        let theirs = theirs.replace("layer1.0.se.excite", "L1_B0.se_block.conv2");
        let mut shape = shape;
        if name.starts_with("grouped.w_") && draw.flag() {
            shape[1] = draw.choose(&[1, 2, 4]);
        }
        let prefix = draw.choose(&["", "", "", "model.", "module.model."]);
        add(draw, &mut checkpoint, format!("{prefix}{}", if is_gluon { theirs } else { name }), &shape);
    }
    if is_whole {
        add(draw, &mut checkpoint, "whole.conv.weights".into(), &[16, 16, 1, 1]);
    }
    if is_parted {
        for path in ["h2h", "l2h"] {
            add(draw, &mut checkpoint, format!("L2_B01_se_fc1-{path}_weight"), &[2, 8]);
        }
    }
    let counted = draw.flag();
    if counted {
        add(draw, &mut checkpoint, "norm.num_batches_tracked".into(), &[]);
    }
    let bare = checkpoint.clone().without_counters();
    assert!(bare.tensors.len() + usize::from(counted) == checkpoint.tensors.len());
    let short = bare.clone().without_prefixes();
    assert!(short.tensors.values().eq(bare.tensors.values()));
    assert_same(&short.clone().without_prefixes(), &short);
    let eps = draw.choose(&[1e-5, 2e-5, 0.0, 0.5, 1.0, -1.0, f64::NAN]);
    let fitted = checkpoint.clone().fit_with_eps(other_graph(), eps);
    match (fitted, (0.0..1.0).contains(&eps)) {
        (Ok(fitted), true) => is_fitted(&fitted, other_graph()),
        (Err(error @ Error::Checkpoint { .. }), true) | (Err(error @ Error::Argument { .. }), false) => {
            check::refused(&error);
        }
        (other, _) => panic!("{eps}: {other:?}"),
    }
    to_network(checkpoint, other_graph());
}

/// A network with an octave layer whose weights may be one, one of two groups, a batch norm without scale and shift, and an
/// excitation.
fn other_graph() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    const NETWORK: &str = r#"{
        "name": "other", "input": {"channels": 2}, "output": "fc",
        "nodes": [
            {"name": "conv1", "op": "conv", "input": "input", "channels": 16, "alpha": 0.5},
            {"name": "whole", "op": "conv", "input": "conv1", "channels": 16, "alpha": 0.5},
            {"name": "grouped", "op": "conv", "input": "whole", "channels": 16, "alpha": 0.5, "groups": 2},
            {"name": "norm", "op": "norm", "input": "grouped", "affine": false},
            {"name": "layer1.0.se", "op": "excite", "input": "norm", "reduced": 2},
            {"name": "gap", "op": "global_pool", "input": "layer1.0.se"},
            {"name": "fc", "op": "linear", "input": "gap", "outputs": 2}
        ]
    }"#;
    GRAPH.get_or_init(|| Graph::new(&serde_json::from_str::<Network>(NETWORK).unwrap()).unwrap())
}

/// Names that no tensor has alone, with their channels: a counter, biases in front of a batch norm, and nonsense.
const MORE: [(&str, usize); 7] = [
    ("conv1.num_batches_tracked", 1),
    ("conv1.bias", 2),
    ("octave.conv.conv_h2h.bias", 2),
    ("octave.conv.conv_l2h.bias", 2),
    ("conv1.bias_", 2),
    ("module.", 1),
    ("", 1),
];

fn add(draw: &mut Draw, checkpoint: &mut Checkpoint, name: String, shape: &[usize]) {
    let mut shape = shape.to_vec();
    if draw.once_in(48) {
        shape.push(draw.within(0..=2) as usize);
    }
    let mut data: Vec<f32> = (0..shape.iter().product()).map(|_| draw.within(0..=9) as f32).collect();
    if draw.once_in(48) {
        data.pop();
    }
    checkpoint.tensors.insert(name, HostTensor { shape, data });
}

/// The names that a tensor of the small network has in any dialect.
fn names(own: &str) -> Vec<String> {
    let mut names = vec![own.to_owned()];
    let Some((node, tensor)) = own.split_once('.') else { return names };
    match (node, tensor) {
        ("conv1", "w_hh") => names.push("conv1.weight".into()),
        ("features", "0.w_hh") => names.push("features.0.0.weight".into()),
        ("features", "0.bias_h") => names.push("features.0.0.bias".into()),
        _ => {}
    }
    if let Some((from, to)) = tensor.strip_prefix("w_").map(|path| path.split_at(1)) {
        names.push(format!("{node}.conv.conv_{from}2{to}.weight"));
    }
    if let Some(to) = tensor.strip_prefix("bias_") {
        names.extend(["h", "l"].map(|from| format!("{node}.conv.conv_{from}2{to}.bias")));
    }
    if let Some((frequency, norm)) = tensor.strip_prefix("norm_").and_then(|norm| norm.split_once('.')) {
        let theirs = match norm {
            "gamma" => "weight",
            "beta" => "bias",
            "mean" => "running_mean",
            _ => "running_var",
        };
        names.push(format!("{node}.bn_{frequency}.{theirs}"));
        if node == "conv1" {
            names.push(format!("bn1.{theirs}"));
        }
    }
    names
}

/// A network with a plain stem, an octave layer with biases, one with batch norm, and a matrix.
fn graph() -> &'static Graph {
    static GRAPH: OnceLock<Graph> = OnceLock::new();
    const NETWORK: &str = r#"{
        "name": "small", "input": {"channels": 2}, "output": "fc",
        "nodes": [
            {"name": "conv1", "op": "conv", "input": "input", "channels": 2, "norm": true},
            {"name": "features.0", "op": "conv", "input": "conv1", "channels": 2, "norm": true, "bias": true},
            {"name": "both", "op": "conv", "input": "features.0", "channels": 4, "alpha": 0.5, "bias": true},
            {"name": "octave", "op": "conv", "input": "both", "channels": 4, "alpha": 0.5, "norm": true},
            {"name": "gap", "op": "global_pool", "input": "octave"},
            {"name": "fc", "op": "linear", "input": "gap", "outputs": 2}
        ]
    }"#;
    GRAPH.get_or_init(|| Graph::new(&serde_json::from_str::<Network>(NETWORK).unwrap()).unwrap())
}

/// If a checkpoint fits the small network, it then has exactly its tensors, and fits again as it is.
pub(crate) fn to_small_network(checkpoint: Checkpoint) {
    to_network(checkpoint, graph());
}

fn to_network(checkpoint: Checkpoint, graph: &Graph) {
    match checkpoint.fit(graph) {
        Ok(fitted) => is_fitted(&fitted, graph),
        Err(error) => check::refused(&error),
    }
}

fn is_fitted(fitted: &Checkpoint, graph: &Graph) {
    let mut wanted: Vec<_> = graph.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
    wanted.sort();
    let found: Vec<_> = fitted.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    assert_eq!(found, wanted);
    assert!(fitted.tensors.values().all(|tensor| tensor.data.len() == tensor.shape.iter().product::<usize>()));
    assert_same(&fitted.clone().fit(graph).unwrap(), fitted);
}

/// Compares bits, because a NaN is not equal to itself.
pub(crate) fn assert_same(a: &Checkpoint, b: &Checkpoint) {
    let bits = |checkpoint: &Checkpoint| {
        let tensor = |(name, tensor): (&String, &HostTensor)| {
            (name.clone(), tensor.shape.clone(), tensor.data.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        };
        checkpoint.tensors.iter().map(tensor).collect::<Vec<_>>()
    };
    assert_eq!(bits(a), bits(b));
}
