//! Host twin of `shaders/window_pool.wgsl`: maxima and means over windows.

use super::wgsl::Source;
use super::{ELEMENTWISE_WORKGROUP, Kernel};
use crate::error::Error;
use crate::plan::{DeviceFacts, Dtype, Grid, Operand, Slice, Step};

/// A pool's windows over frames, rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub(crate) kernel: [u32; 3],
    pub(crate) stride: [u32; 3],
    pub(crate) padding: [u32; 3],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    average: bool,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    threads: u32,
    grid_x: u32,
    channels: u32,
    first: u32,
    of: u32,
    size: [u32; 3],
    size_out: [u32; 3],
    kernel: [u32; 3],
    stride: [u32; 3],
    padding: [u32; 3],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        if self.average { "average pool".into() } else { "max pool".into() }
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP);
        source.flag("AVERAGE", self.average);
        source.input("x");
        source.output("y", true);
        source.file(include_str!("../../shaders/window_pool.wgsl"));
        source
    }
}

/// Pools `x` into `slice` of the tensor `y`, whose dims are those of the slice. Every window must have an element.
pub(crate) fn step(
    facts: &DeviceFacts,
    activations: Dtype,
    average: bool,
    window: Window,
    x: Operand,
    y: Operand,
    slice: Slice,
) -> Result<Step, Error> {
    let threads = y.dims.elements();
    let grid = Grid::fold(threads.div_ceil(u64::from(ELEMENTWISE_WORKGROUP)), facts)?;
    let shape = Shape {
        threads: threads as u32,
        grid_x: grid.x,
        channels: y.dims.c,
        first: slice.first,
        of: slice.of,
        size: [x.dims.t, x.dims.h, x.dims.w],
        size_out: [y.dims.t, y.dims.h, y.dims.w],
        kernel: window.kernel,
        stride: window.stride,
        padding: window.padding,
    };
    Ok(Step {
        kernel: Kernel::WindowPool(Constants { activations, average }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![x.id, y.id],
        grid,
        packing: None,
    })
}
