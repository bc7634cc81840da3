//! SPEC.json: a layer in a file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use octconv::{Activation, Downsample, Path as ConvPath, Rounding, Spec, SpecBuilder, Split, TimeAxis};
use serde::Deserialize;
use serde_json::Value;

/// The fields, for `--help`.
pub const HELP: &str = "\
SPEC.json is one object. All fields but the first two may be left out; what they
are then stands in parentheses:
  in_channels, out_channels
                   channels of input and output, high and low together
  alpha_in, alpha_out
                   share of low-frequency channels, from 0 to 1 (0):
                   low channels are int(alpha * channels)
  low_in_channels, low_out_channels
                   low-frequency channels, in place of the alpha of that side
  kernel           [h, w], or [t, h, w] with a time axis ([1, 1])
  padding          zeros at each end, [h, w] or [t, h, w] ([0, 0]), or \"same\":
                   dilation * (kernel - 1) / 2
  dilation         [h, w] or [t, h, w] ([1, 1])
  stride           1 or 2 (1); with a time axis also [t, s], or [t, h, w] where
                   h = w
  groups           groups on each path (1); groups = in_channels > 1 with the
                   same alpha on both sides means depthwise
  depthwise        true or false: a filter a channel, on the paths high to high
                   and low to low alone
  activation       \"none\", \"relu\", \"relu6\", \"silu\", \"hard_swish\" or
                   \"leaky_relu\", which needs a number in slope (\"none\")
  rounding         \"ceil\" or \"floor\" (\"ceil\"): the low size of an odd size
  downsample       \"average\" or \"strided\" (\"average\"): pool and convolve, or
                   convolve with a stride
  high_to_low, low_to_high
                   true or false (true): whether the layer has these paths
  eps              added to the variance of batch norm (0.00001)
kernel, padding and dilation have as many numbers as each other; three make a
time axis.";

/// A layer as its file has it, without what only tensors tell: bias and residuals.
#[derive(Clone, Debug)]
pub struct LayerFile {
    /// Builds without an error.
    pub builder: SpecBuilder,
    /// Added to batch norm's variance.
    pub eps: f32,
}

/// Reads SPEC.json. Errors name the file and the field.
pub fn read(path: &Path) -> Result<LayerFile> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<LayerFile> {
    let fields: Fields = serde_json::from_str(text)?;
    let layer = fields.layer()?;
    check_weights(&layer.builder.clone().build()?)?;
    Ok(layer)
}

/// The fields as they stand, each read by hand so that an error can name it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with the fields of a layer")]
struct Fields {
    in_channels: Option<Value>,
    out_channels: Option<Value>,
    alpha_in: Option<Value>,
    alpha_out: Option<Value>,
    low_in_channels: Option<Value>,
    low_out_channels: Option<Value>,
    kernel: Option<Value>,
    padding: Option<Value>,
    dilation: Option<Value>,
    stride: Option<Value>,
    groups: Option<Value>,
    depthwise: Option<Value>,
    activation: Option<Value>,
    slope: Option<Value>,
    rounding: Option<Value>,
    downsample: Option<Value>,
    high_to_low: Option<Value>,
    low_to_high: Option<Value>,
    eps: Option<Value>,
}

