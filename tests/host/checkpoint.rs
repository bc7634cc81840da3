//! Checkpoints: files, random tensors, dialects, and what does not fit.

use octconv::Error;
use octconv::network::zoo::{self, Settings};
use octconv::network::{Checkpoint, Conv, Graph, HostTensor, Network, Op, check_safetensors, random_input};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

fn graph(name: &str, alpha: f64) -> Graph {
    Graph::new(&zoo::build(name, &Settings { alpha, ..Settings::default() }).unwrap()).unwrap()
}

fn tensor(shape: &[usize], data: &[f32]) -> HostTensor {
    HostTensor { shape: shape.to_vec(), data: data.to_vec() }
}

/// The problems that a refusal lists.
fn problems(result: Result<Checkpoint, Error>) -> Vec<String> {
    match result {
        Err(Error::Checkpoint { misfits }) => misfits.iter().map(ToString::to_string).collect(),
        other => panic!("{:?}", other.map(|checkpoint| checkpoint.tensors.len())),
    }
}

#[test]
fn random_tensors_are_those_of_the_contract() {
    // `numerator` is 2^23 v, computed with Python's whole numbers.
    let v = |numerator: i32| f64::from(numerator) / f64::from(1 << 23);
    let checkpoint = Checkpoint::random(&graph("cifar-resnet20", 0.25), 1);
    let weight = |numerator: i32, fan_in: f64| (v(numerator) * (6.0 / fan_in).sqrt()) as f32;
    let quarter = 0.25 * (1.0 + v(2_839_631) / 8.0);
    for (name, index, expected) in [
        ("conv1.w_hh", 0, weight(-6_123_895, 27.0)),
        ("conv1.w_hh", 323, weight(822_176, 27.0)),
        // 12 channels of X_H and 4 of X_L.
        ("layer1.1.conv1.w_lh", 431, weight(-5_201_639, 144.0)),
        ("fc.weight", 639, weight(-2_598_098, 64.0)),
        ("fc.bias", 9, (v(-7_211_299) / 8.0) as f32),
        ("layer1.0.conv2.norm_h.gamma", 11, quarter as f32),
        ("layer1.0.conv1.norm_l.gamma", 3, (1.0 + v(7_082_610) / 8.0) as f32),
        ("layer1.0.conv1.norm_h.beta", 2, (v(-3_082_824) / 8.0) as f32),
        ("layer1.0.conv1.norm_h.mean", 0, (v(-127_731) / 8.0) as f32),
        ("layer1.0.conv1.norm_h.var", 0, (1.0 + v(2_496_862) / 2.0) as f32),
    ] {
        let data = checkpoint.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(data[index], expected, "{name}[{index}]");
    }
    let input = random_input(3072, 1);
    assert_eq!((f64::from(input[0]), f64::from(input[3071])), (v(319_446), v(7_926_443)));
    assert_eq!(f64::from(random_input(2, (1 << 63) + 5)[1]), v(-1_651_929));
}

#[test]
fn files_come_back() {
    let graph = graph("cifar-resnet20", 0.5);
    let checkpoint = Checkpoint::random(&graph, 7);
    let back = Checkpoint::from_safetensors(&checkpoint.to_safetensors().unwrap()).unwrap();
    assert_eq!(back, checkpoint);
    assert_eq!(back.fit(&graph).unwrap(), checkpoint);

    let wrong = Checkpoint { tensors: [("x".into(), tensor(&[2, 2], &[1.0]))].into() };
    assert!(matches!(wrong.to_safetensors(), Err(Error::File { .. })));
}

#[test]
fn other_types_become_f32() {
    let file =
        |dtype: Dtype, data: &[u8]| serialize([("a", TensorView::new(dtype, vec![2], data).unwrap())], None).unwrap();
    let f16: Vec<u8> = [1.5f32, -0.25].iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
    let bf16: Vec<u8> = [1.5f32, -0.25].iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
    let f64: Vec<u8> = [1.5f64, -0.25].iter().flat_map(|v| v.to_le_bytes()).collect();
    for bytes in [file(Dtype::F16, &f16), file(Dtype::BF16, &bf16), file(Dtype::F64, &f64)] {
        let checkpoint = Checkpoint::from_safetensors(&bytes).unwrap();
        assert_eq!(checkpoint.tensors["a"], tensor(&[2], &[1.5, -0.25]));
    }
    let refusal = Checkpoint::from_safetensors(&file(Dtype::I64, &[0; 16])).unwrap_err().to_string();
    assert!(refusal.ends_with("tensor a is I64: must be F32, F16, BF16 or F64"), "{refusal}");
}

