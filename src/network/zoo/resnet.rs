//! ResNet, ResNeXt and SE-ResNet of bottlenecks.

use super::nodes::{Nodes, conv1x1, conv3x3};
use super::stem::{self, Stem};
use crate::layer::{Activation, TimeAxis};
use crate::network::description::{Conv, Excite, Op};

/// How the networks differ.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Residual blocks of `layer1` to `layer4`.
    pub(super) blocks: [usize; 4],
    /// Groups of the 3x3 convolutions.
    pub(super) groups: u32,
    /// Channels inside a residual block, as a multiple of ResNet's.
    pub(super) inner: u32,
    /// Whether a residual block ends with squeeze-and-excitation.
    pub(super) excite: bool,
    /// Which of the official code's variants it is.
    pub(super) variant: Variant,
}

/// The variants of the official Gluon code.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Variant {
    /// A residual block strides in its 3x3 convolution.
    V1b,
    /// It strides in its last convolution, batch norms without scale and shift stand before its first convolution and its
    /// shortcut, and the stem has three convolutions.
    V1e,
    /// It strides in its last convolution, and the stem has three convolutions and a residual block in place of the max
    /// pool.
    V1f,
}

impl Shape {
    /// A ResNet.
    pub(super) const fn plain(blocks: [usize; 4]) -> Self {
        Self { blocks, groups: 1, inner: 1, excite: false, variant: Variant::V1b }
    }
}

/// The stem is that of the variant, if it has one of its own.
pub(super) fn build(nodes: &mut Nodes, shape: &Shape, stem: Stem, alpha: f64) -> String {
    let mut map = match shape.variant {
        Variant::V1b => stem::build(nodes, stem, 64, 0.0),
        Variant::V1e => {
            let map = stem::deep(nodes, 32, 0);
            stem::max_pool(nodes, map)
        }
        Variant::V1f => {
            let map = stem::deep(nodes, 8, 1);
            stem::bottleneck(nodes, &map, 64, conv1x1)
        }
    };
    for layer in 1..=4 {
        map = self::layer(nodes, shape, layer, map, alpha, |_| None, |_, _, map| map);
    }
    map
}

/// The residual blocks of `layer1`, ... or `layer4`. `time` gives the time axis of the first convolution of a block, and
/// `behind` adds nodes behind a block.
pub(super) fn layer(
    nodes: &mut Nodes,
    shape: &Shape,
    layer: u32,
    mut map: String,
    alpha: f64,
    time: impl Fn(usize) -> Option<TimeAxis>,
    behind: impl Fn(&mut Nodes, usize, String) -> String,
) -> String {
    let width = 32 << layer;
    let (inner, channels) = (width * shape.inner, 4 * width);
    let alpha = if layer == 4 { 0.0 } else { alpha };
    for block in 0..shape.blocks[layer as usize - 1] {
        let name = |part: &str| format!("layer{layer}.{block}.{part}");
        // What a convolution of the block's input reads.
        let entry = |nodes: &mut Nodes, part: &str| match shape.variant {
            Variant::V1e => {
                let norm = Op::Norm { input: map.clone(), affine: false, activation: Activation::None };
                nodes.add(name(part), norm)
            }
            _ => map.clone(),
        };
        let stride = if block == 0 && layer > 1 { 2 } else { 1 };
        let (second_stride, third_stride) = if shape.variant == Variant::V1b { (stride, 1) } else { (1, stride) };
        let shortcut = match block {
            0 => {
                let input = entry(nodes, "downsample.norm0");
                let conv = Conv { stride, activation: Activation::None, ..conv1x1(&input, channels, alpha) };
                nodes.conv(name("downsample.0"), conv)
            }
            _ => map.clone(),
        };
        let input = entry(nodes, "norm0");
        let first = nodes.conv(name("conv1"), Conv { time: time(block), ..conv1x1(&input, inner, alpha) });
        let second = Conv { groups: shape.groups, ..conv3x3(&first, inner, alpha, second_stride) };
        let second = nodes.conv(name("conv2"), second);
        let third = Conv { stride: third_stride, ..conv1x1(&second, channels, alpha) };
        map = if shape.excite {
            let input = nodes.conv(name("conv3"), Conv { activation: Activation::None, ..third });
            let (residual, activation) = (Some(shortcut), Activation::Relu);
            nodes.add(name("se"), Op::Excite(Excite { input, reduced: channels / 16, residual, activation }))
        } else {
            nodes.conv(name("conv3"), Conv { residual: Some(shortcut), ..third })
        };
        map = behind(nodes, block, map);
    }
    nodes.end_stage(&map);
    map
}
