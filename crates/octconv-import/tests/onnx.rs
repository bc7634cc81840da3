//! Networks of every dialect, as PyTorch's exporters write them, against ONNX Runtime's answers.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use octconv::InputSize;
use octconv::network::{Checkpoint, Graph};
use octconv::reference;
use octconv_import::{ImportOptions, Imported, import_onnx};
use rten_onnx::onnx::{
    AttributeProto, DataLocation, DataType, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Imports a fixture, which is `networks/NAME` or `operators/NAME`.
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
    let size = match *input.shape.as_slice() {
        [n, _, h, w] => InputSize::image(n as u32, h as u32, w as u32),
        [n, _, t, h, w] => InputSize::video(n as u32, t as u32, h as u32, w as u32),
        _ => panic!("{name}: {:?}", input.shape),
    };
    let graph = Graph::new(network).map_err(|error| error.to_string())?;
    let fitted = checkpoint.clone().fit(&graph).map_err(|error| error.to_string())?;
    let answer = reference::network::run(&graph, &fitted, size, &input.data, &mut |_, _| {});
    let answer = answer.map_err(|error| error.to_string())?.to_f32();
    let expected = &fixture.tensors["answer"].data;
    assert_eq!(answer.len(), expected.len(), "{name}");
    // A NaN is the largest.
    Ok(answer.iter().zip(expected).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap())
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
            let name = format!("networks/{network}_{exporter}");
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
fn operators_answer_as_onnx_runtime() {
    let names = std::fs::read_dir(folder().join("operators")).unwrap();
    let names = names.filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".onnx")?.to_owned()));
    let names: Vec<String> = names.collect();
    let failed = |name: &String| check(&format!("operators/{name}")).err().map(|error| format!("{name}: {error}"));
    let wrong: Vec<String> = names.iter().filter_map(failed).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(names.len(), 27);
    assert_eq!(check("operators/octave_of_two"), Ok([3, 0]));
}

/// Means of 2x2 and of 4x4 positions become vectors as all others do: nothing of the network needs a size then.
#[test]
fn means_become_vectors_where_one_is_wanted() {
    let Imported { network, report, .. } = import("operators/means_as_vectors").unwrap();
    let excites = network.nodes.iter().filter(|node| matches!(node.op, octconv::network::Op::Excite(_)));
    assert_eq!((excites.count(), report.plain_convs, report.fixed), (2, 0, Vec::new()));
}

/// What makes a network take inputs of one size alone is told.
#[test]
fn a_network_of_one_size_is_told() {
    let fixed = |name: &str| import(name).unwrap().report.fixed;
    let [maxima, single, matrix, resized] =
        ["operators/maxima", "operators/single", "networks/plain_mobilenet_old", "networks/shuffled_old"].map(fixed);
    let wanted =
        ["v2_0 (Add)", "v4_0 (Flatten)"].map(|node| format!("{node}: it reads a map of one position as a vector"));
    assert_eq!(single, wanted);
    assert_eq!(maxima, ["v0_0 (GlobalMaxPool): it becomes a max pool of the whole map"]);
    assert_eq!(matrix, ["/fc/Gemm (Gemm): it reads all elements of a map"]);
    let wanted = [
        "/Resize (Resize): the means that it reads become a pool of the whole map",
        "/Resize_1 (Resize): it makes a map of 4x8",
    ];
    assert_eq!(resized, wanted);
    assert!(fixed("networks/plain_resnet_old").is_empty());
}

