//! The types of a kernel's operands, and what a shader is told about an activation.

use crate::device::{DeviceFacts, Words};
use crate::dims::Dims;
use crate::layer::Activation;
use crate::precision::{Dtype, Precision};

/// Threads of a workgroup in kernels that work element by element. Every WebGPU device allows twice as many.
pub(crate) const ELEMENTWISE_WORKGROUP: u32 = 64;

/// Threads of a workgroup that adds up in workgroup memory, with `bytes` bytes per thread: a power of two, at most
/// `wanted`, and as many as the device allows.
#[cfg(feature = "network")]
pub(crate) fn reduction_workgroup(facts: &DeviceFacts, wanted: u32, bytes: u32) -> u32 {
    let limits = &facts.limits;
    let threads = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    let allowed = threads.min(limits.max_compute_workgroup_storage_size / bytes).max(1);
    1 << wanted.min(allowed).ilog2()
}

/// The same as [`Activation::number`].
pub(crate) fn activation_number(activation: Activation) -> u32 {
    activation.number()
}

/// The same as [`Activation::slope`].
pub(crate) fn slope(activation: Activation) -> f32 {
    activation.slope()
}

/// The types of a kernel's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Types {
    pub(crate) activations: Dtype,
    pub(crate) weights: Dtype,
    pub(crate) words: Words,
}

impl Types {
    /// The types of a layer with this precision, on a device.
    pub(crate) fn new(precision: Precision, facts: &DeviceFacts) -> Self {
        let Precision { activations, weights, .. } = precision;
        Self { activations, weights, words: facts.words() }
    }

    /// Whether two elements of a row of activations, the first at an even column, are one word. If so, rows have even
    /// length.
    pub(crate) fn paired(self, dims: Dims) -> bool {
        self.pairs() && dims.w.is_multiple_of(2)
    }

    /// Whether two adjacent elements of activations, the first at an even index, can be one word.
    pub(crate) fn pairs(self) -> bool {
        self.words != Words::Elements
    }

    /// Elements that cost one load or store: both elements of a pair. But an f32 pair on a GPU costs two, because a
    /// cache gives as many bytes per cycle for vectors as for single elements.
    pub(crate) fn elements_a_load(self, paired: bool) -> u64 {
        if paired && (self.words, self.activations) != (Words::Vectors, Dtype::F32) { 2 } else { 1 }
    }

    /// The types of outputs: if `sliced`, they are partial sums in f32.
    pub(crate) fn of_partial_sums(self, sliced: bool) -> Self {
        if sliced { Self { activations: Dtype::F32, ..self } } else { self }
    }

    /// Weights that one load brings on a software device, if vectors have this many lanes.
    pub(crate) fn weights_a_load(self, lanes: u32) -> u64 {
        if self.words == Words::Integers && lanes > 1 { 2 } else { 1 }
    }
}
