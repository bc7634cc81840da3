//! `octconv import`, `octconv run` and `octconv octave`.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::files::{assert_close, read, serialize};
use crate::run::{NO_ADAPTER, Outcome, octconv};

/// What f32 sums in another order may differ by.
const TOLERANCE: f32 = 1e-4;

/// A node of the network, with two frequencies.
const NODE: &str = "layer3.conv3.conv.paths";

fn networks(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../octconv-import/tests/networks").join(name)
}

fn import(model: &Path, folder: &Path) -> Outcome {
    Outcome::of(octconv().arg("import").args([model, folder]))
}

#[test]
fn an_imported_network_answers_as_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let imported = folder.path().join("network");
    let text = import(&networks("li14_old.onnx"), &imported).succeeded();
    let first = "13 octave convolutions and 3 plain convolutions from 143 nodes of the file: ";
    assert!(text.starts_with(first) && text.lines().count() == 4, "{text}");
    // Again, over what is there.
    import(&networks("li14_old.onnx"), &imported).succeeded();

    let [network, weights] = ["network.json", "weights.safetensors"].map(|name| imported.join(name));
    let (input, output) = (networks("li14_old.safetensors"), folder.path().join("out.safetensors"));
    let expected = read(&fs::read(&input).unwrap());
    // The fixture has two tensors, of which one is the input.
    for reference in [true, false] {
        let mut command = octconv();
        command.arg("run").arg(&network).arg("--weights").arg(&weights).args([&input, &output]);
        command.args(["--keep", NODE, "--keep", "conv1"]);
        if reference {
            command.arg("--reference").envs([NO_ADAPTER]);
        }
        let outcome = Outcome::of(&mut command);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        let values = read(&fs::read(&output).unwrap());
        let [high, low] = ["h", "l"].map(|frequency| format!("{NODE}.{frequency}"));
        assert_eq!(values.keys().collect::<Vec<_>>(), ["Softmax", "conv1.h", &high, &low]);
        assert_eq!((&values[&high].0[..], &values[&low].0[..]), (&[1, 8, 8, 8][..], &[1, 4, 4, 4][..]));
        let answers = [("answer".to_owned(), values["Softmax"].clone())].into();
        let wanted = [("answer".to_owned(), expected["answer"].clone())].into();
        assert_close(&answers, &wanted, TOLERANCE, "the answer");
    }
}

#[test]
fn what_holds_a_network_to_one_size_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = import(&networks("../operators/maxima.onnx"), folder.path()).succeeded();
    let line = "takes this size alone: v0_0 (GlobalMaxPool): it becomes a max pool of the whole map";
    assert!(text.lines().any(|found| found == line), "{text}");
}

#[test]
fn all_nodes_without_a_counterpart_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let (model, imported) = (folder.path().join("model.onnx"), folder.path().join("model"));
    let mut bytes = fs::read(networks("li14_old.onnx")).unwrap();
    for (operator, other) in [(&b"MaxPool"[..], &b"LpPools"[..]), (b"Softmax", b"Hardmax")] {
        let at: Vec<usize> = (0..bytes.len() - 7).filter(|&i| bytes[i..i + 7] == *operator).collect();
        assert!(!at.is_empty());
        at.into_iter().for_each(|i| bytes[i..i + 7].copy_from_slice(other));
    }
    fs::write(&model, bytes).unwrap();
    let outcome = Outcome::of(octconv().arg("import").arg(&model));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    let error = &outcome.stderr;
    assert!(error.contains("(LpPools): ") && !imported.exists(), "{error}");
}

#[test]
fn what_is_no_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    fs::write(&model, "{}").unwrap();
    let outcome = Outcome::of(octconv().arg("import").arg(&model));
    let error = outcome.error();
    assert!(error.contains("model.onnx: it is not an ONNX file, or it is cut short"), "{error}");
    // A folder with files of another kind.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("network.json"), "{\"mine\": 1}").unwrap();
    let outcome = import(&networks("li14_old.onnx"), &other);
    let error = outcome.error();
    assert!(error.contains("it exists and is not a description of a network"), "{error}");
    assert!(!other.join("weights.safetensors").exists());
}

