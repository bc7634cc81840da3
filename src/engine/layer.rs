//! A layer bound to its tensors.

use std::ops::Range;

use super::marks::{Marker, Marks};
use crate::error::Error;
use crate::kernels::packing::Packing;
use crate::layer::{Path, Spec};
use crate::plan::Plan;

/// Weights on the device, laid out as the kernels of a plan read them. Plans for other sizes can often use them too.
#[derive(Clone, Debug)]
pub struct PackedWeights {
    pub(super) spec: Spec,
    pub(super) parts: Vec<PackedPart>,
    /// Whether the buffers are these weights' own.
    pub(super) own: bool,
}

/// The weights of a dispatch, and where they lie.
#[derive(Clone, Debug)]
pub(super) struct PackedPart {
    pub(super) packing: Packing,
    pub(super) buffer: wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl PackedWeights {
    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Frees them on the device now, unless they are in the caller's buffer. Clones share the buffers, and end with them. Layers
    /// that are bound to them must not be submitted afterwards, and what was submitted before is not disturbed. For
    /// browsers: there what is dropped keeps its memory until garbage is collected, and elsewhere it does not.
    pub fn destroy(&self) {
        if self.own {
            self.parts.iter().for_each(|part| part.buffer.destroy());
        }
    }

    /// Whether they are laid out as the kernels of this plan read them. [`Engine::bind`](crate::Engine::bind) refuses others.
    ///
    /// Values are not compared, so the plan must be for the same layer.
    pub fn fits(&self, plan: &Plan) -> bool {
        let packings = plan.packings();
        self.parts.len() == packings.len()
            && self.parts.iter().zip(packings).all(|(part, wanted)| part.packing == *wanted)
            && same_weights(&self.spec, &plan.spec)
    }
}

/// Whether both specifications have the same groups, the same paths with kernels of the same shapes, and biases or none.
fn same_weights(a: &Spec, b: &Spec) -> bool {
    let same_path = |path| a.has(path) == b.has(path) && a.weight_shape(path) == b.weight_shape(path);
    Path::ALL.into_iter().all(same_path) && a.has_bias() == b.has_bias() && a.groups() == b.groups()
}

/// A layer bound to its tensors, ready to be recorded any number of times.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) dispatches: Vec<Dispatch>,
    /// The features of its device.
    pub(crate) features: wgpu::Features,
    /// Scratch and uniforms that are the layer's own.
    pub(crate) own: Vec<wgpu::Buffer>,
}

#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) bind_group: wgpu::BindGroup,
    pub(super) grid: [u32; 2],
}

/// Records the dispatches in a range, as far as there are any.
pub(crate) fn record_some(dispatches: &[Dispatch], range: Range<usize>, pass: &mut wgpu::ComputePass<'_>) {
    dispatches.iter().take(range.end).skip(range.start).for_each(|dispatch| dispatch.record(pass));
}

impl Dispatch {
    pub(crate) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

impl Layer {
    /// Frees its own scratch and uniforms on the device now. Clones share them: none of them must be submitted afterwards. What
    /// was submitted before is not disturbed. For browsers: there what is dropped keeps its memory until garbage is
    /// collected, and elsewhere it does not.
    pub fn destroy(&self) {
        self.own.iter().for_each(wgpu::Buffer::destroy);
    }

    /// Records the layer's dispatches into the caller's pass. Changes the pass's pipeline and bind group 0.
    ///
    /// The pass must be of the engine's device. wgpu reports another one where the caller finishes the encoder: nothing
    /// here can tell them apart.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.dispatches.iter().for_each(|dispatch| dispatch.record(pass));
    }

    /// Records those dispatches whose numbers are in the range. They are in the order of
    /// [`Plan::kernels`](crate::Plan::kernels). The range may reach beyond the last one.
    pub fn record_range(&self, pass: &mut wgpu::ComputePass<'_>, range: Range<usize>) {
        record_some(&self.dispatches, range, pass);
    }

    /// Records as [`Layer::record`] does, as one span with these marks. `name` is that of its debug group.
    ///
    /// # Errors
    ///
    /// [`Error::Feature`] for timestamps on a device without the feature; [`Error::Argument`] if the query set has no
    /// timestamps, or no room for two. Then nothing is recorded.
    pub fn record_marked(&self, pass: &mut wgpu::ComputePass<'_>, name: &str, marks: Marks<'_>) -> Result<(), Error> {
        Marker::new(marks, self.features, 1, pass)?.span(name, |pass| self.record(pass));
        Ok(())
    }

    /// Number of dispatches that [`Layer::record`] records.
    pub fn dispatches(&self) -> usize {
        self.dispatches.len()
    }
}
