//! What becomes of nodes that are planned together with others.

use super::doubled::{self, Doubled};
use super::normed;
use super::options::NetworkOptions;
use crate::network::graph::{Graph, GraphNode, ValueId, ValueShape};

/// What becomes of a node.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// It is what it is.
    Itself,
    /// Other nodes do its work, and its value is never made.
    Hidden,
    /// It makes its value as this layer.
    Layer(Doubled),
    /// A convolution that reads what the batch norm in front of it reads. This is the index of that node.
    Normed(usize),
}

impl Role {
    /// The values that a node of this role reads.
    pub(super) fn reads(&self, graph: &Graph, node: &GraphNode) -> Vec<ValueId> {
        match self {
            Self::Itself => node.inputs.iter().chain(&node.residual).copied().collect(),
            Self::Hidden => Vec::new(),
            Self::Layer(layer) => layer.reads().collect(),
            Self::Normed(norm) => graph.nodes[*norm].inputs.iter().chain(&node.residual).copied().collect(),
        }
    }

    /// The map that a convolution of this role reads.
    pub(super) fn input(&self, graph: &Graph, node: &GraphNode) -> ValueId {
        match self {
            Self::Normed(norm) => graph.nodes[*norm].inputs[0],
            _ => node.inputs[0],
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
    pub(super) kept: Vec<bool>,
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

/// The roles of all nodes.
pub(super) fn roles(graph: &Graph, shapes: &[ValueShape], options: &NetworkOptions) -> Vec<Role> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); shapes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().chain(&node.residual).for_each(|&id| readers[id].push(index));
    }
    let mut kept = vec![false; shapes.len()];
    kept[graph.output] = true;
    options.keep.iter().filter_map(|name| graph.find(name)).for_each(|id| kept[id] = true);
    let uses = Uses { graph, shapes, readers, kept };
    let mut roles = vec![Role::Itself; graph.nodes.len()];
    doubled::find(&uses, &mut roles);
    normed::find(&uses, &mut roles);
    roles
}