#[test]
fn damaged_files_are_refused() {
    let whole = Checkpoint::random(&graph("cifar-resnet20", 0.0), 1).to_safetensors().unwrap();
    for length in [0, 7, 8, 100, 20_000, whole.len() - 1] {
        let result = Checkpoint::from_safetensors(&whole[..length]);
        assert!(matches!(result, Err(Error::File { .. })), "{length} bytes: {result:?}");
    }
    // The sum of these lengths overflows.
    let ends = [0, (1u64 << 61) - 8, u64::MAX - 7, u64::MAX];
    let tensors: Vec<String> = ends
        .windows(2)
        .map(|ends| {
            let [from, to] = [ends[0], ends[1]];
            format!(r#""t{from}": {{"dtype": "U8", "shape": [{}], "data_offsets": [{from}, {to}]}}"#, to - from)
        })
        .collect();
    // The same tensors as lists: a reader derived from a struct takes them.
    let lists: Vec<String> = ends
        .windows(2)
        .map(|ends| format!(r#""t{}": ["U8", [{}], [{}, {}]]"#, ends[0], ends[1] - ends[0], ends[0], ends[1]))
        .collect();
    let square = r#"{"x": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}"#;
    for (header, wanted) in [
        (format!("{{{}}}", tensors.join(",")).as_str(), "tensor t18446744073709551608 ends beyond the file"),
        (&format!("{{{}}}", lists.join(",")), "tensor t0: invalid type: sequence, expected an object"),
        (square, ""),
        ("{", "its header: EOF while parsing"),
        // A space before it would hide from programs that look at the first byte how long a header is.
        (" {}", "its header begins with ' ': must begin with '{'"),
        ("[]", "its header begins with '[': must begin with '{'"),
        (r#"{"x": {"dtype": 1"#, "tensor x: EOF while parsing"),
        (r#"{"x": 1}"#, "tensor x: invalid type: integer `1`, expected an object"),
        (r#"{"x": {"dtype": "F32", "shape": []}}"#, "tensor x: missing field `data_offsets`"),
    ] {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        let Err(Error::File { problem }) = Checkpoint::from_safetensors(&bytes) else { panic!("{header}") };
        assert!(problem.contains(wanted), "{header}\n  gives  {problem}\n  wanted {wanted}");
    }
    // Names are short, and so is what is told of longer ones, and of other texts.
    let named = |name: &str, offsets: &str| {
        let header = format!(r#"{{"{name}": {{"dtype": "F32", "shape": [1], "data_offsets": {offsets}}}}}"#);
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
        Checkpoint::from_safetensors(&file).map_err(|error| error.to_string())
    };
    assert!(named(&"n".repeat(1000), "[0, 4]").is_ok());
    let long = named(&"model.".repeat(10_000), "[0, 4]").unwrap_err();
    assert!(
        long.contains("the name model.model.model.model.model.model.mode... has 60000 bytes: must be at most 1000")
    );
    let text = named("x", &format!("{:?}", "t".repeat(100_000))).unwrap_err();
    assert!(text.len() < 2100 && text.ends_with("tttt..."), "{text}");
    let control = named(r"a\nb", "[0, 4000]").unwrap_err();
    assert!(control.contains(r"tensor a\nb ends beyond the file") && !control.contains('\n'), "{control}");
    // Its length alone refuses a header.
    let problem = check_safetensors(&100_000_001_u64.to_le_bytes()).unwrap_err().to_string();
    assert!(problem.ends_with("its header has 100000001 bytes: must be at most 100000000"), "{problem}");
}

/// d-li14's name for one of our tensors.
fn translated(name: &str) -> String {
    let mut theirs = name.to_string();
    for (stem, norm) in [("conv1", "bn1"), ("features.0", "features.0.1")] {
        if let Some(rest) = name.strip_prefix(&format!("{stem}.norm_h.")) {
            theirs = format!("{norm}.{rest}");
        }
    }
    theirs = match theirs.as_str() {
        "conv1.w_hh" => "conv1.weight".into(),
        "features.0.w_hh" => "features.0.0.weight".into(),
        _ => theirs,
    };
    for (ours, other) in [("w_hh", "h2h"), ("w_hl", "h2l"), ("w_lh", "l2h"), ("w_ll", "l2l")] {
        theirs = theirs.replace(&format!(".{ours}"), &format!(".conv.conv_{other}.weight"));
    }
    for (ours, other) in [("gamma", "weight"), ("beta", "bias"), ("mean", "running_mean"), ("var", "running_var")] {
        if let Some(node) = theirs.strip_suffix(&format!(".{ours}")) {
            theirs = format!("{node}.{other}");
        }
    }
    theirs.replace(".norm_", ".bn_")
}

#[test]
fn other_names_are_translated() {
    assert_eq!(translated("layer1.0.conv2.norm_l.mean"), "layer1.0.conv2.bn_l.running_mean");
    assert_eq!(translated("conv1.norm_h.gamma"), "bn1.weight");
    for (name, alpha) in
        [("resnet50", 0.125), ("resnet50", 0.0), ("mobilenet-v1", 0.125), ("mobilenet-v1", 0.0), ("resnet26", 1.0)]
    {
        let graph = graph(name, alpha);
        let ours = Checkpoint::random(&graph, 3);
        for prefix in ["", "module."] {
            let theirs = |name: &String| format!("{prefix}{}", translated(name));
            let mut tensors: std::collections::BTreeMap<_, _> =
                ours.tensors.iter().map(|(name, tensor)| (theirs(name), tensor.clone())).collect();
            assert_eq!(tensors.len(), ours.tensors.len());
            tensors.insert(format!("{prefix}bn1.num_batches_tracked"), tensor(&[], &[100.0]));
            let fitted = Checkpoint { tensors }.fit(&graph).unwrap_or_else(|e| panic!("{name} at {alpha}: {e}"));
            assert!(fitted == ours, "{name} at alpha {alpha}");
        }
    }
}

#[test]
fn plain_names_are_those_of_the_only_path() {
    let graph = graph("cifar-resnet20", 0.0);
    let ours = Checkpoint::random(&graph, 3);
    for suffix in [".weight", ".conv.weight"] {
        let rename = |name: &String| name.replace(".w_hh", suffix);
        let tensors = ours.tensors.iter().map(|(name, tensor)| (rename(name), tensor.clone())).collect();
        assert!(Checkpoint { tensors }.fit(&graph).unwrap() == ours, "{suffix}");
    }
}

/// Two convolutions: from 2 channels to 1 high and 1 low, and from these on.
fn small(bias: bool, norm: bool) -> Graph {
    let json = r#"{"name": "small", "input": {"channels": 2}, "output": "b", "nodes": [
        {"name": "a", "op": "conv", "input": "input", "channels": 2, "alpha": 0.5},
        {"name": "b", "op": "conv", "input": "a", "channels": 2, "alpha": 0.5}]}"#;
    let mut network: Network = serde_json::from_str(json).unwrap();
    for node in &mut network.nodes {
        if let Op::Conv(conv) = &mut node.op {
            *conv = Conv { bias, norm, ..conv.clone() };
        }
    }
    Graph::new(&network).unwrap()
}

/// `ours`, plus the biases that d-li14's layer `b` has.
fn with_biases(mut ours: Checkpoint) -> Checkpoint {
    for (path, bias) in [("h2h", 0.5), ("l2h", 0.25), ("h2l", 1.0), ("l2l", -3.0)] {
        ours.tensors.insert(format!("b.conv.conv_{path}.bias"), tensor(&[1], &[bias]));
    }
    ours
}

#[test]
fn biases_of_an_output_are_summed() {
    let graph = small(true, false);
    let mut ours = Checkpoint::random(&graph, 1);
    ours.tensors.remove("b.bias_h");
    ours.tensors.remove("b.bias_l");
    let fitted = with_biases(ours.clone()).fit(&graph).unwrap();
    assert_eq!((fitted.get("b.bias_h"), fitted.get("b.bias_l")), (Some([0.75].as_slice()), Some([-2.0].as_slice())));

    // Refused if our own bias is there too.
    ours.tensors.insert("b.bias_h".into(), tensor(&[1], &[1.0]));
    let lines = problems(with_biases(ours).fit(&graph));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "b.conv.conv_h2h.bias is surplus: b.bias_h is there too");
}

#[test]
fn biases_go_into_the_running_mean_where_there_is_no_other_place() {
    let graph = small(false, true);
    let mut ours = Checkpoint::random(&graph, 1);
    ours.tensors.insert("b.norm_h.mean".into(), tensor(&[1], &[2.0]));
    ours.tensors.insert("b.norm_l.mean".into(), tensor(&[1], &[2.0]));
    let fitted = with_biases(ours.clone()).fit(&graph).unwrap();
    for (name, tensor) in &fitted.tensors {
        match name.as_str() {
            "b.norm_h.mean" => assert_eq!(tensor.data, [1.25]),
            "b.norm_l.mean" => assert_eq!(tensor.data, [4.0]),
            _ => assert_eq!(*tensor, ours.tensors[name], "{name}"),
        }
    }

    let graph = small(false, false);
    let lines = problems(with_biases(Checkpoint::random(&graph, 1)).fit(&graph));
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].contains("neither a bias nor a batch norm"), "{lines:?}");
}

#[test]
fn every_problem_is_listed() {
    let graph = small(true, true);
    let mut checkpoint = Checkpoint::random(&graph, 1);
    checkpoint.tensors.remove("a.w_hh");
    checkpoint.tensors.remove("b.norm_l.var");
    checkpoint.tensors.insert("b.w_lh".into(), tensor(&[1, 1, 3, 3], &[0.0; 9]));
    checkpoint.tensors.insert("b.w_ll".into(), tensor(&[1, 1, 1, 1], &[0.0; 2]));
    checkpoint.tensors.insert("c.weight".into(), tensor(&[5], &[0.0; 5]));
    checkpoint.tensors.insert("b.conv.conv_h2h.weight".into(), tensor(&[1, 1, 1, 1], &[0.0]));
    checkpoint.tensors.insert("a.bn_l.weight".into(), tensor(&[1], &[0.0]));
    let mut lines = problems(checkpoint.fit(&graph));
    lines.sort();
    assert_eq!(
        lines,
        [
            "a.norm_l.gamma is surplus: a.bn_l.weight is a.norm_l.gamma already",
            "a.w_hh is missing: expected [1, 2, 1, 1]",
            "b.norm_l.var is missing: expected [1]",
            "b.w_hh is surplus: b.conv.conv_h2h.weight is b.w_hh already",
            "b.w_lh has another shape: found [1, 1, 3, 3], expected [1, 1, 1, 1]",
            "b.w_ll has 2 elements: expected [1, 1, 1, 1]",
            "c.weight is surplus: found [5], expected no such tensor",
        ]
    );
}

#[test]
fn a_refusal_says_how_much_is_wrong_and_where() {
    let graph = small(true, true);
    let mut checkpoint = Checkpoint::random(&graph, 1);
    checkpoint.tensors.remove("b.norm_l.var");
    let message = checkpoint.clone().fit(&graph).unwrap_err().to_string();
    assert_eq!(message, "the checkpoint does not fit the network: b.norm_l.var is missing: expected [1]");
    checkpoint.tensors.remove("b.norm_l.mean");
    checkpoint.tensors.insert("module.b.w_xx".into(), tensor(&[1], &[0.0]));
    let Err(error) = checkpoint.fit(&graph) else { panic!() };
    let message = error.to_string();
    let wanted = "2 tensors are missing, 1 are surplus, and 0 have another shape; the first: module.b.w_xx is surplus";
    assert!(message.contains(wanted), "{message}");
    let Error::Checkpoint { misfits } = error else { panic!() };
    let nodes: Vec<_> = misfits.iter().map(|misfit| (misfit.node.as_str(), misfit.name.as_str())).collect();
    assert_eq!(nodes, [("module.b", "module.b.w_xx"), ("b", "b.norm_l.mean"), ("b", "b.norm_l.var")]);
}

#[test]
fn prefixes_are_dropped() {
    let graph = graph("cifar-resnet20", 0.25);
    let ours = Checkpoint::random(&graph, 3);
    for prefix in
        ["module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.model.", "updater/model:main/predictor/"]
    {
        let with = |names: fn(&str) -> bool| {
            let name = |name: &String| if names(name) { format!("{prefix}{name}") } else { name.clone() };
            let tensors = ours.tensors.iter().map(|(n, tensor)| (name(n), tensor.clone())).collect();
            Checkpoint { tensors }
        };
        assert!(with(|_| true).fit(&graph).unwrap() == ours, "{prefix}");
        // The classifier may stand outside of it.
        assert!(with(|name| !name.starts_with("fc.")).fit(&graph).unwrap() == ours, "{prefix}");
        assert!(with(|_| true).without_prefixes() == ours, "{prefix}");
        let some = with(|name| !name.starts_with("fc."));
        assert!(some.clone().without_prefixes() == some, "{prefix}");
    }
    assert!(Checkpoint::default().without_prefixes() == Checkpoint::default());
    // Eight of them, and no more: a crafted name may have any number.
    let times = |count: usize| {
        let name = |name: &String| format!("{}{name}", "model.".repeat(count));
        Checkpoint { tensors: ours.tensors.iter().map(|(n, tensor)| (name(n), tensor.clone())).collect() }
    };
    assert!(times(8).without_prefixes() == ours && times(8).fit(&graph).unwrap() == ours);
    assert!(times(10).without_prefixes() == times(2));
    assert!(problems(times(9).fit(&graph))[0].starts_with("model.model."));
    let twice = Checkpoint {
        tensors: [("fc.bias", 1.0), ("module.fc.bias", 2.0)].map(|(n, v)| (n.into(), tensor(&[10], &[v; 10]))).into(),
    };
    let lines = problems(twice.fit(&graph));
    assert_eq!(lines[0], "module.fc.bias is surplus: fc.bias is fc.bias already");
    // A network may have such a name itself.
    let json = r#"{"name": "x", "input": {"channels": 1}, "output": "module.a", "nodes": [
        {"name": "module.a", "op": "conv", "input": "input", "channels": 1}]}"#;
    let graph = Graph::new(&serde_json::from_str(json).unwrap()).unwrap();
    let ours = Checkpoint::random(&graph, 3);
    assert!(ours.clone().fit(&graph).unwrap() == ours);
}

