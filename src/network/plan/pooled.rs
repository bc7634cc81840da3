//! Decides for which values of a network pool(X_H) is kept too, and which layers read it.
//!
//! A dense 1x1 convolution of stride 1 can run on a kernel that makes the mean of what it reads anyway, or on others
//! that are faster if pool(X_H) is given. The estimates decide whether it reads it. Tuned variants cannot, because a
//! layer is tuned either with pool(X_H) or without. All other layers that pool read it, because otherwise they pool
//! again for every block of output channels.

use super::options::NetworkOptions;
use crate::device::DeviceFacts;
use crate::dims::{Dims, InputSize};
use crate::kernels::job::{Operand, TensorId};
use crate::kernels::pool;
use crate::layer::{Groups, Spec};
use crate::network::graph::{Graph, Task, ValueId, ValueShape};
use crate::plan::{Options, Plan};

pub(super) struct Pooled {
    /// For each value, whether its pooled map is kept too.
    pub(super) kept: Vec<bool>,
    /// For each node, whether it reads the pooled map of its input.
    pub(super) read: Vec<bool>,
}

impl Pooled {
    pub(super) fn new(graph: &Graph, shapes: &[ValueShape], options: &NetworkOptions, facts: &DeviceFacts) -> Self {
        let mut gains = Gains { options, facts, known: Vec::new() };
        let mut kept = vec![false; shapes.len()];
        let mut worth = vec![0.0; shapes.len()];
        let mut read = vec![false; graph.nodes.len()];
        for (node, read) in graph.nodes.iter().zip(&mut read) {
            let Task::Conv { spec, .. } = &node.task else { continue };
            let input = node.inputs[0];
            let ValueShape::Map { size, .. } = shapes[input] else { continue };
            if !spec.pools_input() {
                continue;
            }
            let gain = if has_cheap_mean(spec) { gains.of(spec, size) } else { f64::INFINITY };
            *read = gain > 0.0;
            worth[input] += gain.max(0.0);
        }
        // Not for the network's input, which nobody pools. Layers pool it themselves.
        for (id, kept) in kept.iter_mut().enumerate().skip(1) {
            let ValueShape::Map { high: Some(high), .. } = shapes[id] else { continue };
            let Some(pooled) = high.pooled_if_any(graph.network.rounding) else { continue };
            *kept = worth[id] > gains.cost(high, pooled, graph, id);
        }
        for (node, read) in graph.nodes.iter().zip(&mut read) {
            *read = *read && kept[node.inputs[0]];
        }
        Self { kept, read }
    }
}

/// Whether the pointwise kernel can run the layer, which makes a mean with only three additions.
fn has_cheap_mean(spec: &Spec) -> bool {
    let one_tap = spec.kernel() == [1, 1] && spec.time().kernel == 1;
    one_tap && spec.groups() == Groups::Count(1) && spec.stride() == 1
}

/// The gains of layers by pool(X_H), in estimated microseconds. Remembers those that were asked for.
struct Gains<'a> {
    options: &'a NetworkOptions,
    facts: &'a DeviceFacts,
    known: Vec<(Spec, InputSize, f64)>,
}

impl Gains<'_> {
    /// The microseconds that a layer gains if pool(X_H) is given.
    fn of(&mut self, spec: &Spec, size: InputSize) -> f64 {
        if let Some(&(_, _, gain)) = self.known.iter().find(|(s, at, _)| s == spec && *at == size) {
            return gain;
        }
        let estimate = |pooled_input| {
            let options = Options { pooled_input, ..self.options.layer() };
            Plan::new(spec, size, &options, self.facts).map(|plan| plan.estimate(self.facts))
        };
        // If the layer cannot be planned, lowering reports the error later.
        let gain = match (estimate(false), estimate(true)) {
            (Ok(without), Ok(with)) => without - with,
            _ => 0.0,
        };
        self.known.push((spec.clone(), size, gain));
        gain
    }

    /// The microseconds that the pooled map costs: a dispatch, or about half of that if the node that makes the value
    /// also writes its pooled map.
    fn cost(&self, high: Dims, pooled: Dims, graph: &Graph, id: ValueId) -> f64 {
        let operand = |id, dims| Operand { id, dims };
        let (from, to) = (operand(TensorId::XH, high), operand(TensorId::YH, pooled));
        let step = pool::step(self.facts, self.options.types(self.facts), from, to);
        let alone = step.map_or(0.0, |step| step.work.estimate(self.facts));
        match graph.nodes[id - 1].task {
            Task::Conv { .. }
            | Task::Norm { .. }
            | Task::Excite { .. }
            | Task::Activation { .. }
            | Task::Gate
            | Task::Add { .. } => 0.5 * alone,
            _ => alone,
        }
    }
}
