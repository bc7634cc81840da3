//! What a layer computes: a specification, validated once when it is built, and trusted from then on.
//!
//! ```
//! use octconv::{Activation, InputSize, Spec};
//!
//! let spec = Spec::builder(64, 128).alpha(0.5, 0.5).kernel([3, 3]).padding([1, 1]).activation(Activation::Relu).build()?;
//! let shapes = spec.shapes(InputSize::image(1, 56, 56))?;
//! assert_eq!(shapes.y_l.unwrap().to_string(), "1x64x28x28");
//! # Ok::<(), octconv::Error>(())
//! ```

use crate::error::{Error, Extent};

/// How many channels of a feature map are of high and of low frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    /// Channels at full resolution, c_H.
    pub high: u32,
    /// Channels at half resolution, c_L.
    pub low: u32,
}

impl Split {
    /// The official split: c_L = int(alpha * c), c_H = c - c_L, with alpha in [0, 1].
    pub fn from_alpha(channels: u32, alpha: f64) -> Result<Self, Error> {
        Self::from_named_alpha("alpha", channels, alpha)
    }

    fn from_named_alpha(name: &'static str, channels: u32, alpha: f64) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(Error::argument(name, alpha, "must be in [0, 1]"));
        }
        let low = (alpha * f64::from(channels)) as u32;
        Ok(Self { high: channels - low, low })
    }

    /// All channels of the map.
    pub fn channels(self) -> u32 {
        self.high + self.low
    }

    /// The channels of one frequency.
    pub fn of(self, frequency: Frequency) -> u32 {
        match frequency {
            Frequency::High => self.high,
            Frequency::Low => self.low,
        }
    }
}

/// One of the two parts of a feature map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frequency {
    /// Full resolution.
    High,
    /// Half resolution.
    Low,
}

/// One of the four convolutions inside an octave convolution, named input to output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// High to high.
    HH,
    /// High to low: over the pooled high-frequency map.
    HL,
    /// Low to high: at low resolution, then replicated 2x2 (at stride 2: not replicated).
    LH,
    /// Low to low.
    LL,
}

impl Path {
    /// All four, in the order in which weights are packed.
    pub const ALL: [Self; 4] = [Self::HH, Self::HL, Self::LH, Self::LL];

    /// The frequency it reads.
    pub fn input(self) -> Frequency {
        match self {
            Self::HH | Self::HL => Frequency::High,
            Self::LH | Self::LL => Frequency::Low,
        }
    }

    /// The frequency it adds into.
    pub fn output(self) -> Frequency {
        match self {
            Self::HH | Self::LH => Frequency::High,
            Self::HL | Self::LL => Frequency::Low,
        }
    }

    /// As messages write it: `H->L`.
    pub fn arrow(self) -> &'static str {
        match self {
            Self::HH => "H->H",
            Self::HL => "H->L",
            Self::LH => "L->H",
            Self::LL => "L->L",
        }
    }

    /// The name of its kernel tensor: `w_hh`, `w_hl`, `w_lh`, `w_ll`.
    pub fn weight_name(self) -> &'static str {
        match self {
            Self::HH => "w_hh",
            Self::HL => "w_hl",
            Self::LH => "w_lh",
            Self::LL => "w_ll",
        }
    }
}

/// The low size of an odd high size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case"))]
pub enum Rounding {
    /// ceil(h / 2): the last pooled row averages the rows that exist (the official Gluon code).
    #[default]
    Ceil,
    /// floor(h / 2): the last row is pooled into nothing, and takes its L->H value from the row before it (the official
    /// Symbol code's sizes).
    Floor,
}

impl Rounding {
    /// Half of `size`, rounded.
    pub fn half(self, size: u32) -> u32 {
        match self {
            Self::Ceil => size.div_ceil(2),
            Self::Floor => size / 2,
        }
    }
}