impl Fields {
    fn layer(&self) -> Result<LayerFile> {
        let in_channels = channels("in_channels", &self.in_channels)?;
        let out_channels = channels("out_channels", &self.out_channels)?;
        let input = split("in", in_channels, &self.alpha_in, &self.low_in_channels)?;
        let output = split("out", out_channels, &self.alpha_out, &self.low_out_channels)?;
        let (axes, time) = self.axes()?;
        let mut builder = Spec::builder(in_channels, out_channels)
            .split(input, output)
            .kernel(axes.map(|axis| axis.kernel))
            .padding(axes.map(|axis| axis.padding))
            .dilation(axes.map(|axis| axis.dilation))
            .stride(axes[0].stride)
            .time(time)
            .activation(self.activation()?)
            .rounding(choice("rounding", &self.rounding, &[("ceil", Rounding::Ceil), ("floor", Rounding::Floor)])?)
            .downsample(choice(
                "downsample",
                &self.downsample,
                &[("average", Downsample::AveragePool), ("strided", Downsample::StridedConv)],
            )?)
            .high_to_low(flag("high_to_low", &self.high_to_low)?.unwrap_or(true))
            .low_to_high(flag("low_to_high", &self.low_to_high)?.unwrap_or(true));

        let groups = field("groups", &self.groups, "a whole number", whole)?;
        // The same share of low channels on both sides, without a rounding.
        let same_share =
            u64::from(input.low) * u64::from(out_channels) == u64::from(output.low) * u64::from(in_channels);
        let implied = groups == Some(in_channels) && in_channels > 1 && same_share;
        match (flag("depthwise", &self.depthwise)?.unwrap_or(implied), groups) {
            (true, Some(groups)) if groups != in_channels => {
                bail!("groups is {groups}: must be the {in_channels} in_channels in a depthwise layer, or left out")
            }
            (true, _) => builder = builder.depthwise(),
            (false, groups) => builder = builder.groups(groups.unwrap_or(1)),
        }
        let wanted = "a number, at least 0";
        let eps = field("eps", &self.eps, wanted, |v| number(v).filter(|eps| *eps >= 0.0))?.unwrap_or(1e-5);
        Ok(LayerFile { builder, eps: eps as f32 })
    }

    fn activation(&self) -> Result<Activation> {
        let slope = field("slope", &self.slope, "a number", number)?;
        let leaky = Activation::LeakyRelu { slope: slope.unwrap_or_default() as f32 };
        let names = [
            ("none", Activation::None),
            ("relu", Activation::Relu),
            ("relu6", Activation::Relu6),
            ("silu", Activation::Silu),
            ("hard_swish", Activation::HardSwish),
            ("leaky_relu", leaky),
        ];
        let activation = choice("activation", &self.activation, &names)?;
        match (activation, slope) {
            (Activation::LeakyRelu { .. }, None) => bail!("slope is missing: activation leaky_relu needs it"),
            (Activation::LeakyRelu { .. }, Some(_)) | (_, None) => Ok(activation),
            (_, Some(slope)) => bail!("slope is {slope}: only activation leaky_relu has one"),
        }
    }

