//! The commands about whole networks: pictures in, answers out, and each mistake told in one line.

use std::fs;
use std::path::{Path, PathBuf};

use octconv::InputSize;
use octconv::network::{Graph, Network, zoo};
use serde_json::{Value, json};

use crate::means::{Means, fitted};
use crate::run::{Outcome, json_of, octconv, refused};

/// A file of the network that the program contains.
fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/digits").join(name)
}

/// A picture of the repository, or the folder of all if `name` is empty.
fn pictures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/digits/pictures").join(name)
}

#[test]
fn shipped_pictures_are_read() {
    let folder = pictures("");
    let answers = |flags: &[&str]| {
        Outcome::with(&[&["classify", folder.to_str().unwrap(), "--json", "--top", "2"], flags].concat()).json_lines()
    };
    let device = answers(&["--batch", "4"]);
    let reference = answers(&["--reference"]);
    let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    assert_eq!((device.len(), reference.len()), (10, 10));
    for (ours, expected) in device.iter().zip(&reference) {
        let picture = Path::new(ours["picture"].as_str().unwrap()).file_stem().unwrap().to_str().unwrap();
        let digit = names.iter().position(|name| *name == picture).unwrap();
        for row in [ours, expected] {
            assert_eq!(row["answers"][0]["label"], digit.to_string(), "{row}");
            assert_eq!(row["answers"].as_array().unwrap().len(), 2);
        }
        let probability = |row: &Value| row["answers"][0]["probability"].as_f64().unwrap();
        assert!((probability(ours) - probability(expected)).abs() < 1e-5, "{ours} {expected}");
    }
}

/// The first few held-out pictures, so that the tests are quick. `octconv evaluate` without arguments takes all 2,000.
struct HeldOut {
    folder: tempfile::TempDir,
    answers: Value,
}

impl HeldOut {
    fn new(count: usize) -> Self {
        let mut answers: Value = serde_json::from_str(&fs::read_to_string(asset("answers.json")).unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for sheet in ["test-0.png", "test-1.png"] {
            fs::copy(asset(sheet), folder.path().join(sheet)).unwrap();
        }
        for list in ["labels", "answers"] {
            answers[list].as_array_mut().unwrap().truncate(count);
        }
        Self { folder, answers }
    }

    /// Writes the answers to a file, and returns its path.
    fn path(&self) -> String {
        let path = self.folder.path().join("answers.json");
        fs::write(&path, self.answers.to_string()).unwrap();
        path.to_str().unwrap().into()
    }
}

#[test]
fn held_out_pictures_are_answered_as_pytorch_answers() {
    let report = json_of(&["evaluate", &HeldOut::new(400).path(), "--json"]);
    assert_eq!((&report["pictures"], &report["different"]), (&json!(400), &json!([])));
    // Five of the network's mistakes are among these pictures. The expected accuracy is that over all 2,000.
    assert_eq!((&report["correct"], &report["expected_accuracy"]), (&json!(395), &json!(0.9945)));
}

#[test]
fn the_reference_answers_alike() {
    let mut held_out = HeldOut::new(40);
    let path = held_out.path();
    let arguments = ["evaluate", &path, "--reference", "--json"];
    let report = json_of(&arguments);
    assert_eq!((&report["pictures"], &report["different"]), (&json!(40), &json!([])));

    held_out.answers["answers"][7] = json!((held_out.answers["answers"][7].as_u64().unwrap() + 1) % 10);
    held_out.path();
    let outcome = Outcome::with(&arguments);
    assert_eq!((outcome.code, &outcome.json()["different"]), (1, &json!([7])));

    held_out.answers["labels"][3] = json!(10);
    held_out.path();
    refused(&arguments, &["label 10", "10 classes"]);
}

#[test]
fn what_a_network_sees_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("maps.png");
    let seven = pictures("seven.png");
    for flags in [&["--reference"][..], &["--node", "layer1.0.conv1"][..]] {
        let arguments = [&["classify", seven.to_str().unwrap(), "--features", out.to_str().unwrap()], flags].concat();
        // The tests turn the cache off, so nothing is tuned. The reference has nothing to tune.
        let text = Outcome::with(&arguments).succeeded();
        let tuned =
            "\ntuned: 0 of 21 layers (\"octconv tune digits --size 28x28 --batch 1\" finds the fastest kernels here)\n";
        assert_eq!(text.contains(tuned), flags[0] != "--reference", "{text}");
        let maps = image::open(&out).unwrap();
        // 12 maps of high frequency in rows of 4, and 4 of low frequency in rows of 2, each drawn at 56x56.
        assert_eq!((maps.width(), maps.height()), (4 * 58 + 2 + 16 + 2 * 58 + 2, 3 * 58 + 2));
    }
    refused(
        &["classify", seven.to_str().unwrap(), "--features", out.to_str().unwrap(), "--node", "nowhere"],
        &["--node is nowhere: must be the name of a node of cifar-resnet20"],
    );
}

