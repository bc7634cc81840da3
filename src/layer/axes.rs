//! How resolution is halved, the time axis, and groups.

use crate::dims::Dims;

/// How an odd size is halved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Rounding {
    /// ceil(h / 2), as the official Gluon code: the last pooled row is the mean of the rows that exist.
    #[default]
    Ceil,
    /// floor(h / 2), as the sizes of the official Symbol code: the last row is left out of pools, and L->H gives it the
    /// same value as the row before it.
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

impl Dims {
    /// This map after one 2x2 pooling.
    pub(crate) fn pooled(self, rounding: Rounding) -> Self {
        Self { h: rounding.half(self.h), w: rounding.half(self.w), ..self }
    }

    /// As [`Dims::pooled`]. `None` if nothing is left: one row or column, floored.
    pub(crate) fn pooled_if_any(self, rounding: Rounding) -> Option<Self> {
        Some(self.pooled(rounding)).filter(|pooled| pooled.h > 0 && pooled.w > 0)
    }
}

/// How H->L and layers of stride 2 halve the resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Downsample {
    /// By a 2x2 average, then a convolution of stride 1.
    #[default]
    #[cfg_attr(feature = "network", serde(rename = "average"))]
    AveragePool,
    /// By a convolution of stride 2 (stride 4 for H->L in a layer of stride 2), without averages: the paper's ablation.
    #[cfg_attr(feature = "network", serde(rename = "strided"))]
    StridedConv,
}

/// The time axis of a video layer. Both frequencies have all frames: octaves neither pool nor upsample in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize))]
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
    /// One frame at a time, as in a layer for images.
    pub const IMAGE: Self = Self { kernel: 1, stride: 1, padding: 0, dilation: 1 };
}

/// How channels are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Groups {
    /// The same number of groups on all four paths. 1 is the dense convolution.
    Count(u32),
    /// One group per input channel, on H->H and L->L only; the other paths are absent. Each frequency's output channels
    /// are the same whole multiple of its input channels.
    Depthwise,
}