/// The four weights of a node as one: outputs of H, then of L, and of each the inputs of H, then of L.
fn whole(ours: &Checkpoint, node: &str) -> HostTensor {
    let part = |name: &str| ours.tensors.get(&format!("{node}.{name}"));
    let mut data = Vec::new();
    let mut rows_of_all = 0;
    let mut shape = Vec::new();
    for parts in [[part("w_hh"), part("w_lh")], [part("w_hl"), part("w_ll")]] {
        let Some(any) = parts.into_iter().flatten().next() else { continue };
        let rows = any.shape[0];
        for row in 0..rows {
            for tensor in parts.into_iter().flatten() {
                let width = tensor.data.len() / rows;
                data.extend_from_slice(&tensor.data[row * width..(row + 1) * width]);
            }
        }
        rows_of_all += rows;
        let columns = parts.into_iter().flatten().map(|tensor| tensor.shape[1]).sum();
        shape = [&[0, columns], &any.shape[2..]].concat();
    }
    shape[0] = rows_of_all;
    HostTensor { shape, data }
}

const STATISTICS: [(&str, &str); 4] =
    [("gamma", "weight"), ("beta", "bias"), ("mean", "running_mean"), ("var", "running_var")];

/// `ours` under names of another project. `node` gives what the names of a node start with there; `weight` the name of its
/// weight of a path, or of all paths if it has no path in it; `norm` that of a statistic.
fn renamed(
    ours: &Checkpoint,
    node: impl Fn(&str) -> String,
    weight: impl Fn(&str, &str) -> String,
    norm: impl Fn(&str, &str, &str) -> String,
) -> Checkpoint {
    let mut tensors = std::collections::BTreeMap::new();
    for (name, tensor) in &ours.tensors {
        let (theirs, tensor) = match name.rsplit_once('.').unwrap() {
            (place, statistic) if place.contains(".norm_") => {
                let (place, frequency) = place.rsplit_once(".norm_").unwrap();
                (norm(&node(place), frequency, statistic), tensor.clone())
            }
            (place, part) if part.starts_with("w_") => {
                let path = format!("{}2{}", &part[2..3], &part[3..]);
                let theirs = weight(&node(place), &path);
                let is_whole = theirs == weight(&node(place), "");
                (theirs, if is_whole { whole(ours, place) } else { tensor.clone() })
            }
            (place, part) => (format!("{}.{part}", node(place)), tensor.clone()),
        };
        tensors.insert(theirs, tensor);
    }
    Checkpoint { tensors }
}

