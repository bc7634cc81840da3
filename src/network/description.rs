//! What a network is: data, built by [`zoo`](crate::network::zoo) or read from JSON. `docs/networks.md` has every
//! field.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::layer::{Activation, LayerFields, Members, NORM_EPS, Rounding, missing};

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
    NORM_EPS
}

/// The input: one map, all of high frequency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its channels.
    pub channels: u32,
}

/// One operation with a name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Unique in the network; its tensors' names begin with it.
    pub name: String,
    /// What it computes, from what.
    #[serde(flatten)]
    pub op: Op,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
            #[serde(flatten)]
            op: Read,
        }

        /// An operation, or why it is none, for an error that names the node.
        struct Read(Result<Op, String>);

        impl<'de> Deserialize<'de> for Read {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self(Op::deserialize(deserializer).map_err(|error| error.to_string())))
            }
        }

        let Named { name, op } = Named::deserialize(deserializer)?;
        let op = op.0.map_err(|error| D::Error::custom(format!("node {name}: {error}")))?;
        Ok(Self { name, op })
    }
}

/// What a node computes. A map has a part of high and a part of low frequency, either may be absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
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

/// An octave convolution in a network: a layer whose input and residual are names of maps.
pub type Conv = LayerFields<String, Option<String>>;

impl<'de> Deserialize<'de> for Conv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer, |members| {
            let input = members.text("input")?.ok_or_else(|| missing("input"))?;
            let residual = members.text("residual")?;
            Self::take(members, input, residual)
        })
    }
}

/// Which value of a window a pool takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::layer::TimeAxis;

    #[test]
    fn nodes_have_the_same_fields_and_name_their_node() {
        let network = |node: Value| {
            let text = json!({"name": "n", "input": {"channels": 4}, "nodes": [node], "output": "a"}).to_string();
            serde_json::from_str::<Network>(&text).map_err(|error| error.to_string())
        };
        let conv =
            json!({"name": "a", "op": "conv", "input": "input", "channels": 4, "kernel": [1, 3, 3], "padding": "same"});
        let Op::Conv(read) = network(conv).unwrap().nodes.remove(0).op else { panic!() };
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Conv>(&text).unwrap(), read, "{text}");
        assert_eq!((read.padding, read.time), ([1, 1], Some(TimeAxis::IMAGE)));
        for (node, wanted) in [
            (json!({"op": "softmax", "input": "input"}), "missing field `name`"),
            (json!({"name": "a", "input": "input"}), "node a: missing field `op`"),
            (json!({"name": "a", "op": "sum", "input": "input"}), "node a: unknown variant `sum`"),
            (json!({"name": "a", "op": "conv", "channels": 4}), "node a: input is missing"),
            (
                json!({"name": "a", "op": "conv", "input": {"channels": 4}, "channels": 4}),
                "node a: input is {\"channels\":4}",
            ),
            (json!({"name": "a", "op": "conv", "input": "input"}), "node a: channels is missing"),
            (
                json!({"name": "a", "op": "conv", "input": "input", "channels": 4, "kernel": 3}),
                "node a: kernel is 3: must be",
            ),
            (
                json!({"name": "a", "op": "conv", "input": "input", "channels": 4, "rounding": "ceil"}),
                "unknown field `rounding`",
            ),
            (
                json!({"name": "a", "op": "conv", "input": "input", "channels": 4, "residual": true}),
                "residual is true: must be",
            ),
            (json!({"name": "a", "op": "softmax", "input": "input", "x": 1}), "node a: unknown field `x`"),
            (json!({"name": "a", "op": "norm", "input": "input", "x": 1}), "node a: unknown field `x`"),
        ] {
            let refusal = network(node.clone()).unwrap_err();
            assert!(refusal.contains(wanted), "{node}\n  gives  {refusal}\n  wanted {wanted}");
        }
    }
}
