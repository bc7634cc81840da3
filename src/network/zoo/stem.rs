//! How ResNets begin.

use std::fmt;
use std::str::FromStr;

use super::nodes::{Nodes, conv1x1, conv3x3};
use crate::error::Error;
use crate::layer::{Activation, Downsample};
use crate::network::description::{Axes, Conv, Ends, INPUT, Op, Pool, PoolKind};

/// How a ResNet begins: what stands before its residual blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stem {
    /// A convolution of 7x7 with stride 2, then a max pool with stride 2.
    MaxPool,
    /// The max pool is a convolution of 3x3 with stride 2.
    Conv,
    /// The max pool is a residual block of convolutions of 1x1, 3x3 with stride 2, and 1x1.
    Bottleneck,
    /// As [`Stem::Bottleneck`], and the first of the three is 3x3.
    Bottleneck3x3,
    /// A convolution of 3x3 with stride 1, and nothing else: for pictures of 32x32.
    Small,
}

impl Stem {
    /// All stems.
    pub const ALL: [Self; 5] = [Self::MaxPool, Self::Conv, Self::Bottleneck, Self::Bottleneck3x3, Self::Small];

    /// Its name: `max-pool`, `conv`, `bottleneck`, `bottleneck-3x3` or `small`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxPool => "max-pool",
            Self::Conv => "conv",
            Self::Bottleneck => "bottleneck",
            Self::Bottleneck3x3 => "bottleneck-3x3",
            Self::Small => "small",
        }
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stem {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|stem| stem.name() == name);
        found.ok_or_else(|| Error::argument("stem", name, format!("must be one of {}", names())))
    }
}

/// Adds the nodes of a stem with `channels` and a low frequency of `alpha`. Only [`Stem::MaxPool`] and [`Stem::Small`]
/// can have a low frequency.
pub(super) fn build(nodes: &mut Nodes, stem: Stem, channels: u32, alpha: f64) -> String {
    if stem == Stem::Small {
        return nodes.ends_stage("conv1", Op::Conv(conv3x3(INPUT, channels, alpha, 1)));
    }
    let map = nodes.ends_stage("conv1", Op::Conv(Conv { channels, alpha, ..conv7x7() }));
    match stem {
        Stem::Conv => nodes.ends_stage("stem.pool", Op::Conv(strided3x3(&map, channels))),
        Stem::Bottleneck => bottleneck(nodes, &map, channels, conv1x1),
        Stem::Bottleneck3x3 => {
            bottleneck(nodes, &map, channels, |input, channels, alpha| conv3x3(input, channels, alpha, 1))
        }
        Stem::MaxPool | Stem::Small => max_pool(nodes, map),
    }
}

/// Three convolutions of 3x3 in place of the one of 7x7: `stem.0` to `stem.2`. The first has `first` channels, and the
/// convolution with number `at` has a stride of 2.
pub(super) fn deep(nodes: &mut Nodes, first: u32, at: usize) -> String {
    let mut map = INPUT.to_owned();
    for (i, channels) in [first, 32, 64].into_iter().enumerate() {
        let conv = if i == at { strided3x3(&map, channels) } else { conv3x3(&map, channels, 0.0, 1) };
        map = nodes.conv(format!("stem.{i}"), conv);
    }
    nodes.end_stage(&map);
    map
}

pub(super) fn max_pool(nodes: &mut Nodes, map: String) -> String {
    let pool = Pool::new(map, PoolKind::Max, Axes::Image([3, 3]), Axes::Image([2, 2]));
    nodes.ends_stage("maxpool", Op::Pool(Pool { padding: Axes::Image([Ends::from(1); 2]), ..pool }))
}

/// A residual block with stride 2, without a low frequency, in place of a max pool.
pub(super) fn bottleneck(
    nodes: &mut Nodes,
    map: &str,
    channels: u32,
    first: impl Fn(&str, u32, f64) -> Conv,
) -> String {
    let strided = Downsample::StridedConv;
    let shortcut = Conv { stride: 2, downsample: strided, activation: Activation::None, ..conv1x1(map, channels, 0.0) };
    let shortcut = nodes.conv("stem.pool.downsample.0", shortcut);
    let inner = nodes.conv("stem.pool.conv1", first(map, channels / 2, 0.0));
    let inner = nodes.conv("stem.pool.conv2", strided3x3(&inner, channels / 2));
    let last = Conv { residual: Some(shortcut), ..conv1x1(&inner, channels, 0.0) };
    nodes.ends_stage("stem.pool.conv3", Op::Conv(last))
}

/// A 7x7 convolution that strides by 2.
pub(super) fn conv7x7() -> Conv {
    Conv { kernel: [7, 7], stride: 2, padding: [3, 3], downsample: Downsample::StridedConv, ..conv1x1(INPUT, 64, 0.0) }
}

/// A plain 3x3 convolution that strides by 2 instead of pooling.
pub(super) fn strided3x3(input: &str, channels: u32) -> Conv {
    Conv { downsample: Downsample::StridedConv, ..conv3x3(input, channels, 0.0, 2) }
}