#[test]
fn costs_of_networks_are_those_of_the_paper() {
    let cost = json_of(&["cost", "resnet50", "--alpha", "0.5", "--size", "224", "--json"]);
    assert_eq!((&cost["macs"], &cost["params"]), (&json!(2_367_143_936u64), &json!(25_557_032)));
    let plain = json_of(&["cost", "resnet50", "--alpha", "0", "--json"]);
    let headline = json_of(&["cost", "resnet152-v1f", "--alpha", "0.125", "--size", "320", "--json"]);
    assert_eq!(headline["macs"], json!(22_078_156_800u64));
    let other_stem = json_of(&["cost", "resnet50", "--alpha", "0.5", "--stem", "bottleneck", "--json"]);
    assert_eq!(other_stem["macs"], json!(2_441_003_008u64));
    assert_eq!(plain["macs"], json!(4_089_184_256u64));
    let peak = |cost: &Value| cost["activation_bytes_peak"].as_u64().unwrap();
    assert!(peak(&cost) < peak(&plain));
}

#[test]
fn a_description_has_a_plain_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.json").to_str().unwrap().to_owned();
    let settings = zoo::Settings { alpha: 0.25, ..zoo::Settings::default() };
    let mut network = zoo::build("cifar-resnet20", &settings).unwrap();
    fs::write(&path, serde_json::to_string(&network).unwrap()).unwrap();
    let text = |arguments: &[&str]| Outcome::with(arguments).succeeded();
    let built_in = text(&["cost", "cifar-resnet20", "--alpha", "0.25"]);
    assert!(built_in.contains("octave") && built_in.contains("plain") && built_in.contains("ratio"), "{built_in}");
    assert_eq!(text(&["cost", &path]), built_in);
    // The same network without names of stages is timed as a whole.
    network.stages.clear();
    fs::write(&path, serde_json::to_string(&network).unwrap()).unwrap();
    let plot = folder.path().join("plot.svg").to_str().unwrap().to_owned();
    let bench = ["bench", &path, "--size", "16", "--rounds", "1", "--no-roofline", "--json", "-", "--plot", &plot];
    let rows = Outcome::with(&bench).json_lines();
    assert_eq!(rows.iter().map(|row| row["stage"].as_str().unwrap()).collect::<Vec<_>>(), ["end", "all"]);
    assert!(rows[1]["plain_ms"].as_f64().unwrap() > 0.0, "{rows:?}");
    let counts =
        |network: &Network| Graph::new(network).unwrap().cost(InputSize::image(1, 16, 16)).unwrap().macs as f64;
    assert_eq!(rows[1]["macs_ratio"], counts(&network) / counts(&network.plain()));
}

#[test]
fn a_network_is_timed_against_its_plain_form() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let bench =
        ["bench", "cifar-resnet20", "--alpha", "0.25", "--size", "16", "--rounds", "2", "--json", "-", "--plot"];
    let rows = Outcome::with(&[&bench[..], &[plot.to_str().unwrap()]].concat()).json_lines();
    let svg = fs::read_to_string(&plot).unwrap();
    for row in &rows {
        assert!(row["roofline_percent"].as_f64().unwrap() > 0.0 && row["bound"].is_string(), "{row}");
        assert_eq!(svg.contains(&format!("\n{}\n", row["stage"].as_str().unwrap())), row["stage"] != "all", "{svg}");
    }
    let all = rows.last().unwrap();
    assert_eq!(all["stage"], "all");
    assert_eq!(
        all["dispatches"],
        rows[..rows.len() - 1].iter().map(|row| row["dispatches"].as_u64().unwrap()).sum::<u64>()
    );
    assert!(all["ratio"].as_f64().unwrap() > 0.0 && all["macs_ratio"].as_f64().unwrap() < 0.9, "{all}");
}

