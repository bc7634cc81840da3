//! ResNet, ResNeXt and SE-ResNet for ImageNet.

use super::nodes::{Nodes, conv1x1, conv3x3};
use crate::layer::{Activation, Downsample, TimeAxis};
use crate::network::description::{Axes, Conv, Ends, Excite, INPUT, Op, Pool, PoolKind};

/// How the networks differ.
pub(super) struct Shape {
    /// Residual blocks of `layer1` to `layer4`.
    pub(super) blocks: [usize; 4],
    /// Groups of the 3x3 convolutions.
    pub(super) groups: u32,
    /// Channels inside a residual block, as a multiple of ResNet's.
    pub(super) inner: u32,
    /// Whether a residual block ends with squeeze-and-excitation.
    pub(super) excite: bool,
}

pub(super) fn build(nodes: &mut Nodes, shape: &Shape, alpha: f64) -> String {
    let mut map = stem(nodes);
    for layer in 1..=4 {
        map = self::layer(nodes, shape, layer, map, alpha, |_| None);
    }
    map
}

/// `conv1` and `maxpool`, which quarter height and width, and have no low frequency.
pub(super) fn stem(nodes: &mut Nodes) -> String {
    let map = nodes.conv("conv1", stem_conv());
    nodes.end_stage(&map);
    let pool = Pool::new(map, PoolKind::Max, Axes::Image([3, 3]), Axes::Image([2, 2]));
    let map = nodes.add("maxpool", Op::Pool(Pool { padding: Axes::Image([Ends::from(1); 2]), ..pool }));
    nodes.end_stage(&map);
    map
}

/// A 7x7 convolution that strides by 2. It is the only convolution of stride 2 that does not pool first.
pub(super) fn stem_conv() -> Conv {
    Conv { kernel: [7, 7], stride: 2, padding: [3, 3], downsample: Downsample::StridedConv, ..conv1x1(INPUT, 64, 0.0) }
}

/// The residual blocks of `layer1`, ... or `layer4`. `time` gives the time axis of the first convolution of a block.
pub(super) fn layer(
    nodes: &mut Nodes,
    shape: &Shape,
    layer: u32,
    mut map: String,
    alpha: f64,
    time: impl Fn(usize) -> Option<TimeAxis>,
) -> String {
    let width = 32 << layer;
    let (inner, channels) = (width * shape.inner, 4 * width);
    let alpha = if layer == 4 { 0.0 } else { alpha };
    for block in 0..shape.blocks[layer as usize - 1] {
        let name = |part: &str| format!("layer{layer}.{block}.{part}");
        let stride = if block == 0 && layer > 1 { 2 } else { 1 };
        let shortcut = match block {
            0 => {
                let conv = Conv { stride, activation: Activation::None, ..conv1x1(&map, channels, alpha) };
                nodes.conv(name("downsample.0"), conv)
            }
            _ => map.clone(),
        };
        let first = nodes.conv(name("conv1"), Conv { time: time(block), ..conv1x1(&map, inner, alpha) });
        let second = Conv { groups: shape.groups, ..conv3x3(&first, inner, alpha, stride) };
        let second = nodes.conv(name("conv2"), second);
        let third = conv1x1(&second, channels, alpha);
        map = if shape.excite {
            let input = nodes.conv(name("conv3"), Conv { activation: Activation::None, ..third });
            let (residual, activation) = (Some(shortcut), Activation::Relu);
            nodes.add(name("se"), Op::Excite(Excite { input, reduced: channels / 16, residual, activation }))
        } else {
            nodes.conv(name("conv3"), Conv { residual: Some(shortcut), ..third })
        };
    }
    nodes.end_stage(&map);
    map
}
