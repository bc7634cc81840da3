//! Host code of `shaders/layer/pool.wgsl`.

use super::job::Operand;
use super::source::Recipe;
use super::step::{Grid, Step};
use super::types::{ELEMENTWISE_WORKGROUP, Types};
use super::uniform::uniform;
use crate::device::{DeviceFacts, Part, Work};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::Kernel;

uniform! {
    struct Shape {
        threads: u32,
        grid_x: u32,
        rows: u32,
        cols: u32,
        h: u32,
        w: u32,
        pooled_h: u32,
        pooled_w: u32,
    }
}

/// Means of a thread along w.
const COLS: u32 = 2;

/// The kernel with this many rows of means per thread. X and the means may be moved two columns at a time.
fn recipe(types: Types, rows: u32, [x_paired, p_paired]: [bool; 2]) -> Recipe {
    Recipe::new("layer/pool")
        .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
        .constant("ROWS", rows)
        .constant("COLS", COLS)
        .flag("X_PAIRED", x_paired)
        .flag("P_PAIRED", p_paired)
        .input("x", types.form(true, x_paired))
        .output("p", types.form(true, p_paired))
}

/// Pools `x` into `y`.
pub(crate) fn step(facts: &DeviceFacts, types: Types, x: Operand, y: Operand) -> Result<Step, Error> {
    // On a software device, the start of a thread costs as much as a dozen elements.
    let means = if facts.software { 8 } else { 2 };
    let (rows, cols) = (y.dims.h.div_ceil(means), y.dims.w.div_ceil(COLS));
    let threads = Dims { h: rows, w: cols, ..y.dims }.elements();
    let grid = Grid::of_threads(threads, facts)?;
    let shape = Shape {
        threads: threads as u32,
        grid_x: grid.x,
        rows,
        cols,
        h: x.dims.h,
        w: x.dims.w,
        pooled_h: y.dims.h,
        pooled_w: y.dims.w,
    };
    let paired = [x, y].map(|operand| types.paired(operand.dims));
    let [loads, stores] = paired.map(|paired| types.elements_a_load(paired));
    let each = u64::from(y.dims.h.div_ceil(rows) * COLS);
    let part =
        Part { threads, multiplies: 4 * each, loads: 4 * each / loads, stores: each / stores, ..Part::default() };
    let bytes = [x, y].map(|operand| operand.dims.elements().saturating_mul(types.activations.bytes()));
    let work = Work { parts: vec![part], bytes: bytes[0].saturating_add(bytes[1]) };
    Ok(Step { work, ..Step::new(Kernel::recipe("pool", recipe(types, means, paired)), &shape, vec![x.id, y.id], grid) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Words;
    use crate::precision::Dtype;

    #[test]
    fn the_uniform_is_the_shaders() {
        for dtype in [Dtype::F32, Dtype::F16] {
            let types = Types { activations: dtype, weights: dtype, words: Words::Vectors };
            for paired in [[false, false], [true, false], [false, true], [true, true]] {
                super::super::uniform::check::<Shape>(&recipe(types, 2, paired));
            }
        }
    }
}