/// A field of a protocol buffers message that holds another one, or a text.
fn field(number: u8, inner: impl AsRef<[u8]>) -> Vec<u8> {
    let inner = inner.as_ref();
    assert!(inner.len() < 1 << 14);
    let length = [(inner.len() & 127) as u8 | 128, (inner.len() >> 7) as u8];
    [&[number << 3 | 2][..], &length, inner].concat()
}

/// A model of a node that nobody knows. It reads an input of open rows and columns, and 1000 bytes in w.bin.
fn model_with_another_file() -> Vec<u8> {
    let node = [field(1, "x"), field(1, "w"), field(2, "y"), field(4, "Foo")].concat();
    let entry = [field(1, "location"), field(2, "w.bin")].concat();
    // One axis of 1000, of type uint8; in another file.
    let numbers = [&[0x08, 0xe8, 0x07, 0x10, 2][..], &[0x70, 1]].concat();
    let tensor = [numbers, field(8, "w"), field(13, entry)].concat();
    let sizes = [&[0x08, 1][..], &[0x08, 3], &[], &[]].map(|size| field(1, size)).concat();
    let input = [field(1, "x"), field(2, field(1, field(2, sizes)))].concat();
    field(7, [field(1, node), field(5, tensor), field(11, input), field(12, field(1, "y"))].concat())
}

#[test]
fn a_model_does_not_decide_how_much_memory_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    fs::write(&model, model_with_another_file()).unwrap();
    fs::write(folder.path().join("w.bin"), [1; 1000]).unwrap();
    let refused = |arguments: &[&str]| {
        let outcome = Outcome::of(octconv().arg("import").arg(&model).args(arguments));
        outcome.assert_refused("");
        outcome.error().to_owned()
    };
    // Each byte becomes a whole number of 8 bytes.
    let refusal = refused(&["--max-bytes", "7999"]);
    let wanted = "w (initializer): with those before it, it takes 8000 bytes, and 7999 are allowed (--max-bytes)";
    assert!(refusal.contains(wanted), "{refusal}");
    let refusal = refused(&["--max-bytes", "8000"]);
    assert!(refusal.contains("(Foo)") && !refusal.contains("initializer"), "{refusal}");
    let refusal = refused(&["--size", "0"]);
    assert!(refusal.ends_with("its input x is [1, 3, 0, 0]: all sizes must be 1 to 1048576"), "{refusal}");
    let outcome = Outcome::of(octconv().arg("import").arg(&model).args(["--frames", "0"]));
    assert_eq!(outcome.code, 2, "{}", outcome.stderr);
    // The file ends before the tensor.
    fs::write(folder.path().join("w.bin"), [1; 999]).unwrap();
    let refusal = refused(&[]);
    assert!(refusal.contains("w.bin has 999 bytes, and 1000 are wanted behind 0"), "{refusal}");
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let imported = folder.path().join("network");
    import(&networks("plain_resnet_old.onnx"), &imported).succeeded();
    let [network, weights] = ["network.json", "weights.safetensors"].map(|name| imported.join(name));
    let output = folder.path().join("out.safetensors");
    let run = |input: &Path, more: &[&str]| {
        let mut command = octconv();
        command.arg("run").arg(&network).arg("--weights").arg(&weights).args([input, &output]).args(more);
        Outcome::of(command.arg("--reference")).error().to_owned()
    };
    let error = run(&weights, &[]);
    assert!(error.contains("tensors, and none is named \"input\""), "{error}");
    let error = run(&networks("plain_resnet_old.safetensors"), &["--keep", "layer9"]);
    assert!(error.ends_with("--keep layer9: the network has no such node"), "{error}");
    assert!(!output.exists());
}

