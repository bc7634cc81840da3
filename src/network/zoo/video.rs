//! ResNet-50 for clips: C2D convolves frame by frame, and I3D also in time. I3D may have non-local blocks.

use super::nodes::{Nodes, conv1x1};
use super::{resnet, stem};
use crate::layer::{Activation, TimeAxis};
use crate::network::description::{Attention, Axes, Conv, Op, Pool, PoolKind};

const BLOCKS: resnet::Shape = resnet::Shape::plain([3, 4, 6, 3]);

/// How the networks differ.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Whether convolutions reach over frames.
    pub(super) inflated: bool,
    /// Whether there are non-local blocks.
    pub(super) non_local: bool,
}

pub(super) fn build(nodes: &mut Nodes, shape: Shape, alpha: f64) -> String {
    let Shape { inflated, non_local } = shape;
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
        let time = |block: usize| (inflated && in_time(block)).then(|| frames(3));
        let behind = |nodes: &mut Nodes, block: usize, map: String| {
            // Every second residual block of `layer2` and `layer3`.
            let wanted = non_local && matches!(layer, 2 | 3) && !block.is_multiple_of(2);
            let name = format!("layer{layer}.{block}.nl");
            if wanted { self::non_local(nodes, &name, map, 128 << layer, alpha) } else { map }
        };
        map = resnet::layer(nodes, &BLOCKS, layer, map, alpha, time, behind);
        if layer == 1 {
            map = max_pool(nodes, "pool2", map, [2, 1, 1], [2, 1, 1]);
        }
    }
    map
}

/// A non-local block of the embedded Gaussian (Wang et al., 2018). Its convolutions are octave convolutions, and between
/// them each frequency is by itself.
fn non_local(nodes: &mut Nodes, block: &str, input: String, channels: u32, alpha: f64) -> String {
    let name = |part: &str| format!("{block}.{part}");
    let half = |input: &str| Conv { alpha, bias: true, ..Conv::new(input, channels / 2) };
    let queries = nodes.conv(name("theta"), half(&input));
    let two = Axes::Image([2, 2]);
    let smaller = nodes.add(name("pool"), Op::Pool(Pool::new(&input, PoolKind::Max, two, two)));
    let keys = nodes.conv(name("phi"), half(&smaller));
    let values = nodes.conv(name("g"), half(&smaller));
    let mean = nodes.add(name("attention"), Op::Attention(Attention { queries, keys, values, scale: None }));
    let out = Conv { activation: Activation::None, residual: Some(input), ..conv1x1(&mean, channels, alpha) };
    nodes.conv(name("out"), out)
}
