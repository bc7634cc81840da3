//! ResNets of basic residual blocks, which have two convolutions of 3x3.

use super::nodes::{Nodes, conv1x1, conv3x3};
use super::stem::{self, Stem};
use crate::layer::Activation;
use crate::network::description::Conv;

/// How the networks differ.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Residual blocks of `layer1`, `layer2`, ...
    pub(super) blocks: &'static [usize],
    /// Channels of the stem and of `layer1`. Every further layer has twice as many as the one before.
    pub(super) channels: u32,
}

/// The stem has a low frequency already, because the first residual block has no shortcut that could make one.
pub(super) fn build(nodes: &mut Nodes, shape: &Shape, stem: Stem, alpha: f64) -> String {
    let mut map = stem::build(nodes, stem, shape.channels, alpha);
    for (i, &blocks) in shape.blocks.iter().enumerate() {
        let (layer, channels) = (i + 1, shape.channels << i);
        let alpha = if layer == shape.blocks.len() { 0.0 } else { alpha };
        for block in 0..blocks {
            let name = |part: &str| format!("layer{layer}.{block}.{part}");
            let stride = if block == 0 && layer > 1 { 2 } else { 1 };
            let shortcut = match stride {
                2 => {
                    let conv = Conv { stride, activation: Activation::None, ..conv1x1(&map, channels, alpha) };
                    nodes.conv(name("downsample.0"), conv)
                }
                _ => map.clone(),
            };
            let first = nodes.conv(name("conv1"), conv3x3(&map, channels, alpha, stride));
            let second = Conv { residual: Some(shortcut), ..conv3x3(&first, channels, alpha, 1) };
            map = nodes.conv(name("conv2"), second);
        }
        nodes.end_stage(&map);
    }
    map
}
