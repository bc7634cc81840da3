//! Host code of `shaders/layer/upsample.wgsl`.

use super::source::{Form, Recipe};
use super::uniform::uniform;
use super::{ELEMENTWISE_WORKGROUP, Kernel};
use crate::device::DeviceFacts;
use crate::device::Work;
use crate::error::Error;
use crate::kernels::job::Operand;
use crate::kernels::{Grid, Step};
use crate::precision::Dtype;

uniform! {
    struct Shape {
        threads: u32,
        grid_x: u32,
        h: u32,
        w: u32,
        h_in: u32,
        w_in: u32,
        unused_a: u32,
        unused_b: u32,
    }
}

fn recipe(activations: Dtype) -> Recipe {
    Recipe::new("layer/upsample")
        .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
        .input("x", Form::Elements(activations))
        .output("y", Form::Elements(activations))
}

/// Replicates `x` into `y`.
pub(crate) fn step(facts: &DeviceFacts, activations: Dtype, x: Operand, y: Operand) -> Result<Step, Error> {
    let threads = y.dims.elements() as u32;
    let grid = Grid::of_threads(u64::from(threads), facts)?;
    let shape = Shape {
        threads,
        grid_x: grid.x,
        h: y.dims.h,
        w: y.dims.w,
        h_in: x.dims.h,
        w_in: x.dims.w,
        unused_a: 0,
        unused_b: 0,
    };
    let work = Work::elementwise(u64::from(threads), 1, activations.bytes() * (x.dims.elements() + y.dims.elements()));
    Ok(Step { work, ..Step::new(Kernel::recipe("upsample", recipe(activations)), &shape, vec![x.id, y.id], grid) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uniform_is_the_shaders() {
        for dtype in [Dtype::F32, Dtype::F16] {
            super::super::uniform::check::<Shape>(&recipe(dtype));
        }
    }
}