/// The number of a layer, that of a block, and what follows; `None` for `conv1` and `fc`.
fn taken_apart(node: &str) -> Option<(usize, usize, &str)> {
    let mut parts = node.strip_prefix("layer")?.splitn(3, '.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?))
}

fn pytorch_statistic(statistic: &str) -> &'static str {
    STATISTICS.iter().find(|(ours, _)| *ours == statistic).unwrap().1
}

/// Checks that `theirs` has these names, and that it fits.
fn assert_fits(graph: &Graph, theirs: Checkpoint, names: &[&str], ours: &Checkpoint) {
    for name in names {
        assert!(theirs.tensors.contains_key(*name), "{name} is not among {:?}", theirs.tensors.keys());
    }
    let fitted = theirs.fit(graph).unwrap_or_else(|error| panic!("{names:?}: {error}"));
    assert!(fitted == *ours, "{names:?}");
}

#[test]
fn lxt_gh_has_one_weight_or_four() {
    for alpha in [0.25, 0.5] {
        let graph = graph("resnet26", alpha);
        let ours = Checkpoint::random(&graph, 3);
        let node = |node: &str| node.replace(".conv", ".ocb");
        let norm = |node: &str, frequency: &str, statistic: &str| match node {
            "conv1" => format!("bn1.{}", pytorch_statistic(statistic)),
            _ => format!("{node}.bn_{frequency}.{}", pytorch_statistic(statistic)),
        };
        let sliced = |node: &str, _: &str| match node {
            "conv1" => "conv1.weight".into(),
            _ => format!("{node}.conv.weights"),
        };
        let names =
            ["layer1.0.ocb1.conv.weights", "layer2.0.downsample.0.conv.weights", "layer2.0.ocb2.bn_l.running_var"];
        assert_fits(&graph, renamed(&ours, node, sliced, norm), &names, &ours);
        let four = |node: &str, path: &str| match node {
            "conv1" => "conv1.weight".into(),
            _ => format!("{node}.conv.{path}.weight"),
        };
        let names = ["layer1.0.ocb1.conv.h2l.weight", "layer2.0.downsample.0.conv.l2l.weight"];
        assert_fits(&graph, renamed(&ours, node, four, norm), &names, &ours);
    }
}