/// Pads of nothing and pools of single positions leave means as they are: a vector, of any size of the map.
#[test]
fn what_changes_no_means_needs_no_size() {
    let means: FileNode = ("GlobalAveragePool", &["x"], "m", &[]);
    let nodes: [FileNode; 5] = [
        means,
        ("Pad", &["m"], "p", &[("pads", &[0; 8])]),
        ("AveragePool", &["p"], "a", &[("kernel_shape", &[1, 1]), ("strides", &[2, 2])]),
        ("Sigmoid", &["a"], "s", &[]),
        ("Mul", &["x", "s"], "y", &[]),
    ];
    let import =
        |nodes: &[FileNode]| import_onnx(&file(nodes), &ImportOptions::default(), &mut |_, _, _| Err("none".into()));
    let Imported { network, report, .. } = import(&nodes).unwrap();
    assert_eq!((report.fixed, network.nodes.len()), (Vec::new(), 3));
    // Without its axes, a vector is no map.
    let flat: FileNode = ("Flatten", &["m"], "f", &[]);
    let refusal = import(&[means, flat, ("MaxPool", &["f"], "y", &[("kernel_shape", &[1, 1])])]).unwrap_err();
    assert!(refusal.to_string().contains("its input 0 is a vector: must be a map"), "{refusal}");
}

#[test]
fn cut_files_are_refused() {
    let bytes = std::fs::read(folder().join("networks/plain_mobilenet_old.onnx")).unwrap();
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
    model(nodes).write_buf().unwrap()
}

fn model(nodes: &[FileNode]) -> ModelProto {
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
        input: vec![input(&[1, 4, 8, 8])],
        output: vec![ValueInfoProto { name: Some("y".into()), ..ValueInfoProto::default() }],
        ..GraphProto::default()
    };
    ModelProto { graph: Some(graph), ..ModelProto::default() }
}