#[test]
fn mistakes_are_refused_in_a_line() {
    let seven = pictures("seven.png");
    let (seven, weights) = (seven.to_str().unwrap(), asset("weights.safetensors"));
    let weights = weights.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

    let bytes = fs::read(seven).unwrap();
    fs::write(path("cut.png"), &bytes[..bytes.len() / 2]).unwrap();
    refused(&["classify", &path("cut.png"), "--reference"], &["cut.png"]);
    fs::write(path("no.png"), b"no picture").unwrap();
    refused(&["classify", &path("no.png"), "--reference"], &["no.png"]);
    refused(&["classify", &path("missing.png"), "--reference"], &["missing.png"]);
    refused(&["classify", folder.path().join("..").join("nowhere").to_str().unwrap(), "--reference"], &["nowhere"]);

    let with = |network: &str, weights: &str, wanted: &[&str]| {
        refused(&["classify", seven, "--network", network, "--weights", weights, "--reference"], wanted);
    };
    with(
        "resnet51",
        weights,
        &["network is resnet51: must be one of ", "resnet50", "i3d-resnet50-nl, digits, or FILE.json"],
    );
    with(
        "model.onnx",
        weights,
        &["model.onnx is an ONNX file", "\"octconv import model.onnx\" makes a FILE.json of it"],
    );
    for name in ["a/model.pth", "a.pt", "a.SafeTensors", "a.npz"] {
        with(name, weights, &[name, "holds weights, which go to --weights: must be FILE.json"]);
        refused(&["cost", name], &[name, "holds weights, which go to --weights"]);
    }
    fs::write(path("list.json"), " [{}]").unwrap();
    refused(&["bench", &path("list.json")], &["list.json: a description", "a list of layers goes to --layers"]);
    with("cifar-resnet20", &path("no.png"), &["no.png", "not a file of tensors of a kind that is known"]);
    // Weights that do not fit: a line, then one for each of the first nodes.
    let arguments = ["classify", seven, "--network", "cifar-resnet44", "--weights", weights, "--reference"];
    let outcome = Outcome::with(&arguments);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!((outcome.code, outcome.stdout.as_str(), lines.len()), (1, "", 14), "{}", outcome.stderr);
    let wanted = "weights.safetensors: it does not fit cifar-resnet44: ";
    assert!(lines[0].starts_with("error: ") && lines[0].contains(wanted), "{}", lines[0]);
    assert!(outcome.stderr.contains("\nlayer1.3.conv1: norm_h.beta is missing: expected ["), "{}", outcome.stderr);
    assert!(outcome.stderr.len() < 4000, "{} bytes", outcome.stderr.len());
    fs::write(path("net.json"), r#"{"name": "x", "input": {"channels": 1}, "nodes": [], "output": "y"}"#).unwrap();
    let add =
        format!("x does not say how a picture becomes its input: add what it was trained with to {}", path("net.json"));
    with(
        &path("net.json"),
        weights,
        &[&add, ", such as \"picture\": {\"height\": 224, ", "\"mean\": [0.5], \"std\": [0.25]}"],
    );
    with("i3d-resnet50", weights, &["i3d-resnet50 does not say how a picture", "\"octconv run\" takes tensors"]);
    fs::write(path("bad.json"), "{").unwrap();
    with(&path("bad.json"), weights, &["bad.json"]);
    refused(&["cost", "resnet50", "--alpha", "1.5"], &["--alpha is 1.5: must be in [0, 1]"]);
    refused(&["cost", "resnext50", "--alpha", "0.125"], &["groups is 32"]);
    let stem = Outcome::with(&["cost", "resnet50", "--stem", "tall"]);
    assert!(stem.code == 2 && stem.stderr.contains("stem is tall: must be one of max-pool, conv, bottleneck,"));
    refused(
        &["cost", "densenet121", "--stem", "conv"],
        &["stem is conv: must not be given: densenet121 has a stem of its own"],
    );
    refused(&["convert", "IN", "OUT.safetensors", "--stem", "conv"], &["--stem and --classes need --network"]);
    refused(&["cost", "resnet50", "--size", "0"], &["h is 0"]);
    refused(&["classify", seven, "--reference", "--sums", "f16"], &["--sums is f16: must be f32 on the reference"]);

    // A broken picture in a folder does not keep the others from being answered.
    fs::create_dir(path("some")).unwrap();
    fs::copy(seven, path("some/a.png")).unwrap();
    fs::copy(path("cut.png"), path("some/b.png")).unwrap();
    let outcome = Outcome::with(&["classify", &path("some"), "--reference", "--json"]);
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (1, 1));
    assert!(outcome.stderr.contains("b.png"), "{}", outcome.stderr);

    // The same if standard error is closed, where each of two broken pictures has a line.
    fs::copy(path("cut.png"), path("some/c.png")).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = octconv().args(["classify", &path("some"), "--reference", "--json"]).stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
}

