//! Batch norms that the convolutions behind them do: W (a x + b) = (W a) x + W b.
//!
//! Nothing lies between: no activation, and no zeros around the map, because those have no shift. Means of 2x2 positions
//! and repeated elements keep a scale and a shift as they are.

use super::roles::{Role, Uses};
use crate::layer::Activation;
use crate::network::graph::Task;

/// Finds batch norms that all their readers can do.
pub(super) fn find(uses: &Uses, roles: &mut [Role]) {
    for (index, node) in uses.graph.nodes.iter().enumerate() {
        let id = index + 1;
        let Task::Norm { activation: Activation::None, .. } = node.task else { continue };
        let readers = &uses.readers[id];
        let takes = |&reader: &usize| {
            let node = &uses.graph.nodes[reader];
            let Task::Conv { spec, .. } = &node.task else { return false };
            let padded = spec.padding() != [0, 0] || spec.time().padding != 0;
            !padded && node.residual != Some(id) && matches!(roles[reader], Role::Itself)
        };
        if matches!(roles[index], Role::Itself) && !uses.kept[id] && !readers.is_empty() && readers.iter().all(takes) {
            readers.iter().for_each(|&reader| roles[reader] = Role::Normed(index));
            roles[index] = Role::Hidden;
        }
    }
}
