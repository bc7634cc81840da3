//! Finds the nodes that are planned together.

use super::doubled;
use super::roles::{Role, Uses};
use crate::network::graph::{Graph, ValueShape};

/// The roles of all nodes. `kept` says for each value whether a caller sees it.
pub(super) fn roles(graph: &Graph, shapes: &[ValueShape], kept: &[bool]) -> Vec<Role> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); shapes.len()];
    for (index, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().chain(&node.residual).for_each(|&id| readers[id].push(index));
    }
    let uses = Uses { graph, shapes, readers, kept };
    let mut roles = vec![Role::Itself; graph.nodes.len()];
    doubled::find(&uses, &mut roles);
    roles
}