#[test]
fn folders_are_read_with_the_folders_inside() {
    let means = Means::new(fitted());
    for name in ["all/b.png", "all/a/z.png", "all/a/deep/er/y.png", "all/c/x.png"] {
        means.picture(name, [255, 0, 0]);
    }
    fs::write(means.path("all/notes.txt"), "no picture").unwrap();
    let mut wanted = vec!["a/deep/er/y.png", "a/z.png", "b.png", "c/x.png"];
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        means.picture("elsewhere/w.png", [0; 3]);
        // A link to a folder is followed once. One to the folder around it, or to one that was read, adds nothing.
        symlink("../elsewhere", means.path("all/d")).unwrap();
        symlink("../elsewhere", means.path("all/e")).unwrap();
        symlink("../..", means.path("all/a/f")).unwrap();
        symlink("../all", means.path("all/g")).unwrap();
        symlink("nowhere", means.path("all/h.png")).unwrap();
        wanted = vec!["a/deep/er/y.png", "a/f/elsewhere/w.png", "a/z.png", "b.png", "c/x.png"];
    }
    let rows = means.run(&["classify", &means.path("all"), "--json"]).json_lines();
    let names: Vec<_> = rows.iter().map(|row| row["picture"].as_str().unwrap().to_owned()).collect();
    let all = means.path("all");
    let found: Vec<_> = names.iter().map(|name| name.strip_prefix(&format!("{all}/")).unwrap()).collect();
    assert_eq!(found, wanted);
    fs::create_dir_all(means.path("none/at/all")).unwrap();
    means.run(&["classify", &means.path("none")]).assert_refused("none has no PNG or JPEG");
}

#[test]
fn there_is_a_label_for_each_class() {
    let means = Means::new(fitted());
    let red = means.picture("red.png", [255, 0, 0]);
    let labels = means.path("labels.txt");
    for (text, count) in [("red\ngreen\n", 2), ("red\ngreen\nblue\nblack", 4), ("", 0)] {
        fs::write(&labels, text).unwrap();
        let wanted = format!("labels.txt has {count} labels, and the network 3 classes: must have one for each");
        means.run(&["classify", &red, "--labels", &labels]).assert_refused(&wanted);
    }
    fs::write(&labels, "red\r\ngreen\r\nblue\r\n").unwrap();
    let row = means.run(&["classify", &red, "--labels", &labels, "--json"]).json();
    assert_eq!(row["answers"][0], json!({"label": "red", "class": 0, "score": 1.0}));
}

#[test]
fn the_size_of_the_input_can_be_chosen() {
    let mut rule = fitted();
    rule["resize"] = json!({"shorter": 8});
    let means = Means::new(rule);
    // A column of red on the left of 9 of black: a crop of 8x8 has none of it, one of 8x10 is too wide.
    let path = means.path("edge.png");
    image::RgbImage::from_fn(10, 8, |x, _| image::Rgb([if x == 0 { 255 } else { 0 }, 51, 0])).save(&path).unwrap();
    let red = |size: &str| {
        let row = means.run(&["classify", &path, "--json", "--size", size]).json();
        let answers = row["answers"].as_array().unwrap().clone();
        answers.iter().find(|answer| answer["class"] == 0).unwrap()["score"].as_f64().unwrap()
    };
    assert_eq!((red("8x8"), red("8x6")), (0.0, 0.0));
    let wanted = "means: picture.resize.shorter is 8: must be 10, the longer side of the input, to 16384";
    means.run(&["classify", &path, "--size", "8x10"]).assert_refused(wanted);
    let means = Means::new(fitted());
    let path_of = |size: &str| means.run(&["classify", &path, "--size", size]).succeeded();
    assert!(path_of("8x10").starts_with("means, 8x10, on "));
    assert_eq!(means.run(&["classify", &path, "--size", "8x"]).code, 2);
}
