//! Files that go wrong: too large, cut short, of another kind, or with names that a terminal would obey.

use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Rgb, RgbImage};
use safetensors::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{Folder, Tensors, serialize};
use crate::run::{Outcome, json_of, octconv, refused};

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// A folder with a network that answers with a matrix times the mean colour of a picture.
struct Colours(TempDir);

impl Colours {
    /// `weight`: the matrix, a row for each answer.
    fn new(weight: [f32; 9]) -> Self {
        let colours = Self(tempfile::tempdir().unwrap());
        colours.describe(|_| {});
        let tensors = Tensors::from([("fc.weight".into(), (vec![3, 3], weight.to_vec()))]);
        fs::write(colours.path("mean.safetensors"), serialize(&tensors, Dtype::F32)).unwrap();
        colours
    }

    /// Writes the description after a change.
    fn describe(&self, change: impl Fn(&mut Value)) {
        let mut network = json!({
            "name": "mean-colour",
            "input": {"channels": 3},
            "nodes": [
                {"name": "gap", "op": "global_pool", "input": "input"},
                {"name": "fc", "op": "linear", "input": "gap", "outputs": 3, "bias": false},
            ],
            "output": "fc",
            "picture": {
                "height": 224, "width": 224, "channels": 3, "resize": "crop", "mean": [0, 0, 0], "std": [1, 1, 1]
            },
        });
        change(&mut network);
        fs::write(self.path("net.json"), network.to_string()).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    fn picture(&self, name: &str, w: u32, h: u32, colour: impl Fn(u32, u32) -> [u8; 3]) -> String {
        let path = self.path(name);
        RgbImage::from_fn(w, h, |x, y| Rgb(colour(x, y))).save(&path).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = octconv();
        command.args(arguments).args(["--reference", "--network", &self.path("net.json")]);
        command.args(["--weights", &self.path("mean.safetensors")]);
        command
    }

    fn classify(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(&[&["classify"], arguments].concat()))
    }

    /// Evaluates a sheet of a white and a black picture, of which those with labels are looked at.
    fn evaluate(&self, labels: &[u32]) -> Outcome {
        self.picture("sheet.png", 8, 4, |x, _| if x < 4 { [255; 3] } else { [0; 3] });
        let answers = json!({
            "sheets": ["sheet.png"], "columns": 2, "rows": 1, "labels": labels, "answers": labels, "accuracy": 1,
        });
        let path = self.path("answers.json");
        fs::write(&path, answers.to_string()).unwrap();
        Outcome::of(&mut self.command(&["evaluate", &path, "--json"]))
    }
}

const IDENTITY: [f32; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

/// Runs a command with little memory: it ends the program to take more.
fn in_little_memory(command: &Command) -> Outcome {
    if cfg!(not(target_os = "linux")) {
        return Outcome::of(&mut clone(command, Command::new(command.get_program())));
    }
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 600000 && exec \"$0\" \"$@\""]).arg(command.get_program());
    Outcome::of(&mut clone(command, limited))
}

/// Adds the arguments and the environment of a command to another.
pub fn clone(from: &Command, mut to: Command) -> Command {
    to.args(from.get_args());
    for (name, value) in from.get_envs() {
        to.env(name, value.unwrap_or_default());
    }
    to
}

/// A file that is said to be so long, and takes no space.
fn sparse(path: &Path, start: &[u8], length: u64) {
    let mut file = File::create(path).unwrap();
    file.write_all(start).unwrap();
    file.set_len(length).unwrap();
}

#[test]
fn a_header_does_not_decide_how_much_memory_is_taken() {
    /// 60,000 by 60,000 pixels of 8 bytes.
    const BOMB: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x10\x06\0\0\0\xd0\x42\xa9\x01\
        \0\0\0\x08IDAT\x78\xda\x03\0\0\0\0\x01\x6f\xdd\xc9\x91\0\0\0\0IEND\xae\x42\x60\x82";
    let folder = tempfile::tempdir().unwrap();
    let bomb = folder.path().join("bomb.png");
    fs::write(&bomb, BOMB).unwrap();
    let five = repository("assets/digits/pictures/five.png");
    let mut command = octconv();
    command.args(["classify", "--reference", "--json"]).args([&bomb, &five]);
    let outcome = in_little_memory(&command);
    let wanted = "bomb.png: it is 60000x60000, which takes 28,800,000,000 bytes, and 268,435,456 are allowed; \
                  --max-bytes allows more";
    assert!(outcome.error().contains(wanted), "{}", outcome.stderr);
    assert_eq!((outcome.code, &outcome.json()["answers"][0]["label"]), (1, &json!("5")));
}

