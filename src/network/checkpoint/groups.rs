//! Weights of paths that have more groups than their layer.

use super::checkpoint::{HostTensor, elements};
use crate::error::Error;
use crate::layer::Groups;
use crate::memory::with_room;
use crate::network::graph::{Graph, Task};

/// The weight `[c_out, c_in / groups, ...]` of a path in the groups of its layer, `wanted` being its shape there. Groups of
/// the path that are one in the layer get zeros for each other's inputs, which changes no sum. `None` if the layer is dense or
/// depthwise, or if the shapes do not fit so.
///
/// # Errors
///
/// [`Error::OutOfMemory`], because a small weight may be a large one there.
pub(super) fn widened(
    graph: &Graph,
    target: &str,
    tensor: &HostTensor,
    wanted: &[usize],
) -> Result<Option<HostTensor>, Error> {
    let Some(groups) = groups_of(graph, target).filter(|&groups| groups > 1) else { return Ok(None) };
    let (&[n, c, ref taps @ ..], &[wanted_n, wide, ref wanted_taps @ ..]) = (&tensor.shape[..], wanted) else {
        return Ok(None);
    };
    let Some(more) = wide.checked_div(c) else { return Ok(None) };
    let fits = n == wanted_n && taps == wanted_taps && more > 1 && more * c == wide && n % (groups * more) == 0;
    if !fits || tensor.data.len() as u64 != elements(&tensor.shape) {
        return Ok(None);
    }
    let area: usize = taps.iter().product();
    let needs = elements(wanted);
    let mut data = with_room(needs, &format!("making {target}"))?;
    data.resize(needs as usize, 0.0);
    for (output, row) in tensor.data.chunks_exact(c * area).enumerate() {
        let group = output / (n / (groups * more)) % more;
        let at = (output * wide + group * c) * area;
        data[at..at + row.len()].copy_from_slice(row);
    }
    Ok(Some(HostTensor { shape: wanted.to_vec(), data }))
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
