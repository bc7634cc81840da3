//! The description of a network, built by [`zoo`](crate::network::zoo) or read from JSON. `docs/networks.md` has every
//! field.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error::Error;
use crate::layer::{Activation, LayerFields, Members, NORM_EPS, Rounding, missing};
use crate::texture::TextureInput;

/// The description of a network: nodes that read each other's values by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its input.
    pub input: Input,
    /// How odd sizes are halved.
    #[serde(default)]
    pub rounding: Rounding,
    /// Added to the variance of every batch norm.
    #[serde(default = "default_eps")]
    pub norm_eps: f32,
    /// The nodes. Every node comes after the nodes that it reads.
    pub nodes: Vec<Node>,
    /// The name of the node whose value is the answer.
    pub output: String,
    /// The names of the nodes that end a stage, in order, for reports and comparisons.
    #[serde(default)]
    pub stages: Vec<String>,
    /// How a program turns a picture into the input, if it can be one. Inference does not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
}

impl Network {
    /// The same network without octaves: every convolution makes high frequency alone, and all else is the same. A
    /// built-in network becomes the one with alpha = 0.
    pub fn plain(&self) -> Self {
        let mut network = self.clone();
        for node in &mut network.nodes {
            if let Op::Conv(conv) = &mut node.op {
                (conv.alpha, conv.split) = (0.0, None);
            }
        }
        network
    }
}

/// The name by which nodes read the network's input.
pub const INPUT: &str = "input";

fn default_eps() -> f32 {
    NORM_EPS
}

/// The input of a network: one map, all of high frequency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its channels.
    pub channels: u32,
}

/// A named operation of a network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Unique in the network. The names of the node's tensors begin with it.
    pub name: String,
    /// What it computes, and the names of what it reads.
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

        /// An operation, or the error of reading it, so that the error can name the node.
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

/// What a node computes. Its inputs are names of nodes, or [`INPUT`].
///
/// Values are maps or vectors. A map has a high and a low frequency, of which one may have no channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Op {
    /// An octave convolution, then batch norm, residual and activation.
    Conv(Conv),
    /// The maximum or mean over pool windows, for each frequency.
    Pool(Pool),
    /// Batch norm of a map, then an activation.
    Norm {
        /// A map.
        input: String,
        /// Whether it has a scale and a shift. If not, it only normalises.
        #[serde(default = "yes")]
        affine: bool,
        /// Applied after the batch norm.
        #[serde(default)]
        activation: Activation,
    },
    /// Another size of a map, for each frequency.
    Upsample(Upsample),
    /// An activation by itself.
    Activation {
        /// A map or a vector.
        input: String,
        /// The activation.
        activation: Activation,
    },
    /// The sum of maps of one shape, for each frequency, then an activation.
    Add {
        /// At least two maps.
        inputs: Vec<String>,
        /// Applied to the sum.
        #[serde(default)]
        activation: Activation,
    },
    /// Concatenates the channels of maps of one size, for each frequency; or the elements of vectors.
    Concat {
        /// At least one map, or at least one vector.
        inputs: Vec<String>,
    },
    /// Squeeze-and-excitation of a map.
    Excite(Excite),
    /// Attention, for each frequency.
    Attention(Attention),
    /// Each channel of a map times an element of a vector, which has those of the high channels first.
    Gate {
        /// A map.
        input: String,
        /// A vector with as many elements as the map has channels.
        by: String,
    },
    /// A vector: the means of the high channels of a map, then of the low channels.
    GlobalPool {
        /// A map.
        input: String,
    },
    /// A vector times a matrix, plus a bias, then an activation.
    Linear {
        /// A vector.
        input: String,
        /// Elements of the result.
        outputs: u32,
        /// Whether a bias is added.
        #[serde(default = "yes")]
        bias: bool,
        /// Applied to each element of the result.
        #[serde(default)]
        activation: Activation,
    },
    /// Softmax of a vector: exp(x) divided by the sum of all exp(x).
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

