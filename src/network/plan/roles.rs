//! What becomes of nodes that are planned together with others.

use std::ops::Range;

use crate::dims::InputSize;
use crate::layer::Spec;
use crate::network::graph::{Graph, GraphNode, ValueId, ValueShape};

/// An octave layer in place of a convolution and an upsampling.
#[derive(Clone, Debug)]
pub(super) struct Doubled {
    /// The index of the convolution's node.
    pub(super) conv: usize,
    pub(super) spec: Spec,
    /// The size of its high frequency.
    pub(super) size: InputSize,
    pub(super) high: Option<ValueId>,
    pub(super) low: ValueId,
    pub(super) residual: Option<ValueId>,
    /// The input channels of the convolution that are low.
    pub(super) columns: Range<u32>,
}

impl Doubled {
    pub(super) fn reads(&self) -> impl Iterator<Item = ValueId> {
        [self.high, Some(self.low), self.residual].into_iter().flatten()
    }
}

/// What becomes of a node.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// It is what it is.
    Itself,
    /// Other nodes do its work, and its value is never made.
    Hidden,
    /// It makes its value as this layer.
    Layer(Doubled),
}

impl Role {
    /// The values that a node of this role reads.
    pub(super) fn reads(&self, node: &GraphNode) -> Vec<ValueId> {
        match self {
            Self::Itself => node.inputs.iter().chain(&node.residual).copied().collect(),
            Self::Hidden => Vec::new(),
            Self::Layer(layer) => layer.reads().collect(),
        }
    }
}

/// How the values of a network are read.
pub(super) struct Uses<'a> {
    pub(super) graph: &'a Graph,
    pub(super) shapes: &'a [ValueShape],
    /// For each value the nodes that read it.
    pub(super) readers: Vec<Vec<usize>>,
    /// For each value whether a caller sees it.
    pub(super) kept: &'a [bool],
}

impl Uses<'_> {
    /// The only node that reads a value which no caller sees.
    pub(super) fn sole_reader(&self, id: ValueId) -> Option<usize> {
        match self.readers[id].as_slice() {
            &[reader] if !self.kept[id] => Some(reader),
            _ => None,
        }
    }
}
