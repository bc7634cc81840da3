//! A dispatch of a network, and where its tensors lie.

use crate::dims::Dims;
use crate::kernels::Step;
use crate::kernels::job::{Slice, TensorId};
use crate::kernels::packing::Packing;
use crate::layer::Frequency;
use crate::precision::Dtype;

/// Host data that a step reads, made once for all sizes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Params {
    /// A convolution's weights.
    Conv(Packing),
    /// Factors and shifts of a norm.
    Norm(Frequency),
    /// Both products of an excitation.
    Excite,
    /// A matrix.
    Linear(Dtype),
}

/// A dispatch with what it binds.
#[derive(Clone, Debug)]
pub(crate) struct PlannedStep {
    /// Which node it works for.
    pub(crate) node: usize,
    pub(crate) step: Step,
    pub(crate) params: Option<Params>,
    /// Whose params those are: another node where a stem and its pool are one.
    pub(crate) params_of: usize,
    /// What lies behind each id of the step but the params.
    pub(crate) tensors: Vec<(TensorId, Span)>,
}

/// Bytes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) tensor: usize,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Where a map's frequency, or a vector, lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Of all channels of `slice`.
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
    /// pool of the high part, where somebody wants it.
    pub(crate) pooled: Option<Part>,
    pub(crate) vector: Option<Part>,
}
