//! What tests/networks/make_fixtures.py wrote: a network, an input and weights by seed, and what an independent PyTorch
//! implementation computes of them.

use std::fs;
use std::path::PathBuf;

use octconv::InputSize;
use octconv::network::{Network, random_input, zoo};
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Fixture {
    pub network: String,
    pub alpha: f64,
    pub width: f64,
    /// That of a ResNet, if it is not its own.
    pub stem: Option<String>,
    /// n c t h w
    pub input: [u32; 5],
    /// Of the input and of the weights.
    pub seed: u64,
    /// Of one sample behind the other.
    pub logits: Vec<f64>,
    pub stages: Vec<Stage>,
}

/// The map of a node; either frequency may be absent.
#[derive(Deserialize)]
pub struct Stage {
    pub node: String,
    pub h: Option<Summary>,
    pub l: Option<Summary>,
}

#[derive(Deserialize)]
pub struct Summary {
    /// n c t h w
    pub shape: [u32; 5],
    pub mean_abs: f64,
    /// Elements, evenly spaced from the first on.
    pub samples: Vec<f64>,
}

/// All files by their names, in order.
pub fn all() -> Vec<(String, Fixture)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/networks");
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let fixture = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, fixture)
    };
    files.into_iter().map(read).collect()
}

impl Fixture {
    pub fn network(&self) -> Network {
        let stem = self.stem.as_ref().map(|stem| stem.parse().unwrap());
        let settings = zoo::Settings { alpha: self.alpha, width: self.width, stem, ..Default::default() };
        zoo::build(&self.network, &settings).unwrap()
    }

    pub fn size(&self) -> InputSize {
        let [n, _, t, h, w] = self.input;
        InputSize { n, t, h, w }
    }

    pub fn input(&self) -> Vec<f32> {
        random_input(self.input.iter().product::<u32>() as usize, self.seed)
    }
}
