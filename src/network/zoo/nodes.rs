//! How the built-in networks are put together.

use crate::layer::Activation;
use crate::network::description::{Conv, Node, Op};

/// Nodes as they come. What adds one gives back its name, for the next to read.
#[derive(Default)]
pub(super) struct Nodes {
    pub(super) nodes: Vec<Node>,
    pub(super) stages: Vec<String>,
}

impl Nodes {
    pub(super) fn add(&mut self, name: impl Into<String>, op: Op) -> String {
        let name = name.into();
        self.nodes.push(Node { name: name.clone(), op });
        name
    }

    pub(super) fn conv(&mut self, name: impl Into<String>, conv: Conv) -> String {
        self.add(name, Op::Conv(conv))
    }

    pub(super) fn end_stage(&mut self, name: &str) {
        self.stages.push(name.into());
    }
}

/// What nearly every convolution is: 1x1 of `input` to `channels`, batch norm, ReLU.
pub(super) fn conv1x1(input: &str, channels: u32, alpha: f64) -> Conv {
    Conv { alpha, norm: true, activation: Activation::Relu, ..Conv::new(input, channels) }
}

/// The same with 3x3.
pub(super) fn conv3x3(input: &str, channels: u32, alpha: f64, stride: u32) -> Conv {
    Conv { kernel: [3, 3], stride, padding: [1, 1], ..conv1x1(input, channels, alpha) }
}