/// How resolution is halved, for H->L and for stride 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case"))]
pub enum Downsample {
    /// A 2x2 average, then a convolution of stride 1.
    #[default]
    #[cfg_attr(feature = "network", serde(rename = "average"))]
    AveragePool,
    /// The paper's ablation: no average, a convolution of stride 2 (of stride 4 for H->L in a layer of stride 2).
    #[cfg_attr(feature = "network", serde(rename = "strided"))]
    StridedConv,
}

/// The function applied to each output after the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case"))]
pub enum Activation {
    /// y = x.
    #[default]
    None,
    /// y = max(x, 0).
    Relu,
    /// y = min(max(x, 0), 6).
    Relu6,
    /// y = x / (1 + exp(-x)).
    Silu,
    /// y = x * min(max(x + 3, 0), 6) / 6.
    HardSwish,
    /// y = x where x >= 0, slope * x elsewhere.
    LeakyRelu {
        /// The factor of negative values; finite.
        slope: f32,
    },
}

impl Activation {
    /// The value at `x`, in f64.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::None => x,
            // Not f64::max, which would turn a NaN into 0.
            Self::Relu => x.clamp(0.0, f64::INFINITY),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::LeakyRelu { slope } => {
                if x >= 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
        }
    }

    /// Refuses a slope that is no number, or infinite.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self {
            Self::LeakyRelu { slope } if !slope.is_finite() => Err(Error::argument("slope", slope, "must be finite")),
            _ => Ok(()),
        }
    }

    /// A bound on |d apply / dx|.
    pub fn lipschitz(self) -> f64 {
        match self {
            Self::None | Self::Relu | Self::Relu6 => 1.0,
            // The maximum of the derivative is 1.0998, at x = 2.3994.
            Self::Silu => 1.1,
            // (2x + 3) / 6 at x = 3.
            Self::HardSwish => 1.5,
            Self::LeakyRelu { slope } => f64::from(slope).abs().max(1.0),
        }
    }
}

/// The time axis of a video layer, kept whole in both frequencies: neither pooled nor upsampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
pub struct TimeAxis {
    /// Kernel length in frames.
    pub kernel: u32,
    /// Stride in frames, the same for all paths.
    pub stride: u32,
    /// Zero frames before and after.
    pub padding: u32,
    /// Distance between taps in frames.
    pub dilation: u32,
}

impl TimeAxis {
    /// One frame at a time: what an image layer has.
    pub const IMAGE: Self = Self { kernel: 1, stride: 1, padding: 0, dilation: 1 };
}

/// How channels are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Groups {
    /// The same number of groups on all four paths; 1 is the dense convolution.
    Count(u32),
    /// A filter a channel, H->H and L->L only. The output has a whole multiple of the input's channels.
    Depthwise,
}

/// The size of an input at full resolution, that of X_H, also where the layer has no X_H.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InputSize {
    /// Batch.
    pub n: u32,
    /// Frames; 1 for images.
    pub t: u32,
    /// Rows at full resolution.
    pub h: u32,
    /// Columns at full resolution.
    pub w: u32,
}

impl InputSize {
    /// A batch of images of h x w at full resolution.
    pub fn image(n: u32, h: u32, w: u32) -> Self {
        Self { n, t: 1, h, w }
    }

    /// A batch of clips of t frames of h x w at full resolution.
    pub fn video(n: u32, t: u32, h: u32, w: u32) -> Self {
        Self { n, t, h, w }
    }
}

/// The shape of a contiguous NCTHW tensor (NCHW where t = 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dims {
    /// Batch.
    pub n: u32,
    /// Channels.
    pub c: u32,
    /// Frames.
    pub t: u32,
    /// Rows.
    pub h: u32,
    /// Columns.
    pub w: u32,
}

impl Dims {
    /// Number of elements; saturating, so that absurd sizes are refused as too large.
    pub fn elements(self) -> u64 {
        [self.n, self.c, self.t, self.h, self.w].iter().fold(1u64, |all, &d| all.saturating_mul(u64::from(d)))
    }

