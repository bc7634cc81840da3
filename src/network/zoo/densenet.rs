//! DenseNet-121.

use super::nodes::{Nodes, conv1x1, conv3x3};
use super::stem::{self, Stem};
use crate::layer::Activation;
use crate::network::description::{Axes, Conv, Op, Pool, PoolKind};

const GROWTH: u32 = 32;

pub(super) fn build(nodes: &mut Nodes, alpha: f64) -> String {
    let norm = |input: &str| Op::Norm { input: input.into(), affine: true, activation: Activation::Relu };
    // Without batch norm and activation. If there is a batch norm, it is a node in front of the convolution.
    let bare = |conv: Conv| Conv { norm: false, activation: Activation::None, ..conv };
    let mut map = stem::build(nodes, Stem::MaxPool, 2 * GROWTH, 0.0);
    let mut channels = 2 * GROWTH;
    for (block, layers) in [6, 12, 24, 16].into_iter().enumerate() {
        let block = block + 1;
        let inside = if block == 4 { 0.0 } else { alpha };
        for layer in 0..layers {
            let name = |part: &str| format!("denseblock{block}.{layer}.{part}");
            let normed = nodes.add(name("norm"), norm(&map));
            let first = nodes.conv(name("conv1"), conv1x1(&normed, 4 * GROWTH, inside));
            let second = nodes.conv(name("conv2"), bare(conv3x3(&first, GROWTH, inside, 1)));
            map = nodes.add(name("concat"), Op::Concat { inputs: vec![map, second] });
            channels += GROWTH;
        }
        nodes.end_stage(&map);
        if block < 4 {
            let name = |part: &str| format!("transition{block}.{part}");
            let behind = if block == 3 { 0.0 } else { alpha };
            channels /= 2;
            let normed = nodes.add(name("norm"), norm(&map));
            let input = nodes.conv(name("conv"), bare(conv1x1(&normed, channels, behind)));
            let pool = Pool::new(input, PoolKind::Average, Axes::Image([2, 2]), Axes::Image([2, 2]));
            map = nodes.add(name("pool"), Op::Pool(pool));
            nodes.end_stage(&map);
        }
    }
    let map = nodes.add("norm5", norm(&map));
    nodes.end_stage(&map);
    map
}
