//! Host code of `shaders/layer/add.wgsl`.

use super::source::{Form, Recipe};
use super::uniform::uniform;
use super::{ELEMENTWISE_WORKGROUP, Kernel};
use crate::device::DeviceFacts;
use crate::device::Work;
use crate::error::Error;
use crate::kernels::job::{Operand, TensorId};
use crate::kernels::{Grid, Step};
use crate::layer::Activation;
use crate::precision::Dtype;

uniform! {
    struct Shape {
        threads: u32,
        grid_x: u32,
        slope: f32,
        unused: u32,
    }
}

/// The sum of a tensor, of a second one if `second`, and of a residual if `residual`.
fn recipe(activations: Dtype, second: bool, residual: bool, activation: Activation) -> Recipe {
    let given = |given| if given { Form::Elements(activations) } else { Form::Absent };
    Recipe::new("layer/add")
        .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
        .constant("ACTIVATION", activation.number())
        .input("a", given(true))
        .input("b", given(second))
        .input("sum_residual", given(residual))
        .output("sum_y", given(true))
}

/// Writes the activated sum of `a`, and of `b` and `residual` if they are given, to `y`.
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
    let grid = Grid::of_threads(u64::from(threads), facts)?;
    let shape = Shape { threads, grid_x: grid.x, slope: activation.slope(), unused: 0 };
    let recipe = recipe(activations, b.is_some(), residual.is_some(), activation);
    let sources = 1 + u64::from(b.is_some()) + u64::from(residual.is_some());
    let work = Work::elementwise(y.dims.elements(), sources, (sources + 1) * activations.bytes() * y.dims.elements());
    Ok(Step {
        work,
        ..Step::new(
            Kernel::recipe("add", recipe),
            &shape,
            [Some(a), b, residual, Some(y.id)].into_iter().flatten().collect(),
            grid,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uniform_is_the_shaders() {
        for dtype in [Dtype::F32, Dtype::F16] {
            for (second, residual) in [(false, false), (false, true), (true, false), (true, true)] {
                super::super::uniform::check::<Shape>(&recipe(dtype, second, residual, Activation::Relu));
            }
        }
    }
}
