//! How a layer walks over its map: halving, time, groups.

use crate::dims::Dims;

/// The low size of an odd high size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case"))]
#[non_exhaustive]
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

impl Dims {
    /// This map after one 2x2 pooling.
    pub(crate) fn pooled(self, rounding: Rounding) -> Self {
        Self { h: rounding.half(self.h), w: rounding.half(self.w), ..self }
    }
}

/// How resolution is halved, for H->L and for stride 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Downsample {
    /// A 2x2 average, then a convolution of stride 1.
    #[default]
    #[cfg_attr(feature = "network", serde(rename = "average"))]
    AveragePool,
    /// The paper's ablation: no average, a convolution of stride 2 (of stride 4 for H->L in a layer of stride 2).
    #[cfg_attr(feature = "network", serde(rename = "strided"))]
    StridedConv,
}

/// The time axis of a video layer, kept whole in both frequencies: neither pooled nor upsampled.
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
    /// One frame at a time: what an image layer has.
    pub const IMAGE: Self = Self { kernel: 1, stride: 1, padding: 0, dilation: 1 };
}

/// How channels are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Groups {
    /// The same number of groups on all four paths; 1 is the dense convolution.
    Count(u32),
    /// A filter a channel, H->H and L->L only. The output has a whole multiple of the input's channels.
    Depthwise,
}