#[test]
fn numpy_goes_in_and_out() {
    let folder = tempfile::tempdir().unwrap();
    let imported = folder.path().join("network");
    import(&networks("plain_resnet_new.onnx"), &imported).succeeded();
    let fixture = read(&fs::read(networks("plain_resnet_new.safetensors")).unwrap());
    let [input, output] = ["in.npy", "out.npy"].map(|name| folder.path().join(name));
    fs::write(&input, npy(&fixture["input"])).unwrap();
    let mut command = octconv();
    command.arg("run").arg(imported.join("network.json")).arg("--weights").arg(imported.join("weights.safetensors"));
    command.args([&input, &output]).arg("--reference");
    let outcome = Outcome::of(&mut command);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    // The header of a file with the same shape is the same.
    let (found, wanted) = (fs::read(&output).unwrap(), npy(&fixture["answer"]));
    assert_eq!(found[..128], wanted[..128], "{}", found[..128].escape_ascii());
    let values = |bytes: &[u8]| -> Vec<f32> {
        bytes[128..].as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let pairs: Vec<(f32, f32)> = values(&found).into_iter().zip(values(&wanted)).collect();
    assert!(pairs.len() == 5 && pairs.iter().all(|(a, b)| (a - b).abs() < TOLERANCE), "{pairs:?}");
    // An array is one tensor.
    let error = Outcome::of(command.args(["--keep", "conv1"])).error().to_owned();
    assert!(error.contains("--keep needs several tensors in OUT"), "{error}");
}

/// A NumPy array as NumPy writes it, if its header takes 128 bytes.
fn npy((shape, values): &(Vec<usize>, Vec<f32>)) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", sizes.join(", "));
    let mut bytes = b"\x93NUMPY\x01\0\x76\0".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[test]
fn a_plain_network_becomes_an_octave_network() {
    let folder = tempfile::tempdir().unwrap();
    let [imported, octave] = ["network", "octave"].map(|name| folder.path().join(name));
    import(&networks("plain_resnet_old.onnx"), &imported).succeeded();
    let make = |alpha: &str| {
        let mut command = octconv();
        command.arg("octave").arg(imported.join("network.json")).arg(&octave).args(["--alpha", alpha]);
        Outcome::of(command.arg("--weights").arg(imported.join("weights.safetensors")).args(["--size", "33x33"]))
    };
    let text = make("0.5").succeeded();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("before: 554,436 multiply-adds at 33x33, 7,325 parameters, 0 maps"), "{text}");
    assert!(
        lines[1].starts_with("after: ") && lines[1].contains(" multiply-adds at 33x33, 7,325 parameters, 1 map"),
        "{text}"
    );
    let mut command = octconv();
    command.arg("run").arg(octave.join("network.json")).arg("--weights").arg(octave.join("weights.safetensors"));
    command.args([networks("plain_resnet_old.safetensors"), folder.path().join("out.safetensors")]);
    assert_eq!(Outcome::of(command.arg("--reference")).code, 0);
    let outcome = make("1.5");
    assert!(outcome.error().contains("alpha is 1.5: must be in [0, 1]"), "{}", outcome.stderr);
}

#[test]
fn octave_takes_no_network_away() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, octave] = ["plain", "octave"].map(|name| folder.path().join(name));
    import(&networks("plain_resnet_old.onnx"), &plain).succeeded();
    let [network, weights] = ["network.json", "weights.safetensors"].map(|name| plain.join(name));
    let before = [&network, &weights].map(|path| fs::read(path).unwrap());
    let make = |network: &Path, out: &Path, weights: Option<&Path>| {
        let mut command = octconv();
        command.arg("octave").arg(network).arg(out).args(["--alpha", "0.5"]);
        Outcome::of(command.args(weights.iter().flat_map(|path| [Path::new("--weights"), path])))
    };
    // Over what it reads, also by another way.
    let round = octave.join("..").join("plain");
    fs::create_dir(&octave).unwrap();
    for out in [&plain, &round] {
        make(&network, out, Some(&weights)).assert_refused("network.json is read too: name another folder");
    }
    let copy = folder.path().join("copy.json");
    fs::copy(&network, &copy).unwrap();
    make(&copy, &plain, Some(&weights)).assert_refused("weights.safetensors is read too: name another folder");
    // Beside weights of another network.
    make(&copy, &plain, None).assert_refused("would stay beside another network: give --weights, or name another");
    assert_eq!([&network, &weights].map(|path| fs::read(path).unwrap()), before);
    make(&network, &octave, None).succeeded();
    make(&network, &octave, Some(&weights)).succeeded();
}