/// The input `x`. Sizes of -1 are open.
fn input(sizes: &[i64]) -> ValueInfoProto {
    let dim = |&size: &i64| Dimension { dim_value: Some(size), ..Dimension::default() };
    let shape = Some(TensorShapeProto { dim: sizes.iter().map(dim).collect() });
    let tensor = TypeProtoTensor { elem_type: Some(DataType::FLOAT), shape };
    let r#type = Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() });
    ValueInfoProto { name: Some("x".into()), r#type }
}

#[test]
fn an_input_of_nothing_is_refused() {
    let padded: FileNode = ("MaxPool", &["x"], "p", &[("kernel_shape", &[2, 2]), ("strides", &[2, 2])]);
    let every: FileNode =
        ("Slice", &["p"], "y", &[("starts", &[0, 0]), ("ends", &[8, 8]), ("axes", &[2, 3]), ("steps", &[2, 2])]);
    let import = |sizes: &[i64], size, frames| {
        let mut model = model(&[padded, every]);
        model.graph.as_mut().unwrap().input = vec![input(sizes)];
        let mut options = ImportOptions::default();
        (options.size, options.frames) = (size, frames);
        let imported = import_onnx(&model.write_buf().unwrap(), &options, &mut |_, _, _| Err("none".into()));
        imported.map(|_| ()).map_err(|error| error.to_string())
    };
    let must = "all sizes must be 1 to 1048576";
    assert_eq!(import(&[1, 4, -1, -1], Some([0, 0]), None), Err(format!("its input x is [1, 4, 0, 0]: {must}")));
    assert_eq!(import(&[1, 0, 8, 8], None, None), Err("the channels of its input x are not given".into()));
    // Elsewhere a file leaves a size open by 0 too.
    for sizes in [[-1, 4, 8, 8], [0, 4, 8, 8], [1, 4, 0, 8]] {
        assert_eq!(import(&sizes, Some([8, 8]), None), import(&[1, 4, 8, 8], None, None));
    }
    assert_eq!(import(&[1, 4, -1, 8, 8], None, Some(0)), Err(format!("its input x is [1, 4, 0, 8, 8]: {must}")));
}

/// Tensors count as what they become: 8 bytes for each whole number, of which a file has one.
#[test]
fn tensors_are_bounded_together() {
    const COUNT: usize = 1000;
    let tensor = |name: &str, outside: bool| {
        let entry =
            |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
        TensorProto {
            name: Some(name.into()),
            dims: vec![COUNT as i64],
            data_type: Some(DataType::UINT8),
            raw_data: (!outside).then(|| RefCell::new(vec![1; COUNT])),
            data_location: outside.then_some(DataLocation::EXTERNAL),
            external_data: if outside { vec![entry("location", "w.bin")] } else { Vec::new() },
            ..TensorProto::default()
        }
    };
    for outside in [true, false] {
        let mut model = model(&[("Foo", &["x", "a", "b", "c", "d"], "y", &[])]);
        let tensors = ["a", "b", "c", "d"].map(|name| tensor(name, outside));
        model.graph.as_mut().unwrap().initializer = tensors.into();
        let bytes = model.write_buf().unwrap();
        let mut read = 0;
        let mut import = |most: usize| {
            let mut options = ImportOptions::default();
            options.max_bytes = Some(most as u64);
            let mut external = |_: &str, _, length: u64| {
                read += length as usize;
                Ok(vec![1; length as usize])
            };
            import_onnx(&bytes, &options, &mut external).unwrap_err().to_string()
        };
        let refusal = import(2 * 8 * COUNT);
        for name in ["c", "d"] {
            let wanted =
                format!("{name} (initializer): with those before it, it takes 24000 bytes, and 16000 are allowed");
            assert!(refusal.contains(&wanted), "{refusal}");
        }
        assert!(refusal.starts_with("2 nodes cannot be expressed:"), "{refusal}");
        // All of them.
        assert!(import(4 * 8 * COUNT).starts_with("1 node cannot be expressed:"));
        assert_eq!(read, if outside { (2 + 4) * COUNT } else { 0 });
    }
    // More than the shape says is not read.
    let import = |tensor: TensorProto| {
        let mut model = model(&[("Foo", &["x", "a"], "y", &[])]);
        model.graph.as_mut().unwrap().initializer = vec![tensor];
        let bytes = model.write_buf().unwrap();
        let mut external = |_: &str, _, length: u64| Err(format!("{length} bytes are asked for"));
        import_onnx(&bytes, &ImportOptions::default(), &mut external).unwrap_err().to_string()
    };
    let one = |outside| TensorProto { dims: vec![1], ..tensor("a", outside) };
    assert!(import(one(true)).contains("a (initializer): 1 bytes are asked for"));
    let mut long = one(true);
    long.external_data.push(StringStringEntryProto { key: Some("length".into()), value: Some("1000".into()) });
    assert!(import(long).contains("it has 1000 bytes in another file, and its 1 elements 1"));
    assert!(import(one(false)).contains("it has 1000 elements, and the shape [1]"));
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
    // 64 times as large, and one column more.
    assert_eq!(import(&padded(141)), Ok(()));
    for (bytes, kernel) in [
        (padded(142), "[1, 4, 145]"),
        (padded((1 << 20) - 8), "[1, 4, 1048571]"),
        (
            file(&[("Conv", &["x", "w"], "y", &[("pads", &[64, 64, 65, 65]), ("dilations", &[64, 64])])]),
            "[1, 130, 130]",
        ),
    ] {
        let refusal = import(&bytes).unwrap_err();
        let wanted = format!("a kernel of {kernel} for one of [1, 3, 3]: must be at most 64 times as large");
        assert!(refusal.contains(&wanted), "{refusal}");
    }
    const AXIS: &[(&str, &[i64])] = &[("axis", &[1])];
    // Channels that double with each node, and then a number for each, or a choice of them.
    let names: Vec<String> = (0..31).map(|i| if i == 0 { "x".into() } else { format!("x{i}") }).collect();
    let inputs: Vec<[&str; 2]> = names.iter().map(|name| [name.as_str(); 2]).collect();
    let doubled = |times: usize, last: &[FileNode]| {
        let mut nodes: Vec<FileNode> =
            (0..times).map(|i| ("Concat", &inputs[i][..], names[i + 1].as_str(), AXIS)).collect();
        nodes.extend(last);
        import(&file(&nodes)).unwrap_err()
    };
    let one: FileNode = ("Constant", &[], "one", &[("value_int", &[1])]);
    for last in [("Add", &["x29", "one"][..], "y", &[][..]), ("Split", &["x29"], "y", AXIS)] {
        let refusal = doubled(29, &[one, last]);
        assert!(refusal.contains("numbers more than a file of this size may need"), "{refusal}");
    }
    let refusal = doubled(30, &[("Relu", &["x30"], "y", &[])]);
    assert!(refusal.contains("x30 (Concat): it makes 4294967296 channels: must be at most 4294967295"), "{refusal}");
    // Sizes whose product cannot be counted.
    let sizes: [&[i64]; 2] = [&[0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20], &[1 << 20; 8]];
    for pads in sizes {
        let bytes = file(&[("Pad", &["x"], "p", &[("pads", pads)]), ("Flatten", &["p"], "y", &[])]);
        assert!(import(&bytes).is_err());
    }
}

/// A constant without elements may have axes whose product no number holds.
#[test]
fn axes_of_constants_are_checked() {
    const LONG: i64 = 1 << 62;
    let import = |nodes: &[FileNode], dims: &[i64]| {
        let mut model = model(nodes);
        let empty = TensorProto {
            name: Some("empty".into()),
            dims: dims.to_vec(),
            data_type: Some(DataType::FLOAT),
            ..TensorProto::default()
        };
        model.graph.as_mut().unwrap().initializer.push(empty);
        let bytes = model.write_buf().unwrap();
        import_onnx(&bytes, &ImportOptions::default(), &mut |_, _, _| Err("none".into())).unwrap_err().to_string()
    };
    let made: &[FileNode] = &[
        ("Constant", &[], "s", &[("value_ints", &[0, LONG, LONG])]),
        ("ConstantOfShape", &["s"], "c", &[]),
        ("Add", &["x", "c"], "y", &[]),
    ];
    assert!(import(made, &[0]).contains("its shape is [0, 4611686018427387904, 4611686018427387904]"));
    let chosen: &[FileNode] = &[
        ("Constant", &[], "i", &[("value_ints", &[0; 8])]),
        ("Gather", &["empty", "i"], "c", &[("axis", &[2])]),
        ("Add", &["x", "c"], "y", &[]),
    ];
    assert!(import(chosen, &[0, LONG, 1]).contains("its shape is [0, 4611686018427387904, 1]"));
    assert!(import(chosen, &[0, 1 << 26, 1]).contains("it makes a constant of shape [0, 67108864, 8], more than"));
    let joined: &[FileNode] =
        &[("Concat", &["empty", "empty"], "c", &[("axis", &[1])]), ("Add", &["x", "c"], "y", &[])];
    assert!(import(joined, &[0, 1 << 26]).contains("it makes a constant of shape [0, 134217728], more than"));
    let ranks: &[FileNode] = &[
        ("Constant", &[], "s", &[("value_ints", &[1, 1])]),
        ("ConstantOfShape", &["s"], "f", &[]),
        ("Concat", &["f", "s"], "c", &[("axis", &[0])]),
        ("Add", &["x", "c"], "y", &[]),
    ];
    assert!(import(ranks, &[0]).contains("c (Concat): it concatenates [1, 1] and [2]"));
    let reduced: &[FileNode] = &[("ReduceMax", &["empty"], "c", &[("axes", &[1, 1])]), ("Add", &["x", "c"], "y", &[])];
    assert!(
        import(reduced, &[0, 1 << 40]).contains("c (ReduceMax): it reduces [0, 1099511627776], which has no elements")
    );
}

/// What is said of a node does not grow with its name, its outputs and the constants that it reads.
#[test]
fn nodes_of_many_or_long_names_are_refused() {
    let import = |nodes: &[FileNode], change: &dyn Fn(&mut NodeProto)| {
        let mut model = model(nodes);
        change(model.graph.as_mut().unwrap().node.last_mut().unwrap());
        let bytes = model.write_buf().unwrap();
        import_onnx(&bytes, &ImportOptions::default(), &mut |_, _, _| Err("none".into())).unwrap_err().to_string()
    };
    let foo: FileNode = ("Foo", &["x"], "y", &[]);
    // Converters may join the names of many nodes.
    let joined = import(&[foo], &|node| node.name = Some("é".repeat(1 << 19)));
    assert!(joined.starts_with("1 node cannot") && joined.len() < 4000, "{joined}");
    let refusal = "the operator of a node has 1001 bytes: must have at most 1000";
    assert_eq!(import(&[foo], &|node| node.op_type = Some("n".repeat(1001))), refusal);
    for operator in ["Foo", "Split"] {
        let node: FileNode = (operator, &["x"], "y", &[("axis", &[1])]);
        let many = import(&[node], &|node| node.output.resize(1 << 14, "".into()));
        assert_eq!(many, "its nodes make more than 16384 values");
    }
    assert_eq!(
        import(&[("Concat", &["x"], "y", &[])], &|node| node.input.resize(1 << 14, "x".into())),
        "its nodes make more than 16384 values"
    );
    let long: &[FileNode] = &[
        ("Constant", &[], "s", &[("value_ints", &[1 << 10, 1 << 10])]),
        ("ConstantOfShape", &["s"], "c", &[]),
        ("Cast", &["c"], "i", &[("to", &[7])]),
        ("Reshape", &["x", "i"], "y", &[]),
    ];
    assert!(import(long, &|_| ()).contains("y (Reshape): it makes 1048576 axes: must be at most 64"));
    let turned: &[FileNode] = &[("Transpose", &["x"], "y", &[("perm", &[7; 1000])])];
    let refusal = import(turned, &|_| ());
    assert!(refusal.len() < 300 && refusal.contains("7, 7] and 984 more"), "{refusal}");
}

/// A network has at most 4096 nodes, so no more are written.
#[test]
fn a_network_of_many_nodes_is_refused() {
    let chain = |count: usize| {
        let names: Vec<[String; 1]> =
            (0..=count).map(|i| [if i == 0 { "x".into() } else { format!("v{i}") }]).collect();
        let names: Vec<[&str; 1]> = names.iter().map(|[name]| [name.as_str()]).collect();
        let mut nodes: Vec<FileNode> = (0..count).map(|i| ("Relu", &names[i][..], names[i + 1][0], &[][..])).collect();
        nodes.last_mut().unwrap().2 = "y";
        let imported = import_onnx(&file(&nodes), &ImportOptions::default(), &mut |_, _, _| Err("none".into()));
        imported.map(|imported| imported.network.nodes.len()).map_err(|error| error.to_string())
    };
    assert_eq!(chain(4096), Ok(4096));
    assert_eq!(chain(4097), Err("it makes more than 4096 nodes: a network has no more".into()));
}

/// Files of the fuzz target's corpus that ask for much: they are refused before it is taken. Or it is not needed.
#[test]
fn hostile_files_are_refused() {
    let import = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/onnx").join(format!("hostile_{name}"));
        // In front of the file, it has no options.
        let bytes = std::fs::read(path).unwrap().split_off(6);
        let imported = import_onnx(&bytes, &ImportOptions::default(), &mut |_, _, _| Err("none".into()));
        imported.map(|_| ()).map_err(|error| error.to_string())
    };
    for (name, wanted) in [
        ("pad_edge", "its pads are [0, 0, 0, 0, 0, 0, 1099511627776, 0]: must be two for each axis, from -1048576"),
        ("pad_lowest", "its pads are [0, 0, -9223372036854775808, 0, 0, 0, 0, 9223372036854775807]: must be"),
        ("pad_often", "it makes nothing, or more than 1048576 along an axis, of [1, 4, 8, 8]"),
        ("slice_often", "it cuts axis 2 twice"),
        ("slice_nothing", "it makes a constant of shape [0, 68719476736], more than 67108864 elements"),
        ("split_wide", "it needs 1073741824 numbers more than a file of this size may need"),
        ("slice_wide", "it needs 2147483647 numbers more than a file of this size may need"),
        ("concat_wide", "it makes 4294967296 channels: must be at most 4294967295"),
        ("fill_nothing", "its shape is [0, 4611686018427387904, 4611686018427387904]"),
        ("gather_nothing", "it makes a constant of shape [0, 67108864, 8], more than 67108864 elements"),
        ("reduce_nothing", "it reduces [0, 67108864], which has no elements"),
        ("reshape_long", "it makes 262144 axes: must be at most 64"),
        ("perm_long", "-9223372036854775808] and 984 more: maps stay [n, c, h, w]"),
        ("max_often", "it needs 2080374784 numbers more than a file of this size may need"),
        ("unsqueeze_often", "it makes 262144 axes: must be at most 64"),
    ] {
        let refusal = import(name).expect_err(name);
        assert!(refusal.contains(wanted), "{name}: {refusal}");
    }
    // One channel of many, a million times. Chosen at once, it would be a matrix of 2^40 numbers.
    assert_eq!(import("select_products"), Ok(()));
}

