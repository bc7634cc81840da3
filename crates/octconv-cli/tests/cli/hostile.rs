//! Files that go wrong: too large, cut short, of another kind, or with names that a terminal would obey.

use std::fs;
use std::process::Command;

use image::{Rgb, RgbImage};
use safetensors::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{Tensors, serialize};
use crate::run::{Outcome, octconv};

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
}

const IDENTITY: [f32; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

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
    assert!(outcome.stdout.contains(r"   \u{1b}]0;title\u{7}\u{9b}2J\u{202e} 3.53%   green"), "{:?}", outcome.stdout);
    // JSON has the names as they are, in its own escapes.
    let outcome = colours.classify(&[&[&picture[..], "--json"], &labels[..]].concat());
    assert!(harmless(&outcome.stdout), "{:?}", outcome.stdout);
    let answer = outcome.json();
    assert_eq!((&answer["answers"][0]["label"], &answer["picture"]), (&json!(ESCAPES), &json!(picture)));

    fs::write(&picture, "no picture").unwrap();
    let outcome = colours.classify(&[&picture]);
    outcome.assert_refused("b.png");
    assert!(harmless(&outcome.stderr), "{:?}", outcome.stderr);

    let long = ESCAPES.repeat(10_000);
    colours.describe(|network| network["nodes"][1]["input"] = json!(long));
    let outcome = Outcome::with(&["cost", &colours.path("net.json")]);
    outcome.assert_refused("node fc: it reads ");
    assert!(harmless(&outcome.stderr) && outcome.stderr.len() < 1000, "{} bytes", outcome.stderr.len());
}
