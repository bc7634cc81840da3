//! The caller's tensors, and the check that they fit a plan.

use std::ops::Range;

use super::layer::PackedWeights;
use crate::dims::Dims;
use crate::error::{BindingProblem, Error, Presence};
use crate::kernels::job::TensorId;
use crate::plan::Plan;
use crate::precision::Dtype;

/// Where a tensor lies in a buffer. Tensors are contiguous.
#[derive(Clone, Copy, Debug)]
pub struct TensorBinding<'a> {
    /// A buffer with the usage `STORAGE`, of the engine's device. One of another device of the same instance is
    /// [`Error::Gpu`]. One of another *instance* wgpu cannot tell: it may panic, or take a buffer of its own for it.
    pub buffer: &'a wgpu::Buffer,
    /// Bytes before the first element: a multiple of the device's `min_storage_buffer_offset_alignment`.
    pub offset: u64,
}

impl<'a> From<&'a wgpu::Buffer> for TensorBinding<'a> {
    fn from(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0 }
    }
}

/// A tensor in a buffer, with its shape and type. Tensors are contiguous.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TensorView<'a> {
    /// The buffer. Those that a `Model` makes have the usages `STORAGE`, `COPY_SRC` and `COPY_DST`.
    pub buffer: &'a wgpu::Buffer,
    /// Bytes of the buffer before its first element.
    pub offset: u64,
    /// The shape `[n, c, t, h, w]`. Vectors are `[n, c, 1, 1, 1]`.
    pub dims: Dims,
    /// The type of its elements.
    pub dtype: Dtype,
}

impl<'a> TensorView<'a> {
    /// The tensor of this shape and type that begins at `at`.
    pub fn new(at: impl Into<TensorBinding<'a>>, dims: Dims, dtype: Dtype) -> Self {
        let TensorBinding { buffer, offset } = at.into();
        Self { buffer, offset, dims, dtype }
    }

    pub(super) fn binding(&self) -> TensorBinding<'a> {
        TensorBinding { buffer: self.buffer, offset: self.offset }
    }

    /// The bytes that are bound: whole words. It saturates.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.dims.elements().saturating_mul(self.dtype.bytes());
        bytes.checked_next_multiple_of(4).unwrap_or(u64::MAX)
    }
}

/// The caller's tensors: exactly those that [`Plan::tensors`](crate::Plan::tensors) lists, in its shapes.
///
/// Several of them may lie in one buffer, also inputs and outputs. Nothing may overlap what the layer writes, and inputs may
/// overlap each other only if their buffer has nothing that it writes. In browsers they must not with
/// [`EngineOptions::read_write`](crate::EngineOptions::read_write) either.
///
/// WebGPU tracks whole buffers. So if a dispatch reads and writes parts of one buffer, it runs a kernel that binds both as
/// written, which is a pipeline of its own, and which a driver may load from more slowly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tensors<'a> {
    /// X_H `[n, c_high, t, h, w]`, read.
    pub x_h: Option<TensorBinding<'a>>,
    /// X_L `[n, c_low, t, h/2, w/2]`, read.
    pub x_l: Option<TensorBinding<'a>>,
    /// pool(X_H) `[n, c_high, t, h/2, w/2]`, read if [`Options::pooled_input`](crate::Options::pooled_input) is set.
    pub x_p: Option<TensorBinding<'a>>,
    /// Added to Y_H before the activation. It has the shape of Y_H. Read.
    pub residual_h: Option<TensorBinding<'a>>,
    /// Added to Y_L before the activation. It has the shape of Y_L. Read.
    pub residual_l: Option<TensorBinding<'a>>,
    /// Y_H, or the larger tensor of [`Options::high_slice`](crate::Options::high_slice), written.
    pub y_h: Option<TensorBinding<'a>>,
    /// Y_L, or the larger tensor of [`Options::low_slice`](crate::Options::low_slice), written.
    pub y_l: Option<TensorBinding<'a>>,
    /// pool(Y_H), written if [`Options::pooled_output`](crate::Options::pooled_output) is set.
    pub y_p: Option<TensorBinding<'a>>,
    /// Room for what the layer's dispatches hand to each other: as many bytes as [`Plan::scratch_bytes`] says. Layers that
    /// run one after the other can have the same. If it is absent, the engine makes a buffer. It does not matter if the
    /// plan needs none.
    pub scratch: Option<TensorBinding<'a>>,
}

impl<'a> Tensors<'a> {
    /// Sets a tensor by its name, which is one of [`PlanTensor::name`](crate::PlanTensor::name).
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for any other name.
    pub fn set(&mut self, name: &str, binding: TensorBinding<'a>) -> Result<(), Error> {
        let slot = match name {
            "x_h" => &mut self.x_h,
            "x_l" => &mut self.x_l,
            "x_p" => &mut self.x_p,
            "residual_h" => &mut self.residual_h,
            "residual_l" => &mut self.residual_l,
            "y_h" => &mut self.y_h,
            "y_l" => &mut self.y_l,
            "y_p" => &mut self.y_p,
            _ => {
                let names = CALLERS_TENSORS.map(TensorId::name).join(", ");
                return Err(Error::argument("tensor", name, format!("must be one of {names}")));
            }
        };
        *slot = Some(binding);
        Ok(())
    }