#[test]
fn a_strip_costs_what_its_window_costs() {
    let colours = Colours::new(IDENTITY);
    let halves = |x: u32, y: u32| if x + y < 30_000 { [255, 0, 51] } else { [0, 255, 51] };
    for (w, h) in [(60_000, 1), (1, 60_000)] {
        let strip = colours.picture("strip.png", w, h, halves);
        let outcome = in_little_memory(&colours.command(&["classify", &strip, "--json"]));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
        // The window is the middle, where the halves meet.
        let found = outcome.json();
        for (class, mean) in [(0, 0.5), (1, 0.5), (2, 0.2)] {
            let answers = found["answers"].as_array().unwrap();
            let score = answers.iter().find(|answer| answer["class"] == class).unwrap()["score"].as_f64().unwrap();
            assert!((score - mean).abs() < 2e-3, "{found}");
        }
    }
}

#[test]
fn every_reader_has_a_limit_that_the_user_can_raise() {
    let colours = Colours::new(IDENTITY);
    let grey = colours.picture("grey.png", 40, 30, |_, _| [99; 3]);
    let big = colours.path("big.json");
    sparse(Path::new(&big), b"[", 1 << 40);
    let (net, weights, out) = (colours.path("net.json"), colours.path("mean.safetensors"), colours.path("out"));
    let asset = |name: &str| repository(name).to_str().unwrap().to_owned();
    let (spec, input) = (asset("assets/layer/spec.json"), asset("assets/layer/in.safetensors"));
    for arguments in [
        &["classify", &big][..],
        &["classify", &grey, "--labels", &big],
        &["classify", &grey, "--network", &big, "--weights", &weights],
        &["classify", &grey, "--network", &net, "--weights", &big],
        &["evaluate", &big],
        &["cost", &big],
        &["bench", "--layers", &big],
        &["bench", &big],
        &["tune", "--layers", &big, "--out", &out],
        &["tune", &big, "--out", &out],
        &["apply", &big, &input, &out],
        &["apply", &spec, &big, &out],
    ] {
        refused(arguments, &["big.json: the file has 1,099,511,627,776 bytes, and ", "; --max-bytes allows more"]);
    }
    let limited = |most: &str| Outcome::with(&["cost", &net, "--max-bytes", most]);
    limited("100").assert_refused("net.json: the file has ");
    assert_eq!(limited("1K").code, 0);
    assert_eq!(limited("much").code, 2);
    // The network's input is of 224x224 pixels, of three numbers of four bytes each.
    let outcome = colours.classify(&[&grey, "--max-bytes", "602111"]);
    outcome.assert_refused(
        "an input of mean-colour takes 602,112 bytes, and 602,111 are allowed; --max-bytes allows more",
    );
    colours.describe(|network| (network["picture"]["height"], network["picture"]["width"]) = (json!(4), json!(4)));
    // 40x30 pixels of three bytes each.
    let outcome = colours.classify(&[&grey, "--max-bytes", "3599"]);
    outcome.assert_refused(
        "grey.png: it is 40x30, which takes 3,600 bytes, and 3,599 are allowed; --max-bytes allows more",
    );
    assert_eq!(colours.classify(&[&grey, "--max-bytes", "3600"]).code, 0);
}

#[test]
fn a_large_padding_does_not_decide_how_much_memory_is_taken() {
    let tensors = ["x_h", "w_hh"].map(|name| (name.into(), (vec![1, 1, 1, 1], vec![1.0])));
    let spec = json!({"input": {"channels": 1}, "channels": 1, "padding": [7000, 7000]});
    let folder = Folder::new(&spec, &Tensors::from(tensors));
    folder.apply(&["--reference", "--max-bytes", "700M"], &[]).assert_refused(
        "an output of 1x1x14001x14001 takes 784,112,004 bytes, and 734,003,200 are allowed; --max-bytes allows more",
    );
    // Allowed, and more than there is.
    let outcome = in_little_memory(&folder.command(&["--reference", "--max-bytes", "1G"], &[]));
    if cfg!(target_os = "linux") {
        outcome.assert_refused("the reference, with maps of 4704672024 bytes failed: out of memory");
        folder.assert_no_output();
    }
}

