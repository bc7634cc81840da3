//! The caller's tensors, and the check that they fit a plan.

use crate::error::{BindingProblem, Error, Presence};
use crate::kernels::job::TensorId;
use crate::plan::Plan;

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

/// The caller's tensors: exactly those that [`Plan::tensors`](crate::Plan::tensors) lists, in its shapes.
///
/// Inputs may share buffers with each other. Outputs may share buffers with each other if they do not overlap. An
/// output must not share a buffer with an input, because WebGPU tracks whole buffers.
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
}

impl<'a> Tensors<'a> {
    /// Sets a tensor by its name, which is one of [`PlanTensor::name`](crate::PlanTensor::name).
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for any other name.
    pub fn set(&mut self, name: &'static str, binding: TensorBinding<'a>) -> Result<(), Error> {
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
            TensorId::Weights | TensorId::Scratch(_) => None,
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

/// Checks the caller's tensors against a plan: presence, usage, alignment, size, aliasing. `alignment` is the device's
/// `min_storage_buffer_offset_alignment`.
pub(super) fn validate_tensors(plan: &Plan, tensors: &Tensors, alignment: u64) -> Result<(), Error> {
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
    let bound: Vec<_> =
        interface.into_iter().filter_map(|(id, dims, written)| Some((id, dims, written, tensors.get(id)?))).collect();
    for &(id, dims, _, TensorBinding { buffer, offset }) in &bound {
        let problem = |problem| Err(Error::Binding { tensor: id.name(), problem });
        if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return problem(BindingProblem::Usage(buffer.usage()));
        }
        if offset % alignment != 0 {
            return problem(BindingProblem::Alignment { offset, alignment });
        }
        let needs = plan.tensor_bytes(dims);
        if offset.checked_add(needs).is_none_or(|end| end > buffer.size()) {
            return problem(BindingProblem::Size { needs, dims, offset, size: buffer.size() });
        }
    }
    for (i, &(id, dims, written, tensor)) in bound.iter().enumerate() {
        for &(other_id, other_dims, other_written, other) in &bound[..i] {
            if tensor.buffer != other.buffer {
                continue;
            }
            if written != other_written {
                let problem = BindingProblem::Shared(other_id.name());
                return Err(Error::Binding { tensor: id.name(), problem });
            }
            let end = |tensor: &TensorBinding, dims| tensor.offset + plan.tensor_bytes(dims);
            let apart = end(&tensor, dims) <= other.offset || end(&other, other_dims) <= tensor.offset;
            if written && !apart {
                let problem = BindingProblem::Overlap(other_id.name());
                return Err(Error::Binding { tensor: id.name(), problem });
            }
        }
    }
    Ok(())
}