    /// Rows, columns and time.
    fn axes(&self) -> Result<([Axis; 2], TimeAxis)> {
        let same = self.padding.as_ref().is_some_and(|padding| padding == "same");
        let padding = if same { &None } else { &self.padding };
        let kernel = numbers("kernel", &self.kernel, "[h, w] or [t, h, w]")?;
        let padding = numbers("padding", padding, "[h, w], [t, h, w] or \"same\"")?;
        let dilation = numbers("dilation", &self.dilation, "[h, w] or [t, h, w]")?;
        let given = [("kernel", &kernel), ("padding", &padding), ("dilation", &dilation)];
        let given: Vec<_> = given.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?))).collect();
        for pair in given.windows(2) {
            let [(first, a), (second, b)] = pair else { continue };
            if a.len() != b.len() {
                bail!("{second} is {b:?}: must have as many numbers as {first}, which is {a:?}");
            }
        }
        let video = given.iter().any(|(_, list)| list.len() == 3);
        let [st, sh, sw] = self.strides(video)?;
        if sh != sw {
            bail!("stride is [{st}, {sh}, {sw}]: must be the same for rows and columns");
        }

        let at = |list: &Option<Vec<u32>>, axis: usize, default: u32| match list.as_deref() {
            Some([h, w]) => [1, *h, *w][axis],
            Some([t, h, w]) => [*t, *h, *w][axis],
            _ => default,
        };
        let mut axes = [Axis { kernel: 1, stride: 1, padding: 0, dilation: 1 }; 3];
        for (i, axis) in axes.iter_mut().enumerate() {
            *axis = Axis {
                kernel: at(&kernel, i, 1),
                stride: [st, sh, sw][i],
                // Images have no zeros before or after their one frame.
                padding: if i == 0 && !video { 0 } else { at(&padding, i, 0) },
                dilation: at(&dilation, i, 1),
            };
            if same {
                let reach = u64::from(axis.dilation) * u64::from(axis.kernel.saturating_sub(1));
                if reach % 2 == 1 {
                    let (kernel, dilation) = (axis.kernel, axis.dilation);
                    bail!(
                        "padding is \"same\": must be numbers for a kernel of {kernel} with dilation {dilation}, which no padding centres"
                    );
                }
                axis.padding = u32::try_from(reach / 2).unwrap_or(u32::MAX);
            }
        }
        let [t, h, w] = axes;
        let time = TimeAxis { kernel: t.kernel, stride: t.stride, padding: t.padding, dilation: t.dilation };
        Ok(([h, w], time))
    }

    /// Strides of time, rows and columns.
    fn strides(&self, video: bool) -> Result<[u32; 3]> {
        let wanted = match video {
            true => "a number, [t, s] or [t, h, w]",
            false => "a number; only layers with a time axis, which have three numbers in kernel, take a list",
        };
        let read = |value: &Value| match value.as_array() {
            None => whole(value).map(|s| [1, s, s]),
            Some(_) if !video => None,
            Some(list) => match *list.iter().map(whole).collect::<Option<Vec<_>>>()?.as_slice() {
                [t, s] => Some([t, s, s]),
                [t, h, w] => Some([t, h, w]),
                _ => None,
            },
        };
        Ok(field("stride", &self.stride, wanted, read)?.unwrap_or([1; 3]))
    }
}

#[derive(Clone, Copy)]
struct Axis {
    kernel: u32,
    stride: u32,
    padding: u32,
    dilation: u32,
}

/// One field, or an error that names it, says what it is, and what would do.
fn field<T>(name: &str, value: &Option<Value>, wanted: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
    let Some(value) = value else { return Ok(None) };
    let refused = || {
        let text = value.to_string();
        let shown: String = text.chars().take(60).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        anyhow!("{name} is {shown}{more}: must be {wanted}")
    };
    read(value).map(Some).ok_or_else(refused)
}

fn whole(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|v| v.is_finite())
}

fn flag(name: &str, value: &Option<Value>) -> Result<Option<bool>> {
    field(name, value, "true or false", Value::as_bool)
}

/// One of a few names; the first is the default.
fn choice<T: Copy>(name: &str, value: &Option<Value>, names: &[(&str, T)]) -> Result<T> {
    let list = names.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let find = |value: &Value| names.iter().find(|(name, _)| value == name).map(|&(_, choice)| choice);
    Ok(field(name, value, &format!("one of {list}"), find)?.unwrap_or(names[0].1))
}

fn channels(name: &str, value: &Option<Value>) -> Result<u32> {
    field(name, value, "a whole number", whole)?.with_context(|| format!("{name} is missing"))
}

/// Two or three whole numbers.
fn numbers(name: &str, value: &Option<Value>, wanted: &str) -> Result<Option<Vec<u32>>> {
    field(name, value, wanted, |value| {
        let list: Option<Vec<u32>> = value.as_array()?.iter().map(whole).collect();
        list.filter(|list| matches!(list.len(), 2 | 3))
    })
}

