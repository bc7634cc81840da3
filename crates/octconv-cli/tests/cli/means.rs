//! A network of mean colours, for tests about pictures and their classes.

use std::fs;

use safetensors::Dtype;
use serde_json::{Value, json};

use crate::files::{Tensors, serialize};
use crate::run::Outcome;

/// A network that answers with the mean colour of a picture, in a folder with its weights.
pub struct Means(tempfile::TempDir);

impl Means {
    pub fn new(picture: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let network = json!({
            "name": "means", "input": {"channels": 3},
            "nodes": [
                {"name": "gap", "op": "global_pool", "input": "input"},
                {"name": "fc", "op": "linear", "input": "gap", "outputs": 3, "bias": false},
            ],
            "output": "fc", "picture": picture,
        });
        fs::write(folder.path().join("net.json"), network.to_string()).unwrap();
        let identity = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let tensors = Tensors::from([("fc.weight".into(), (vec![3, 3], identity))]);
        fs::write(folder.path().join("weights.safetensors"), serialize(&tensors, Dtype::F32)).unwrap();
        Self(folder)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().into()
    }

    /// Writes a picture of one colour, and the folders that it lies in.
    pub fn picture(&self, name: &str, colour: [u8; 3]) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_pixel(8, 6, image::Rgb(colour)).save(&path).unwrap();
        path.to_str().unwrap().into()
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let (network, weights) = (self.path("net.json"), self.path("weights.safetensors"));
        Outcome::with(&[arguments, &["--reference", "--network", &network, "--weights", &weights]].concat())
    }
}

/// A picture that is scaled to the input.
pub fn fitted() -> Value {
    json!({"height": 4, "width": 4, "channels": 3, "resize": "fit", "mean": [0, 0, 0], "std": [1, 1, 1]})
}