    /// The same map with other channels.
    pub(crate) fn with_channels(self, c: u32) -> Self {
        Self { c, ..self }
    }

    pub(crate) fn extent(self) -> Extent {
        Extent { h: self.h, w: self.w }
    }

    /// This map after one 2x2 pooling.
    pub(crate) fn pooled(self, rounding: Rounding) -> Self {
        Self { h: rounding.half(self.h), w: rounding.half(self.w), ..self }
    }
}

impl std::fmt::Display for Dims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { n, c, t, h, w } = self;
        if *t == 1 { write!(f, "{n}x{c}x{h}x{w}") } else { write!(f, "{n}x{c}x{t}x{h}x{w}") }
    }
}

/// The shapes of all tensors of a layer; `None` where the layer has no such tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// X_H `[n, c_H, t, h, w]`.
    pub x_h: Option<Dims>,
    /// X_L `[n, c_L, t, h/2, w/2]`, halves rounded as the specification says.
    pub x_l: Option<Dims>,
    /// pool(X_H), which a layer can take instead of pooling on its own.
    pub x_p: Option<Dims>,
    /// Y_H; the high-frequency residual has the same shape.
    pub y_h: Option<Dims>,
    /// Y_L; the low-frequency residual has the same shape.
    pub y_l: Option<Dims>,
    /// pool(Y_H), which a layer can write beside Y_H.
    pub y_p: Option<Dims>,
}

/// What a layer costs, whatever runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds of the convolutions.
    pub macs: u64,
    /// Weights, and biases where the layer has them.
    pub params: u64,
    /// Elements of the inputs that the layer reads.
    pub input_elements: u64,
    /// Elements of the outputs.
    pub output_elements: u64,
    /// Elements of the residuals.
    pub residual_elements: u64,
}

impl Cost {
    /// The bytes that any implementation must move: each tensor once.
    ///
    /// `activation` and `weight` are bytes an element (4 or 2).
    pub fn min_bytes(&self, activation: u64, weight: u64) -> u64 {
        let activations =
            self.input_elements.saturating_add(self.output_elements).saturating_add(self.residual_elements);
        activations.saturating_mul(activation).saturating_add(self.params.saturating_mul(weight))
    }
}

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

/// The largest size, padding, dilation or kernel on one axis: coordinates stay within 32-bit signed integers.
pub(crate) const MAX_AXIS: u32 = 1 << 20;

/// Where a path reads, and how it gets to the resolution it works at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sampling {
    /// 2x2 averages taken on the way: 0, 1 or 2. The convolution then has stride 1.
    pub level: u32,
    /// The stride of the convolution: 1, or 2 or 4 in the strided ablation.
    pub step: u32,
    /// Whether the result is replicated 2x2.
    pub upsample: bool,
}

impl Spec {
    /// Starts a specification: dense, 1x1, stride 1, no padding, alpha 0, ceil, no bias, no activation.
    pub fn builder(in_channels: u32, out_channels: u32) -> SpecBuilder {
        SpecBuilder::new(in_channels, out_channels)
    }

    /// Channels of the input.
    pub fn input(&self) -> Split {
        self.input
    }

    /// Channels of the output.
    pub fn output(&self) -> Split {
        self.output
    }

    /// Kernel, rows and columns.
    pub fn kernel(&self) -> [u32; 2] {
        self.kernel
    }

    /// Spatial stride, 1 or 2.
    pub fn stride(&self) -> u32 {
        self.stride
    }

    /// Padding, rows and columns, the same at both resolutions.
    pub fn padding(&self) -> [u32; 2] {
        self.padding
    }

    /// Dilation, rows and columns.
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

    /// How resolution is halved.
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

    /// Whether the layer has this path: channels on both sides, and not switched off.
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

