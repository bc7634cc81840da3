//! What a network is: data, built by [`zoo`](crate::network::zoo) or read from JSON. `docs/networks.md` has every field.

use serde::{Deserialize, Serialize};

use crate::layer::{Activation, Downsample, Rounding, TimeAxis};

/// A network: nodes that read each other's values by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// What it is given.
    pub input: Input,
    /// The low size of an odd size.
    #[serde(default)]
    pub rounding: Rounding,
    /// Added to the variance of every batch norm.
    #[serde(default = "default_eps")]
    pub norm_eps: f32,
    /// In an order in which every node stands behind what it reads.
    pub nodes: Vec<Node>,
    /// The node whose value is the answer.
    pub output: String,
    /// Nodes that end a stage, in order, for reports and comparisons.
    #[serde(default)]
    pub stages: Vec<String>,
    /// How a picture becomes the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
}

/// The name under which nodes read the network's input.
pub const INPUT: &str = "input";

fn default_eps() -> f32 {
    1e-5
}

/// The input: one map, all of high frequency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its channels.
    pub channels: u32,
}

/// One operation with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique in the network; its tensors' names begin with it.
    pub name: String,
    /// What it computes, from what.
    #[serde(flatten)]
    pub op: Op,
}

/// What a node computes. A map has a part of high and a part of low frequency, either may be absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// An octave convolution, then batch norm, residual and activation.
    Conv(Conv),
    /// A maximum or mean over windows of each frequency.
    Pool(Pool),
    /// Batch norm of a map, and an activation.
    Norm {
        /// A map.
        input: String,
        /// After the batch norm.
        #[serde(default)]
        activation: Activation,
    },
    /// Maps of one size, channels one behind the other in each frequency.
    Concat {
        /// Maps.
        inputs: Vec<String>,
    },
    /// Squeeze-and-excitation.
    Excite(Excite),
    /// The means of H's channels, then of L's: a vector.
    GlobalPool {
        /// A map.
        input: String,
    },
    /// A vector times a matrix.
    Linear {
        /// A vector.
        input: String,
        /// Elements of the result.
        outputs: u32,
        /// Whether a bias is added.
        #[serde(default = "yes")]
        bias: bool,
    },
    /// exp(x) over the sum of all exp(x).
    Softmax {
        /// A vector.
        input: String,
    },
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

/// An octave convolution in a network: what [`Spec`](crate::Spec) says but the input's channels, which its input has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// A map.
    pub input: String,
    /// Output channels, high and low together.
    pub channels: u32,
    /// Share of low-frequency output channels, split officially.
    #[serde(default)]
    pub alpha: f64,
    /// Exact output channels [high, low], in place of `alpha`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<[u32; 2]>,
    /// Kernel, rows and columns.
    #[serde(default = "ones")]
    pub kernel: [u32; 2],
    /// Spatial stride, 1 or 2.
    #[serde(default = "one")]
    pub stride: u32,
    /// Padding, rows and columns.
    #[serde(default)]
    pub padding: [u32; 2],
    /// Dilation, rows and columns.
    #[serde(default = "ones")]
    pub dilation: [u32; 2],
    /// The time axis of a video layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeAxis>,
    /// Groups on every path.
    #[serde(default = "one")]
    pub groups: u32,
    /// A filter a channel, in place of `groups`.
    #[serde(default)]
    pub depthwise: bool,
    /// Whether each output has a bias.
    #[serde(default)]
    pub bias: bool,
    /// Whether each output has a batch norm.
    #[serde(default)]
    pub norm: bool,
    /// After the residual.
    #[serde(default)]
    pub activation: Activation,
    /// A map that is added before the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<String>,
    /// How resolution is halved.
    #[serde(default)]
    pub downsample: Downsample,
    /// Whether the layer has its H->L path.
    #[serde(default = "yes")]
    pub high_to_low: bool,
    /// Whether the layer has its L->H path.
    #[serde(default = "yes")]
    pub low_to_high: bool,
}

fn ones() -> [u32; 2] {
    [1, 1]
}

impl Conv {
    /// 1x1 of `input` to `channels`, all high, with neither norm nor activation.
    pub fn new(input: impl Into<String>, channels: u32) -> Self {
        Self {
            input: input.into(),
            channels,
            alpha: 0.0,
            split: None,
            kernel: [1, 1],
            stride: 1,
            padding: [0, 0],
            dilation: [1, 1],
            time: None,
            groups: 1,
            depthwise: false,
            bias: false,
            norm: false,
            activation: Activation::None,
            residual: None,
            downsample: Downsample::AveragePool,
            high_to_low: true,
            low_to_high: true,
        }
    }
}

/// Which value of a window a pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolKind {
    /// The largest.
    Max,
    /// The mean of those inside the map.
    Average,
}

/// A pool over windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// A map.
    pub input: String,
    /// Maximum or mean.
    pub kind: PoolKind,
    /// Window, [h, w] or [t, h, w].
    pub kernel: Axes,
    /// Distance of windows.
    pub stride: Axes,
    /// How far windows begin before the map.
    #[serde(default)]
    pub padding: Axes,
}

/// Numbers for rows and columns, or for frames, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axes {
    /// Rows and columns.
    Image([u32; 2]),
    /// Frames, rows and columns.
    Video([u32; 3]),
}

impl Default for Axes {
    fn default() -> Self {
        Self::Image([0, 0])
    }
}

impl Axes {
    /// Frames, rows, columns, with `time` frames where there is no time axis.
    pub(crate) fn with_time(self, time: u32) -> [u32; 3] {
        match self {
            Self::Image([h, w]) => [time, h, w],
            Self::Video(axes) => axes,
        }
    }
}

/// Squeeze-and-excitation: s = the means of H's and L's channels; r = relu(squeeze(s)); each frequency times
/// sigmoid(excite(r)), plus the residual, activated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excite {
    /// A map.
    pub input: String,
    /// Elements of r.
    pub reduced: u32,
    /// A map that is added before the activation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<String>,
    /// After the residual.
    #[serde(default)]
    pub activation: Activation,
}

/// How a picture becomes an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Rows of the input.
    pub height: u32,
    /// Columns of the input.
    pub width: u32,
    /// 1 for grey, 3 for red, green, blue.
    pub channels: u32,
    /// How a picture of another size gets there.
    pub resize: Resize,
    /// Subtracted from value/255, a channel each.
    pub mean: Vec<f32>,
    /// Then divided by.
    pub std: Vec<f32>,
    /// Whether dark and light change places.
    #[serde(default)]
    pub invert: Invert,
}

/// How a picture gets to the input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The whole picture is scaled.
    Fit,
    /// The shorter side is scaled to 256/224 of the target, and the middle taken.
    Crop,
}

/// Whether dark and light change places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invert {
    /// Never.
    #[default]
    Never,
    /// Where the border is light: for networks that know light on dark.
    Auto,
}

impl Node {
    /// The names of the values that it reads.
    pub fn reads(&self) -> Vec<&str> {
        match &self.op {
            Op::Conv(conv) => std::iter::once(&conv.input).chain(&conv.residual).map(String::as_str).collect(),
            Op::Excite(excite) => std::iter::once(&excite.input).chain(&excite.residual).map(String::as_str).collect(),
            Op::Pool(pool) => vec![&pool.input],
            Op::Concat { inputs } => inputs.iter().map(String::as_str).collect(),
            Op::Norm { input, .. } | Op::GlobalPool { input } | Op::Linear { input, .. } | Op::Softmax { input } => {
                vec![input]
            }
        }
    }
}