/// What a pool makes of a pool window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PoolKind {
    /// The largest element.
    Max,
    /// The mean.
    Average,
}

/// A maximum or mean over pool windows, for each frequency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pool {
    /// A map.
    pub input: String,
    /// Maximum or mean.
    pub kind: PoolKind,
    /// Size of a pool window, each axis 1 to 1024. Frames are 1 if not given.
    pub kernel: Axes,
    /// Distance between pool windows, each axis 1 to 1024. Frames are 1 if not given.
    pub stride: Axes,
    /// How far pool windows may reach beyond the map: before it, less than `kernel`; behind it, less than `kernel` +
    /// `stride` - 1. Frames are 0 if not given.
    pub padding: Axes<Ends>,
    /// Whether the number of pool windows is rounded up, as PyTorch does it: the last pool window may reach beyond the
    /// padding, but must begin before the end of the map.
    pub ceil_mode: bool,
    /// Whether a mean divides by the number of elements of a pool window that are in the map or in the padding. If not,
    /// it divides by the number of those in the map. Only for means.
    pub count_include_pad: bool,
}

impl Pool {
    /// A pool without padding, whose size is rounded down.
    pub fn new(input: impl Into<String>, kind: PoolKind, kernel: Axes, stride: Axes) -> Self {
        let (input, padding) = (input.into(), Axes::default());
        Self { input, kind, kernel, stride, padding, ceil_mode: false, count_include_pad: false }
    }
}

impl<'de> Deserialize<'de> for Pool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer, |members| {
            let input = members.text("input")?.ok_or_else(|| missing("input"))?;
            let kind = members.choice("kind")?.ok_or_else(|| missing("kind"))?;
            let kernel = members.required("kernel", AXES, read)?;
            let stride = members.required("stride", AXES, read)?;
            let padding = members.take("padding", &format!("{AXES}, each a number or [before, behind]"), read)?;
            Ok(Self {
                padding: padding.unwrap_or_default(),
                ceil_mode: members.flag("ceil_mode")?.unwrap_or(false),
                count_include_pad: members.flag("count_include_pad")?.unwrap_or(false),
                ..Self::new(input, kind, kernel, stride)
            })
        })
    }
}

/// How an upsampling makes an element from those near its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UpsampleMode {
    /// It takes the one element at the place, rounded down.
    Nearest,
    /// It interpolates linearly along rows and columns. Of frames it takes the nearest.
    Bilinear,
}

/// The size that an upsampling makes: that of the high frequency, even if there is none. The low frequency has half of
/// its rows and columns.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpsampleTo {
    /// So many times as large, rounded down. Each factor is a fraction of whole numbers up to 1024. Frames stay if not
    /// given.
    Factor(Axes<f64>),
    /// This size. Frames stay if not given.
    Size(Axes),
    /// The size of another map, with its frames.
    Like(String),
}

/// Another size of a map, for each frequency, as PyTorch's `interpolate` makes it. It may be smaller too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upsample {
    /// A map.
    pub input: String,
    /// How an element is made.
    pub mode: UpsampleMode,
    /// Whether the first and the last element of rows and columns keep their places. If not, the edges of the map keep
    /// theirs. Only for [`UpsampleMode::Bilinear`].
    pub align_corners: bool,
    /// The size. In JSON one member: `factor`, `size` or `like`.
    #[serde(flatten)]
    pub to: UpsampleTo,
}

