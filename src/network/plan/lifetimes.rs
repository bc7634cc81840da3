//! For each tensor, the first and the last dispatch between which it must keep its contents.

use super::memory::Lifetime;
use super::options::NetworkOptions;
use super::step::{Place, PlannedStep};
use crate::kernels::Access;
use crate::network::graph::Graph;

/// For each tensor, the first and the last step between which it must keep its contents. The input keeps them all the
/// time, so that an inference can run again without writing the input again. The answer and kept values keep them to
/// the end.
pub(super) fn lifetimes(
    graph: &Graph,
    options: &NetworkOptions,
    places: &[Place],
    tensors: &[u64],
    steps: &[PlannedStep],
) -> Vec<Lifetime> {
    let mut lifetimes: Vec<Lifetime> =
        tensors.iter().map(|&bytes| Lifetime { bytes, first: usize::MAX, ..Lifetime::default() }).collect();
    for (at, planned) in steps.iter().enumerate() {
        for (id, access) in planned.step.tensors.iter().zip(planned.step.kernel.accesses()) {
            let Some((_, span)) = planned.tensors.iter().find(|(other, _)| other == id) else { continue };
            let lifetime = &mut lifetimes[span.tensor];
            (lifetime.first, lifetime.last) = (lifetime.first.min(at), at);
            lifetime.accesses.push((at, access == Access::Write));
        }
    }
    for lifetime in &mut lifetimes {
        // A tensor that no step uses, such as the input of a network that does not read it.
        lifetime.first = lifetime.first.min(lifetime.last);
    }
    let kept = options.keep.iter().filter_map(|name| graph.find(name));
    for id in [0, graph.output].into_iter().chain(kept) {
        let Place { high, low, vector, .. } = places[id];
        for part in [high, low, vector].into_iter().flatten() {
            let lifetime = &mut lifetimes[part.span.tensor];
            lifetime.last = steps.len();
            if id == 0 {
                lifetime.first = 0;
            }
        }
    }
    lifetimes
}
