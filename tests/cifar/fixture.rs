//! The networks that assets/cifar/train.py trained, and what PyTorch answers with them to pictures that the script drew.

use std::fs;
use std::path::PathBuf;

use octconv::InputSize;
use octconv::network::{Checkpoint, Graph, HostTensor, Network};

pub const PLAIN: &str = "plain";
pub const OCTAVE: [&str; 3] = ["oct-125", "oct-250", "oct-500"];

fn read(file: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/cifar").join(file);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn network(name: &str) -> Network {
    serde_json::from_slice(&read(&format!("{name}.json"))).unwrap()
}

/// A network with its weights, the drawn pictures as its input, and PyTorch's logits.
pub struct Trained {
    pub graph: Graph,
    pub weights: Checkpoint,
    pub size: InputSize,
    /// n c h w
    pub input: Vec<f32>,
    /// Of one picture behind the other.
    pub logits: Vec<f64>,
}

impl Trained {
    pub fn new(name: &str) -> Self {
        let mut network = network(name);
        // Logits are compared, and not what softmax leaves of them.
        network.output = "fc".into();
        network.nodes.retain(|node| node.name != "prob");
        let weights = Checkpoint::from_safetensors(&read(&format!("{name}.safetensors"))).unwrap();
        let drawn = Checkpoint::from_safetensors(&read("drawn.safetensors")).unwrap();
        let HostTensor { shape, data } = &drawn.tensors["pictures"];
        let &[n, channels, h, w] = shape.as_slice() else { panic!("{shape:?}") };
        let picture = network.picture.as_ref().unwrap();
        let normalized = |(i, &value): (usize, &f32)| {
            let channel = i / (h * w) % channels;
            (value / 255.0 - picture.mean[channel]) / picture.std[channel]
        };
        Self {
            size: InputSize::image(n as u32, h as u32, w as u32),
            input: data.iter().enumerate().map(normalized).collect(),
            logits: drawn.tensors[name].data.iter().map(|&v| v.into()).collect(),
            graph: Graph::new(&network).unwrap(),
            weights,
        }
    }

    /// The class of each picture, by PyTorch's logits or by others.
    pub fn answers(&self, logits: impl IntoIterator<Item = f64>) -> Vec<usize> {
        let logits: Vec<f64> = logits.into_iter().collect();
        let best = |of: &[f64]| (0..of.len()).max_by(|&a, &b| of[a].total_cmp(&of[b])).unwrap();
        logits.chunks(logits.len() / self.size.n as usize).map(best).collect()
    }

    /// How far the logits are from PyTorch's at most, as a share of the largest.
    pub fn error(&self, logits: &[f64]) -> f64 {
        assert_eq!(logits.len(), self.logits.len());
        let largest = self.logits.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let apart = logits.iter().zip(&self.logits).map(|(a, b)| (a - b).abs() / largest);
        apart.fold(0.0, |most, v| if v.is_nan() { f64::INFINITY } else { v.max(most) })
    }
}
