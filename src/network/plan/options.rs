//! How a network is to be run, besides its description.

use crate::device::DeviceFacts;
use crate::kernels::Types;
use crate::network::graph::Graph;
use crate::plan::Options;
use crate::precision::{Accuracy, Precision};

/// How a network is to be run: everything that its description does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// The types in which the network stores and adds. Vectors are always f32.
    pub precision: Precision,
    /// Which kernels the planner may choose.
    pub accuracy: Accuracy,
    /// Whether all maps and vectors lie in one buffer, each at its own offset. They then take hardly more memory than is
    /// alive at once. But WebGPU tracks whole buffers, so kernels bind what they read as if they wrote it, and drivers may
    /// load it more slowly. A network that needs more than the device's `max_buffer_size` takes several buffers.
    ///
    /// In browsers it is not for networks with a node that reads one map twice, such as a layer whose residual is its own
    /// input, a sum of a map and itself, or an attention whose keys are its values: they forbid that the same bytes are bound
    /// twice and as written. `Model::compile` refuses that there as [`BindingProblem::Alias`](crate::BindingProblem::Alias).
    /// Native devices take it.
    pub one_buffer: bool,
    /// The names of nodes whose values can be read after an inference. Each needs memory of its own.
    pub keep: Vec<String>,
}

impl NetworkOptions {
    /// The options that all layers share.
    pub(crate) fn layer(&self) -> Options {
        Options { precision: self.precision, accuracy: self.accuracy, ..Options::default() }
    }

    /// For each value of a network, whether a caller sees it: the answer, and the values that are kept.
    pub(super) fn kept(&self, graph: &Graph) -> Vec<bool> {
        let mut kept = vec![false; graph.nodes.len() + 1];
        kept[graph.output] = true;
        self.keep.iter().filter_map(|name| graph.find(name)).for_each(|id| kept[id] = true);
        kept
    }

    pub(crate) fn types(&self, facts: &DeviceFacts) -> Types {
        Types::new(self.precision, facts)
    }
}
