//! ResNets of basic residual blocks, for images of 32x32.

use super::nodes::{Nodes, conv1x1, conv3x3};
use crate::layer::Activation;
use crate::network::description::{Conv, INPUT};

/// `layer1` to `layer3`, each of `blocks` residual blocks.
pub(super) fn build(nodes: &mut Nodes, blocks: usize, alpha: f64) -> String {
    let mut map = nodes.conv("conv1", conv3x3(INPUT, 16, alpha, 1));
    nodes.end_stage(&map);
    for layer in 1..=3 {
        let channels = 8 << layer;
        let alpha = if layer == 3 { 0.0 } else { alpha };
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