/// The split of one side, by its alpha or by its low channels.
fn split(side: &str, channels: u32, alpha: &Option<Value>, low: &Option<Value>) -> Result<Split> {
    let (alpha_name, low_name) = (format!("alpha_{side}"), format!("low_{side}_channels"));
    let in_range = |alpha: &f64| (0.0..=1.0).contains(alpha);
    let alpha = field(&alpha_name, alpha, "a number from 0 to 1", |v| number(v).filter(in_range))?;
    let wanted = format!("a whole number, at most the {channels} {side}_channels");
    let low = field(&low_name, low, &wanted, |value| whole(value).filter(|&low| low <= channels))?;
    match (alpha, low) {
        (Some(_), Some(_)) => bail!("{low_name} is given beside {alpha_name}: must be one or the other"),
        (_, Some(low)) => Ok(Split { high: channels - low, low }),
        (alpha, None) => Ok(Split::from_alpha(channels, alpha.unwrap_or(0.0))?),
    }
}

/// Refuses layers whose weights are more than any machine holds, so that counting them cannot overflow.
fn check_weights(spec: &Spec) -> Result<()> {
    const MOST: u128 = 1 << 48;
    let weights: u128 = ConvPath::ALL
        .into_iter()
        .map(|path| spec.weight_shape(path).iter().map(|&d| u128::from(d)).product::<u128>())
        .sum();
    if weights > MOST {
        bail!("kernel is too large: the layer has {weights} weights, more than {MOST}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use octconv::{Groups, Path};

    use super::*;

    fn spec(text: &str) -> Spec {
        parse(text).unwrap().builder.build().unwrap()
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    #[test]
    fn defaults_are_a_plain_pointwise_convolution() {
        let expected = Spec::builder(3, 8).build().unwrap();
        assert_eq!(spec(r#"{"in_channels": 3, "out_channels": 8}"#), expected);
        assert_eq!(parse(r#"{"in_channels": 3, "out_channels": 8}"#).unwrap().eps, 1e-5);
    }

    #[test]
    fn every_field_arrives() {
        let read = spec(
            r#"{"in_channels": 8, "out_channels": 16, "alpha_in": 0.5, "low_out_channels": 4, "kernel": [3, 5],
                "padding": [1, 2], "dilation": [1, 1], "stride": 2, "groups": 2, "activation": "leaky_relu",
                "slope": 0.25, "rounding": "floor", "downsample": "strided", "high_to_low": false,
                "low_to_high": false, "eps": 0.001, "depthwise": false}"#,
        );
        let expected = Spec::builder(8, 16)
            .split(Split { high: 4, low: 4 }, Split { high: 12, low: 4 })
            .kernel([3, 5])
            .padding([1, 2])
            .stride(2)
            .groups(2)
            .activation(Activation::LeakyRelu { slope: 0.25 })
            .rounding(Rounding::Floor)
            .downsample(Downsample::StridedConv)
            .high_to_low(false)
            .low_to_high(false)
            .build();
        assert_eq!(read, expected.unwrap());
    }

    #[test]
    fn time_axis_and_strides() {
        let video = |stride: &str| {
            spec(&format!(
                r#"{{"in_channels": 4, "out_channels": 4, "kernel": [3, 1, 1], "padding": "same", "stride": {stride}}}"#
            ))
        };
        let time = |stride| TimeAxis { kernel: 3, stride, padding: 1, dilation: 1 };
        assert_eq!((video("2").time(), video("2").stride()), (time(1), 2));
        assert_eq!((video("[2, 1]").time(), video("[2, 1]").stride()), (time(2), 1));
        assert_eq!((video("[3, 2, 2]").time(), video("[3, 2, 2]").stride()), (time(3), 2));
        assert_eq!(spec(r#"{"in_channels": 4, "out_channels": 4, "kernel": [1, 3, 3]}"#).time(), TimeAxis::IMAGE);
    }

    #[test]
    fn depthwise_is_told_from_groups() {
        let groups = |text: &str| spec(&format!(r#"{{"in_channels": 4, "out_channels": 4, {text}}}"#)).groups();
        assert_eq!(groups(r#""groups": 4, "alpha_in": 0.5, "alpha_out": 0.5"#), Groups::Depthwise);
        assert_eq!(groups(r#""depthwise": true"#), Groups::Depthwise);
        assert_eq!(groups(r#""groups": 4, "depthwise": false"#), Groups::Count(4));
        assert_eq!(groups(r#""groups": 2"#), Groups::Count(2));
        let layer = spec(r#"{"in_channels": 4, "out_channels": 8, "alpha_in": 0.5, "alpha_out": 0.5, "groups": 4}"#);
        assert!(!layer.has(Path::HL));
    }

    #[test]
    fn refusals_name_the_field() {
        for (text, wanted) in [
            ("", "EOF while parsing"),
            ("[]", "expected an object with the fields of a layer"),
            (r#"{"out_channels": 8}"#, "in_channels is missing"),
            (r#"{"in_channels": 3.5, "out_channels": 8}"#, "in_channels is 3.5: must be a whole number"),
            (r#"{"in_channels": 0, "out_channels": 8}"#, "in_channels is 0: must be 1 to"),
            (r#"{"in_channels": 3, "out_channels": 8, "beta": 1}"#, "unknown field `beta`"),
            (r#"{"in_channels": 3, "in_channels": 3, "out_channels": 8}"#, "duplicate field `in_channels`"),
            (r#"{"in_channels": 3, "out_channels": 8, "alpha_in": 2}"#, "alpha_in is 2: must be a number from 0 to 1"),
            (
                r#"{"in_channels": 3, "out_channels": 8, "alpha_in": 0, "low_in_channels": 1}"#,
                "low_in_channels is given beside alpha_in",
            ),
            (r#"{"in_channels": 3, "out_channels": 8, "low_in_channels": 4}"#, "low_in_channels is 4: must be"),
            (r#"{"in_channels": 3, "out_channels": 8, "kernel": 3}"#, "kernel is 3: must be [h, w] or [t, h, w]"),
            (r#"{"in_channels": 3, "out_channels": 8, "kernel": [-1, 3]}"#, "kernel is [-1,3]: must be"),
            (
                r#"{"in_channels": 3, "out_channels": 8, "kernel": [3, 3, 3], "padding": [1, 1]}"#,
                "padding is [1, 1]: must have as many numbers as kernel",
            ),
            (r#"{"in_channels": 3, "out_channels": 8, "kernel": [2, 3], "padding": "same"}"#, "padding is \"same\""),
            (r#"{"in_channels": 3, "out_channels": 8, "stride": [2, 2]}"#, "stride is [2,2]: must be a number; only"),
            (
                r#"{"in_channels": 3, "out_channels": 8, "kernel": [1, 3, 3], "stride": [1, 2, 1]}"#,
                "stride is [1, 2, 1]",
            ),
            (r#"{"in_channels": 3, "out_channels": 8, "stride": 3}"#, "stride is 3: must be 1 or 2"),
            (
                r#"{"in_channels": 3, "out_channels": 8, "activation": "gelu"}"#,
                "activation is \"gelu\": must be one of",
            ),
            (r#"{"in_channels": 3, "out_channels": 8, "activation": "leaky_relu"}"#, "slope is missing"),
            (r#"{"in_channels": 3, "out_channels": 8, "slope": 1}"#, "slope is 1: only activation leaky_relu"),
            (r#"{"in_channels": 3, "out_channels": 8, "groups": 2, "depthwise": true}"#, "groups is 2: must be"),
            (r#"{"in_channels": 3, "out_channels": 8, "groups": 2}"#, "groups is 2: must divide"),
            (r#"{"in_channels": 3, "out_channels": 8, "high_to_low": 1}"#, "high_to_low is 1: must be true or false"),
            (r#"{"in_channels": 3, "out_channels": 8, "eps": -1}"#, "eps is -1: must be a number, at least 0"),
            (
                r#"{"in_channels": 1048576, "out_channels": 1048576, "kernel": [1048576, 1048576]}"#,
                "kernel is too large",
            ),
        ] {
            let refusal = refusal(text);
            assert!(refusal.contains(wanted), "{text}\n  gives  {refusal}\n  wanted {wanted}");
        }
    }
}
