//! Networks of every dialect, as PyTorch's exporters write them, against ONNX Runtime's answers.

use std::path::{Path, PathBuf};

use octconv::InputSize;
use octconv::network::{Checkpoint, Graph};
use octconv::reference;
use octconv_import::{ImportOptions, Imported, import_onnx};
use rten_onnx::onnx::{
    AttributeProto, DataType, Dimension, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    TypeProtoTensor, ValueInfoProto,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks")
}

fn import(name: &str) -> Result<Imported, String> {
    let bytes = std::fs::read(folder().join(format!("{name}.onnx"))).unwrap();
    let mut external = |location: &str, _, _| Err(format!("{location} is not there"));
    import_onnx(&bytes, &ImportOptions::default(), &mut external).map_err(|error| error.to_string())
}

/// The largest difference between the reference's answer and ONNX Runtime's.
fn difference(name: &str, Imported { network, checkpoint, .. }: &Imported) -> Result<f32, String> {
    let bytes = std::fs::read(folder().join(format!("{name}.safetensors"))).unwrap();
    let fixture = Checkpoint::from_safetensors(&bytes).unwrap();
    let input = &fixture.tensors["input"];
    let size = InputSize::image(1, input.shape[2] as u32, input.shape[3] as u32);
    let graph = Graph::new(network).map_err(|error| error.to_string())?;
    let fitted = checkpoint.clone().fit(&graph).map_err(|error| error.to_string())?;
    let answer = reference::network::run(&graph, &fitted, size, &input.data, &mut |_, _| {});
    let answer = answer.map_err(|error| error.to_string())?.to_f32();
    let expected = &fixture.tensors["answer"].data;
    assert_eq!(answer.len(), expected.len(), "{name}");
    Ok(answer.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}

/// Imports a network, checks its answer, and counts its octave and plain convolutions.
fn check(name: &str) -> Result<[usize; 2], String> {
    let imported = import(name)?;
    let report = &imported.report;
    let difference = difference(name, &imported)?;
    if difference < 1e-4 {
        println!("{name}: {difference:.1e}, {report:?}");
        Ok([report.octave_convs, report.plain_convs])
    } else {
        Err(format!("the answer is {difference} off: {report:#?}"))
    }
}

#[test]
fn networks_answer_as_onnx_runtime() {
    let exporters = ["old", "old_unfolded", "new"];
    let mut wrong = Vec::new();
    // Octave convolutions, and plain ones. Those of a stem are plain, and so is what is behind the last octave layer.
    for (network, octave, plain) in [
        ("official", 13, 3),
        ("official_odd", 13, 3),
        ("li14", 13, 3),
        ("li14_bias", 13, 3),
        ("li14_excite", 13, 3),
        ("lxt", 13, 3),
        ("lxt_sliced", 13, 3),
        ("brain", 13, 3),
        ("mobilenet", 3, 0),
        ("densenet", 3, 1),
        ("brain_odd", 0, 47),
        ("scaled_groups", 3, 0),
        ("unet", 2, 3),
        ("gated", 2, 2),
        ("shuffled", 0, 19),
        ("plain_resnet", 0, 8),
        ("plain_mobilenet", 0, 6),
    ] {
        for exporter in exporters {
            let name = format!("{network}_{exporter}");
            match check(&name) {
                Ok(found) if found == [octave, plain] => {}
                Ok(found) => wrong.push(format!("{name}: {found:?} convolutions")),
                Err(error) => wrong.push(format!("{name}: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn cut_files_are_refused() {
    let bytes = std::fs::read(folder().join("plain_mobilenet_old.onnx")).unwrap();
    let import = |bytes: &[u8]| import_onnx(bytes, &ImportOptions::default(), &mut |_, _, _| Err("none".into()));
    assert!(import(&bytes).is_ok());
    for length in (0..bytes.len()).step_by(97) {
        assert!(import(&bytes[..length]).is_err(), "{length}");
    }
}

/// Operator, inputs, output, lists of numbers.
type FileNode<'a> = (&'a str, &'a [&'a str], &'a str, &'a [(&'a str, &'a [i64])]);

/// An ONNX file of these nodes, with an input `x` of 1x4x8x8, a constant `w` of
/// 4x4x3x3 zeros, and the output `y`.
fn file(nodes: &[FileNode]) -> Vec<u8> {
    let attribute = |&(name, ints): &(&str, &[i64])| match ints {
        &[one] => AttributeProto { name: Some(name.into()), i: Some(one), ..AttributeProto::default() },
        ints => AttributeProto { name: Some(name.into()), ints: ints.to_vec(), ..AttributeProto::default() },
    };
    let node = |(operator, inputs, output, attributes): &FileNode| NodeProto {
        op_type: Some((*operator).into()),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![(*output).into()],
        attribute: attributes.iter().map(attribute).collect(),
        ..NodeProto::default()
    };
    let dim = |size| Dimension { dim_value: Some(size), ..Dimension::default() };
    let shape = Some(TensorShapeProto { dim: [1, 4, 8, 8].map(dim).to_vec() });
    let tensor = TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape };
    let input = ValueInfoProto {
        name: Some("x".into()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() }),
    };
    let weights = TensorProto {
        name: Some("w".into()),
        dims: vec![4, 4, 3, 3],
        data_type: Some(DataType::FLOAT),
        float_data: vec![0.0; 144],
        ..TensorProto::default()
    };
    let graph = GraphProto {
        node: nodes.iter().map(node).collect(),
        initializer: vec![weights],
        input: vec![input],
        output: vec![ValueInfoProto { name: Some("y".into()), ..ValueInfoProto::default() }],
        ..GraphProto::default()
    };
    ModelProto { graph: Some(graph), ..ModelProto::default() }.write_buf().unwrap()
}

#[test]
fn small_files_take_little_memory() {
    let import = |bytes: &[u8]| {
        let imported = import_onnx(bytes, &ImportOptions::default(), &mut |_, _, _| Err("none".into()));
        imported.map(|_| ()).map_err(|error| error.to_string())
    };
    // An uneven padding is a larger kernel.
    let padded = |behind| file(&[("Conv", &["x", "w"], "y", &[("pads", &[0, 0, 1, behind])])]);
    assert_eq!(import(&padded(2)), Ok(()));
    let refusal = import(&padded(1 << 20)).unwrap_err();
    assert!(refusal.contains("would take too much memory"), "{refusal}");
    const AXIS: &[(&str, &[i64])] = &[("axis", &[1])];
    // Channels that double with each node, and then a number for each.
    let names: Vec<String> = (0..60).map(|i| if i == 0 { "x".into() } else { format!("x{i}") }).collect();
    let inputs: Vec<[&str; 2]> = names.iter().map(|name| [name.as_str(); 2]).collect();
    let mut nodes: Vec<FileNode> = (0..59).map(|i| ("Concat", &inputs[i][..], names[i + 1].as_str(), AXIS)).collect();
    nodes.push(("Constant", &[], "one", &[("value_int", &[1])]));
    nodes.push(("Add", &["x59", "one"], "y", &[]));
    let refusal = import(&file(&nodes)).unwrap_err();
    assert!(refusal.contains("numbers more than a file of this size may need"), "{refusal}");
    // Sizes whose product cannot be counted.
    let sizes: [&[i64]; 2] = [&[0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20], &[1 << 20; 8]];
    for pads in sizes {
        let bytes = file(&[("Pad", &["x"], "p", &[("pads", pads)]), ("Flatten", &["p"], "y", &[])]);
        assert!(import(&bytes).is_err());
    }
}

/// Each node that cannot be expressed is named with a reason, also one that reads what could not be read.
#[test]
fn what_has_no_counterpart_is_told() {
    let import = |nodes: &[FileNode]| {
        let imported = import_onnx(&file(nodes), &ImportOptions::default(), &mut |_, _, _| Err("none".into()));
        imported.map(|_| ()).map_err(|error| error.to_string())
    };
    let turned: FileNode = ("Transpose", &["x"], "t", &[("perm", &[0, 2, 3, 1])]);
    let strides: &[(&str, &[i64])] = &[("strides", &[2, 2])];
    let cases: [(&[FileNode], &[&str]); 5] = [
        (
            &[turned, ("LayerNormalization", &["t"], "n", &[]), ("Relu", &["n"], "y", &[])],
            &["2 nodes cannot", "its order of axes is [0, 2, 3, 1]", "n (LayerNormalization): it normalises by"],
        ),
        (&[("ConvTranspose", &["x", "w"], "y", strides)], &["its strides are [2, 2]: only 1 has a counterpart"]),
        (&[("DepthToSpace", &["x"], "y", &[("blocksize", &[2])])], &["it moves channels into rows and columns"]),
        (&[("ArgMax", &["x"], "y", &[("axis", &[1])])], &["its answer is indices", "--output"]),
        (
            &[("Mul", &["x", "x"], "m", &[]), ("Elu", &["m"], "y", &[])],
            &["it is no activation that a network can have"],
        ),
    ];
    for (nodes, wanted) in cases {
        let refusal = import(nodes).unwrap_err();
        assert!(wanted.iter().all(|part| refusal.contains(part)), "{refusal}");
    }
    // What the answer does not need is not read.
    assert_eq!(import(&[("ArgMax", &["x"], "a", &[]), ("Relu", &["x"], "y", &[])]), Ok(()));
}
