//! Host twin of `shaders/softmax.wgsl`.

use super::wgsl::Source;
use super::{Kernel, reduction_workgroup};
use crate::error::Error;
use crate::plan::{DeviceFacts, Dtype, Grid, Step, TensorId};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    workgroup: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    n: u32,
    grid_x: u32,
    length: u32,
    unused: u32,
}

impl Constants {
    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(Dtype::F32, self.workgroup);
        source.input("x");
        source.output("y", true);
        source.file(include_str!("../../shaders/softmax.wgsl"));
        source
    }
}

/// Softmax of each of the `n` rows of X (`XH`, `[n][length]`) into Y (`YH`, of the same shape), both f32.
pub(crate) fn step(facts: &DeviceFacts, n: u32, length: u32) -> Result<Step, Error> {
    let workgroup = reduction_workgroup(facts, length.next_power_of_two().clamp(8, 256), 4);
    let grid = Grid::fold(u64::from(n), facts)?;
    let shape = Shape { n, grid_x: grid.x, length, unused: 0 };
    Ok(Step {
        kernel: Kernel::Softmax(Constants { workgroup }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![TensorId::XH, TensorId::YH],
        grid,
        packing: None,
    })
}
