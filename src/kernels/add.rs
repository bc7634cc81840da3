//! Host twin of `shaders/add.wgsl`.

use super::wgsl::Source;
use super::{ELEMENTWISE_WORKGROUP, Kernel, activation_number, slope};
use crate::device::DeviceFacts;
use crate::device::Work;
use crate::error::Error;
use crate::kernels::job::{Operand, TensorId};
use crate::kernels::{Grid, Step};
use crate::layer::Activation;
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    pub(crate) activations: Dtype,
    pub(crate) second: bool,
    pub(crate) residual: bool,
    pub(crate) activation: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    threads: u32,
    grid_x: u32,
    slope: f32,
    unused: u32,
}

impl Constants {
    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP);
        source.constant("ACTIVATION", self.activation);
        source.input("a");
        source.optional_input("b", self.second);
        source.optional_input("residual", self.residual);
        source.output("y", true);
        source.file(include_str!("../../shaders/activate.wgsl"));
        source.file(include_str!("../../shaders/add.wgsl"));
        source
    }
}

/// Adds `a`, and `b` and `residual` where they are given, into `y`, and activates the sum.
pub(crate) fn step(
    facts: &DeviceFacts,
    activations: Dtype,
    a: TensorId,
    b: Option<TensorId>,
    residual: Option<TensorId>,
    activation: Activation,
    y: Operand,
) -> Result<Step, Error> {
    let threads = y.dims.elements() as u32;
    let grid = Grid::fold(u64::from(threads.div_ceil(ELEMENTWISE_WORKGROUP)), facts)?;
    let shape = Shape { threads, grid_x: grid.x, slope: slope(activation), unused: 0 };
    let constants = Constants {
        activations,
        second: b.is_some(),
        residual: residual.is_some(),
        activation: activation_number(activation),
    };
    let sources = 1 + u64::from(b.is_some()) + u64::from(residual.is_some());
    Ok(Step {
        kernel: Kernel::Add(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: [Some(a), b, residual, Some(y.id)].into_iter().flatten().collect(),
        grid,
        packing: None,
        f16_terms: 0,
        work: Work::elementwise(y.dims.elements(), sources, (sources + 1) * activations.bytes() * y.dims.elements()),
    })
}