impl<'de> Deserialize<'de> for Upsample {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer, |members| {
            let input = members.text("input")?.ok_or_else(|| missing("input"))?;
            let mode = members.choice("mode")?.ok_or_else(|| missing("mode"))?;
            let align_corners = members.flag("align_corners")?.unwrap_or(false);
            let factor = members.take("factor", &format!("{AXES}, each a number"), read)?.map(UpsampleTo::Factor);
            let size = members.take("size", AXES, read)?.map(UpsampleTo::Size);
            let like = members.text("like")?.map(UpsampleTo::Like);
            let mut given = [factor, size, like].into_iter().flatten();
            let (Some(to), None) = (given.next(), given.next()) else {
                return Err(Error::Description { problem: "must have one of factor, size and like".into() });
            };
            Ok(Self { input, mode, align_corners, to })
        })
    }
}

/// What a list for the axes of a map must be.
const AXES: &str = "[h, w] or [t, h, w]";

fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

/// Something for rows and columns [h, w], or for frames, rows and columns [t, h, w].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axes<T = u32> {
    /// Rows and columns.
    Image([T; 2]),
    /// Frames, rows and columns.
    Video([T; 3]),
}

impl<T: Default> Default for Axes<T> {
    fn default() -> Self {
        Self::Image([T::default(), T::default()])
    }
}

/// The padding of an axis. In JSON a number, or [before, behind] if they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Before the map: above it, or on its left.
    pub before: u32,
    /// Behind the map: below it, or on its right.
    pub behind: u32,
}

impl From<u32> for Ends {
    /// The same before and behind.
    fn from(both: u32) -> Self {
        Self { before: both, behind: both }
    }
}

impl Serialize for Ends {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { before, behind } = *self;
        if before == behind { before.serialize(serializer) } else { [before, behind].serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Ends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Read {
            Both(u32),
            Each([u32; 2]),
        }
        Ok(match Read::deserialize(deserializer)? {
            Read::Both(both) => both.into(),
            Read::Each([before, behind]) => Self { before, behind },
        })
    }
}

impl<T> Axes<T> {
    /// Frames, rows and columns. Frames are `time` if they are not given.
    pub(crate) fn with_time(self, time: T) -> [T; 3] {
        match self {
            Self::Image([h, w]) => [time, h, w],
            Self::Video(axes) => axes,
        }
    }
}

/// Squeeze-and-excitation of a map x (Hu et al., 2018).
///
/// s = the means of the high channels, then of the low channels; r = relu(squeeze(s)); each frequency of the result is
/// activation(x * sigmoid(excite(r)) + residual). squeeze and excite are each a matrix and a bias; each frequency has
/// an excite of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excite {
    /// A map.
    pub input: String,
    /// Number of elements of r.
    pub reduced: u32,
    /// A map that is added before the activation, with the channels and the size of `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<String>,
    /// Applied after the residual is added.
    #[serde(default)]
    pub activation: Activation,
}

/// Attention over all positions, with frames as positions too, for each frequency.
///
/// Each position of the queries takes a mean of the values. The value at position j weighs exp(s_j) over the sum of all
/// exp(s), where s_j is `scale` times the dot product of the query and the key at j, over their channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// A map, whose size the result has.
    pub queries: String,
    /// A map with the channels of `queries`.
    pub keys: String,
    /// A map with the size of `keys`, which has channels in the frequencies that `queries` has.
    pub values: String,
    /// If not given, 1 over the square root of the number of channels of the keys, in each frequency its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
}

/// How a picture becomes the input of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Rows of the input.
    pub height: u32,
    /// Columns of the input.
    pub width: u32,
    /// Channels of the input: 1 for grey; 3 for red, green, blue.
    pub channels: u32,
    /// How a picture of another size is resized.
    pub resize: Resize,
    /// Per channel: subtracted from value / 255.
    pub mean: Vec<f32>,
    /// Per channel: divides the result.
    pub std: Vec<f32>,
    /// Whether dark and light are swapped.
    #[serde(default)]
    pub invert: Invert,
}

