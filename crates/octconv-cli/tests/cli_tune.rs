//! `octconv tune` as its users run it, and what the other commands make of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a list of one layer, and a cache in it that is yet to be made.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layer = json!({"name": "small", "n": 1, "cin": 8, "cout": 8, "k": 1, "stride": 1, "alpha_in": 0.5,
                           "alpha_out": 0.5, "h": 8, "w": 8});
        fs::write(folder.path().join("layers.json"), json!([layer]).to_string()).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Runs the program with its cache in the folder.
    fn run(&self, arguments: &[&str]) -> Output {
        run(arguments, &self.path("cache"))
    }

    /// As [`Self::run`], about the layers of the file.
    fn layers(&self, command: &str, flags: &[&str]) -> Output {
        self.run(&[&[command, "--layers", &self.path("layers.json")], flags].concat())
    }

    /// The one row of a bench.
    fn bench(&self, flags: &[&str]) -> Value {
        let output = self.layers("bench", &[&["--no-roofline", "--rounds", "1", "--json", "-"], flags].concat());
        serde_json::from_str(&succeeded(&output)).unwrap()
    }
}

fn run(arguments: &[&str], cache: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_octconv"));
    // Without one Mesa's device selection complains on standard error.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    command.args(arguments).env("OCTCONV_CACHE", cache).output().unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Exit code 1, nothing on standard output, one line on standard error.
#[track_caller]
fn refused(output: &Output, wanted: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.contains(wanted), "{wanted:?} is not in {stderr:?}");
}

const BRIEF: [&str; 4] = ["--candidates", "2", "--rounds", "2"];

#[test]
fn what_is_tuned_is_what_bench_runs() {
    let folder = Folder::new();
    let tuned = |row: &Value| [row["tuned"].as_bool().unwrap(), row["plain_tuned"].as_bool().unwrap()];
    let shipped = folder.path("shipped");
    let before = folder.bench(&[]);
    assert_eq!(tuned(&before), [false; 2]);

    let text = succeeded(&folder.layers("tune", &[&BRIEF[..], &["--out", &shipped]].concat()));
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
    let table = succeeded(&folder.layers("bench", &["--no-roofline", "--rounds", "1"]));
    assert!(table.contains("\ntuned: 1 of 1 layers, 1 of 1 plain ones\n"), "{table}");
    assert!(table.contains(&format!("tuned {winner}")), "{table}");
    assert_eq!(tuned(&folder.bench(&["--untuned"])), [false; 2]);
    assert_eq!(tuned(&folder.bench(&["--pooled"])), [false, true]);

    // It is not done again, and the file for shipping is whole all the same.
    let bytes = fs::read(&shipped).unwrap();
    fs::remove_file(&shipped).unwrap();
    let text = succeeded(&folder.layers("tune", &["--out", &shipped]));
    assert_eq!(text.matches("tuned before").count(), 2, "{text}");
    assert_eq!(fs::read(&shipped).unwrap(), bytes);
    assert_eq!(fs::read(kept).unwrap(), bytes);
    let text = succeeded(&folder.layers("tune", &[&BRIEF[..], &["--again"]].concat()));
    assert!(!text.contains("tuned before"), "{text}");

    // A damaged cache is none.
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
    let tune = |flags: &[&str]| succeeded(&folder.run(&[&["tune", &path, "--size", "8"], flags].concat()));
    let text = tune(&[&BRIEF[..], &["--only", "c"]].concat());
    assert!(text.contains("\nb and 2 more ") && text.contains("\n1 distinct layers"), "{text}");
    assert!(tune(&["--only", "d"]).contains("tuned before"));
    // Another size is another layer.
    assert!(!tune(&[&BRIEF[..], &["--only", "d", "--batch", "2"]].concat()).contains("tuned before"));
}

#[test]
fn mistakes_are_told_in_a_line() {
    let folder = Folder::new();
    let missing = folder.path("missing.json");
    refused(&folder.run(&["tune", "--layers", &missing]), "missing.json");
    refused(&folder.run(&["tune", "no-such-network"]), "no-such-network");
    refused(&folder.layers("tune", &["--only", "nothing has this name"]), "no layer");
    refused(&folder.run(&["tune", "cifar-resnet20", "--only", "nothing has this name"]), "no layer");
    refused(&folder.layers("tune", &["--out", &folder.path("no/folder/out")]), "there is no folder");
    refused(&run(&["tune", "--layers", &folder.path("layers.json")], ""), "OCTCONV_CACHE");
    // A file in the place of the folder.
    refused(&run(&["tune", "--layers", &folder.path("layers.json")], &folder.path("layers.json")), "writing ");
    assert!(!Path::new(&folder.path("cache")).exists());
    for wrong in [&["tune"][..], &["tune", "cifar-resnet20", "--pooled"], &["tune", "cifar-resnet20", "--rounds", "0"]]
    {
        assert_eq!(folder.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
