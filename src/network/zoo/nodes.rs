//! Helpers to build the built-in networks.

use crate::layer::Activation;
use crate::network::description::{Conv, Node, Op};

/// The nodes so far. Functions that add a node return its name, so that the next node can read it.
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

    /// Adds a node that ends a stage.
    pub(super) fn ends_stage(&mut self, name: impl Into<String>, op: Op) -> String {
        let name = self.add(name, op);
        self.end_stage(&name);
        name
    }

    pub(super) fn end_stage(&mut self, name: &str) {
        self.stages.push(name.into());
    }
}

/// A 1x1 convolution of `input` to `channels`, with batch norm and ReLU, as most convolutions have them.
pub(super) fn conv1x1(input: &str, channels: u32, alpha: f64) -> Conv {
    Conv { alpha, norm: true, activation: Activation::Relu, ..Conv::new(input, channels) }
}

/// The same as [`conv1x1`] with a kernel of 3x3 and padding that keeps the size.
pub(super) fn conv3x3(input: &str, channels: u32, alpha: f64, stride: u32) -> Conv {
    Conv { kernel: [3, 3], stride, padding: [1, 1], ..conv1x1(input, channels, alpha) }
}
