//! A layer in JSON: one schema for a node of a network, for an entry of a list of layers, and for a layer on its own.
//!
//! All three have [`LayerFields`]. A node names what it reads. A layer on its own ([`LayerDescription`]) says how many
//! channels its input has, and has the rounding of odd sizes and `norm_eps`, which a node takes from its network. An
//! entry of a list ([`ListedLayer`]) adds a name and a size:
//!
//! ```
//! use octconv::ListedLayer;
//!
//! let text = r#"{"name": "res3.0.conv2", "size": {"h": 56, "w": 56},
//!                "input": {"channels": 128, "alpha": 0.5}, "channels": 128, "alpha": 0.5,
//!                "kernel": [3, 3], "padding": "same", "stride": 2, "activation": "relu"}"#;
//! let ListedLayer { size, layer, .. } = serde_json::from_str(text)?;
//! assert_eq!(layer.spec()?.shapes(size)?.y_l.unwrap().to_string(), "1x64x14x14");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Unknown fields are refused. Errors name the field, its value, and what it must be.

mod members;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub(crate) use self::members::{Members, missing};
use self::members::{number, variants, whole};
use super::activation::Activation;
use super::axes::{Downsample, Rounding, TimeAxis};
use super::builder::SpecBuilder;
use super::spec::Spec;
use super::split::Split;
use crate::dims::InputSize;
use crate::error::Error;

/// The fields of a layer in JSON.
///
/// In a network, `input` and `residual` are names of nodes. On its own, a layer has the channels of its input there,
/// and whether a residual is added.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(bound(serialize = "Input: Serialize, Residual: Serialize + Default + PartialEq"))]
pub struct LayerFields<Input, Residual> {
    /// What it reads.
    pub input: Input,
    /// Output channels, high and low together.
    pub channels: u32,
    /// Share of low-frequency output channels: low channels are int(alpha * channels).
    pub alpha: f64,
    /// Exact output channels [high, low], instead of `alpha`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<[u32; 2]>,
    /// Size of the kernel: rows and columns. JSON also takes [t, h, w] here, in `padding` and in `dilation`, instead of
    /// `time`.
    pub kernel: [u32; 2],
    /// Spatial stride: 1 or 2. JSON also takes [t, h, w] if `kernel`, `padding` or `dilation` has three numbers.
    pub stride: u32,
    /// Zeros at each end of rows and columns. JSON also takes "same", which is dilation * (kernel - 1) / 2.
    pub padding: [u32; 2],
    /// Distance between taps in rows and columns.
    pub dilation: [u32; 2],
    /// The time axis of a video layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeAxis>,
    /// The number of groups, the same on every path.
    pub groups: u32,
    /// Whether there is one group per input channel, on H->H and L->L only, instead of `groups`.
    pub depthwise: bool,
    /// Whether each output has a bias.
    pub bias: bool,
    /// Whether each output has a batch norm.
    pub norm: bool,
    /// The function applied after the residual is added.
    pub activation: Activation,
    /// The residual that is added before the activation.
    #[serde(skip_serializing_if = "is_default")]
    pub residual: Residual,
    /// How resolution is halved.
    pub downsample: Downsample,
    /// Whether the layer has its H->L path.
    pub high_to_low: bool,
    /// Whether the layer has its L->H path.
    pub low_to_high: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<Input, Residual: Default> LayerFields<Input, Residual> {
    /// A 1x1 convolution of `input` to `channels`, all high, without batch norm and activation.
    pub fn new(input: impl Into<Input>, channels: u32) -> Self {
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
            residual: Residual::default(),
            downsample: Downsample::AveragePool,
            high_to_low: true,
            low_to_high: true,
        }
    }

