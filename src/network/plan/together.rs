//! Finds the nodes that are planned together.

use super::options::NetworkOptions;
use super::roles::{Role, Uses};
use super::{doubled, normed};
use crate::network::graph::{Graph, ValueShape};

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