#[test]
fn a_long_header_of_tensors_is_not_parsed() {
    let folder = Folder::new(&json!({"input": {"channels": 1}, "channels": 1}), &Tensors::new());
    let length = 300_000_000_u64;
    sparse(&folder.input(), &[&length.to_le_bytes()[..], b"{"].concat(), 8 + length);
    let outcome = in_little_memory(&folder.command(&["--reference"], &[]));
    outcome.assert_refused(
        "in.safetensors: not a usable safetensors file: its header has 300,000,000 bytes, and 4,194,304",
    );
    let outcome = folder.apply(&["--reference", "--max-bytes", "2G"], &[]);
    outcome.assert_refused("its header has 300000000 bytes: must be at most 100000000");
}

#[test]
fn padding_does_not_decide_how_much_memory_is_taken() {
    let spec = json!({"input": {"channels": 1}, "channels": 1, "padding": [16_000, 16_000]});
    let one = || (vec![1, 1, 1, 1], vec![1.0]);
    let folder = Folder::new(&spec, &Tensors::from([("x_h".into(), one()), ("w_hh".into(), one())]));
    let outcome = in_little_memory(&folder.command(&["--reference"], &[]));
    outcome.assert_refused("an output of 1x1x32001x32001 takes 4,096,256,004 bytes, and 1,073,741,824 are allowed");
}

#[test]
fn a_header_in_another_form_is_refused() {
    let folder = Folder::new(&json!({"input": {"channels": 1}, "channels": 1}), &Tensors::new());
    // The sum of the offsets overflows, if they are read.
    let half = 1_u64 << 63;
    let header = format!(r#"{{"x_h": ["U8", [{half}], [0, {half}]], "w_hh": ["U8", [{half}], [{half}, 0]]}}"#);
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    fs::write(folder.input(), bytes).unwrap();
    folder.apply(&["--reference"], &[]).assert_refused("tensor x_h: invalid type: sequence, expected an object");
    folder.assert_no_output();
}

#[test]
fn a_cut_picture_is_refused_once() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["eight.jpg", "five.png"] {
        let bytes = fs::read(repository("assets/digits/pictures").join(name)).unwrap();
        let cut = folder.path().join(name);
        for length in [bytes.len() * 7 / 10, bytes.len() / 5] {
            fs::write(&cut, &bytes[..length]).unwrap();
            let outcome = Outcome::with(&["classify", cut.to_str().unwrap(), "--reference"]);
            outcome.assert_refused(&format!("{name}: "));
            let reasons: Vec<_> = outcome.error().split(": ").collect();
            assert!(reasons.iter().all(|a| reasons.iter().filter(|b| a == *b).count() == 1), "{}", outcome.stderr);
        }
    }
}

/// The decoder of JPEGs panics at these. Which of them depends on the processor.
#[test]
fn a_picture_that_breaks_the_decoder_ends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let good = repository("assets/digits/pictures/eight.jpg");
    let mut refused = 0;
    for name in ["overflowing_dc", "repeated_scan", "short_stride"] {
        let damaged = folder.path().join(name).with_extension("jpg");
        fs::copy(repository("fuzz/corpus/picture").join(name), &damaged).unwrap();
        let paths = [&damaged, &good].map(|path| path.to_str().unwrap());
        let outcome = Outcome::with(&[&["classify", "--reference", "--json"], &paths[..]].concat());
        assert!(outcome.stdout.contains("eight.jpg"), "{name}: {}", outcome.stdout);
        assert!(!outcome.stderr.contains("panicked"), "{name}: {}", outcome.stderr);
        refused += usize::from(outcome.stderr.contains("the decoder of JPEGs failed at it"));
    }
    assert!(refused > 0);
}

#[test]
fn reasons_are_stated_once() {
    let colours = Colours::new(IDENTITY);
    let net = colours.path("net.json");
    let outcome = |change: &dyn Fn(&mut Value)| {
        colours.describe(change);
        Outcome::with(&["cost", &net])
    };
    let unread = outcome(&|network| network["nodes"][1]["input"] = json!("gab"));
    assert_eq!(unread.error(), "error: node fc: it reads gab, which no node in front of it makes");
    let shape = outcome(&|network| network["nodes"][1]["outputs"] = json!(0));
    assert_eq!(shape.error(), "error: node fc: outputs is 0: must be at least 1");
    let wrong = outcome(&|network| network["nodes"][1]["outputs"] = json!("three"));
    assert_eq!(wrong.error().matches("invalid type").count(), 1, "{}", wrong.stderr);
    fs::write(&net, "{").unwrap();
    assert_eq!(Outcome::with(&["cost", &net]).error().matches("EOF").count(), 1);
}

