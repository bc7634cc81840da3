//! The pre-activation ResNet, ResNeXt and SE-ResNet of the official Symbol code.

use super::nodes::{Nodes, conv1x1, conv3x3};
use super::resnet::Shape;
use super::stem::{self, Stem};
use crate::layer::Activation;
use crate::network::description::{Conv, Excite, Op};

/// A batch norm in front of a convolution is the convolution's before it, if nothing else reads that one. Others are nodes
/// of their own.
pub(super) fn build(nodes: &mut Nodes, shape: &Shape, alpha: f64) -> String {
    let norm = |input: &str| Op::Norm { input: input.into(), affine: true, activation: Activation::Relu };
    // With nothing behind the sum: the next batch norm stands in the next residual block.
    let bare = |conv: Conv| Conv { norm: false, activation: Activation::None, ..conv };
    let mut map = stem::build(nodes, Stem::MaxPool, 64, 0.0);
    for (i, &blocks) in shape.blocks.iter().enumerate() {
        let layer = i + 1;
        let width = 64 << i;
        let (inner, channels) = (width * shape.inner, 4 * width);
        let alpha = if layer == 4 { 0.0 } else { alpha };
        for block in 0..blocks {
            let name = |part: &str| format!("block{layer}.{block}.{part}");
            let stride = if block == 0 && layer > 1 { 2 } else { 1 };
            let residual = match block {
                0 => {
                    let normed = nodes.add(name("downsample.norm"), norm(&map));
                    let conv = Conv { stride, ..bare(conv1x1(&normed, channels, alpha)) };
                    nodes.conv(name("downsample.0"), conv)
                }
                _ => map.clone(),
            };
            let normed = nodes.add(name("norm"), norm(&map));
            let first = nodes.conv(name("conv1"), conv1x1(&normed, inner, alpha));
            let second = Conv { groups: shape.groups, ..conv3x3(&first, inner, alpha, stride) };
            let second = nodes.conv(name("conv2"), second);
            let third = bare(conv1x1(&second, channels, alpha));
            let residual = Some(residual);
            map = if shape.excite {
                let input = nodes.conv(name("conv3"), third);
                let activation = Activation::None;
                nodes.add(name("se"), Op::Excite(Excite { input, reduced: channels / 16, residual, activation }))
            } else {
                nodes.conv(name("conv3"), Conv { residual, ..third })
            };
        }
        nodes.end_stage(&map);
    }
    nodes.ends_stage("tail", norm(&map))
}