    /// The layer's specification for an input of these channels. `residual`: whether one is added to each output.
    pub(crate) fn builder(&self, input: Split, rounding: Rounding, residual: bool) -> Result<SpecBuilder, Error> {
        let (channels, output) = (input.channels(), split(self.channels, self.alpha, self.split)?);
        let builder = Spec::builder(channels, self.channels)
            .split(input, output)
            .kernel(self.kernel)
            .stride(self.stride)
            .padding(self.padding)
            .dilation(self.dilation)
            .time(self.time.unwrap_or(TimeAxis::IMAGE))
            .bias(self.bias)
            .activation(self.activation)
            .residual(residual && output.high > 0, residual && output.low > 0)
            .rounding(rounding)
            .downsample(self.downsample)
            .high_to_low(self.high_to_low)
            .low_to_high(self.low_to_high);
        match (self.depthwise, self.groups) {
            (false, groups) => Ok(builder.groups(groups)),
            (true, groups) if groups == 1 || groups == channels => Ok(builder.depthwise()),
            (true, groups) => {
                let allowed = format!("must be left out of a depthwise layer, or be its {channels} input channels");
                Err(Error::argument("groups", groups, allowed))
            }
        }
    }

    /// Takes the fields out of an object that may have others. The caller has taken `input` and `residual`.
    pub(crate) fn take(members: &mut Members, input: Input, residual: Residual) -> Result<Self, Error> {
        let (channels, alpha, split) = take_map(members)?;
        let groups = members.take("groups", "a whole number", whole)?;
        let axes = Axes::take(members)?;
        let new = Self::new(input, channels);
        Ok(Self {
            input: new.input,
            residual,
            channels,
            alpha,
            split,
            kernel: axes.space.map(|axis| axis.kernel),
            stride: axes.space[0].stride,
            padding: axes.space.map(|axis| axis.padding),
            dilation: axes.space.map(|axis| axis.dilation),
            time: axes.time,
            groups: groups.unwrap_or(new.groups),
            depthwise: members.flag("depthwise")?.unwrap_or(new.depthwise),
            bias: members.flag("bias")?.unwrap_or(new.bias),
            norm: members.flag("norm")?.unwrap_or(new.norm),
            activation: members.choice("activation")?.unwrap_or(new.activation),
            downsample: members.choice("downsample")?.unwrap_or(new.downsample),
            high_to_low: members.flag("high_to_low")?.unwrap_or(new.high_to_low),
            low_to_high: members.flag("low_to_high")?.unwrap_or(new.low_to_high),
        })
    }
}

/// The input of a layer on its own: the channels of a map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MapChannels {
    /// Channels, high and low together.
    pub channels: u32,
    /// Share of low-frequency channels: low channels are int(alpha * channels).
    pub alpha: f64,
    /// Exact channels [high, low], instead of `alpha`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<[u32; 2]>,
}

impl MapChannels {
    /// The channels of each frequency. An error if `alpha` is not in [0, 1], or if `split` does not add up to
    /// `channels`.
    pub fn split(&self) -> Result<Split, Error> {
        split(self.channels, self.alpha, self.split)
    }
}

impl<'de> Deserialize<'de> for MapChannels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer, |members| {
            let (channels, alpha, split) = take_map(members)?;
            Ok(Self { channels, alpha, split })
        })
    }
}

/// A layer on its own, as JSON describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerDescription {
    /// How odd sizes are halved.
    pub rounding: Rounding,
    /// Added to the variance of the batch norm.
    pub norm_eps: f32,
    /// The layer itself.
    #[serde(flatten)]
    pub fields: LayerFields<MapChannels, bool>,
}

/// `norm_eps` of a description that does not give it.
pub(crate) const NORM_EPS: f32 = 1e-5;

impl LayerDescription {
    /// A builder of the layer's specification, which the caller can change before it builds. Errors name the field.
    pub fn builder(&self) -> Result<SpecBuilder, Error> {
        let in_input = |error| Error::Description { problem: format!("input: {error}") };
        let input = self.fields.input.split().map_err(in_input)?;
        self.fields.builder(input, self.rounding, self.fields.residual)
    }

    /// The layer's specification. Errors name the field or argument.
    pub fn spec(&self) -> Result<Spec, Error> {
        self.builder()?.build()
    }

