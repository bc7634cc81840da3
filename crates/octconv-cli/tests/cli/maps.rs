//! Networks that answer with a map: the class of each position.

use std::fs;

use image::{Rgb, RgbImage};
use safetensors::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::files::{Tensors, serialize};
use crate::run::{Outcome, octconv, refused};

/// A folder with a network whose classes are the strongest of red, green and blue at each position of a map of 6x8.
struct Colours(TempDir);

impl Colours {
    fn new() -> Self {
        let colours = Self(tempfile::tempdir().unwrap());
        colours.describe(|_| {});
        colours.weights(vec![3, 3, 1, 1], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        fs::write(colours.path("labels.txt"), "red\ngreen\nblue\n").unwrap();
        // Four columns of red, three of blue, one of green.
        let colour = |x: u32| Rgb([[255, 0, 0], [0, 0, 255], [0, 255, 0]][[0, 0, 0, 0, 1, 1, 1, 2][x as usize]]);
        RgbImage::from_fn(8, 6, |x, _| colour(x)).save(colours.path("picture.png")).unwrap();
        colours
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    /// Writes the description after a change.
    fn describe(&self, change: impl Fn(&mut Value)) {
        let mut network = json!({
            "name": "colours",
            "input": {"channels": 3},
            "nodes": [
                {"name": "same", "op": "pool", "input": "input", "kind": "max", "kernel": [1, 1], "stride": [1, 1]},
                {"name": "classes", "op": "conv", "input": "same", "channels": 3},
            ],
            "output": "classes",
            "picture": {"height": 6, "width": 8, "channels": 3, "resize": "fit", "mean": [0, 0, 0], "std": [1, 1, 1]},
        });
        change(&mut network);
        fs::write(self.path("net.json"), network.to_string()).unwrap();
    }

    fn weights(&self, shape: Vec<usize>, values: &[f32]) {
        let tensors = Tensors::from([("classes.w_hh".into(), (shape, values.to_vec()))]);
        fs::write(self.path("weights.safetensors"), serialize(&tensors, Dtype::F32)).unwrap();
    }

    fn classify(&self, arguments: &[&str]) -> Outcome {
        let mut command = octconv();
        command.args(["classify", &self.path("picture.png"), "--network", &self.path("net.json")]);
        command.args(["--weights", &self.path("weights.safetensors"), "--labels", &self.path("labels.txt")]);
        Outcome::of(command.args(arguments))
    }
}

#[test]
fn the_class_of_each_position_is_drawn_and_counted() {
    let colours = Colours::new();
    let map = colours.path("map.png");
    for flags in [&["--reference"][..], &[]] {
        let text = colours.classify(&[&["--map", &map], flags].concat()).succeeded();
        assert!(text.contains("   red 50.00%   blue 37.50%   green 12.50%\n"), "{text}");
        assert!(text.ends_with("map.png\n") && text.contains("classes of the first picture are drawn in "), "{text}");
        let drawn = image::open(&map).unwrap().to_rgb8();
        assert_eq!(drawn.dimensions(), (8, 6));
        // Classes 0, 2 and 1, in the colours of PASCAL VOC.
        let row: Vec<_> = (0..8).map(|x| drawn.get_pixel(x, 5).0).collect();
        let [red, blue, green] = [[0, 0, 0], [0, 128, 0], [128, 0, 0]];
        assert_eq!(row, [red, red, red, red, blue, blue, blue, green]);
    }
    let rows = colours.classify(&["--json", "--top", "2"]).json_lines();
    assert_eq!(
        rows[0]["answers"],
        json!([{"label": "red", "class": 0, "share": 0.5}, {"label": "blue", "class": 2, "share": 0.375}])
    );
    // What a map does not have is not listed.
    RgbImage::from_pixel(8, 6, Rgb([0, 9, 0])).save(colours.path("picture.png")).unwrap();
    let rows = colours.classify(&["--json", "--reference"]).json_lines();
    assert_eq!(rows[0]["answers"], json!([{"label": "green", "class": 1, "share": 1.0}]));
}

#[test]
fn maps_without_classes_are_refused_in_a_line() {
    let colours = Colours::new();
    let map = colours.path("map.png");
    let flags = ["--reference", "--map", map.as_str()];
    let changed = |change: &dyn Fn(&mut Value)| {
        colours.describe(change);
        colours.classify(&flags)
    };
    changed(&|net| net["nodes"][1]["alpha"] = json!(0.5)).assert_refused(
        "colours answers with a map that has low frequency: must have a channel of high frequency per class",
    );
    changed(&|net| net["nodes"][1]["channels"] = json!(1))
        .assert_refused("colours answers with a map of one channel: must have a channel per class");
    changed(&|net| net["nodes"][1]["channels"] = json!(257))
        .assert_refused("the answer has 257 classes, and --map draws at most 256");
    let frames = json!({"name": "same", "op": "upsample", "input": "input", "mode": "nearest", "factor": [2, 1, 1]});
    changed(&|net| net["nodes"][0] = frames.clone()).assert_refused("answers with a map of 2 frames: must have one");

    colours.describe(|_| {});
    let picture = colours.path("picture.png");
    colours.classify(&["--map", &picture]).assert_refused("it is read too");
    colours.classify(&["--map", &map, "--features", &map]).assert_refused("--features and --map name one file");
    refused(&["classify", &picture, "--map", &map], &["answers with one vector, which --map cannot draw"]);
    colours.weights(vec![3, 3, 1, 1], &[1.0, 0.0, 0.0, 0.0, f32::MAX, f32::MAX, 0.0, 0.0, 1.0]);
    RgbImage::from_pixel(8, 6, Rgb([0, 255, 255])).save(&picture).unwrap();
    let message = "picture.png: the network's answer is not finite: class 1 is inf";
    colours.classify(&["--reference"]).assert_refused(message);
    assert!(!fs::exists(&map).unwrap());
}
