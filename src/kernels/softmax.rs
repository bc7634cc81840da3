//! Host code of `shaders/network/softmax.wgsl`.

use super::job::TensorId;
use super::source::{Form, Recipe};
use super::step::{Grid, Kernel, Step};
use super::types::reduction_workgroup;
use super::uniform::uniform;
use crate::device::DeviceFacts;
use crate::error::Error;
use crate::precision::Dtype;

uniform! {
    struct Shape {
        n: u32,
        grid_x: u32,
        length: u32,
        unused: u32,
    }
}

fn recipe(workgroup: u32) -> Recipe {
    Recipe::new("network/softmax")
        .constant("WORKGROUP", workgroup)
        .input("x", Form::Elements(Dtype::F32))
        .output("y", Form::Elements(Dtype::F32))
}

/// Writes the softmax of each of the `n` rows of X (`XH`, `[n][length]`) to Y (`YH`, of the same shape), both f32.
pub(crate) fn step(facts: &DeviceFacts, n: u32, length: u32) -> Result<Step, Error> {
    let workgroup = reduction_workgroup(facts, length.next_power_of_two().clamp(8, 256), 4);
    // Three loops over a thread's elements, and two that join those of all threads.
    facts.check_iterations("a softmax", 3 * u64::from(length.div_ceil(workgroup)) + 16)?;
    let grid = Grid::fold(u64::from(n), facts)?;
    let shape = Shape { n, grid_x: grid.x, length, unused: 0 };
    Ok(Step::new(Kernel::recipe("softmax", recipe(workgroup)), &shape, vec![TensorId::XH, TensorId::YH], grid))
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, values};
    use super::*;
    use crate::context::encode;

    #[test]
    fn the_uniform_is_the_shaders() {
        crate::kernels::uniform::check::<Shape>(&recipe(64));
    }

    #[test]
    fn sums_to_one() {
        for (n, length) in [(1, 1), (3, 1), (1, 2), (3, 10), (1, 255), (2, 257), (3, 1000), (1, 5000), (71, 3)] {
            // With the largest scale, exp would overflow if the maximum were not subtracted.
            for scale in [1.0, 30.0, 1e4] {
                let mut x: Vec<f32> = values(1, u64::from(n * length), Dtype::F32).iter().map(|v| v * scale).collect();
                // In rows of their own: a NaN or an infinity makes its whole row NaN, and -infinity counts for nothing.
                if n == 3 {
                    let [first, second, third] = [0, 1, 2].map(|row| (row * length + length / 2) as usize);
                    x[first] = f32::NAN;
                    x[second] = f32::INFINITY;
                    x[third] = f32::NEG_INFINITY;
                }
                let wanted = x.chunks_exact(length as usize).flat_map(|row| {
                    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let exps: Vec<f64> = row.iter().map(|&v| (f64::from(v) - f64::from(largest)).exp()).collect();
                    let sum: f64 = exps.iter().sum();
                    exps.into_iter().map(move |e| e / sum)
                });
                let wanted = Wanted::whole(wanted, 1e-5);
                for context in contexts() {
                    for facts in facts(context) {
                        let step = step(&facts, n, length).unwrap();
                        let inputs = [(TensorId::XH, encode(&x, Dtype::F32))];
                        check(&format!("{n}x{length} times {scale}"), context, &step, &inputs, &wanted);
                    }
                }
            }
        }
    }
}