    pub(super) fn get(&self, id: TensorId) -> Option<TensorBinding<'a>> {
        match id {
            TensorId::XH => self.x_h,
            TensorId::XL => self.x_l,
            TensorId::XP => self.x_p,
            TensorId::ResidualH => self.residual_h,
            TensorId::ResidualL => self.residual_l,
            TensorId::YH => self.y_h,
            TensorId::YL => self.y_l,
            TensorId::YP => self.y_p,
            TensorId::Weights | TensorId::Scratch(_) | TensorId::Texture => None,
        }
    }
}

pub(super) const CALLERS_TENSORS: [TensorId; 8] = [
    TensorId::XH,
    TensorId::XL,
    TensorId::XP,
    TensorId::ResidualH,
    TensorId::ResidualL,
    TensorId::YH,
    TensorId::YL,
    TensorId::YP,
];

/// Checks the caller's tensors against a plan: presence, usage, alignment, size, overlaps. `alignment` is the device's
/// `min_storage_buffer_offset_alignment`. With `read_write` all but the weights is bound as written.
pub(super) fn validate_tensors(
    plan: &Plan,
    weights: &PackedWeights,
    tensors: &Tensors,
    alignment: u64,
    read_write: bool,
) -> Result<(), Error> {
    let interface = plan.interface();
    for id in CALLERS_TENSORS {
        let wanted = interface.iter().any(|&(wanted, ..)| wanted == id);
        match (tensors.get(id).is_some(), wanted) {
            (true, false) => {
                return Err(Error::Presence { tensor: id.name(), presence: Presence::Unused });
            }
            (false, true) => {
                return Err(Error::Presence { tensor: id.name(), presence: Presence::Missing });
            }
            _ => {}
        }
    }
    let mut bound = Vec::new();
    for (id, dims, written) in interface {
        let Some(at) = tensors.get(id) else { continue };
        let bytes = plan.tensor_bytes(dims);
        check_place(id.name(), at, bytes, alignment)?;
        bound.push(Bound { name: id.name(), buffer: at.buffer, bytes: at.offset..at.offset + bytes, written });
    }
    if let Some(scratch) = tensors.scratch.filter(|_| !plan.scratch.is_empty()) {
        let (name, bytes) = ("scratch", plan.scratch_bytes());
        check_place(name, scratch, bytes, alignment)?;
        let bytes = scratch.offset..scratch.offset + bytes;
        bound.push(Bound { name, buffer: scratch.buffer, bytes, written: true });
    }
    let is_written = |buffer| bound.iter().any(|bound| bound.written && bound.buffer == buffer);
    for (i, tensor) in bound.iter().enumerate() {
        let overlaps = |other: &&Bound| {
            let apart = tensor.bytes.end <= other.bytes.start || other.bytes.end <= tensor.bytes.start;
            tensor.buffer == other.buffer && !apart && is_written(tensor.buffer)
        };
        if let Some(other) = bound[..i].iter().find(overlaps) {
            return Err(Error::Binding { tensor: tensor.name, problem: BindingProblem::Overlap(other.name) });
        }
    }
    // Weights are bound twice, as elements of two types, and so only as what nobody writes.
    let with_weights = |bound: &&Bound| weights.parts.iter().any(|part| part.buffer == *bound.buffer);
    match bound.iter().filter(|bound| bound.written || read_write).find(with_weights) {
        Some(bound) => Err(Error::Binding { tensor: "weights", problem: BindingProblem::Shared(bound.name) }),
        None => Ok(()),
    }
}

/// A tensor in a buffer.
struct Bound<'a> {
    name: &'static str,
    buffer: &'a wgpu::Buffer,
    bytes: Range<u64>,
    written: bool,
}

/// Refuses a place that a device cannot bind, or that has no room for as many bytes.
pub(super) fn check_place(tensor: &'static str, at: TensorBinding, needs: u64, alignment: u64) -> Result<(), Error> {
    let TensorBinding { buffer, offset } = at;
    let problem = |problem| Err(Error::Binding { tensor, problem });
    if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
        return problem(BindingProblem::Usage(buffer.usage()));
    }
    if offset % alignment != 0 {
        return problem(BindingProblem::Alignment { offset, alignment });
    }
    if offset.checked_add(needs).is_none_or(|end| end > buffer.size()) {
        return problem(BindingProblem::Size { needs, offset, size: buffer.size() });
    }
    Ok(())
}
