//! `octconv tune` as its users run it, and what the other commands do with its results.

use std::fs;
use std::path::Path;

use octconv::Tuned;
use octconv::network::{Checkpoint, Graph};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::run::{Outcome, octconv};

/// A folder with a list of one layer. Its cache does not exist yet.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (size, input) = (json!({"h": 8, "w": 8}), json!({"channels": 8, "alpha": 0.5}));
        let layer = json!({"name": "small", "size": size, "input": input, "channels": 8, "alpha": 0.5});
        fs::write(folder.path().join("layers.json"), json!([layer]).to_string()).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Runs the program with its cache in the folder.
    fn run(&self, arguments: &[&str]) -> Outcome {
        run(arguments, &self.path("cache"))
    }

    /// As [`Self::run`], with the list of layers.
    fn layers(&self, command: &str, flags: &[&str]) -> Outcome {
        self.run(&[&[command, "--layers", &self.path("layers.json")], flags].concat())
    }

    /// The one row of `octconv bench`.
    fn bench(&self, flags: &[&str]) -> Value {
        self.layers("bench", &[&["--no-roofline", "--rounds", "1", "--json", "-"], flags].concat()).json()
    }
}

/// Runs the program with its cache in this folder.
fn run(arguments: &[&str], cache: &str) -> Outcome {
    Outcome::of(octconv().args(arguments).env("OCTCONV_CACHE", cache))
}

const BRIEF: [&str; 4] = ["--candidates", "2", "--rounds", "2"];

