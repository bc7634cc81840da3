//! The specification of what a layer computes. It is validated when it is built, and never again.
//!
//! ```
//! use octconv::{Activation, InputSize, Spec};
//!
//! let builder = Spec::builder(64, 128).alpha(0.5, 0.5);
//! let spec = builder.kernel([3, 3]).padding([1, 1]).activation(Activation::Relu).build()?;
//! let shapes = spec.shapes(InputSize::image(1, 56, 56))?;
//! assert_eq!(shapes.y_l.unwrap().to_string(), "1x64x28x28");
//! # Ok::<(), octconv::Error>(())
//! ```

use super::activation::Activation;
use super::axes::{Downsample, Groups, Rounding, TimeAxis};
use super::split::{Frequency, Path, Split};

/// A validated octave convolution. Build one with [`Spec::builder`].
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub(crate) input: Split,
    pub(crate) output: Split,
    pub(crate) kernel: [u32; 2],
    pub(crate) stride: u32,
    pub(crate) padding: [u32; 2],
    pub(crate) dilation: [u32; 2],
    pub(crate) time: TimeAxis,
    pub(crate) groups: Groups,
    pub(crate) high_to_low: bool,
    pub(crate) low_to_high: bool,
    pub(crate) downsample: Downsample,
    pub(crate) rounding: Rounding,
    pub(crate) bias: bool,
    pub(crate) activation: Activation,
    pub(crate) residual_high: bool,
    pub(crate) residual_low: bool,
}

/// The largest size, padding, dilation or kernel of an axis. It keeps coordinates within 32-bit signed integers.
pub(crate) const MAX_AXIS: u32 = 1 << 20;

impl Spec {
    /// Channels of the input.
    pub fn input(&self) -> Split {
        self.input
    }

    /// Channels of the output.
    pub fn output(&self) -> Split {
        self.output
    }

    /// Size of the kernel: rows and columns.
    pub fn kernel(&self) -> [u32; 2] {
        self.kernel
    }

    /// Spatial stride: 1 or 2.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Zeros at each end of rows and columns, the same at both resolutions.
    pub fn padding(&self) -> [u32; 2] {
        self.padding
    }

    /// Distance between taps in rows and columns, the same at both resolutions.
    pub fn dilation(&self) -> [u32; 2] {
        self.dilation
    }

    /// The time axis; [`TimeAxis::IMAGE`] for images.
    pub fn time(&self) -> TimeAxis {
        self.time
    }

    /// How channels are connected.
    pub fn groups(&self) -> Groups {
        self.groups
    }

    /// How resolution is halved, for H->L and for stride 2.
    pub fn downsample(&self) -> Downsample {
        self.downsample
    }

    /// How odd sizes are halved.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Whether each output has a bias.
    pub fn has_bias(&self) -> bool {
        self.bias
    }

    /// The function applied after the sum.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Whether a residual is added to this output before the activation.
    pub fn has_residual(&self, frequency: Frequency) -> bool {
        match frequency {
            Frequency::High => self.residual_high,
            Frequency::Low => self.residual_low,
        }
    }

    /// Whether the layer has this path: there are channels on both sides, and it is not switched off.
    pub fn has(&self, path: Path) -> bool {
        let (c_in, c_out) = (self.input.of(path.input()), self.output.of(path.output()));
        let enabled = match path {
            Path::HH | Path::LL => true,
            Path::HL => self.high_to_low && self.groups != Groups::Depthwise,
            Path::LH => self.low_to_high && self.groups != Groups::Depthwise,
        };
        c_in > 0 && c_out > 0 && enabled
    }

    /// The number of groups of a path.
    pub fn path_groups(&self, path: Path) -> u32 {
        match self.groups {
            Groups::Count(count) => count,
            Groups::Depthwise => self.input.of(path.input()),
        }
    }

    /// The shape `[c_out, c_in / groups, kt, kh, kw]` of a path's kernel, whether or not the path exists.
    pub fn weight_shape(&self, path: Path) -> [u32; 5] {
        let groups = self.path_groups(path).max(1);
        let (c_in, c_out) = (self.input.of(path.input()), self.output.of(path.output()));
        [c_out, c_in / groups, self.time.kernel, self.kernel[0], self.kernel[1]]
    }

    /// Whether the layer reads this frequency of its input.
    pub fn reads(&self, frequency: Frequency) -> bool {
        Path::ALL.into_iter().any(|path| path.input() == frequency && self.has(path))
    }

    /// The same convolution of an input with another split, whose low frequency goes to the high one.
    #[cfg(feature = "network")]
    pub(crate) fn doubling(&self, input: Split) -> Self {
        Self { input, low_to_high: true, ..self.clone() }
    }

    /// The same convolution with another end: whether a residual is added to Y_H, and the activation.
    #[cfg(feature = "network")]
    pub(crate) fn ending(&self, residual_high: bool, activation: Activation) -> Self {
        Self { residual_high, activation, ..self.clone() }
    }

    /// The plain convolution of the same channels, with alpha = 0 for input and output.
    pub fn plain(&self) -> Self {
        Self {
            input: Split { high: self.input.channels(), low: 0 },
            output: Split { high: self.output.channels(), low: 0 },
            residual_high: self.residual_high || self.residual_low,
            residual_low: false,
            ..self.clone()
        }
    }
}
