//! Which values of a network are kept pooled beside themselves, and which layers read that.
//!
//! A convolution with a window wants pool(X_H) at hand: averaging on load repeats for every block of output channels.
//! One of 1x1 has a kernel that makes the mean of what it reads, and others that are faster where it is given. Which it
//! is, the estimates say: what is tuned would not do, since it is tuned for one of the two.

use super::options::NetworkOptions;
use crate::device::DeviceFacts;
use crate::dims::{Dims, InputSize};
use crate::kernels::job::{Operand, TensorId};
use crate::kernels::pool;
use crate::layer::{Downsample, Groups, Path, Spec};
use crate::network::graph::{Graph, Task, ValueId, ValueShape};
use crate::plan::{Options, Plan};

pub(super) struct Pooled {
    /// Of each value, whether it is kept pooled too.
    pub(super) kept: Vec<bool>,
    /// Of each node, whether it reads its input pooled.
    pub(super) read: Vec<bool>,
}

impl Pooled {
    pub(super) fn new(graph: &Graph, shapes: &[ValueShape], options: &NetworkOptions, facts: &DeviceFacts) -> Self {
        let mut gains = Gains { options, facts, known: Vec::new() };
        let mut kept = vec![false; shapes.len()];
        let mut worth = vec![0.0; shapes.len()];
        let mut read = vec![false; graph.nodes.len()];
        for (node, read) in graph.nodes.iter().zip(&mut read) {
            let (Task::Conv { spec, .. }, input) = (&node.task, node.inputs[0]) else { continue };
            let ValueShape::Map { size, .. } = shapes[input] else { continue };
            if !pools(spec) {
                continue;
            }
            let gain = if has_cheap_mean(spec) { gains.of(spec, size) } else { f64::INFINITY };
            *read = gain > 0.0;
            worth[input] += gain.max(0.0);
        }
        // The network's input is given; a layer that wants it pooled does it on its own.
        for (id, kept) in kept.iter_mut().enumerate().skip(1) {
            let ValueShape::Map { high: Some(high), .. } = shapes[id] else { continue };
            *kept = worth[id] > gains.cost(high, graph, id);
        }
        for (node, read) in graph.nodes.iter().zip(&mut read) {
            *read &= node.inputs.first().is_some_and(|&input| kept[input]);
        }
        Self { kept, read }
    }
}

/// Whether a layer reads a mean of X_H.
fn pools(spec: &Spec) -> bool {
    let pools = |path| spec.has(path) && spec.sampling(path).level > 0;
    spec.downsample() == Downsample::AveragePool && (pools(Path::HH) || pools(Path::HL))
}

/// Whether the pointwise kernel has the layer's mean for three additions.
fn has_cheap_mean(spec: &Spec) -> bool {
    let one_tap = spec.kernel() == [1, 1] && spec.time().kernel == 1;
    one_tap && spec.groups() == Groups::Count(1) && spec.stride() == 1
}

/// Microseconds, by estimate, of the layers asked for so far.
struct Gains<'a> {
    options: &'a NetworkOptions,
    facts: &'a DeviceFacts,
    known: Vec<(Spec, InputSize, f64)>,
}

impl Gains<'_> {
    /// What a layer gains by pool(X_H) at hand.
    fn of(&mut self, spec: &Spec, size: InputSize) -> f64 {
        if let Some(&(_, _, gain)) = self.known.iter().find(|(s, at, _)| s == spec && *at == size) {
            return gain;
        }
        let estimate = |pooled_input| {
            let options = Options { pooled_input, ..self.options.layer() };
            Plan::new(spec, size, &options, self.facts).map(|plan| plan.estimate(self.facts))
        };
        // A layer that cannot be planned says so itself, in its turn.
        let gain = match (estimate(false), estimate(true)) {
            (Ok(without), Ok(with)) => without - with,
            _ => 0.0,
        };
        self.known.push((spec.clone(), size, gain));
        gain
    }

    /// What pool(Y_H) costs: a dispatch of its own, or about half of that where its maker writes it beside Y_H.
    fn cost(&self, high: Dims, graph: &Graph, id: ValueId) -> f64 {
        let operand = |id, dims| Operand { id, dims };
        let (from, to) = (operand(TensorId::XH, high), operand(TensorId::YH, high.pooled(graph.network.rounding)));
        let step = pool::step(self.facts, self.options.types(self.facts), from, to);
        let alone = step.map_or(0.0, |step| step.work.estimate(self.facts));
        match graph.nodes[id - 1].task {
            Task::Conv { .. } | Task::Norm { .. } | Task::Excite { .. } => 0.5 * alone,
            _ => alone,
        }
    }
}