#[test]
fn lxt_gh_ends_with_plain_blocks() {
    let graph = graph("resnet26", 0.0);
    let ours = Checkpoint::random(&graph, 3);
    let weight = |node: &str, _: &str| format!("{node}.weight");
    let norm = |node: &str, _: &str, statistic: &str| {
        let place = if node.contains("downsample") { format!("{node}.bn_h") } else { node.replace("conv", "bn") };
        format!("{place}.{}", pytorch_statistic(statistic))
    };
    let names = ["layer4.1.conv2.weight", "layer4.1.bn2.running_mean"];
    assert_fits(&graph, renamed(&ours, str::to_owned, weight, norm), &names, &ours);
}

#[test]
fn pytorchcv_has_one_weight() {
    for alpha in [0.0, 0.5] {
        let graph = graph("resnet26", alpha);
        let ours = Checkpoint::random(&graph, 3);
        let node = |node: &str| match (node, taken_apart(node)) {
            (_, Some((layer, block, "downsample.0"))) => {
                format!("features.stage{layer}.unit{}.identity_conv", block + 1)
            }
            (_, Some((layer, block, part))) => format!("features.stage{layer}.unit{}.body.{part}", block + 1),
            ("fc", _) => "output".into(),
            _ => "features.init_block.conv".into(),
        };
        let weight = |node: &str, _: &str| format!("{node}.conv.weight");
        let norm = |node: &str, frequency: &str, statistic: &str| match node {
            "features.init_block.conv" => format!("{node}.bn.{}", pytorch_statistic(statistic)),
            _ => format!("{node}.{frequency}_bn.{}", pytorch_statistic(statistic)),
        };
        let names = [
            "features.init_block.conv.conv.weight",
            "features.stage1.unit1.body.conv1.conv.weight",
            "features.stage2.unit1.identity_conv.h_bn.running_var",
            "output.weight",
        ];
        assert_fits(&graph, renamed(&ours, node, weight, norm), &names, &ours);
    }
}

#[test]
fn a_weight_of_another_split_is_refused() {
    let graph = small(false, false);
    let mut theirs = Checkpoint::random(&graph, 1);
    let ours = theirs.clone();
    theirs.tensors.retain(|name, _| !name.starts_with("b."));
    theirs.tensors.insert("b.conv.weights".into(), whole(&ours, "b"));
    assert!(theirs.clone().fit(&graph).unwrap() == ours);
    theirs.tensors.insert("b.conv.weights".into(), tensor(&[2, 3, 1, 1], &[0.0; 6]));
    let lines = problems(theirs.clone().fit(&graph));
    assert_eq!(lines[0], "b.conv.weights has another shape: found [2, 3, 1, 1], expected [2, 2, 1, 1]");
    theirs.tensors.insert("b.conv.weights".into(), tensor(&[2, 2, 1, 1], &[0.0; 3]));
    assert_eq!(problems(theirs.fit(&graph))[0], "b.conv.weights has 3 elements: expected [2, 2, 1, 1]");
}

#[test]
fn chainer_names_tensors_with_slashes_and_adds_more_to_variances() {
    let graph = graph("resnet26", 0.25);
    let ours = Checkpoint::random(&graph, 3);
    let statistic = |statistic: &str| match statistic {
        "mean" | "var" => format!("avg_{statistic}"),
        _ => statistic.to_owned(),
    };
    let imagenet = |node: &str| match (node, taken_apart(node)) {
        (_, Some((layer, 0, "downsample.0"))) => format!("res{}/a/residual_conv", layer + 1),
        (_, Some((layer, 0, part))) => format!("res{}/a/{part}", layer + 1),
        (_, Some((layer, block, part))) => format!("res{}/b{block}/{part}", layer + 1),
        _ => node.replace("fc", "fc6"),
    };
    let cifar = |node: &str| match (node, taken_apart(node)) {
        (_, Some((layer, block, "downsample.0"))) => format!("res{}/{block}/conv_bn4", layer + 2),
        (_, Some((layer, block, "conv3"))) => format!("res{}/{block}/conv_bn3", layer + 2),
        (_, Some((layer, block, part))) => format!("res{}/{block}/{}", layer + 2, part.replace("conv", "conv_bn_act")),
        _ => node.replace("fc", "fc7").replace("conv1", "conv_bn_act1"),
    };
    let imagenet =
        (&imagenet as &dyn Fn(&str) -> String, ["res2/a/conv1/conv/conv_h2l/W", "res3/b1/conv3/bn_l/avg_var", "fc6/W"]);
    let cifar = (&cifar as _, ["res3/0/conv_bn_act1/conv/conv_h2l/W", "res4/1/conv_bn3/bn_l/avg_var", "fc7/b"]);
    // 2e-5 instead of 1e-5.
    let mut wanted = ours.clone();
    let shift = 2e-5 - f64::from(graph.network().norm_eps);
    for (_, tensor) in wanted.tensors.iter_mut().filter(|(name, _)| name.ends_with(".var")) {
        tensor.data.iter_mut().for_each(|var| *var = (f64::from(*var) + shift) as f32);
    }
    assert!(wanted != ours);
    for (node, names) in [imagenet, cifar] {
        let weight = |node: &str, path: &str| format!("{node}/conv/conv_{path}/W");
        let norm = |node: &str, f: &str, which: &str| format!("{node}/bn_{f}/{}", statistic(which));
        let mut theirs = renamed(&ours, node, weight, norm);
        let classifier = names[2].split('/').next().unwrap();
        for (part, letter) in [("weight", "W"), ("bias", "b")] {
            let tensor = theirs.tensors.remove(&format!("{classifier}.{part}")).unwrap();
            theirs.tensors.insert(format!("{classifier}/{letter}"), tensor);
        }
        theirs.tensors.insert("conv1/bn_h/N".into(), tensor(&[], &[7.0]));
        assert_fits(&graph, theirs, &names, &wanted);
    }
}