#[test]
fn a_field_that_an_operation_does_not_have_is_refused() {
    let colours = Colours::new(IDENTITY);
    for (mut node, meant) in [
        (json!({"op": "conv", "input": "input", "channels": 4}), "activation"),
        (json!({"op": "pool", "input": "input", "kind": "max", "kernel": [2, 2], "stride": [2, 2]}), "padding"),
        (json!({"op": "norm", "input": "input"}), "activation"),
        (json!({"op": "concat", "inputs": ["input"]}), "inputs"),
        (json!({"op": "excite", "input": "input", "reduced": 2}), "activation"),
        (json!({"op": "global_pool", "input": "input"}), "input"),
        (json!({"op": "linear", "input": "gap", "outputs": 3}), "outputs"),
        (json!({"op": "softmax", "input": "gap"}), "input"),
    ] {
        node["name"] = json!("fc");
        node["activtion"] = json!("relu");
        colours.describe(|network| network["nodes"][1] = node.clone());
        refused(&["cost", &colours.path("net.json")], &["net.json: node fc: unknown field `activtion`", meant]);
    }
}

#[test]
fn no_command_replaces_a_file_of_another_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let layer = json!([{"name": "a", "size": {"h": 4, "w": 4}, "input": {"channels": 1}, "channels": 1}]);
    fs::write(path("layers.json"), layer.to_string()).unwrap();
    let asset = |name: &str| repository(name).to_str().unwrap().to_owned();
    let (spec, input) = (asset("assets/layer/spec.json"), asset("assets/layer/in.safetensors"));
    fs::copy(asset("assets/digits/pictures/five.png"), path("five.png")).unwrap();
    fs::copy(&spec, path("spec.json")).unwrap();
    fs::copy(&input, path("in.safetensors")).unwrap();
    let (layers, five) = (path("layers.json"), path("five.png"));
    let before = |name: &str| fs::read(path(name)).unwrap();
    for name in ["layers.json", "five.png", "spec.json", "in.safetensors"] {
        let (bytes, file) = (before(name), path(name));
        let mut commands = vec![
            vec!["tune", "--layers", &layers, "--out", &file],
            vec!["bench", "--layers", &layers, "--json", &file],
            vec!["bench", "--layers", &layers, "--plot", &file],
            vec!["roofline", "--json", &file],
        ];
        if name != "in.safetensors" {
            commands.push(vec!["apply", &spec, &input, &file]);
        }
        if name != "five.png" {
            commands.push(vec!["classify", &five, "--features", &file]);
        }
        for command in commands {
            refused(&command, &["writing ", name, "it exists and is not a", "name another file, or remove it"]);
            assert_eq!(before(name), bytes, "{command:?}");
        }
    }
    // Nor one that it reads.
    refused(&["classify", &five, "--features", &five], &["five.png: it is read too"]);
    refused(&["apply", &spec, &path("in.safetensors"), &path("in.safetensors")], &["in.safetensors: it is read too"]);
    // Results of another version of the program would be lost.
    fs::write(path("tuned"), "octconv tuned 0 0.0.1 00000000 0 00000000\n").unwrap();
    refused(&["tune", "--layers", &layers, "--out", &path("tuned")], &["results of another version", "remove it"]);
}