#[test]
fn what_is_tuned_is_what_bench_runs() {
    let folder = Folder::new();
    let tuned = |row: &Value| [row["tuned"].as_bool().unwrap(), row["plain_tuned"].as_bool().unwrap()];
    let shipped = folder.path("shipped");
    let before = folder.bench(&[]);
    assert_eq!(tuned(&before), [false; 2]);

    let text = folder.layers("tune", &[&BRIEF[..], &["--out", &shipped]].concat()).succeeded();
    let find = |wanted: &str| text.lines().find(|line| line.starts_with(wanted)).unwrap_or_else(|| panic!("{text}"));
    let kept = find("kept in ").strip_prefix("kept in ").unwrap();
    assert_eq!(Path::new(kept).parent(), Some(Path::new(&folder.path("cache"))));
    find("2 distinct layers");
    find("small plain ");
    let row: Vec<_> = find("small ").split_whitespace().collect();
    let [_, planned, _, winner, _, gain, tried] = row[..] else { panic!("{row:?}") };
    assert!(before["kernel"].as_str().unwrap().starts_with(planned), "{before}");
    assert!(gain.strip_suffix('x').unwrap().parse::<f64>().unwrap() >= 1.0 && tried.parse::<u32>().unwrap() >= 2);

    let after = folder.bench(&[]);
    assert_eq!(tuned(&after), [true; 2]);
    assert!(after["kernel"].as_str().unwrap().starts_with(winner), "{after}");
    let table = folder.layers("bench", &["--no-roofline", "--rounds", "1"]).succeeded();
    assert!(table.contains("\ntuned: 1 of 1 layers, 1 of 1 plain ones\n"), "{table}");
    assert!(table.contains(&format!("tuned {winner}")), "{table}");
    assert_eq!(tuned(&folder.bench(&["--untuned"])), [false; 2]);
    assert_eq!(tuned(&folder.bench(&["--pooled"])), [false, true]);

    // Nothing is tuned a second time, and --out still writes the whole file.
    let bytes = fs::read(&shipped).unwrap();
    fs::remove_file(&shipped).unwrap();
    let text = folder.layers("tune", &["--out", &shipped]).succeeded();
    assert_eq!(text.matches("tuned before").count(), 2, "{text}");
    assert_eq!(fs::read(&shipped).unwrap(), bytes);
    assert_eq!(fs::read(kept).unwrap(), bytes);
    let text = folder.layers("tune", &[&BRIEF[..], &["--again"]].concat()).succeeded();
    assert!(!text.contains("tuned before"), "{text}");

    // A device with other features has choices of its own, in the same file.
    let ours = Tuned::from_bytes(&fs::read(&shipped).unwrap()).unwrap().len();
    let default = folder.layers("tune", &[&BRIEF[..], &["--default-device", "--out", &shipped]].concat()).succeeded();
    assert!(!default.contains("before"), "{default}");
    let entries = || Tuned::from_bytes(&fs::read(&shipped).unwrap()).unwrap().len();
    assert_eq!(entries(), 2 * ours);
    // So has one without experimental features, if this device has any.
    let flags = [&BRIEF[..], &["--without-experimental", "--out", &shipped]].concat();
    let without = folder.layers("tune", &flags).succeeded();
    assert_eq!(entries(), if without.contains("before") { 2 * ours } else { 3 * ours }, "{without}");

    // A damaged cache is ignored.
    fs::write(kept, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(tuned(&folder.bench(&[])), [false; 2]);
}

#[test]
fn layers_of_a_network_are_tuned_once_each() {
    let folder = Folder::new();
    let conv =
        |name: &str, input: &str| json!({"name": name, "op": "conv", "input": input, "channels": 8, "alpha": 0.5});
    let nodes = [conv("a", "input"), conv("b", "a"), conv("c", "b"), conv("d", "c")];
    let network = json!({"name": "tiny", "input": {"channels": 3}, "nodes": nodes, "output": "d"});
    let path = folder.path("tiny.json");
    fs::write(&path, network.to_string()).unwrap();
    let tune = |flags: &[&str]| folder.run(&[&["tune", &path, "--size", "8"], flags].concat()).succeeded();
    let text = tune(&[&BRIEF[..], &["--only", "c"]].concat());
    assert!(text.contains("\nb and 2 more ") && text.contains("\n1 distinct layers"), "{text}");
    assert!(tune(&["--only", "d"]).contains("tuned before"));
    // The plain form of the network has other layers.
    let text = tune(&[&BRIEF[..], &["--only", "c", "--plain"]].concat());
    assert!(text.contains("tuned before") && text.contains("\n2 distinct layers"), "{text}");
    // Another size is another layer.
    assert!(!tune(&[&BRIEF[..], &["--only", "d", "--batch", "2"]].concat()).contains("tuned before"));
}

#[test]
fn the_command_that_is_told_tunes_what_was_run() {
    let folder = Folder::new();
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/digits/pictures/seven.png");
    let nodes = json!([
        {"name": "a", "op": "conv", "input": "input", "channels": 4, "alpha": 0.5},
        {"name": "b", "op": "conv", "input": "a", "channels": 2},
        {"name": "gap", "op": "global_pool", "input": "b"},
    ]);
    let rule = json!({"height": 8, "width": 8, "channels": 1, "resize": "fit", "mean": [0], "std": [1]});
    let network = json!({"name": "n", "input": {"channels": 1}, "nodes": nodes, "output": "gap", "picture": rule});
    let (path, weights) = (folder.path("net.json"), folder.path("weights.safetensors"));
    fs::write(&path, network.to_string()).unwrap();
    let graph = Graph::new(&serde_json::from_value(network).unwrap()).unwrap();
    fs::write(&weights, Checkpoint::random(&graph, 1).to_safetensors().unwrap()).unwrap();
    let pictures = folder.path("pictures");
    fs::create_dir_all(folder.path("pictures/0")).unwrap();
    fs::create_dir_all(folder.path("pictures/1")).unwrap();
    for copy in ["0/a.png", "1/b.png", "1/c.png"] {
        fs::copy(&picture, Path::new(&pictures).join(copy)).unwrap();
    }
    // What the commands do unless told, and what they are told.
    for (given, wanted) in [
        (&[][..], "--size 8x8 --batch 1"),
        (&["--batch", "2"], "--size 8x8 --batch 2"),
        (&["--size", "6", "--fast"], "--size 6x6 --batch 1 --fast"),
    ] {
        let run = |command: &str| {
            let arguments = [command, &pictures, "--network", &path, "--weights", &weights];
            folder.run(&[&arguments[..], given].concat()).succeeded()
        };
        let wanted = format!("octconv tune {path} {wanted}");
        for command in ["classify", "evaluate"] {
            let text = run(command);
            assert!(text.contains(&format!("\ntuned: 0 of 2 layers (\"{wanted}\" finds the")), "{text}");
        }
        let arguments: Vec<&str> = wanted.split(' ').skip(1).chain(BRIEF).collect();
        folder.run(&arguments).succeeded();
        for command in ["classify", "evaluate"] {
            assert!(run(command).contains("\ntuned: 2 of 2 layers\n"), "{}", run(command));
        }
    }
    // The same without any choice, and the plain form for bench.
    assert!(folder.run(&["tune", &path]).succeeded().contains("tuned before"));
    let bench =
        |flags: &[&str]| folder.run(&[&["bench", &path, "--no-roofline", "--rounds", "1"], flags].concat()).succeeded();
    assert!(bench(&[]).contains("\ntuned: 2 of 2 layers, 0 of 2 plain ones\n"), "{}", bench(&[]));
    let text = bench(&["--batch", "3"]);
    let wanted = format!("2 plain ones (\"octconv tune {path} --size 8x8 --batch 3 --plain\" finds the");
    assert!(text.contains(&wanted), "{text}");
    let text = folder.layers("bench", &["--no-roofline", "--rounds", "1", "--pooled"]).succeeded();
    let wanted = format!("(\"octconv tune --layers {} --pooled\" finds the", folder.path("layers.json"));
    assert!(text.contains(&wanted), "{text}");
}

#[test]
fn mistakes_are_told_in_a_line() {
    let folder = Folder::new();
    let missing = folder.path("missing.json");
    folder.run(&["tune", "--layers", &missing]).assert_refused("missing.json");
    folder.run(&["tune", "no-such-network"]).assert_refused("no-such-network");
    folder.layers("tune", &["--only", "nothing has this name"]).assert_refused("no layer");
    folder.run(&["tune", "cifar-resnet20", "--only", "nothing has this name"]).assert_refused("no layer");
    folder.layers("tune", &["--out", &folder.path("no/folder/out")]).assert_refused("there is no folder");
    run(&["tune", "--layers", &folder.path("layers.json")], "").assert_refused("OCTCONV_CACHE");
    // The cache's folder is a file.
    run(&["tune", "--layers", &folder.path("layers.json")], &folder.path("layers.json")).assert_refused("writing ");
    assert!(!Path::new(&folder.path("cache")).exists());
    for wrong in [&["tune"][..], &["tune", "cifar-resnet20", "--pooled"], &["tune", "cifar-resnet20", "--rounds", "0"]]
    {
        assert_eq!(folder.run(wrong).code, 2, "{wrong:?}");
    }
}
