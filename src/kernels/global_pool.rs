//! Host code of `shaders/network/global_pool.wgsl`: means of whole planes.

use super::job::{Slice, TensorId};
use super::source::{Form, Recipe};
use super::step::{Grid, Kernel, Step};
use super::types::{ELEMENTWISE_WORKGROUP, reduction_workgroup};
use super::uniform::uniform;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::Error;
use crate::precision::Dtype;

/// The fewest elements of a plane per thread: with fewer, barriers cost more than sums.
const ELEMENTS_PER_THREAD: u32 = 16;

/// More iterations than a thread makes to add up what its team has.
const MORE: u64 = 16;

uniform! {
    struct Shape {
        planes: u32,
        grid_x: u32,
        size: u32,
        channels: u32,
        y_first: u32,
        y_channels: u32,
        unused_a: u32,
        unused_b: u32,
    }
}

fn recipe(activations: Dtype, workgroup: u32, team: u32) -> Recipe {
    Recipe::new("network/global_pool")
        .constant("WORKGROUP", workgroup)
        .constant("TEAM", team)
        .input("x", Form::Elements(activations))
        .output("vector", Form::Elements(Dtype::F32))
}

/// Writes the means of the planes of X (`XH`) to `slice` of a vector of f32 per sample (`YH`).
pub(crate) fn step(facts: &DeviceFacts, activations: Dtype, x: Dims, slice: Slice) -> Result<Step, Error> {
    let size = x.t * x.h * x.w;
    // On a software device a team is one vector of threads. There are no other threads that run while it waits at a
    // barrier.
    let narrow = facts.software && facts.runs_all(size / 8);
    let largest = reduction_workgroup(facts, if narrow { 8 } else { 256 }, 4);
    let team = (size / ELEMENTS_PER_THREAD).clamp(1, largest).next_power_of_two();
    facts.check_iterations("a mean of a plane", u64::from(size.div_ceil(team)) + MORE)?;
    let workgroup = team.max(reduction_workgroup(facts, ELEMENTWISE_WORKGROUP, 4));
    let planes = u64::from(x.n) * u64::from(x.c);
    let grid = Grid::fold(planes.div_ceil(u64::from(workgroup / team)), facts)?;
    let shape = Shape {
        planes: planes as u32,
        grid_x: grid.x,
        size,
        channels: x.c,
        y_first: slice.first,
        y_channels: slice.of,
        unused_a: 0,
        unused_b: 0,
    };
    Ok(Step::new(
        Kernel::recipe(format!("global pool x{team}"), recipe(activations, workgroup, team)),
        &shape,
        vec![TensorId::XH, TensorId::YH],
        grid,
    ))
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, values};
    use super::*;
    use crate::context::encode;

    #[test]
    fn the_uniform_is_the_shaders() {
        for activations in [Dtype::F32, Dtype::F16] {
            for team in [1, 64] {
                crate::kernels::uniform::check::<Shape>(&recipe(activations, 64, team));
            }
        }
    }

    #[test]
    fn teams_keep_within_what_a_driver_runs() {
        let name = |side: u32, loop_iterations| {
            let facts = DeviceFacts { software: true, loop_iterations, ..DeviceFacts::default() };
            let dims = Dims { n: 1, c: 1, t: 1, h: side, w: side };
            step(&facts, Dtype::F32, dims, Slice::whole(1)).map(|step| step.kernel.name())
        };
        assert_eq!(name(730, None).unwrap(), "global pool x8");
        assert_eq!(name(500, Some(65_535)).unwrap(), "global pool x8");
        assert_eq!(name(730, Some(65_535)).unwrap(), "global pool x256");
        assert!(matches!(name(4200, Some(65_535)), Err(Error::Limit { allowed: 65_535, .. })));
    }

    #[test]
    fn means_of_planes() {
        for ([n, c, t, h, w], [first, of]) in [
            ([1, 1, 1, 1, 1], [0, 1]),
            ([3, 5, 1, 1, 1], [2, 9]),
            ([1, 70, 1, 3, 5], [0, 70]),
            ([2, 33, 1, 4, 8], [1, 40]),
            ([3, 19, 1, 7, 7], [5, 30]),
            ([1, 9, 1, 8, 8], [0, 9]),
            ([2, 3, 4, 7, 7], [0, 8]),
            ([1, 5, 1, 29, 31], [4, 9]),
            ([3, 1, 1, 56, 56], [1, 3]),
            ([1, 2, 2, 61, 67], [0, 2]),
            // More elements than a vector of threads may loop over where `loop_iterations` is limited.
            ([1, 1, 1, 730, 730], [0, 1]),
        ] {
            let dims = Dims { n, c, t, h, w };
            let size = t as usize * h as usize * w as usize;
            for activations in [Dtype::F32, Dtype::F16] {
                let x = values(1, dims.elements(), activations);
                let mut wanted = vec![None; n as usize * of as usize];
                for (plane, elements) in x.chunks_exact(size).enumerate() {
                    let mean = elements.iter().copied().map(f64::from).sum::<f64>() / size as f64;
                    wanted[plane / c as usize * of as usize + first as usize + plane % c as usize] = Some(mean);
                }
                let wanted = Wanted { dtype: Dtype::F32, values: wanted, error: 2e-6 };
                for context in contexts() {
                    for facts in facts(context) {
                        let step = step(&facts, activations, dims, Slice { first, of }).unwrap();
                        let case = format!("{dims} to {first} of {of}, {activations}, {}", step.kernel.name());
                        check(&case, context, &step, &[(TensorId::XH, encode(&x, activations))], &wanted);
                    }
                }
            }
        }
    }
}
