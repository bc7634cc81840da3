//! MobileNets, with a width multiplier.

use super::nodes::{Nodes, conv1x1, conv3x3};
use super::stem::strided3x3;
use crate::layer::Activation;
use crate::network::description::{Conv, INPUT};

/// How a MobileNet v2 makes whole channels of a width.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Whole {
    /// Cut off, as the official code of octave convolution has it.
    Cut,
    /// The nearest multiple of 8, as the authors of MobileNets have it.
    MultipleOf8,
}

impl Whole {
    fn channels(self, channels: f64) -> u32 {
        match self {
            Self::Cut => channels as u32,
            Self::MultipleOf8 => multiple_of_8(channels),
        }
    }
}

pub(super) fn v1(nodes: &mut Nodes, alpha: f64, width: f64) -> String {
    // Stride and channels of each residual block.
    const BLOCKS: [(u32, u32); 13] = [
        (1, 64),
        (2, 128),
        (1, 128),
        (2, 256),
        (1, 256),
        (2, 512),
        (1, 512),
        (1, 512),
        (1, 512),
        (1, 512),
        (1, 512),
        (2, 1024),
        (1, 1024),
    ];
    // The last residual block at each size.
    const STAGES: [usize; 5] = [1, 3, 5, 11, 13];
    let scaled = |channels: u32| (f64::from(channels) * width) as u32;
    let mut channels = scaled(32);
    let mut map = nodes.conv("features.0", strided3x3(INPUT, channels));
    nodes.end_stage(&map);
    for (block, (stride, outputs)) in (1..).zip(BLOCKS) {
        let before = if (2..=11).contains(&block) { alpha } else { 0.0 };
        let after = if block <= 10 { alpha } else { 0.0 };
        let depthwise = Conv { depthwise: true, ..conv3x3(&map, channels, before, stride) };
        let inner = nodes.conv(format!("features.{block}.0"), depthwise);
        channels = scaled(outputs);
        map = nodes.conv(format!("features.{block}.1"), conv1x1(&inner, channels, after));
        if STAGES.contains(&block) {
            nodes.end_stage(&map);
        }
    }
    map
}

pub(super) fn v2(nodes: &mut Nodes, whole: Whole, alpha: f64, width: f64) -> String {
    // Expansion, channels, number of residual blocks, and the stride of the first of them.
    const GROUPS: [(u32, u32, u32, u32); 7] =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    // The last residual block at each size.
    const STAGES: [u32; 5] = [1, 3, 6, 13, 17];
    let relu6 = |conv: Conv| Conv { activation: Activation::Relu6, ..conv };
    let mut channels = whole.channels(32.0 * width);
    let mut map = nodes.conv("features.0", relu6(strided3x3(INPUT, channels)));
    nodes.end_stage(&map);
    let mut block = 0;
    for (expansion, outputs, count, first_stride) in GROUPS {
        for i in 0..count {
            block += 1;
            let stride = if i == 0 { first_stride } else { 1 };
            let inside = if block <= 13 { alpha } else { 0.0 };
            let (inputs, outputs) = (channels, whole.channels(f64::from(outputs) * width));
            let name = |part: u32| format!("features.{block}.{part}");
            let expanded = expansion * inputs;
            let inner = nodes.conv(name(0), relu6(conv1x1(&map, expanded, inside)));
            let depthwise = Conv { depthwise: true, ..conv3x3(&inner, expanded, inside, stride) };
            let inner = nodes.conv(name(1), relu6(depthwise));
            let residual = (stride == 1 && inputs == outputs).then_some(map);
            let last = Conv { activation: Activation::None, residual, ..conv1x1(&inner, outputs, 0.0) };
            map = nodes.conv(name(2), last);
            channels = outputs;
            if STAGES.contains(&block) {
                nodes.end_stage(&map);
            }
        }
    }
    let map = nodes.conv("features.18", relu6(conv1x1(&map, whole.channels(1280.0 * width.max(1.0)), 0.0)));
    nodes.end_stage(&map);
    map
}

/// The nearest multiple of 8 that is at least nine tenths of `channels`, as the authors of MobileNets round.
fn multiple_of_8(channels: f64) -> u32 {
    let rounded = ((channels + 4.0) as u32 / 8 * 8).max(8);
    if f64::from(rounded) < 0.9 * channels { rounded + 8 } else { rounded }
}