    /// Whether the layer reads this part of its input at all.
    pub fn reads(&self, frequency: Frequency) -> bool {
        Path::ALL.into_iter().any(|path| path.input() == frequency && self.has(path))
    }

    /// The plain convolution of the same channels: alpha = 0 on both sides.
    pub fn plain(&self) -> Self {
        Self {
            input: Split { high: self.input.channels(), low: 0 },
            output: Split { high: self.output.channels(), low: 0 },
            residual_high: self.residual_high || self.residual_low,
            residual_low: false,
            ..self.clone()
        }
    }

    pub(crate) fn sampling(&self, path: Path) -> Sampling {
        let (level, upsample) = match (path, self.stride) {
            (Path::HH | Path::LL, 1) => (0, false),
            (Path::HH | Path::LL, _) => (1, false),
            (Path::HL, 1) => (1, false),
            (Path::HL, _) => (2, false),
            (Path::LH, 1) => (0, true),
            (Path::LH, _) => (0, false),
        };
        match self.downsample {
            Downsample::AveragePool => Sampling { level, step: 1, upsample },
            Downsample::StridedConv => Sampling { level: 0, step: 1 << level, upsample },
        }
    }

    /// Rows and columns that a path's convolution gives, before any replication.
    fn path_extent(&self, path: Path, source: Dims) -> Result<Extent, Error> {
        let Sampling { level, step, .. } = self.sampling(path);
        let mut map = source;
        for _ in 0..level {
            map = map.pooled(self.rounding);
        }
        if map.h == 0 || map.w == 0 {
            let allowed = format!("must be large enough for {} to pool it {level} times", path.arrow());
            return Err(Error::argument("h x w", source.extent(), allowed));
        }
        let h = conv_size(path.arrow(), "height", map.h, self.kernel[0], step, self.padding[0], self.dilation[0])?;
        let w = conv_size(path.arrow(), "width", map.w, self.kernel[1], step, self.padding[1], self.dilation[1])?;
        Ok(Extent { h, w })
    }