impl Picture {
    /// How a texture of this format becomes the input: with this mean and deviation, in the sRGB curve if the format is an sRGB
    /// one. A grey input takes the red channel. Which region is read, as `resize` would have it, and `invert`, are the caller's.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if there are other channels than 1 or 3, or more or fewer numbers than channels.
    pub fn texture_input(&self, format: wgpu::TextureFormat) -> Result<TextureInput, Error> {
        self.check_channels()?;
        let mut input = TextureInput { encode_srgb: format.is_srgb(), ..TextureInput::default() };
        for (list, numbers) in [(&self.mean, &mut input.mean), (&self.std, &mut input.std)] {
            numbers[..list.len()].copy_from_slice(list);
        }
        Ok(input)
    }

    /// Refuses other channels than 1 or 3, and more or fewer numbers than channels.
    pub(super) fn check_channels(&self) -> Result<(), Error> {
        if !matches!(self.channels, 1 | 3) {
            return Err(Error::argument("picture.channels", self.channels, "must be 1 or 3"));
        }
        for (name, list) in [("picture.mean", &self.mean), ("picture.std", &self.std)] {
            if list.len() != self.channels as usize {
                let allowed = format!("must have a number for each of {} channels", self.channels);
                return Err(Error::argument(name, format!("{list:?}"), allowed));
            }
        }
        Ok(())
    }
}

/// How a picture is resized to the size of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Scales the whole picture.
    Fit,
    /// Scales the shorter side to 256/224 of the input's size, and takes the middle.
    Crop,
    /// Scales the shorter side to so many pixels, and takes the middle, with the sizes and the place that torchvision's
    /// `Resize` and `CenterCrop` give. In JSON `{"shorter": 256}`.
    Shorter(u32),
}

/// Whether dark and light are swapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invert {
    /// Never.
    #[default]
    Never,
    /// If the border is light, for networks that were trained on light objects before a dark background.
    Auto,
}

impl Node {
    /// The names of the values that the node reads, and of that whose size it takes.
    pub fn reads(&self) -> Vec<&str> {
        match &self.op {
            Op::Conv(conv) => std::iter::once(&conv.input).chain(&conv.residual).map(String::as_str).collect(),
            Op::Excite(excite) => std::iter::once(&excite.input).chain(&excite.residual).map(String::as_str).collect(),
            Op::Attention(Attention { queries, keys, values, .. }) => vec![queries, keys, values],
            Op::Pool(pool) => vec![&pool.input],
            Op::Upsample(Upsample { input, to: UpsampleTo::Like(like), .. }) => vec![input, like],
            Op::Upsample(upsample) => vec![&upsample.input],
            Op::Gate { input, by } => vec![input, by],
            Op::Add { inputs, .. } | Op::Concat { inputs } => inputs.iter().map(String::as_str).collect(),
            Op::Norm { input, .. }
            | Op::Activation { input, .. }
            | Op::GlobalPool { input }
            | Op::Linear { input, .. }
            | Op::Softmax { input } => {
                vec![input]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::layer::TimeAxis;

    #[test]
    fn pictures_say_how_textures_are_read() {
        let picture =
            json!({"height": 8, "width": 8, "channels": 3, "resize": "fit", "mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]});
        let picture: Picture = serde_json::from_value(picture).unwrap();
        let input = picture.texture_input(wgpu::TextureFormat::Bgra8UnormSrgb).unwrap();
        assert_eq!((input.mean, input.std, input.encode_srgb), ([0.1, 0.2, 0.3, 0.0], [1.0, 2.0, 3.0, 1.0], true));
        assert!(!picture.texture_input(wgpu::TextureFormat::Rgba16Float).unwrap().encode_srgb);
        let refused = |picture: Picture| picture.texture_input(wgpu::TextureFormat::R8Unorm).unwrap_err().to_string();
        let wanted = "picture.std is [1.0]: must have a number for each of 3 channels";
        assert_eq!(refused(Picture { std: vec![1.0], ..picture.clone() }), wanted);
        assert_eq!(refused(Picture { channels: 2, ..picture }), "picture.channels is 2: must be 1 or 3");
    }

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