/// A description that fits on no disk leaves the weights that were there.
#[test]
#[cfg(target_os = "linux")]
fn a_network_is_written_whole_or_not_at_all() {
    use std::process::Command;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let nodes = (0..20).map(|i| {
        let input = if i == 0 { "input".into() } else { format!("c{}", i - 1) };
        json!({"name": format!("c{i}"), "op": "conv", "input": input, "channels": 2})
    });
    let described = json!({"name": "n", "input": {"channels": 2}, "nodes": nodes.collect::<Vec<_>>(), "output": "c19"});
    fs::write(path("plain.json"), described.to_string()).unwrap();
    let tensors = (0..20).map(|i| (format!("c{i}.w_hh"), (vec![2, 2, 1, 1], vec![1.0; 4])));
    fs::write(path("plain.safetensors"), serialize(&tensors.collect(), Dtype::F32)).unwrap();
    let program = octconv();
    let make = |alpha: &str, blocks: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -f {blocks}; exec \"$@\""), "sh"]).arg(program.get_program());
        command.args(program.get_args()).arg("octave").arg(path("plain.json")).arg(path("octave"));
        Outcome::of(command.args(["--alpha", alpha, "--weights"]).arg(path("plain.safetensors")))
    };
    make("0.5", "unlimited").succeeded();
    let files = || ["network.json", "weights.safetensors"].map(|name| fs::read(path("octave").join(name)).unwrap());
    let before = files();
    // Blocks of 512 bytes: weights fit, and the description does not.
    let blocks = before[1].len() / 512 + 1;
    assert!(before[0].len() > 512 * blocks, "{}", before[0].len());
    make("0", &blocks.to_string()).assert_refused("network.json: File too large");
    assert_eq!(files(), before);
    assert_eq!(fs::read_dir(path("octave")).unwrap().count(), 2);
}

/// A side of 33 is that of the middle of a picture whose shorter side has 38 pixels, as 224 is of 256.
#[test]
fn pictures_for_imagenet_are_those_of_torchvision() {
    let folder = tempfile::tempdir().unwrap();
    let imported = folder.path().join("network");
    Outcome::of(octconv().arg("import").arg(networks("plain_resnet_old.onnx")).arg(&imported).arg("--imagenet"))
        .succeeded();
    let network: Value = serde_json::from_slice(&fs::read(imported.join("network.json")).unwrap()).unwrap();
    let picture = &network["picture"];
    assert_eq!(picture["resize"], json!({"shorter": 38}));
    assert_eq!((&picture["height"], &picture["width"], &picture["invert"]), (&json!(33), &json!(33), &json!("never")));
}

/// Any value of the file can be the answer. Then nothing behind it need be read.
#[test]
fn the_answer_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let (model, imported) = (folder.path().join("model.onnx"), folder.path().join("model"));
    let mut bytes = fs::read(networks("li14_old.onnx")).unwrap();
    let at: Vec<usize> = (0..bytes.len() - 7).filter(|&i| bytes[i..i + 7] == *b"Softmax").collect();
    at.into_iter().for_each(|i| bytes[i..i + 7].copy_from_slice(b"Hardmax"));
    fs::write(&model, bytes).unwrap();
    let chosen = |name: &str| Outcome::of(octconv().arg("import").arg(&model).args(["--output", name]));
    assert!(Outcome::of(octconv().arg("import").arg(&model)).error().contains("Hardmax"));
    chosen("/fc/Gemm_output_0").succeeded();
    let network: Value = serde_json::from_slice(&fs::read(imported.join("network.json")).unwrap()).unwrap();
    assert_eq!(network["output"], "fc");
    let refusal = chosen("none").error().to_owned();
    assert!(refusal.contains("none of its nodes makes none, which was asked for: its outputs are "), "{refusal}");
}
