//! `octconv export`: what is in the folder, and what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::run::{NO_ADAPTER, Outcome, octconv, refused};

fn repository(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name).to_str().unwrap().into()
}

/// A folder for bundles.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    /// Exports to the folder "bundle", on a machine without a GPU. Gives the manifest.
    #[track_caller]
    fn export(&self, arguments: &[&str]) -> Value {
        let out = self.path("bundle");
        let mut command = octconv();
        command.env(NO_ADAPTER.0, NO_ADAPTER.1).arg("export").args(arguments).args(["--out", &out]);
        let printed = Outcome::of(&mut command).succeeded();
        assert!(printed.starts_with("wrote ") && printed.ends_with(" bytes of other buffers\n"), "{printed}");
        serde_json::from_slice(&fs::read(Path::new(&out).join("manifest.json")).unwrap()).unwrap()
    }

    /// The names in the folder.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn refuse(&self, arguments: &[&str], wanted: &[&str]) {
        let out = self.path("bundle");
        refused(&[&["export"], arguments, &["--out", &out]].concat(), wanted);
    }
}

#[test]
fn a_bundle_has_what_its_manifest_lists() {
    let place = Place::new();
    let picture = repository("assets/digits/pictures/eight.jpg");
    // A bundle takes the place of another one.
    for (language, extension) in
        [("wgsl", "wgsl"), ("spirv", "spv"), ("msl", "metal"), ("hlsl", "hlsl"), ("glsl", "comp")]
    {
        let manifest = place.export(&["digits", "--to", language, "--example", &picture]);
        assert_eq!((&manifest["octconv_bundle"], &manifest["language"]), (&json!(1), &json!(language)));
        let folder = place.0.path().join("bundle");
        let files = manifest["files"].as_array().unwrap();
        for file in files {
            let bytes = fs::metadata(folder.join(file["path"].as_str().unwrap())).unwrap().len();
            assert_eq!(json!(bytes), file["bytes"]);
        }
        let shaders = fs::read_dir(folder.join("shaders")).unwrap().map(|entry| entry.unwrap().path());
        let shaders: BTreeSet<_> = shaders.collect();
        let kernels =
            manifest["kernels"].as_array().unwrap().iter().map(|kernel| folder.join(kernel["file"].as_str().unwrap()));
        assert_eq!(kernels.collect::<BTreeSet<_>>(), shaders);
        assert!(shaders.iter().all(|path| path.extension().unwrap() == extension));
        assert_eq!(manifest["labels"].as_array().unwrap().len(), 10);
        assert_eq!(manifest["licences"][1]["licence"], "MIT OR Apache-2.0");
        assert_eq!(manifest["picture"]["channels"], 1);
        let right = &manifest["example"]["outputs"][0];
        let example = fs::read(folder.join(right["file"].as_str().unwrap())).unwrap();
        let values = example[right["offset"].as_u64().unwrap() as usize..].chunks(4);
        let values: Vec<f32> = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert_eq!(values.len(), 10);
        assert!(values[8] > 0.99, "{values:?}");
        assert_eq!(place.names(), ["bundle"]);
    }
}

#[test]
fn layers_and_described_networks_are_exported() {
    let place = Place::new();
    let [spec, weights] = ["assets/layer/spec.json", "assets/layer/in.safetensors"].map(repository);
    let manifest = place.export(&[
        &spec,
        "--size",
        "9x7",
        "--weights",
        &weights,
        "--example",
        "random",
        "--weights-licence",
        "CC0-1.0",
    ]);
    let names: Vec<_> = manifest["inputs"].as_array().unwrap().iter().map(|input| &input["name"]).collect();
    assert_eq!(names, ["x_h", "x_l"]);
    assert_eq!(manifest["licences"][1]["licence"], "CC0-1.0");
    assert_eq!(manifest["example"]["outputs"].as_array().unwrap().len(), 2);

    let manifest =
        place.export(&["mobilenet-v1", "--size", "32", "--batch", "2", "--random-weights", "--alpha", "0.25"]);
    assert_eq!(manifest["inputs"][0]["shape"], json!([2, 3, 32, 32]));
    assert_eq!(manifest["licences"][1]["licence"], "none: random numbers");
    assert_eq!((&manifest["example"], &manifest["requires"]["features"]), (&Value::Null, &json!([])));
}

