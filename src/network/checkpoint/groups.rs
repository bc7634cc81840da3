//! Weights of paths that have more groups than their layer.

use super::checkpoint::HostTensor;
use crate::layer::Groups;
use crate::network::graph::{Graph, Task};

/// The weight `[c_out, c_in / groups, ...]` of a path in the groups of its layer, `wanted` being its shape there. Groups of
/// the path that are one in the layer get zeros for each other's inputs, which changes no sum. `None` if the layer is dense or
/// depthwise, or if the shapes do not fit so.
pub(super) fn widened(graph: &Graph, target: &str, tensor: &HostTensor, wanted: &[usize]) -> Option<HostTensor> {
    let groups = groups_of(graph, target).filter(|&groups| groups > 1)?;
    let (&[n, c, ref taps @ ..], &[wanted_n, wide, ref wanted_taps @ ..]) = (&tensor.shape[..], wanted) else {
        return None;
    };
    let more = wide.checked_div(c)?;
    let fits = n == wanted_n && taps == wanted_taps && more > 1 && more * c == wide && n % (groups * more) == 0;
    let area: usize = taps.iter().product();
    if !fits || tensor.data.len() != n * c * area {
        return None;
    }
    let mut data = vec![0.0; n * wide * area];
    for (output, row) in tensor.data.chunks_exact(c * area).enumerate() {
        let group = output / (n / (groups * more)) % more;
        let at = (output * wide + group * c) * area;
        data[at..at + row.len()].copy_from_slice(row);
    }
    Some(HostTensor { shape: wanted.to_vec(), data })
}

/// The groups of the layer whose weight has this name.
fn groups_of(graph: &Graph, target: &str) -> Option<usize> {
    let (node, tensor) = target.rsplit_once('.')?;
    let node = graph.nodes.iter().find(|other| other.name == node)?;
    match (&node.task, tensor.starts_with("w_")) {
        (Task::Conv { spec, .. }, true) => match spec.groups() {
            Groups::Count(groups) => Some(groups as usize),
            Groups::Depthwise => None,
        },
        _ => None,
    }
}
