//! ResNet-50 for clips: C2D convolves frame by frame, and I3D also in time.

use super::nodes::Nodes;
use super::{resnet, stem};
use crate::layer::TimeAxis;
use crate::network::description::{Axes, Conv, Op, Pool, PoolKind};

const SHAPE: resnet::Shape = resnet::Shape::plain([3, 4, 6, 3]);

pub(super) fn build(nodes: &mut Nodes, inflated: bool, alpha: f64) -> String {
    let frames = |kernel| TimeAxis { kernel, padding: kernel / 2, ..TimeAxis::IMAGE };
    let max_pool = |nodes: &mut Nodes, name: &str, input: String, kernel: [u32; 3], stride: [u32; 3]| {
        let (kernel, stride) = (Axes::Video(kernel), Axes::Video(stride));
        let map = nodes.add(name, Op::Pool(Pool::new(input, PoolKind::Max, kernel, stride)));
        nodes.end_stage(&map);
        map
    };
    let map = nodes.conv("conv1", Conv { time: inflated.then(|| frames(5)), ..stem::conv7x7() });
    nodes.end_stage(&map);
    let mut map = max_pool(nodes, "maxpool", map, [1, 3, 3], [1, 2, 2]);
    for layer in 1..=4 {
        // Every residual block of `layer1`, and every second one of the others.
        let in_time = |block: usize| match layer {
            1 => true,
            4 => !block.is_multiple_of(2),
            _ => block.is_multiple_of(2),
        };
        map = resnet::layer(nodes, &SHAPE, layer, map, alpha, |block| (inflated && in_time(block)).then(|| frames(3)));
        if layer == 1 {
            map = max_pool(nodes, "pool2", map, [2, 1, 1], [2, 1, 1]);
        }
    }
    map
}
