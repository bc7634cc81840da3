//! A dispatch of a network, and where its tensors lie.

use std::ops::Range;

use crate::dims::Dims;
use crate::kernels::job::{Slice, TensorId};
use crate::kernels::packing::Packing;
use crate::kernels::{Step, excite, linear};
use crate::layer::{Frequency, Spec};
use crate::network::graph::{Graph, Kind, Task};
use crate::precision::Dtype;

/// The packed weights that a step reads. They are made once and shared by all sizes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Params {
    /// A convolution's weights.
    Conv(Packing),
    /// The same, as those of an octave layer that reads these input channels as low frequency.
    Doubled(Packing, Spec, Range<u32>),
    /// The factors and shifts of a batch norm.
    Norm(Frequency),
    /// All matrices and biases of squeeze-and-excitation.
    Excite,
    /// A matrix and a bias.
    Linear(Dtype),
}

impl Params {
    /// The number of bytes that they are packed into, for a node. It saturates.
    pub(crate) fn bytes(&self, graph: &Graph, node: usize) -> u64 {
        let node = &graph.nodes[node];
        match (self, &node.task, node.kind) {
            (Self::Conv(packing), Task::Conv { spec, .. }, _) | (Self::Doubled(packing, spec, _), ..) => {
                packing.offsets(spec).bytes
            }
            // A factor and a shift.
            (Self::Norm(frequency), _, Kind::Map(split)) => 2 * 4 * u64::from(split.of(*frequency)),
            (Self::Excite, Task::Excite { reduced, .. }, Kind::Map(split)) => {
                excite::packed_elements(split.channels(), *reduced).saturating_mul(4)
            }
            (Self::Linear(dtype), _, Kind::Vector(outputs)) => {
                let Kind::Vector(inputs) = graph.kind(node.inputs[0]) else { return 0 };
                linear::packed_bytes(outputs, inputs, *dtype)
            }
            _ => 0,
        }
    }
}

/// A dispatch with what it binds.
#[derive(Clone, Debug)]
pub(crate) struct PlannedStep {
    /// The index of the node it belongs to.
    pub(crate) node: usize,
    pub(crate) step: Step,
    pub(crate) params: Option<Params>,
    /// The index of the node that the params belong to. It differs from `node` if a stem is planned together with its
    /// pool, or a convolution together with an upsampling.
    pub(crate) params_of: usize,
    /// Where the tensor of each id of the step lies, except the params.
    pub(crate) tensors: Vec<(TensorId, Span)>,
}

/// A range of bytes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) tensor: usize,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Where one frequency of a map, or a vector, lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The range of the whole tensor that has the slice.
    pub(crate) span: Span,
    pub(crate) dims: Dims,
    pub(crate) slice: Slice,
}

impl Part {
    pub(super) fn is_whole(&self) -> bool {
        self.slice == Slice::whole(self.dims.c)
    }
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) high: Option<Part>,
    pub(crate) low: Option<Part>,
    /// The pooled map of the high frequency, if it is kept.
    pub(crate) pooled: Option<Part>,
    pub(crate) vector: Option<Part>,
}