    fn take(members: &mut Members) -> Result<Self, Error> {
        let wanted = "a number, at least 0";
        let eps = |value: &Value| Some(number(value)? as f32).filter(|eps| *eps >= 0.0 && eps.is_finite());
        let input = members.object("input")?.ok_or_else(|| missing("input"))?;
        let residual = members.flag("residual")?.unwrap_or(false);
        Ok(Self {
            rounding: members.choice("rounding")?.unwrap_or_default(),
            norm_eps: members.take("norm_eps", wanted, eps)?.unwrap_or(NORM_EPS),
            fields: LayerFields::take(members, input, residual)?,
        })
    }
}

impl<'de> Deserialize<'de> for LayerDescription {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer, Self::take)
    }
}

/// An entry of a list of layers in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedLayer {
    /// The layer's name in reports.
    pub name: String,
    /// The size of its input at full resolution. JSON may leave out `n` and `t`, which are then 1.
    pub size: InputSize,
    /// The layer.
    #[serde(flatten)]
    pub layer: LayerDescription,
}

impl<'de> Deserialize<'de> for ListedLayer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::deserialize(deserializer, |members| {
            let name = members.text("name")?.ok_or_else(|| missing("name"))?;
            let of_layer = |error| Error::Description { problem: format!("layer {name}: {error}") };
            let size = members.object("size").and_then(|size| size.ok_or_else(|| missing("size"))).map_err(of_layer)?;
            Ok(Self { size, layer: LayerDescription::take(members).map_err(of_layer)?, name })
        })
    }
}

impl<'de> Deserialize<'de> for InputSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a whole number";
        Members::deserialize(deserializer, |members| {
            Ok(Self {
                n: members.take("n", wanted, whole)?.unwrap_or(1),
                t: members.take("t", wanted, whole)?.unwrap_or(1),
                h: members.required("h", wanted, whole)?,
                w: members.required("w", wanted, whole)?,
            })
        })
    }
}

impl<'de> Deserialize<'de> for TimeAxis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "a whole number";
        Members::deserialize(deserializer, |members| {
            Ok(Self {
                kernel: members.required("kernel", wanted, whole)?,
                stride: members.required("stride", wanted, whole)?,
                padding: members.required("padding", wanted, whole)?,
                dilation: members.required("dilation", wanted, whole)?,
            })
        })
    }
}

/// `channels`, `alpha` and `split` of a map.
fn take_map(members: &mut Members) -> Result<(u32, f64, Option<[u32; 2]>), Error> {
    let channels =
        members.required("channels", "a whole number, at least 1", |value| whole(value).filter(|&c| c > 0))?;
    let in_range = |alpha: &f64| (0.0..=1.0).contains(alpha);
    let alpha = members.take("alpha", "a number from 0 to 1", |value| number(value).filter(in_range))?.unwrap_or(0.0);
    let pair = members.take("split", "[high, low]", |value| match *wholes(value)?.as_slice() {
        [high, low] => Some([high, low]),
        _ => None,
    })?;
    if let (Some([high, low]), true) = (pair, alpha != 0.0) {
        return Err(Error::argument(
            "split",
            format!("[{high}, {low}]"),
            format!("must not be given next to alpha, which is {alpha}"),
        ));
    }
    split(channels, alpha, pair)?;
    Ok((channels, alpha, pair))
}

impl Activation {
    /// The names of all activations in JSON.
    pub fn json_names() -> &'static [&'static str] {
        variants::<Self>()
    }
}

fn split(channels: u32, alpha: f64, exact: Option<[u32; 2]>) -> Result<Split, Error> {
    match exact {
        None => Split::from_alpha(channels, alpha),
        Some([high, low]) if high.checked_add(low) == Some(channels) => Ok(Split { high, low }),
        Some([high, low]) => {
            let allowed = format!("must sum to the {channels} channels");
            Err(Error::argument("split", format!("{high} + {low}"), allowed))
        }
    }
}

fn wholes(value: &Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(whole).collect()
}

/// Rows and columns, each with the four numbers of a time axis, and the time axis.
struct Axes {
    space: [TimeAxis; 2],
    time: Option<TimeAxis>,
}