    /// The shapes of all tensors for an input of `size`, or why there are none: an empty map, or a padding with which
    /// the two resolutions disagree.
    pub fn shapes(&self, size: InputSize) -> Result<Shapes, Error> {
        for (name, value) in [("n", size.n), ("t", size.t), ("h", size.h), ("w", size.w)] {
            if value == 0 || value > MAX_AXIS {
                return Err(Error::argument(name, value, format!("must be 1 to {MAX_AXIS}")));
            }
        }
        let InputSize { n, t, h, w } = size;
        let full = Dims { n, c: self.input.high, t, h, w };
        let half = full.pooled(self.rounding).with_channels(self.input.low);
        let has_low = self.input.low > 0 || self.output.low > 0;
        if has_low && (half.h == 0 || half.w == 0) {
            return Err(Error::argument("h x w", full.extent(), "must be at least 2x2 where odd sizes are floored"));
        }
        let t_out = conv_size(
            "the layer",
            "number of frames",
            t,
            self.time.kernel,
            self.time.stride,
            self.time.padding,
            self.time.dilation,
        )?;

        let extent = |path: Path| -> Result<Option<(&'static str, Extent)>, Error> {
            if !self.has(path) {
                return Ok(None);
            }
            let source = if path.input() == Frequency::High { full } else { half };
            Ok(Some((path.arrow(), self.path_extent(path, source)?)))
        };
        let (hh, hl, lh, ll) = (extent(Path::HH)?, extent(Path::HL)?, extent(Path::LH)?, extent(Path::LL)?);

        // Y_H as H->H gives it; where there is only L->H, as the sizes at high resolution say.
        let high = match (hh, lh) {
            (Some(hh), _) => Some(hh),
            (None, Some(_)) => Some(("the input's size", self.path_extent(Path::HH, full)?)),
            (None, None) => None,
        };
        let half_extent = |e: Extent| Extent { h: self.rounding.half(e.h), w: self.rounding.half(e.w) };
        if let (Some((high_from, high)), Some((low_from, low))) = (high, lh) {
            if self.stride == 1 && low != half_extent(high) {
                return Err(Error::Resolutions { high_from, high, low_from, low, expected: half_extent(high) });
            }
            if self.stride == 2 && low != high {
                let (first_from, first, second_from, second) = (high_from, high, low_from, low);
                return Err(Error::Paths { output: "Y_H", first_from, first, second_from, second });
            }
        }
        let low = ll.or(hl);
        if let (Some((first_from, first)), Some((second_from, second))) = (ll, hl)
            && first != second
        {
            return Err(Error::Paths { output: "Y_L", first_from, first, second_from, second });
        }
        if let Some((low_from, low)) = low {
            // Y_L stands beside Y_H, or beside the Y_H that this layer does not have.
            let beside = match high {
                Some(high) => Some(high),
                None if self.input.high > 0 => Some(("the input's size", self.path_extent(Path::HH, full)?)),
                None => None,
            };
            if let Some((high_from, high)) = beside
                && low != half_extent(high)
            {
                return Err(Error::Resolutions { high_from, high, low_from, low, expected: half_extent(high) });
            }
        }

        let output = |e: Option<(&str, Extent)>, c: u32| e.map(|(_, Extent { h, w })| Dims { n, c, t: t_out, h, w });
        let y_h = output(high, self.output.high);
        let y_l = output(low, self.output.low);
        let pooled = |map: Dims| Some(map.pooled(self.rounding)).filter(|p| p.h > 0 && p.w > 0);
        let x_h = (self.input.high > 0).then_some(full);
        Ok(Shapes {
            x_h,
            x_l: (self.input.low > 0).then_some(half),
            x_p: x_h.and_then(pooled),
            y_h,
            y_l,
            y_p: y_h.and_then(pooled),
        })
    }

    /// The size of the output at full resolution, also where the layer has no Y_H: what the next layer is given.
    pub fn output_size(&self, size: InputSize) -> Result<InputSize, Error> {
        let shapes = self.shapes(size)?;
        let (any, extent) = match (shapes.y_h, shapes.y_l) {
            (Some(y_h), _) => (y_h, y_h.extent()),
            (None, Some(y_l)) => {
                let full = Dims { n: size.n, c: 1, t: size.t, h: size.h, w: size.w };
                (y_l, self.path_extent(Path::HH, full)?)
            }
            (None, None) => return Err(Error::argument("out_channels", 0, "must be at least 1")),
        };
        Ok(InputSize { n: any.n, t: any.t, h: extent.h, w: extent.w })
    }

    /// What the layer costs for an input of `size`.
    pub fn cost(&self, size: InputSize) -> Result<Cost, Error> {
        let shapes = self.shapes(size)?;
        let elements = |dims: Option<Dims>| dims.map_or(0, Dims::elements);
        let mut macs = 0u64;
        let mut params = 0u64;
        for path in Path::ALL.into_iter().filter(|&path| self.has(path)) {
            let weights = self.weight_shape(path).iter().fold(1u64, |all, &d| all.saturating_mul(u64::from(d)));
            // Where the convolution itself works: L->H at low resolution, before it is replicated.
            let at = match path {
                Path::LH if self.stride == 1 => shapes.y_h.map(|y| y.pooled(self.rounding)),
                Path::HH | Path::LH => shapes.y_h,
                Path::HL | Path::LL => shapes.y_l,
            };
            let positions = elements(at.map(|y| y.with_channels(1)));
            macs = macs.saturating_add(weights.saturating_mul(positions));
            params = params.saturating_add(weights);
        }
        if self.bias {
            params = params.saturating_add(u64::from(self.output.channels()));
        }
        Ok(Cost {
            macs,
            params,
            input_elements: elements(shapes.x_h.filter(|_| self.reads(Frequency::High)))
                .saturating_add(elements(shapes.x_l.filter(|_| self.reads(Frequency::Low)))),
            output_elements: elements(shapes.y_h).saturating_add(elements(shapes.y_l)),
            residual_elements: elements(shapes.y_h.filter(|_| self.residual_high))
                .saturating_add(elements(shapes.y_l.filter(|_| self.residual_low))),
        })
    }
}

/// floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1, or an error where the kernel does not fit.
fn conv_size(
    of: &'static str,
    axis: &'static str,
    size: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
    dilation: u32,
) -> Result<u32, Error> {
    let reach = u64::from(dilation) * u64::from(kernel - 1) + 1;
    let padded = u64::from(size) + 2 * u64::from(padding);
    if padded < reach {
        let allowed = format!(
            "must reach no further than the {axis} that {of} reads, {size} with padding {padding} on both sides"
        );
        return Err(Error::argument("kernel", format!("{kernel} with dilation {dilation}, {reach} in all"), allowed));
    }
    Ok(((padded - reach) / u64::from(stride) + 1) as u32)
}

/// Collects a specification; [`SpecBuilder::build`] validates it.
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

    /// The share of low-frequency channels of the input and of the output, each in [0, 1], split officially.
    pub fn alpha(mut self, alpha_in: f64, alpha_out: f64) -> Self {
        self.alpha = Some([alpha_in, alpha_out]);
        self
    }

    /// The exact channels of both frequencies, for checkpoints that split otherwise. The sums must be the channels.
    pub fn split(mut self, input: Split, output: Split) -> Self {
        self.alpha = None;
        self.spec.input = input;
        self.spec.output = output;
        self
    }

    /// Kernel, rows and columns.
    pub fn kernel(mut self, kernel: [u32; 2]) -> Self {
        self.spec.kernel = kernel;
        self
    }

    /// Spatial stride, 1 or 2: at 2 the official meaning, pool then convolve.
    pub fn stride(mut self, stride: u32) -> Self {
        self.spec.stride = stride;
        self
    }

    /// Zero padding in rows and columns, at both resolutions.
    pub fn padding(mut self, padding: [u32; 2]) -> Self {
        self.spec.padding = padding;
        self.same_padding = false;
        self
    }

    /// The padding that keeps the size, dilation * (kernel - 1) / 2, of the kernel and dilation that are built.
    pub fn same_padding(mut self) -> Self {
        self.same_padding = true;
        self
    }

    /// Distance between taps in rows and columns, at both resolutions.
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

    /// A filter a channel; the exchange paths are absent.
    pub fn depthwise(mut self) -> Self {
        self.spec.groups = Groups::Depthwise;
        self
    }

    /// Switches H->L off or on.
    pub fn high_to_low(mut self, enabled: bool) -> Self {
        self.spec.high_to_low = enabled;
        self
    }

    /// Switches L->H off or on.
    pub fn low_to_high(mut self, enabled: bool) -> Self {
        self.spec.low_to_high = enabled;
        self
    }

    /// How resolution is halved.
    pub fn downsample(mut self, downsample: Downsample) -> Self {
        self.spec.downsample = downsample;
        self
    }

    /// How odd sizes are halved.
    pub fn rounding(mut self, rounding: Rounding) -> Self {
        self.spec.rounding = rounding;
        self
    }

    /// Whether each output has a bias. Batch norm folds into one: see [`Weights`](crate::Weights).
    pub fn bias(mut self, bias: bool) -> Self {
        self.spec.bias = bias;
        self
    }

    /// The function applied after the sum.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.spec.activation = activation;
        self
    }

    /// Adds a residual to Y_H and to Y_L before the activation, each if asked for.
    pub fn residual(mut self, high: bool, low: bool) -> Self {
        self.spec.residual_high = high;
        self.spec.residual_low = low;
        self
    }

    /// Validates the specification.
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