/// What the answer does not need is not read: neither tensors of a type that is not known, nor another input.
#[test]
fn what_the_answer_does_not_need_is_not_read() {
    let mut model = model(&[("Relu", &["x"], "half", &[]), ("Foo", &["half", "words", "other"], "y", &[])]);
    let graph = model.graph.as_mut().unwrap();
    graph.initializer.push(TensorProto {
        name: Some("words".into()),
        dims: vec![1],
        data_type: Some(DataType::STRING),
        ..TensorProto::default()
    });
    graph.input.push(ValueInfoProto { name: Some("other".into()), ..ValueInfoProto::default() });
    let bytes = model.write_buf().unwrap();
    let import = |output: &str| {
        let mut options = ImportOptions::default();
        options.output = Some(output.into());
        let imported = import_onnx(&bytes, &options, &mut |_, _, _| Err("none".into()));
        imported.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(import("half"), Ok(()));
    assert!(import("y").unwrap_err().contains("it has 2 inputs (x, other)"));
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
    let means: FileNode = ("ReduceMean", &["x"], "m", &[("axes", &[2, 3]), ("keepdims", &[0])]);
    let narrow: FileNode = ("Slice", &["x"], "s", &[("starts", &[0, 0]), ("ends", &[8, 4]), ("axes", &[2, 3])]);
    let twice: FileNode = ("Slice", &["x"], "y", &[("starts", &[0, 0]), ("ends", &[8, 4]), ("axes", &[2, 2])]);
    let listed: FileNode = ("Constant", &[], "i", &[("value_ints", &[0, 1])]);
    let indices: FileNode = ("Unsqueeze", &["i"], "j", &[("axes", &[0, 1])]);
    let cases: [(&[FileNode], &[&str]); 11] = [
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
        // Axes are aligned at the last one: these means go along the columns, of which there are as many as channels.
        (
            &[narrow, means, ("Mul", &["m", "s"], "y", &[])],
            &["it multiplies [1, 4, 8, 4] and [1, 4]: must be of one shape, or a map and a number for each channel"],
        ),
        (
            &[listed, indices, ("Gather", &["x", "j"], "y", &[("axis", &[1])])],
            &["its indices are [1, 1, 2]: must be one number or a list"],
        ),
        (&[("LogSoftmax", &["x"], "y", &[("axis", &[1])])], &["the largest element of its answer", "--output"]),
        (&[("Mul", &["x"], "y", &[])], &["its input 1 is missing"]),
        (&[("Cast", &["x"], "y", &[("to", &[7])])], &["it makes int64 of what runs through the network"]),
        (&[twice], &["it cuts axis 2 twice"]),
    ];
    for (nodes, wanted) in cases {
        let refusal = import(nodes).unwrap_err();
        assert!(wanted.iter().all(|part| refusal.contains(part)), "{refusal}");
    }
    // What the answer does not need is not read.
    assert_eq!(import(&[("ArgMax", &["x"], "a", &[]), ("Relu", &["x"], "y", &[])]), Ok(()));
}

/// What would be another network than the file's is refused, with what is allowed.
#[test]
fn what_would_change_the_answer_is_refused() {
    let constant = |name: &str, kind, values: &[f32]| {
        let mut tensor = TensorProto {
            name: Some(name.into()),
            dims: vec![values.len() as i64],
            data_type: Some(kind),
            ..TensorProto::default()
        };
        match kind {
            DataType::FLOAT => tensor.float_data = values.to_vec(),
            DataType::INT64 => tensor.int64_data = values.iter().map(|&v| v as i64).collect(),
            _ => tensor.int32_data = values.iter().map(|&v| v as i32).collect(),
        }
        tensor
    };
    let constants = [
        constant("four", DataType::FLOAT, &[0.5; 4]),
        constant("ratio", DataType::FLOAT, &[0.5]),
        constant("true", DataType::BOOL, &[1.0]),
        constant("half", DataType::INT64, &[1.0, 4.0, 4.0, 4.0]),
        constant("large", DataType::INT64, &[1.0, 4.0, 16.0, 16.0]),
        constant("row", DataType::INT64, &[1.0, 4.0, 1.0, 8.0]),
        constant("edge", DataType::INT64, &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        constant("cut", DataType::INT64, &[0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        constant("limit", DataType::FLOAT, &[0.25]),
    ];
    let text = |name: &str, value: &str| AttributeProto {
        name: Some(name.into()),
        s: Some(value.into()),
        ..AttributeProto::default()
    };
    let number = |name: &str, value: i64| AttributeProto {
        name: Some(name.into()),
        i: Some(value),
        ..AttributeProto::default()
    };
    let import = |operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[AttributeProto]| {
        let mut model = model(&[]);
        let graph = model.graph.as_mut().unwrap();
        graph.initializer.extend(constants.clone());
        graph.node.push(NodeProto {
            op_type: Some(operator.into()),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: outputs.iter().map(|&output| output.into()).collect(),
            attribute: attributes.to_vec(),
            ..NodeProto::default()
        });
        model.opset_import = vec![OperatorSetIdProto { version: Some(13), ..OperatorSetIdProto::default() }];
        let bytes = model.write_buf().unwrap();
        let imported = import_onnx(&bytes, &ImportOptions::default(), &mut |_, _, _| Err("none".into()));
        imported.map(|_| ()).map_err(|error| error.to_string())
    };
    let refused = |refusal: Result<(), String>, wanted: &str| {
        let refusal = refusal.expect_err(wanted);
        assert!(refusal.contains(wanted), "{refusal}");
    };
    let norm = ["x", "four", "four", "four", "four"];
    refused(import("BatchNormalization", &norm, &["y", "mean", "var"], &[]), "it is in training mode");
    assert_eq!(import("BatchNormalization", &norm, &["y", "", ""], &[]), Ok(()));
    refused(import("Dropout", &["x", "ratio", "true"], &["y"], &[]), "it is in training mode");
    assert_eq!(import("Dropout", &["x", "ratio"], &["y"], &[]), Ok(()));
    let linear = text("mode", "linear");
    let smooth = [linear.clone(), number("antialias", 1)];
    let wanted = "its antialias is 1, and it makes the map smaller: must be 0";
    refused(import("Resize", &["x", "", "", "half"], &["y"], &smooth), wanted);
    assert_eq!(import("Resize", &["x", "", "", "large"], &["y"], &smooth), Ok(()));
    assert_eq!(
        import("Resize", &["x", "", "", "half"], &["y"], &[text("mode", "nearest"), number("antialias", 1)]),
        Ok(())
    );
    let first = [linear, text("coordinate_transformation_mode", "pytorch_half_pixel")];
    refused(import("Resize", &["x", "", "", "row"], &["y"], &first), "must be half_pixel");
    assert_eq!(import("Resize", &["x", "", "", "half"], &["y"], &first), Ok(()));
    refused(import("ReduceMean", &["x"], &["y"], &[]), "it reduces all axes, batch and channels too");
    assert_eq!(import("ReduceMean", &["x"], &["y"], &[number("noop_with_empty_axes", 1)]), Ok(()));
    for (pads, mode, wanted) in [
        ("edge", "reflect", "its mode is reflect and its value 0: must be constant and 0"),
        ("edge", "edge", "it repeats or cuts rows or columns"),
        ("cut", "constant", "it repeats or cuts rows or columns"),
    ] {
        refused(import("Pad", &["x", pads], &["y"], &[text("mode", mode)]), wanted);
    }
    let wanted = "it keeps values between 0.25 and 0.25: must be finite, the first less than the second";
    refused(import("Clip", &["x", "limit", "limit"], &["y"], &[]), wanted);
    refused(import("Div", &["x", "x"], &["y"], &[]), "it combines two values: one of them must be constant");
}