impl Axes {
    fn take(members: &mut Members) -> Result<Self, Error> {
        let time: Option<TimeAxis> = members.object("time")?;
        let kernel = take_axis(members, "kernel", "[h, w] or [t, h, w]")?;
        let dilation = take_axis(members, "dilation", "[h, w] or [t, h, w]")?;
        let padding = take_padding(members)?;
        let exact = match &padding {
            Padding::Numbers(numbers) => numbers.as_ref(),
            Padding::Same => None,
        };
        let given = [("kernel", kernel.as_ref()), ("padding", exact), ("dilation", dilation.as_ref())];
        let given: Vec<_> = given.into_iter().filter_map(|(name, list)| Some((name, list?))).collect();
        for pair in given.windows(2) {
            let [(first, a), (second, b)] = *pair else { continue };
            if a.len() != b.len() {
                let allowed = format!("must have as many numbers as {first}, which is {a:?}");
                return Err(Error::argument(second, format!("{b:?}"), allowed));
            }
        }
        let three = given.iter().find(|(_, list)| list.len() == 3);
        if let (Some((name, list)), Some(_)) = (three, time) {
            return Err(Error::argument(name, format!("{list:?}"), "must be [h, w] if time is given"));
        }
        let strides = take_stride(members, three.is_some())?;

        let at = |list: Option<&Vec<u32>>, axis: usize, default: u32| match list.map(Vec::as_slice) {
            Some(&[h, w]) => [default, h, w][axis],
            Some(&[t, h, w]) => [t, h, w][axis],
            _ => default,
        };
        let mut axes = [TimeAxis::IMAGE; 3];
        for (i, axis) in axes.iter_mut().enumerate() {
            axis.kernel = at(kernel.as_ref(), i, 1);
            axis.stride = strides[i];
            axis.dilation = at(dilation.as_ref(), i, 1);
            axis.padding = match padding {
                Padding::Numbers(_) => at(exact, i, 0),
                Padding::Same => same(axis)?,
            };
        }
        let [t, rows, columns] = axes;
        Ok(Self { space: [rows, columns], time: time.or(three.map(|_| t)) })
    }
}

fn take_axis(members: &mut Members, name: &'static str, wanted: &str) -> Result<Option<Vec<u32>>, Error> {
    members.take(name, wanted, two_or_three)
}

fn two_or_three(value: &Value) -> Option<Vec<u32>> {
    wholes(value).filter(|list| matches!(list.len(), 2 | 3))
}

enum Padding {
    Numbers(Option<Vec<u32>>),
    Same,
}

fn take_padding(members: &mut Members) -> Result<Padding, Error> {
    let read = |value: &Value| match value.as_str() {
        Some("same") => Some(Padding::Same),
        _ => two_or_three(value).map(|list| Padding::Numbers(Some(list))),
    };
    Ok(members.take("padding", "[h, w], [t, h, w] or \"same\"", read)?.unwrap_or(Padding::Numbers(None)))
}

/// The zeros at each end that keep the size of an axis.
fn same(axis: &TimeAxis) -> Result<u32, Error> {
    let reach = u64::from(axis.dilation) * u64::from(axis.kernel.saturating_sub(1));
    if reach % 2 == 1 {
        let (kernel, dilation) = (axis.kernel, axis.dilation);
        let allowed =
            format!("must be numbers for a kernel of {kernel} with dilation {dilation}, which no padding centres");
        return Err(Error::argument("padding", "\"same\"", allowed));
    }
    Ok(u32::try_from(reach / 2).unwrap_or(u32::MAX))
}

/// Strides of time, rows and columns. `three`: whether kernel, padding or dilation has three numbers.
fn take_stride(members: &mut Members, three: bool) -> Result<[u32; 3], Error> {
    let wanted = match three {
        true => "a number or [t, h, w]",
        false => "a number; it is a list only if kernel, padding and dilation have three numbers",
    };
    let read = |value: &Value| match value.as_array() {
        None => whole(value).map(|s| [1, s, s]),
        Some(_) if !three => None,
        Some(_) => <[u32; 3]>::try_from(wholes(value)?).ok(),
    };
    let strides = members.take("stride", wanted, read)?.unwrap_or([1; 3]);
    match strides {
        [_, h, w] if h == w => Ok(strides),
        _ => Err(Error::argument("stride", format!("{strides:?}"), "must be the same for rows and columns")),
    }
}
