//! Host twin of `shaders/upsample.wgsl`.

use super::wgsl::Source;
use super::{ELEMENTWISE_WORKGROUP, Kernel};
use crate::device::DeviceFacts;
use crate::device::Work;
use crate::error::Error;
use crate::kernels::job::Operand;
use crate::kernels::{Grid, Step};
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    pub(crate) activations: Dtype,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    threads: u32,
    grid_x: u32,
    h: u32,
    w: u32,
    h_in: u32,
    w_in: u32,
    unused: [u32; 2],
}

impl Constants {
    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP);
        source.input("x");
        source.output("y", true);
        source.file(include_str!("../../shaders/upsample.wgsl"));
        source
    }
}

/// Replicates `x` into `y`.
pub(crate) fn step(facts: &DeviceFacts, activations: Dtype, x: Operand, y: Operand) -> Result<Step, Error> {
    let threads = y.dims.elements() as u32;
    let grid = Grid::fold(u64::from(threads.div_ceil(ELEMENTWISE_WORKGROUP)), facts)?;
    let shape =
        Shape { threads, grid_x: grid.x, h: y.dims.h, w: y.dims.w, h_in: x.dims.h, w_in: x.dims.w, unused: [0; 2] };
    Ok(Step {
        kernel: Kernel::Upsample(Constants { activations }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![x.id, y.id],
        grid,
        packing: None,
        f16_terms: 0,
        work: Work::elementwise(u64::from(threads), 1, activations.bytes() * (x.dims.elements() + y.dims.elements())),
    })
}
