//! A filter against grain, as an octave network from texture to texture.
//!
//! Its weights were not trained: each channel carries a copy of red, green or blue, two convolutions blur all copies and
//! average them, and the last one adds up what is left. So what has half of the resolution is smoother, and costs less.

use eframe::wgpu;
use octconv::network::{Checkpoint, Graph, HostTensor, Inference, Model, Network, NetworkOptions, ValueView};
use octconv::{Engine, Extent, InputSize, Marks, TextureDispatch, TextureInput, TextureOutput};

/// What the application shows as a line.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The size of the pictures.
pub const SIZE: Extent = Extent { h: 256, w: 384 };
/// Channels between the first and the last convolution.
pub const CHANNELS: u32 = 24;
/// Red, green and blue.
const COLOURS: usize = 3;

/// A network that is compiled for the size of the pictures, and what reads and writes their textures.
pub struct Filter {
    model: Model,
    inference: Inference,
    read: TextureDispatch,
    write: TextureDispatch,
}

impl Filter {
    /// The filter with this share of low-frequency channels: a whole number of `CHANNELS`. `from` and `to`: rgba8unorm.
    pub fn new(engine: &Engine, alpha: f64, from: &wgpu::Texture, to: &wgpu::Texture) -> Result<Self> {
        let graph = Graph::new(&description(alpha)?)?;
        let checkpoint = weights(&graph);
        let model = Model::new(engine, graph, checkpoint)?;
        let plan = model.plan(InputSize::image(1, SIZE.h, SIZE.w), &NetworkOptions::default())?;
        let inference = model.compile(plan, |_| ())?;
        let input = inference.input().ok_or(NO_IMAGE)?;
        let read = engine.texture_input(from, &TextureInput::default(), input)?;
        let Some(ValueView::Map { high: Some(answer), .. }) = inference.output() else { return Err(NO_IMAGE.into()) };
        let write = engine.texture_output(answer, &TextureOutput::default(), to)?;
        Ok(Self { model, inference, read, write })
    }

    /// Records all of it. Returns the names of the nodes whose times `marks` gives.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, marks: Marks<'_>) -> Result<Vec<&str>> {
        self.read.record(pass);
        let names = self.inference.record_marked(pass, marks)?;
        self.write.record(pass);
        Ok(names)
    }

    /// Multiply-adds of a frame.
    pub fn macs(&self) -> Result<u64> {
        Ok(self.model.graph().cost(InputSize::image(1, SIZE.h, SIZE.w))?.macs)
    }

    /// Dispatches of a frame, with those that read and write textures.
    pub fn dispatches(&self) -> usize {
        self.inference.plan().dispatches() + 2
    }

    /// Nodes that have times.
    pub fn nodes(&self) -> usize {
        self.model.graph().network().nodes.len()
    }

    pub fn model(&self) -> &Model {
        &self.model
    }
}

/// Multiply-adds of a frame without octaves.
pub fn plain_macs() -> Result<u64> {
    Ok(Graph::new(&description(0.0)?)?.cost(InputSize::image(1, SIZE.h, SIZE.w))?.macs)
}

const NO_IMAGE: &str = "the filter takes or gives no image";

/// The network as data.
fn description(alpha: f64) -> Result<Network> {
    let conv = |name: &str, input: &str, alpha: f64, channels: u32, kernel: u32| {
        serde_json::json!({
            "name": name, "op": "conv", "input": input, "channels": channels, "alpha": alpha,
            "kernel": [kernel, kernel], "padding": [kernel / 2, kernel / 2], "activation": "relu"
        })
    };
    let network = serde_json::json!({
        "name": "filter",
        "input": { "channels": COLOURS },
        "nodes": [
            conv("copy", "input", alpha, CHANNELS, 3),
            conv("blur.1", "copy", alpha, CHANNELS, 3),
            conv("blur.2", "blur.1", alpha, CHANNELS, 3),
            conv("add", "blur.2", 0.0, COLOURS as u32, 1),
        ],
        "output": "add"
    });
    Ok(serde_json::from_value(network)?)
}

/// The weights of every convolution: how much of each input channel an output channel of the same colour takes, times a
/// kernel that adds up to 1.
fn weights(graph: &Graph) -> Checkpoint {
    let tensors = graph.tensors();
    let mut checkpoint = Checkpoint::default();
    for tensor in &tensors {
        let (node, path) = tensor.name.rsplit_once('.').unwrap_or_default();
        let shape = &tensor.shape;
        let &[outputs, inputs, rows, columns] = &shape[..] else { continue };
        // The channels of both paths into this output share its sum.
        let output = path.chars().last();
        let all: usize = tensors
            .iter()
            .filter(|other| other.name.rsplit_once('.').is_some_and(|(n, p)| n == node && p.chars().last() == output))
            .map(|other| other.shape[1] / COLOURS)
            .sum();
        let taps = [1.0, 2.0, 1.0];
        let tap = |row: usize, column: usize| match (rows, columns, node) {
            (1, 1, _) => 1.0,
            (_, _, "copy") => f32::from(u8::from(row == 1 && column == 1)),
            _ => taps[row] * taps[column] / 16.0,
        };
        let mut data = Vec::with_capacity(shape.iter().product());
        for (k, c) in (0..outputs).flat_map(|k| (0..inputs).map(move |c| (k, c))) {
            let share = if k % COLOURS == c % COLOURS { 1.0 / all.max(1) as f32 } else { 0.0 };
            data.extend(
                (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, s)| share * tap(r, s)),
            );
        }
        checkpoint.tensors.insert(tensor.name.clone(), HostTensor { shape: shape.clone(), data });
    }
    checkpoint
}