#[test]
#[cfg(unix)]
fn a_signal_leaves_no_temporary_file() {
    use std::process::Stdio;

    // So large that the file is seen before it is whole.
    const SIDE: usize = 4096;
    let folder = Folder::new(&json!({"input": {"channels": 1}, "channels": 1, "padding": [1024, 1024]}), &{
        let side = SIDE - 2048;
        let x_h = ("x_h".into(), (vec![1, 1, side, side], vec![1.0; side * side]));
        Tensors::from([x_h, ("w_hh".into(), (vec![1, 1, 1, 1], vec![1.0]))])
    });
    let temporary = || {
        let mut names = fs::read_dir(folder.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.any(|name| name.to_string_lossy().starts_with(".octconv-"))
    };
    for signal in ["-INT", "-TERM"] {
        let mut program = folder.command(&["--reference"], &[]).stderr(Stdio::null()).spawn().unwrap();
        while !temporary() {
            assert!(program.try_wait().unwrap().is_none(), "the program has ended, and no temporary file was seen");
        }
        assert!(Command::new("kill").args([signal, &program.id().to_string()]).status().unwrap().success());
        program.wait().unwrap();
        assert!(!temporary());
        // It is whole, because it was begun.
        assert_eq!(folder.outputs()["y_h"].0, [1, 1, SIDE, SIDE]);
        fs::remove_file(folder.output()).unwrap();
    }
}

#[test]
fn names_do_not_reach_the_terminal_as_they_are() {
    const ESCAPES: &str = "\u{1b}]0;title\u{7}\u{9b}2J\u{202e}";
    let colours = Colours::new(IDENTITY);
    let harmless = |text: &str| text.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}'));
    fs::write(colours.path("labels.txt"), format!("{ESCAPES}\ngreen\n{}\n", "long".repeat(25_000))).unwrap();
    colours.describe(|network| network["name"] = json!(ESCAPES));
    let name = if cfg!(unix) { format!("a{ESCAPES}\nb.png") } else { "a.png".into() };
    let picture = colours.picture(&name, 4, 4, |_, _| [9, 8, 7]);
    let labels = ["--labels", &colours.path("labels.txt")];

    let outcome = colours.classify(&[&[&picture[..]], &labels[..]].concat());
    assert_eq!((outcome.code, outcome.stdout.lines().count()), (0, 2), "{:?}", outcome.stdout);
    assert!(harmless(&outcome.stdout) && outcome.stdout.len() < 2000, "{:?}", outcome.stdout);
    assert!(outcome.stdout.contains(r"   \u{1b}]0;title\u{7}\u{9b}2J\u{202e} 0.0353   green"), "{:?}", outcome.stdout);
    // JSON has the names as they are, in its own escapes.
    let outcome = colours.classify(&[&[&picture[..], "--json"], &labels[..]].concat());
    assert!(harmless(&outcome.stdout), "{:?}", outcome.stdout);
    let answer = outcome.json();
    assert_eq!((&answer["answers"][0]["label"], &answer["picture"]), (&json!(ESCAPES), &json!(picture)));

    fs::write(&picture, "no picture").unwrap();
    let outcome = colours.classify(&[&picture]);
    outcome.assert_refused("it is neither a PNG nor a JPEG");
    assert!(harmless(&outcome.stderr), "{:?}", outcome.stderr);

    let long = ESCAPES.repeat(10_000);
    colours.describe(|network| network["nodes"][1]["input"] = json!(long));
    let outcome = Outcome::with(&["cost", &colours.path("net.json")]);
    outcome.assert_refused("node fc: it reads ");
    assert!(harmless(&outcome.stderr) && outcome.stderr.len() < 1000, "{} bytes", outcome.stderr.len());
}

/// Names of files that begin with a dash, as a shell writes them for "*", are options to clap.
#[test]
fn wrong_arguments_do_not_reach_the_terminal_as_they_are() {
    let harmless = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
    let refused = |arguments: &[&str]| {
        let outcome = Outcome::with(arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(harmless(&outcome.stderr) && outcome.stderr.len() < 2000, "{:?}", outcome.stderr);
        outcome.stderr
    };
    let told = refused(&["classify", "--\u{1b}]0;x\u{7}"]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], r"error: unexpected argument '--\u{1b}]0;x\u{7}' found");
    let last = ["", "Usage: octconv classify [OPTIONS] <PICTURE>...", "", "For more information, try '--help'."];
    assert!(lines.ends_with(&last), "{told}");
    // Without its end, such a sequence swallows what follows.
    assert!(refused(&["classify", "a.png", "--\u{1b}]0;x"]).ends_with("\nFor more information, try '--help'.\n"));
    let long = "x".repeat(100_000);
    for arguments in [&["classify", &format!("--{long}")][..], &["classify", "a", "--top", &long], &[&long]] {
        assert!(refused(arguments).starts_with("error: "));
    }
    let rename = refused(&["convert", "a", "b", "--rename", "(\u{1b}[2J\u{9b}2J=x"]);
    assert!(rename.contains("regex parse error"), "{rename}");
}

#[test]
fn numbers_are_called_what_they_are() {
    let colours = Colours::new(IDENTITY);
    let picture = colours.picture("a.png", 4, 4, |_, _| [255, 51, 0]);
    assert!(
        colours
            .classify(&[&picture])
            .succeeded()
            .ends_with("a.png   class 0 1.0000   class 1 0.2000   class 2 0.0000\n")
    );
    let answer = &colours.classify(&[&picture, "--json"]).json()["answers"][0];
    assert_eq!((&answer["score"], &answer["probability"]), (&json!(1.0), &Value::Null));

    colours.describe(|network| {
        let softmax = json!({"name": "prob", "op": "softmax", "input": "fc"});
        network["nodes"].as_array_mut().unwrap().push(softmax);
        network["output"] = json!("prob");
    });
    let answer = &colours.classify(&[&picture, "--json"]).json()["answers"][0];
    assert!(answer["probability"].as_f64().is_some_and(|share| share > 0.5) && answer["score"].is_null(), "{answer}");
}

