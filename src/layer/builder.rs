//! The builder of a specification.

use super::activation::Activation;
use super::axes::{Downsample, Groups, Rounding, TimeAxis};
use super::spec::{MAX_AXIS, Spec};
use super::split::{Frequency, Path, Split};
use crate::error::Error;

impl Spec {
    /// Starts a specification. Without further calls it is dense, 1x1, of stride 1, without padding, with alpha 0, odd
    /// sizes rounded up, no bias and no activation.
    pub fn builder(in_channels: u32, out_channels: u32) -> SpecBuilder {
        SpecBuilder::new(in_channels, out_channels)
    }
}

/// Builds a specification. [`SpecBuilder::build`] validates it.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until build() is called"]
pub struct SpecBuilder {
    spec: Spec,
    channels: [u32; 2],
    alpha: Option<[f64; 2]>,
    same_padding: bool,
}

impl SpecBuilder {
    fn new(in_channels: u32, out_channels: u32) -> Self {
        Self {
            spec: Spec {
                input: Split { high: in_channels, low: 0 },
                output: Split { high: out_channels, low: 0 },
                kernel: [1, 1],
                stride: 1,
                padding: [0, 0],
                dilation: [1, 1],
                time: TimeAxis::IMAGE,
                groups: Groups::Count(1),
                high_to_low: true,
                low_to_high: true,
                downsample: Downsample::default(),
                rounding: Rounding::default(),
                bias: false,
                activation: Activation::default(),
                residual_high: false,
                residual_low: false,
            },
            channels: [in_channels, out_channels],
            alpha: None,
            same_padding: false,
        }
    }

    /// The shares of low-frequency channels of input and output, each in [0, 1]. Splits are those of
    /// [`Split::from_alpha`]. Replaces [`SpecBuilder::split`].
    pub fn alpha(mut self, alpha_in: f64, alpha_out: f64) -> Self {
        self.alpha = Some([alpha_in, alpha_out]);
        self
    }

    /// The exact channels of both frequencies, for checkpoints that round alpha differently. High and low channels must
    /// add up to the layer's channels. Replaces [`SpecBuilder::alpha`].
    pub fn split(mut self, input: Split, output: Split) -> Self {
        self.alpha = None;
        self.spec.input = input;
        self.spec.output = output;
        self
    }

    /// Size of the kernel: rows and columns.
    pub fn kernel(mut self, kernel: [u32; 2]) -> Self {
        self.spec.kernel = kernel;
        self
    }

    /// Spatial stride: 1 or 2. A layer of stride 2 pools and then convolves, unless [`SpecBuilder::downsample`] says
    /// otherwise.
    pub fn stride(mut self, stride: u32) -> Self {
        self.spec.stride = stride;
        self
    }

    /// Zeros at each end of rows and columns, the same at both resolutions.
    pub fn padding(mut self, padding: [u32; 2]) -> Self {
        self.spec.padding = padding;
        self.same_padding = false;
        self
    }

    /// The padding that keeps the size: dilation * (kernel - 1) / 2, for the kernel and dilation that the built
    /// specification has. If that is no whole number, it is rounded down: with an even kernel the output is one smaller.
    pub fn same_padding(mut self) -> Self {
        self.same_padding = true;
        self
    }

    /// Distance between taps in rows and columns, the same at both resolutions.
    pub fn dilation(mut self, dilation: [u32; 2]) -> Self {
        self.spec.dilation = dilation;
        self
    }

    /// The time axis of a video layer.
    pub fn time(mut self, time: TimeAxis) -> Self {
        self.spec.time = time;
        self
    }

    /// The number of groups, the same on all four paths.
    pub fn groups(mut self, groups: u32) -> Self {
        self.spec.groups = Groups::Count(groups);
        self
    }

    /// One group per input channel. The paths H->L and L->H are absent.
    pub fn depthwise(mut self) -> Self {
        self.spec.groups = Groups::Depthwise;
        self
    }

    /// Switches the path H->L on or off.
    pub fn high_to_low(mut self, enabled: bool) -> Self {
        self.spec.high_to_low = enabled;
        self
    }

    /// Switches the path L->H on or off.
    pub fn low_to_high(mut self, enabled: bool) -> Self {
        self.spec.low_to_high = enabled;
        self
    }

    /// How resolution is halved, for H->L and for stride 2.
    pub fn downsample(mut self, downsample: Downsample) -> Self {
        self.spec.downsample = downsample;
        self
    }