#[test]
fn piston_y_counts_nodes() {
    let graph = graph("resnet26", 0.25);
    let ours = Checkpoint::random(&graph, 3);
    let node = |node: &str| match (node, taken_apart(node)) {
        (_, Some((layer, block, "downsample.0"))) => format!("features.{}.{block}.downsample", layer + 3),
        (_, Some((layer, block, part))) => {
            let k: usize = part.strip_prefix("conv").unwrap().parse().unwrap();
            format!("features.{}.{block}.body.{}", layer + 3, k - 1)
        }
        ("fc", _) => "output".into(),
        _ => "features".into(),
    };
    let weight = |node: &str, path: &str| match node {
        "features" => "features.0.weight".into(),
        _ => format!("{node}.0.W_{}.weight", path.replace('2', "").to_uppercase()),
    };
    let norm = |node: &str, frequency: &str, statistic: &str| {
        let statistic = statistic.replace("mean", "running_mean").replace("var", "running_var");
        match node {
            "features" => format!("features.1.{statistic}"),
            _ => format!("{node}.1.{frequency}_bn.{statistic}"),
        }
    };
    let names = ["features.4.0.body.0.0.W_HL.weight", "features.5.1.body.2.1.l_bn.running_var", "output.bias"];
    assert_fits(&graph, renamed(&ours, node, weight, norm), &names, &ours);
}

/// The official Gluon code's name for a tensor of its ResNets.
fn gluon(name: &str) -> String {
    let (node, part) = match name.split_once(".norm_") {
        Some((node, part)) => (node, Err(part.split_once('.').unwrap())),
        None => {
            let (node, part) = name.rsplit_once('.').unwrap();
            (node, Ok(part))
        }
    };
    // What stands before the residual blocks has no frequencies. The convolution, and its batch norm.
    let stem = match node {
        "stem.0" => Some(("conv1.0", "conv1.1")),
        "stem.1" => Some(("conv1.3", "conv1.4")),
        "stem.2" => Some(("conv1.6", "conv1.7")),
        "stem.pool.conv1" => Some(("conv2.conv1", "conv2.bn1")),
        "stem.pool.conv2" => Some(("conv2.conv2", "conv2.bn2")),
        "stem.pool.conv3" => Some(("conv2.conv3", "conv2.bn3")),
        "stem.pool.downsample.0" => Some(("conv2.conv4", "conv2.bn4")),
        "conv1" => Some(("conv1.0", "conv1.1")),
        "tail" => Some(("", "tail.0")),
        _ => None,
    };
    let statistic = |part: &str| part.replace("mean", "running_mean").replace("var", "running_var");
    match (stem, taken_apart(node), part) {
        (Some((conv, _)), _, Ok(_)) => format!("{conv}.weight"),
        (Some((_, norm)), _, Err((_, part))) => format!("{norm}.{}", statistic(part)),
        (_, Some((n, i, rest)), part) => {
            let block = format!("L{n}_B{i}");
            let rest =
                rest.replace("downsample.0", "conv4").replace("downsample.norm0", "bn4a").replace("norm0", "bn1a");
            match part {
                Err((f, part)) => format!("{block}.{}.bn_{f}.{}", rest.replace("conv", "bn"), statistic(part)),
                Ok(part) if part.starts_with("w_") => {
                    format!("{block}.{rest}.conv_{}2{}.weight", &part[2..3], &part[3..])
                }
                Ok(part) => {
                    let name = rest.replace("se.", "se_block.").replace("squeeze", "conv1").replace("excite", "conv2");
                    format!("{block}.{name}.{part}")
                }
            }
        }
        _ => name.replace("fc", "classifer"),
    }
}

#[test]
fn paths_with_more_groups_than_their_layer_fit() {
    let text = r#"{"name": "n", "input": {"channels": 4}, "output": "b", "nodes": [
        {"name": "a", "op": "conv", "input": "input", "channels": 8, "split": [4, 4]},
        {"name": "b", "op": "conv", "input": "a", "channels": 12, "split": [8, 4], "groups": 2}]}"#;
    let graph = Graph::new(&serde_json::from_str(text).unwrap()).unwrap();
    let ours = Checkpoint::random(&graph, 2);
    // Four groups from low to high: outputs 0 and 1 read channel 0, outputs 2 and 3 channel 1, and so on.
    let mut theirs = ours.clone();
    theirs.tensors.insert("b.w_lh".into(), tensor(&[8, 1, 1, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]));
    let fitted = theirs.clone().fit(&graph).unwrap();
    let wide = [[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 4.0], [5.0, 0.0], [6.0, 0.0], [0.0, 7.0], [0.0, 8.0]];
    assert_eq!(fitted.tensors["b.w_lh"], tensor(&[8, 2, 1, 1], wide.as_flattened()));
    assert_eq!(fitted.tensors["b.w_hh"], ours.tensors["b.w_hh"]);
    // A dense layer takes no weights of groups, nor does one with fewer channels than that.
    theirs.tensors.insert("a.w_hh".into(), tensor(&[4, 2, 1, 1], &[0.0; 8]));
    theirs.tensors.insert("b.w_ll".into(), tensor(&[4, 3, 1, 1], &[0.0; 12]));
    assert_eq!(problems(theirs.fit(&graph)).len(), 2);
}