#[test]
fn answers_that_are_not_finite_are_told() {
    let colours = Colours::new([3e38; 9]);
    let [black, white] = [0, 255].map(|v| colours.picture(&format!("{v}.png"), 4, 4, move |_, _| [v; 3]));
    let outcome = colours.classify(&[&white, &black, &white, "--json"]);
    assert_eq!((outcome.code, outcome.stderr.lines().count()), (1, 2), "{}", outcome.stderr);
    for line in outcome.stderr.lines() {
        let wanted = "255.png: the network's answer is not finite: class 0 is inf";
        assert!(line.starts_with("error: ") && line.ends_with(wanted), "{line}");
    }
    assert_eq!(outcome.json()["picture"], json!(black));

    // The same on a sheet.
    let outcome = colours.evaluate(&[0, 0]);
    assert_eq!(outcome.error(), "error: picture 0: the network's answer is not finite: class 0 is inf");
    let report = outcome.json();
    assert_eq!((outcome.code, &report["pictures"], &report["correct"]), (1, &json!(2), &json!(1)));
    assert_eq!(report["different"], json!([0]));
}

#[test]
fn there_are_labels_and_a_picture_for_each() {
    let colours = Colours::new(IDENTITY);
    colours.evaluate(&[]).assert_refused("there are no labels");
    colours.evaluate(&[0, 0, 0]).assert_refused("there are 3 labels, but only 2 pictures");
    let report = colours.evaluate(&[0]).json();
    assert_eq!((&report["pictures"], &report["accuracy"]), (&json!(1), &json!(1.0)));
}

#[test]
fn a_picture_is_not_divided_by_zero() {
    let colours = Colours::new(IDENTITY);
    let picture = colours.picture("a.png", 4, 4, |_, _| [9; 3]);
    for (std, shown) in [(json!([1, 0, 1]), "0"), (json!([1, 1, -0.5]), "-0.5"), (json!([1e-60, 1, 1]), "0")] {
        colours.describe(|network| network["picture"]["std"] = std.clone());
        let refusal = format!("mean-colour: picture.std is {shown}: must be finite and above 0");
        colours.classify(&[&picture]).assert_refused(&refusal);
    }
}

#[test]
fn costs_of_a_list_are_those_of_its_layers() {
    let list = repository("benches/layers/oct-resnet50.json");
    let report = json_of(&["cost", list.to_str().unwrap(), "--json"]);
    let layers = report["layers"].as_array().unwrap();
    let written: Vec<Value> = serde_json::from_str(&fs::read_to_string(&list).unwrap()).unwrap();
    assert_eq!(layers.len(), written.len());
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("spec.json");
    let count = |row: &Value, form: &str, name: &str| row[form][name].as_u64().unwrap();
    for (row, layer) in layers.iter().zip(&written) {
        let mut layer = layer.clone();
        let fields = layer.as_object_mut().unwrap();
        let (name, size) = (fields.remove("name").unwrap(), fields.remove("size").unwrap());
        fs::write(&spec, layer.to_string()).unwrap();
        let alone =
            json_of(&["cost", spec.to_str().unwrap(), "--size", &format!("{}x{}", size["h"], size["w"]), "--json"]);
        assert_eq!((&row["layer"], &row["octave"]), (&name, &alone["octave"]));
        assert_eq!((&row["plain"], &row["ratios"]), (&alone["plain"], &alone["ratios"]));
    }
    for (form, name) in [("octave", "macs"), ("plain", "macs"), ("octave", "params"), ("plain", "min_bytes")] {
        let sum: u64 = layers.iter().map(|row| count(row, form, name)).sum();
        assert_eq!(count(&report["total"], form, name), sum, "{form} {name}");
    }
    let text = Outcome::with(&["cost", list.to_str().unwrap()]).succeeded();
    assert_eq!(text.lines().count(), layers.len() + 3, "{text}");
    assert!(text.lines().last().unwrap().starts_with("total "), "{text}");
    refused(&["cost", list.to_str().unwrap(), "--size", "8"], &["--size, --frames and --batch are for one layer"]);
}
