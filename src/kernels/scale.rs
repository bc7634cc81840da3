//! Host twin of `shaders/scale.wgsl`: batch norms, excitations and copies of maps.

use super::wgsl::Source;
use super::{Access, ELEMENTWISE_WORKGROUP, Kernel, activation_number, slope};
use crate::error::Error;
use crate::plan::{DeviceFacts, Dtype, Grid, Slice, Step, TensorId};
use crate::spec::{Activation, Dims};

/// By what a map is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Nothing.
    Copy,
    /// A factor and a shift for each channel, as [`pack`] lays them out: a batch norm.
    Channel,
    /// A factor for each sample and channel: an excitation.
    Sample,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    form: Form,
    residual: bool,
    activation: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    threads: u32,
    grid_x: u32,
    channels: u32,
    plane: u32,
    x_first: u32,
    x_of: u32,
    y_first: u32,
    y_of: u32,
    factors_first: u32,
    factors_of: u32,
    slope: f32,
    unused: u32,
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        match self.form {
            Form::Copy => "copy".into(),
            Form::Channel => "norm".into(),
            Form::Sample => "scale".into(),
        }
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP);
        source.constant("ACTIVATION", self.activation);
        source.input("x");
        let value = match self.form {
            Form::Copy => "vec2(1.0, 0.0)",
            Form::Channel => {
                source.binding(Access::Read, "params", "vec2<f32>");
                "params[c]"
            }
            Form::Sample => {
                source.binding(Access::Read, "factors", "f32");
                "vec2(factors[n * shape.factors_of + shape.factors_first + c], 0.0)"
            }
        };
        source.line(&format!("fn affine(n: u32, c: u32) -> vec2<f32> {{ return {value}; }}"));
        source.optional_input("residual", self.residual);
        source.output("y", true);
        source.file(include_str!("../../shaders/activate.wgsl"));
        source.file(include_str!("../../shaders/scale.wgsl"));
        source
    }
}

/// What to scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// Of the channels worked on.
    pub(crate) dims: Dims,
    /// Where they lie in X.
    pub(crate) x: Slice,
    /// Where they lie in Y.
    pub(crate) y: Slice,
    pub(crate) form: Form,
    /// Where the factors of [`Form::Sample`] lie in their vector; of no meaning to the others.
    pub(crate) factors: Slice,
    pub(crate) residual: bool,
    pub(crate) activation: Activation,
}

/// Scales X (`XH`) by params (`Weights`) or factors (`XP`) into Y (`YH`), adding the residual (`ResidualH`).
pub(crate) fn step(facts: &DeviceFacts, activations: Dtype, job: &Job) -> Result<Step, Error> {
    let Job { dims, x, y, form, factors, residual, activation } = *job;
    let threads = dims.elements();
    let grid = Grid::fold(threads.div_ceil(u64::from(ELEMENTWISE_WORKGROUP)), facts)?;
    let shape = Shape {
        threads: threads as u32,
        grid_x: grid.x,
        channels: dims.c,
        plane: dims.t * dims.h * dims.w,
        x_first: x.first,
        x_of: x.of,
        y_first: y.first,
        y_of: y.of,
        factors_first: factors.first,
        factors_of: factors.of,
        slope: slope(activation),
        unused: 0,
    };
    let by = match form {
        Form::Copy => None,
        Form::Channel => Some(TensorId::Weights),
        Form::Sample => Some(TensorId::XP),
    };
    let tensors = [Some(TensorId::XH), by, residual.then_some(TensorId::ResidualH), Some(TensorId::YH)];
    Ok(Step {
        kernel: Kernel::Scale(Constants { activations, form, residual, activation: activation_number(activation) }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: tensors.into_iter().flatten().collect(),
        grid,
        packing: None,
    })
}

/// The params of [`Form::Channel`]: (factor, shift) channel by channel.
pub(crate) fn pack(affine: impl IntoIterator<Item = (f32, f32)>) -> Vec<u8> {
    affine.into_iter().flat_map(|(factor, shift)| [factor, shift]).flat_map(f32::to_le_bytes).collect()
}