    /// How odd sizes are halved.
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.spec.rounding = rounding;
        self
    }

    /// Whether each output has a bias. Batch norm does not need one: see [`Weights::norm_h`](crate::Weights::norm_h).
    pub fn bias(mut self, bias: bool) -> Self {
        self.spec.bias = bias;
        self
    }

    /// The function applied after the sum.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.spec.activation = activation;
        self
    }

    /// Whether a residual is added to Y_H, and to Y_L, before the activation.
    pub fn residual(mut self, high: bool, low: bool) -> Self {
        self.spec.residual_high = high;
        self.spec.residual_low = low;
        self
    }

    /// Validates and returns the specification.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for the first argument that is out of range or does not fit the others.
    pub fn build(self) -> Result<Spec, Error> {
        let Self { mut spec, channels, alpha, same_padding } = self;
        for (name, value) in [("in_channels", channels[0]), ("out_channels", channels[1])] {
            in_range(name, value, 1)?;
        }
        if let Some([alpha_in, alpha_out]) = alpha {
            spec.input = Split::from_named_alpha("alpha_in", channels[0], alpha_in)?;
            spec.output = Split::from_named_alpha("alpha_out", channels[1], alpha_out)?;
        }
        for (name, split, all) in [("input split", spec.input, channels[0]), ("output split", spec.output, channels[1])]
        {
            if split.high.checked_add(split.low) != Some(all) {
                let value = format!("{} high and {} low", split.high, split.low);
                return Err(Error::argument(name, value, format!("must sum to the {all} channels")));
            }
        }
        for (axis, [kernel, dilation, padding]) in [
            ["kernel height", "dilation height", "padding height"],
            ["kernel width", "dilation width", "padding width"],
        ]
        .into_iter()
        .enumerate()
        {
            in_range(kernel, spec.kernel[axis], 1)?;
            in_range(dilation, spec.dilation[axis], 1)?;
            if same_padding {
                spec.padding[axis] = spec.dilation[axis].saturating_mul(spec.kernel[axis] - 1) / 2;
            }
            in_range(padding, spec.padding[axis], 0)?;
        }
        in_range("time kernel", spec.time.kernel, 1)?;
        in_range("time stride", spec.time.stride, 1)?;
        in_range("time dilation", spec.time.dilation, 1)?;
        in_range("time padding", spec.time.padding, 0)?;
        for (axis, kernel, dilation) in [
            ("rows", spec.kernel[0], spec.dilation[0]),
            ("columns", spec.kernel[1], spec.dilation[1]),
            ("frames", spec.time.kernel, spec.time.dilation),
        ] {
            let reach = u64::from(dilation) * u64::from(kernel - 1) + 1;
            if reach > u64::from(MAX_AXIS) {
                let value = format!("{kernel} with dilation {dilation}");
                return Err(Error::argument("kernel", value, format!("must reach at most {MAX_AXIS} {axis}")));
            }
        }
        if !matches!(spec.stride, 1 | 2) {
            return Err(Error::argument("stride", spec.stride, "must be 1 or 2"));
        }
        spec.activation.check()?;
        let (input, output) = (spec.input, spec.output);
        match spec.groups {
            Groups::Count(0) => return Err(Error::argument("groups", 0, "must be at least 1")),
            Groups::Count(groups) => {
                for (name, value) in [
                    ("high input channels", input.high),
                    ("low input channels", input.low),
                    ("high output channels", output.high),
                    ("low output channels", output.low),
                ] {
                    if value % groups != 0 {
                        return Err(Error::argument("groups", groups, format!("must divide the {value} {name}")));
                    }
                }
            }
            Groups::Depthwise => {
                let multiple = output.channels() / input.channels();
                if output.high != multiple * input.high || output.low != multiple * input.low {
                    let value = format!("{} high and {} low", output.high, output.low);
                    let allowed = format!(
                        "must be one whole multiple of the input's {} high and {} low in a depthwise layer",
                        input.high, input.low
                    );
                    return Err(Error::argument("output split", value, allowed));
                }
            }
        }
        for frequency in [Frequency::High, Frequency::Low] {
            let fed = Path::ALL.into_iter().any(|path| path.output() == frequency && spec.has(path));
            if output.of(frequency) > 0 && !fed {
                let (name, value) = match frequency {
                    Frequency::High => ("low_to_high", "off"),
                    Frequency::Low => ("high_to_low", "off"),
                };
                let allowed = format!("must be on, since the {frequency:?} output has no other path into it");
                return Err(Error::argument(name, value, allowed));
            }
            if spec.has_residual(frequency) && output.of(frequency) == 0 {
                let value = format!("on for the {frequency:?} output");
                return Err(Error::argument("residual", value, "must be off where the output has no channels"));
            }
        }
        Ok(spec)
    }
}

fn in_range(name: &'static str, value: u32, min: u32) -> Result<(), Error> {
    if value < min || value > MAX_AXIS {
        return Err(Error::argument(name, value, format!("must be {min} to {MAX_AXIS}")));
    }
    Ok(())
}
