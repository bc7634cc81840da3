//! Nowhere to write: a full disk, a folder that takes no files, a full standard output.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::files::{Folder, Tensors};
use crate::hostile::clone;
use crate::run::{Outcome, octconv};

const NO_SPACE: &str = "No space left on device (os error 28)";
const TOO_LARGE: &str = "File too large (os error 27)";

fn repository(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name).to_str().unwrap().into()
}

fn five() -> String {
    repository("assets/digits/pictures/five.png")
}

/// A layer whose output is larger than a page.
fn folder() -> Folder {
    let tensors = Tensors::from([
        ("x_h".into(), (vec![1, 1, 64, 64], vec![0.5; 4096])),
        ("w_hh".into(), (vec![1, 1, 1, 1], vec![2.0])),
    ]);
    Folder::new(&json!({"input": {"channels": 1}, "channels": 1}), &tensors)
}

/// A file with a list of one small layer.
fn layers(folder: &Folder) -> String {
    let layer = json!([{"name": "a", "size": {"h": 4, "w": 4}, "input": {"channels": 2}, "channels": 2}]);
    let path = folder.path("layers.json");
    fs::write(&path, layer.to_string()).unwrap();
    path.to_str().unwrap().into()
}

/// The same command, which may not write more than 512 bytes into a file.
fn with_small_files(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 1 && exec \"$0\" \"$@\""]).arg(command.get_program());
    clone(command, limited)
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn standard_output_is_full() {
    let folder = folder();
    let (spec, layers, five) = (folder.spec(), layers(&folder), five());
    let bench = ["bench", "--layers", &layers, "--rounds", "1", "--no-roofline"];
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["verify", "--help"],
        &["info"],
        &["cost", spec.to_str().unwrap(), "--size", "8"],
        &["classify", &five, "--reference"],
        &["classify", &five, "--reference", "--json"],
        &["verify", "--cases", "1"],
        &bench,
        &[&bench[..], &["--json", "-"]].concat(),
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let outcome = Outcome::of(octconv().args(arguments).stdout(full));
        let wanted = format!("error: writing to standard output: {NO_SPACE}");
        assert_eq!((outcome.code, outcome.error()), (1, wanted.as_str()), "{arguments:?}");
    }
}

#[test]
fn a_device_is_full() {
    const FULL: &str = "/dev/full";
    let folder = folder();
    let (spec, input, layers, five) = (folder.spec(), folder.input(), layers(&folder), five());
    let bench = ["bench", "--layers", &layers, "--rounds", "1", "--no-roofline"];
    for arguments in [
        &["apply", spec.to_str().unwrap(), input.to_str().unwrap(), FULL, "--reference"][..],
        &[&bench[..], &["--json", FULL]].concat(),
        &[&bench[..], &["--plot", FULL]].concat(),
        &["tune", "--layers", &layers, "--candidates", "1", "--rounds", "1", "--out", FULL],
    ] {
        let outcome = Outcome::with(arguments);
        outcome.assert_refused(&format!("writing {FULL}: {NO_SPACE}"));
    }
    let outcome = Outcome::with(&["classify", &five, "--reference", "--features", FULL]);
    assert_eq!((outcome.code, outcome.error()), (1, format!("error: writing {FULL}: {NO_SPACE}").as_str()));
}

#[test]
fn a_file_has_no_room() {
    let folder = folder();
    let picture = folder.path("maps.png");
    let apply = folder.command(&["--reference"], &[]);
    let mut classify = octconv();
    classify.args(["classify", &five(), "--reference", "--features"]).arg(&picture);
    for (mut command, file) in [(apply, folder.output()), (classify, picture)] {
        let before = names(folder.folder.path());
        let outcome = Outcome::of(&mut with_small_files(&command));
        let wanted = format!("error: writing {}: {TOO_LARGE}", file.display());
        assert_eq!((outcome.code, outcome.error()), (1, wanted.as_str()));
        // Nothing stays, whole or in part.
        assert_eq!(names(folder.folder.path()), before);

        assert_eq!(Outcome::of(&mut command).code, 0);
        let (bytes, before) = (fs::read(&file).unwrap(), names(folder.folder.path()));
        assert!(bytes.len() > 512);
        assert_eq!(Outcome::of(&mut with_small_files(&command)).error(), wanted);
        assert_eq!((fs::read(&file).unwrap(), names(folder.folder.path())), (bytes, before));
    }
    // Standard output is a file too.
    let list = repository("benches/layers/oct-resnet50.json");
    let out = File::create(folder.path("stdout")).unwrap();
    let mut command = octconv();
    command.args(["cost", &list]);
    let outcome = Outcome::of(with_small_files(&command).stdout(out));
    let wanted = format!("error: writing to standard output: {TOO_LARGE}");
    assert_eq!((outcome.code, outcome.error()), (1, wanted.as_str()));
}

/// A folder that takes no files is refused before anything is read for it.
#[test]
fn a_folder_takes_no_files() {
    let folder = folder();
    fs::remove_file(folder.input()).unwrap();
    let mut command = octconv();
    command.arg("apply").args([folder.spec(), folder.input(), "/proc/out.safetensors".into()]);
    Outcome::of(&mut command).assert_refused("writing /proc/out.safetensors: ");
}

#[test]
fn the_cache_cannot_be_written() {
    let folder = folder();
    let (layers, shipped) = (layers(&folder), folder.path("shipped"));
    // Below a file nobody can make a folder.
    let cache = folder.spec().join("cache");
    let run = |arguments: &[&str]| Outcome::of(octconv().args(arguments).env("OCTCONV_CACHE", &cache));

    let bench = run(&["bench", "--layers", &layers, "--rounds", "1", "--no-roofline", "--json", "-"]);
    assert_eq!((bench.code, bench.stdout.lines().count()), (0, 1), "{}", bench.stderr);
    // Not every driver gives its pipelines away.
    let once = |stderr: &str, start: &str| stderr.lines().count() == 1 && stderr.starts_with(start);
    let told = once(&bench.stderr, "warning: compiled pipelines are not kept: writing ");
    assert!(told || bench.stderr.is_empty(), "{}", bench.stderr);

    let tune = ["tune", "--layers", &layers, "--candidates", "1", "--rounds", "1"];
    run(&tune).assert_refused("writing ");
    let outcome = run(&[&tune[..], &["--out", shipped.to_str().unwrap()]].concat());
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let start = "warning: the results are not kept for other commands: writing ";
    assert!(once(&outcome.stderr, start), "{}", outcome.stderr);
    assert!(outcome.stdout.contains(" layers in ") && !outcome.stdout.contains("kept in "), "{}", outcome.stdout);
    assert!(fs::read(&shipped).unwrap().starts_with(b"octconv tuned "));
}