#[test]
fn gluon_names_the_stems_and_norms_of_its_variants() {
    for (name, names) in [
        (
            "resnet152-v1f",
            &["conv1.3.weight", "conv1.7.running_var", "conv2.conv4.weight", "L4_B0.conv1.conv_l2h.weight"],
        ),
        (
            "se-resnet152-v1e",
            &["conv1.6.weight", "L1_B2.bn1a.bn_l.gamma", "L2_B0.bn4a.bn_h.beta", "L1_B0.se_block.conv2_l.bias"],
        ),
    ] {
        let graph = graph(name, 0.125);
        let ours = Checkpoint::random(&graph, 3);
        let mut theirs = std::collections::BTreeMap::new();
        for (name, data) in &ours.tensors {
            let mut data = data.clone();
            // Classifiers and squeezes are convolutions of 1x1 there.
            if name.ends_with(".weight") {
                data.shape.extend([1, 1]);
            }
            // Batch norms without scale and shift have both in the file.
            if name.contains("norm0") && name.ends_with("mean") {
                let fixed = |value: f32| HostTensor { shape: data.shape.clone(), data: vec![value; data.data.len()] };
                theirs.insert(gluon(&name.replace("mean", "gamma")), fixed(1.0));
                theirs.insert(gluon(&name.replace("mean", "beta")), fixed(0.0));
            }
            theirs.insert(gluon(name), data);
        }
        let mut changed = Checkpoint { tensors: theirs.clone() };
        assert_fits(&graph, Checkpoint { tensors: theirs }, names, &ours);
        if let Some(scale) = changed.tensors.get_mut("L1_B2.bn1a.bn_l.gamma") {
            scale.data[1] = 0.5;
            assert_eq!(
                problems(changed.fit(&graph)),
                ["L1_B2.bn1a.bn_l.gamma is surplus: has 0.5, and its batch norm has no scale and no shift: must be 1"]
            );
        }
    }
}

#[test]
fn gluon_names_norms_by_the_convolutions_behind_them_too() {
    let mut network = zoo::build("symbol-se-resnet50", &Settings { alpha: 0.125, ..Settings::default() }).unwrap();
    // What Gluon's networks add to variances.
    network.norm_eps = 1e-5;
    let graph = Graph::new(&network).unwrap();
    let ours = Checkpoint::random(&graph, 3);
    // The norm behind a convolution is the one before the next.
    let before = [
        ("conv2.norm_", "conv3.norm_"),
        ("conv1.norm_", "conv2.norm_"),
        ("downsample.norm.norm_", "downsample.0.norm_"),
        (".norm.norm_", ".conv1.norm_"),
    ];
    let theirs = ours.tensors.iter().map(|(name, tensor)| {
        let moved = |(from, to): &(&str, &str)| name.contains(from).then(|| name.replace(from, to));
        let place = before.iter().find_map(moved).filter(|_| name.starts_with("block"));
        (gluon(&place.unwrap_or(name.clone()).replace("block", "layer")), tensor.clone())
    });
    let names = ["conv1.1.gamma", "tail.0.running_mean", "L1_B0.bn4.bn_h.beta", "L2_B1.bn3.bn_l.gamma"];
    assert_fits(&graph, Checkpoint { tensors: theirs.collect() }, &names, &ours);
}

#[test]
fn gluon_counts_the_blocks_of_a_mobilenet_by_their_size() {
    // The residual blocks of each size.
    for (name, sizes, names) in [
        ("mobilenet-v1", [1, 2, 2, 6, 2], &["conv1.1.gamma", "L1_B1.bn1.bn_h.beta", "L4_B5.conv2.conv_l2h.weight"]),
        ("mobilenet-v2", [1, 2, 3, 7, 4], &["tail.0.weight", "tail.1.running_var", "L5_B3.conv3.conv_h2h.weight"]),
    ] {
        // The first size has no block that shrinks, which would have the number 0.
        let blocks = (1..).zip(sizes).flat_map(|(size, count)| {
            let first = usize::from(size == 1);
            (first..first + count).map(move |block| format!("L{size}_B{block}"))
        });
        let blocks: Vec<String> = blocks.collect();
        let settings = Settings { alpha: 0.5, width: 1.125, ..Settings::default() };
        let graph = Graph::new(&zoo::build(name, &settings).unwrap()).unwrap();
        let ours = Checkpoint::random(&graph, 3);
        let theirs = ours.tensors.iter().map(|(name, tensor)| {
            let (node, part) = name.split_once(".norm_").or(name.rsplit_once('.')).unwrap();
            let statistic = |part: &str| part.replace("mean", "running_mean").replace("var", "running_var");
            let is_norm = name.contains(".norm_");
            let plain = |conv: &str, norm: &str| match is_norm {
                true => format!("{norm}.{}", statistic(&part[2..])),
                false => format!("{conv}.weight"),
            };
            let theirs = match node.split('.').collect::<Vec<_>>()[..] {
                ["features", "0"] => plain("conv1.0", "conv1.1"),
                ["features", "18"] => plain("tail.0", "tail.1"),
                ["features", block, k] => {
                    let place = &blocks[block.parse::<usize>().unwrap() - 1];
                    let k = k.parse::<usize>().unwrap() + 1;
                    match is_norm {
                        true => format!("{place}.bn{k}.bn_{}", statistic(part)),
                        false => format!("{place}.conv{k}.conv_{}2{}.weight", &part[2..3], &part[3..]),
                    }
                }
                _ => name.replace("fc", "classifer"),
            };
            (theirs, tensor.clone())
        });
        assert_fits(&graph, Checkpoint { tensors: theirs.collect() }, names, &ours);
    }
}