#[test]
fn values_of_inner_nodes_are_outputs_too() {
    let place = Place::new();
    let keep = ["--keep", "layer1.0.conv1", "--keep", "prob", "--keep", "layer1.0.conv1"];
    let arguments = ["cifar-resnet20", "--random-weights", "--alpha", "0.5", "--example", "random"];
    let manifest = place.export(&[&arguments[..], &keep].concat());
    let names: Vec<_> = manifest["outputs"].as_array().unwrap().iter().map(|output| &output["name"]).collect();
    assert_eq!(names, ["prob", "layer1.0.conv1.h", "layer1.0.conv1.l"]);
    let counts = manifest["outputs"].as_array().unwrap().iter().map(|output| {
        let shape = output["shape"].as_array().unwrap();
        json!(4 * shape.iter().map(|d| d.as_u64().unwrap()).product::<u64>())
    });
    let right = manifest["example"]["outputs"].as_array().unwrap().iter().map(|answer| answer["bytes"].clone());
    assert!(right.eq(counts), "{manifest}");
}

#[test]
fn a_device_in_a_file_has_features() {
    let place = Place::new();
    let device = place.path("device.json");
    fs::write(&device, r#"{"features": {"shader_f16": true}}"#).unwrap();
    let manifest = place.export(&["digits", "--dtype", "f16", "--device", &device]);
    assert_eq!(manifest["requires"]["features"], json!(["shader_f16"]));
    assert_eq!(manifest["inputs"][0]["dtype"], "f16");
    place.refuse(
        &["digits", "--dtype", "f16", "--device", &device, "--to", "glsl"],
        &["node ", "cannot be written in glsl: "],
    );
    fs::write(&device, r#"{"features": {"halves": true}}"#).unwrap();
    place.refuse(&["digits", "--device", &device], &["unknown field `halves`"]);
    place.refuse(&["digits", "--device", "nothing"], &["--device takes \"default\" or a file"]);
}

#[test]
fn other_folders_stay() {
    let place = Place::new();
    let bundle = place.0.path().join("bundle");
    fs::create_dir(&bundle).unwrap();
    fs::write(bundle.join("notes.txt"), "notes").unwrap();
    place.refuse(&["digits"], &["it exists and is not a bundle: name another folder, or remove it"]);
    fs::write(bundle.join("manifest.json"), "{}").unwrap();
    place.refuse(&["digits"], &["it exists and is not a bundle", "its manifest.json is not a bundle's"]);
    assert_eq!(fs::read_to_string(bundle.join("notes.txt")).unwrap(), "notes");
    fs::remove_dir_all(&bundle).unwrap();

    fs::write(&bundle, "a file").unwrap();
    place.refuse(&["digits"], &["it is a file: name a folder"]);
    fs::remove_file(&bundle).unwrap();

    // A folder of empty folders is not empty.
    fs::create_dir_all(bundle.join("pictures")).unwrap();
    place.refuse(&["digits"], &["it exists and is not a bundle: name another folder, or remove it"]);
    fs::remove_dir(bundle.join("pictures")).unwrap();
    fs::remove_dir(&bundle).unwrap();

    // An empty folder is taken, and what is put beside a bundle's files stays.
    fs::create_dir(&bundle).unwrap();
    place.export(&["digits"]);
    fs::write(bundle.join("shaders").join("notes.txt"), "notes").unwrap();
    place.refuse(&["digits"], &["it has shaders/notes.txt, which is not of its bundle: name another folder"]);
    assert_eq!(fs::read_to_string(bundle.join("shaders").join("notes.txt")).unwrap(), "notes");
    fs::remove_file(bundle.join("shaders").join("notes.txt")).unwrap();
    fs::create_dir(bundle.join("pictures")).unwrap();
    place.refuse(&["digits"], &["it has pictures/, which is not of its bundle: name another folder"]);
    assert_eq!(place.names(), ["bundle"]);
    refused(&["export", "digits", "--out", &place.path("no/bundle")], &["there is no folder "]);
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let place = Place::new();
    let spec = repository("assets/layer/spec.json");
    let list = place.path("list.json");
    fs::write(&list, "[]").unwrap();
    let text = place.path("labels.txt");
    fs::write(&text, "one\ntwo\n").unwrap();
    for (arguments, wanted) in [
        (&["resnet50"][..], "resnet50 has no weights: give --weights FILE, or --random-weights"),
        (&["digits", "--dtype", "f16"], "f16 activations needs the device feature SHADER_F16"),
        (&[&spec, "--random-weights"], "a layer needs --size HxW"),
        (
            &[&spec, "--size", "8", "--random-weights", "--one-buffer"],
            "--labels, --one-buffer and --keep are for networks",
        ),
        (&[&spec, "--size", "8", "--random-weights", "--alpha", "0.5"], "are for built-in networks"),
        (&[&list, "--random-weights"], "is a list of layers"),
        (&["digits", "--labels", &text], "there are 2 labels, and 10 classes: must be one for each"),
        (&["digits", "--example", "nothing.npy"], "nothing.npy"),
        (&["nothing"], "network is nothing"),
    ] {
        place.refuse(arguments, &[wanted]);
    }
    assert_eq!(place.names(), ["labels.txt", "list.json"]);
}

#[test]
fn what_makes_no_input_of_a_picture_is_refused() {
    let place = Place::new();
    let (network, picture) = (place.path("net.json"), repository("assets/digits/pictures/eight.jpg"));
    for (field, value, size, wanted) in [
        ("mean", json!([0.5]), "32", "n: picture.mean is [0.5]: must have a number for each of 3 channels"),
        ("channels", json!(4), "32", "n: picture.channels is 4: must be 3, as the input has"),
        (
            "resize",
            json!({"shorter": 256}),
            "300",
            "n: picture.resize.shorter is 256: must be 300, the longer side of the input, to 16384",
        ),
    ] {
        let mut described = json!({
            "name": "n",
            "input": {"channels": 3},
            "nodes": [{"name": "gap", "op": "global_pool", "input": "input"}],
            "output": "gap",
            "picture": {
                "height": 32, "width": 32, "channels": 3, "resize": "crop", "mean": [0, 0, 0], "std": [1, 1, 1]
            },
        });
        described["picture"][field] = value;
        fs::write(&network, described.to_string()).unwrap();
        let arguments = [&network, "--random-weights", "--size", size];
        place.refuse(&[&arguments[..], &["--example", &picture]].concat(), &[wanted]);
        // The bundle would say it to others.
        place.refuse(&arguments, &[wanted]);
    }
    assert_eq!(place.names(), ["net.json"]);
}

#[test]
fn a_description_does_not_decide_how_much_memory_random_numbers_take() {
    let place = Place::new();
    let (spec, network) = (place.path("spec.json"), place.path("net.json"));
    let describe = |channels: u32| {
        fs::write(&spec, json!({"input": {"channels": channels}, "channels": channels}).to_string()).unwrap();
        let conv = json!({"name": "conv", "op": "conv", "input": "input", "channels": channels});
        let described = json!({"name": "n", "input": {"channels": channels}, "nodes": [conv], "output": "conv"});
        fs::write(&network, described.to_string()).unwrap();
    };
    // 4 TiB.
    describe(1 << 20);
    for subject in [&spec, &network] {
        place.refuse(&[subject, "--random-weights", "--size", "1"], &["weights needs ", ", but "]);
    }
    describe(16);
    for (subject, name) in [(&spec, "spec.json"), (&network, "n")] {
        let arguments = [subject, "--random-weights", "--size", "100", "--example", "random", "--max-bytes"];
        let with = |most| [&arguments[..], &[most]].concat();
        let wanted = format!("{name} take 1,024 bytes, and 1,000 are allowed; --max-bytes allows more");
        place.refuse(&with("1000"), &["random weights of ", &wanted]);
        place.refuse(&with("600K"), &["a random input takes 640,000 bytes, and 614,400 are allowed"]);
        place.export(&with("1M"));
        fs::remove_dir_all(place.path("bundle")).unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_nothing() {
    use std::process::Command;
    let place = Place::new();
    let before = place.export(&["digits"]);
    let program = octconv();
    let mut command = Command::new("sh");
    // Blocks of 512 bytes: weights do not fit.
    command.args(["-c", "ulimit -f 200; exec \"$@\"", "sh"]).arg(program.get_program()).args(program.get_args());
    command.args(["export", "digits", "--to", "spirv", "--out", &place.path("bundle")]);
    Outcome::of(&mut command).assert_refused("File too large");
    let after: Value = serde_json::from_slice(&fs::read(place.path("bundle/manifest.json")).unwrap()).unwrap();
    assert_eq!((place.names(), after), (vec!["bundle".to_owned()], before));
}
