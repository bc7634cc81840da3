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
        Err(Error::Checkpoint { problems }) => problems,
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
        ("[]", "its header: invalid type: sequence, expected an object"),
        (r#"{"x": 1}"#, "tensor x: invalid type: integer `1`, expected an object"),
        (r#"{"x": {"dtype": "F32", "shape": []}}"#, "tensor x: missing field `data_offsets`"),
    ] {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        let Err(Error::File { problem }) = Checkpoint::from_safetensors(&bytes) else { panic!("{header}") };
        assert!(problem.contains(wanted), "{header}\n  gives  {problem}\n  wanted {wanted}");
    }
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