/// Networks of the official Symbol code, whose norms stand before their convolutions.
#[test]
fn symbol_names_norms_by_the_convolutions_behind_them() {
    let octaves = [
        "L2_B01_conv1_conv-h2l_weight",
        "L2_B02_conv2_bn-l_gamma",
        "tail_bn_gamma",
        "conv1_bn_moving_mean",
        "classifier_weight",
    ];
    let plain = ["L2_B01_conv1_conv_weight", "L2_B02_conv2_bn_gamma", "tail_bn_moving_var", "conv1_conv_weight"];
    for (name, more) in [
        ("symbol-densenet121", ["L3_Trans_conv-h2h_weight", "L5_B16_conv2_bn-h_beta"].as_slice()),
        ("symbol-resnet26", &["L2_B01_conv4_bn-h_beta", "L5_B02_conv3_bn-h_beta", "L5_B01_conv4_conv-l2h_weight"]),
        ("symbol-se-resnet50", &["L2_B01_se_fc1-l2h_weight", "L4_B01_se_fc2-h2l_bias", "L5_B03_se_fc1-h2h_bias"]),
    ] {
        for alpha in [0.125, 0.0] {
            let graph = graph(name, alpha);
            let ours = Checkpoint::random(&graph, 3);
            let theirs = ours.tensors.iter().flat_map(|(name, tensor)| symbol(&ours, name, tensor, alpha));
            let theirs = Checkpoint { tensors: theirs.collect() };
            let names = if alpha == 0.0 { plain.to_vec() } else { [octaves.as_slice(), more].concat() };
            // Their networks add what these do to variances.
            assert_fits(&graph, theirs, &names, &ours);
        }
    }
}

/// The official Symbol code's names for a tensor, which may have several parts there.
fn symbol(ours: &Checkpoint, name: &str, tensor: &HostTensor, alpha: f64) -> Vec<(String, HostTensor)> {
    let (node, part) = match name.split_once(".norm_") {
        Some((node, part)) => (node, Err(part.split_once('.').unwrap())),
        None => {
            let (node, part) = name.rsplit_once('.').unwrap();
            (node, Ok(part))
        }
    };
    let stage = |prefix: &str| node.strip_prefix(prefix).map(|rest| rest.splitn(3, '.').collect::<Vec<_>>());
    let number = |text: &str| text.parse::<usize>().unwrap();
    let place = |parts: &[&str]| format!("L{}_B{:02}", number(parts[0]) + 1, number(parts[1]) + 1);
    // Networks without octaves, and what stands outside of blocks, have no frequency in their names.
    let is_plain = alpha == 0.0 || matches!(node, "conv1" | "norm5" | "tail");
    let theirs = match (stage("denseblock").or(stage("block")), stage("transition")) {
        (Some(parts), _) if parts[2].starts_with("se.") => {
            let place = format!("{}_se", place(&parts));
            let Ok(part) = part else { panic!("{name}") };
            let has_low = ours.tensors.contains_key(&format!("{}.excite_l.weight", node.rsplit_once('.').unwrap().0));
            return match parts[2] {
                "se.squeeze" if is_plain => vec![(format!("{place}_fc1_{part}"), tensor.clone())],
                "se.squeeze" if part == "weight" && has_low => {
                    let excite = format!("{}.excite_h.weight", node.rsplit_once('.').unwrap().0);
                    let high = ours.tensors[&excite].shape[0];
                    let [rows, columns] = tensor.shape[..] else { panic!("{:?}", tensor.shape) };
                    let cut = |from: usize, to: usize| HostTensor {
                        shape: vec![rows, to - from],
                        data: tensor.data.chunks(columns).flat_map(|row| &row[from..to]).copied().collect(),
                    };
                    vec![
                        (format!("{place}_fc1-h2h_weight"), cut(0, high)),
                        (format!("{place}_fc1-l2h_weight"), cut(high, columns)),
                    ]
                }
                "se.squeeze" => vec![(format!("{place}_fc1-h2h_{part}"), tensor.clone())],
                "se.excite_h" if is_plain => vec![(format!("{place}_fc2_{part}"), tensor.clone())],
                excite => vec![(format!("{place}_fc2-h2{}_{part}", &excite[10..]), tensor.clone())],
            };
        }
        (Some(parts), _) => {
            // The norm behind a convolution is the one before the next.
            let k = match (parts[2], part) {
                ("norm", _) => "conv1",
                ("conv1", Err(_)) => "conv2",
                ("conv2", Err(_)) => "conv3",
                ("downsample.norm" | "downsample.0", _) => "conv4",
                (conv, _) => conv,
            };
            format!("{}_{k}", place(&parts))
        }
        (_, Some(parts)) => format!("L{}_Trans", number(parts[0]) + 2),
        _ => node.replace("norm5", "tail").replace("fc", "classifier"),
    };
    let theirs = match part {
        Err((frequency, statistic)) => {
            let statistic = statistic.replace("mean", "moving_mean").replace("var", "moving_var");
            let frequency = if is_plain { String::new() } else { format!("-{frequency}") };
            format!("{theirs}_bn{frequency}_{statistic}")
        }
        Ok(weight) if weight.starts_with("w_") => {
            let path = format!("-{}2{}", &weight[2..3], &weight[3..]);
            let path = if is_plain { String::new() } else { path };
            format!("{theirs}_conv{path}_weight")
        }
        Ok(part) => format!("{theirs}_{part}"),
    };
    vec![(theirs, tensor.clone())]
}

/// What is written can be read again.
#[test]
fn long_names_are_not_written() {
    let named = |length: usize| {
        let tensor = HostTensor { shape: vec![1], data: vec![1.0] };
        Checkpoint { tensors: [("n".repeat(length), tensor)].into() }
    };
    let short = named(1000);
    assert_eq!(Checkpoint::from_safetensors(&short.to_safetensors().unwrap()).unwrap(), short);
    let error = named(1001).to_safetensors().unwrap_err().to_string();
    assert!(error.ends_with("... has 1001 bytes: must be at most 1000"), "{error}");
}
