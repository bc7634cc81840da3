//! Host twin of `shaders/global_pool.wgsl`: means of whole planes.

use super::wgsl::Source;
use super::{Access, ELEMENTWISE_WORKGROUP, Kernel, reduction_workgroup};
use crate::device::DeviceFacts;
use crate::device::Work;
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Slice, TensorId};
use crate::kernels::{Grid, Step};
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    workgroup: u32,
    team: u32,
}

/// Elements of a plane that are worth a thread: fewer, and the barriers cost more than the sums.
const ELEMENTS_A_THREAD: u32 = 16;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    planes: u32,
    grid_x: u32,
    size: u32,
    channels: u32,
    first: u32,
    of: u32,
    unused: [u32; 2],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        format!("global pool x{}", self.team)
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, self.workgroup);
        source.constant("TEAM", self.team);
        source.input("x");
        source.binding(Access::Write, "vector", "f32");
        source.file(include_str!("../../shaders/global_pool.wgsl"));
        source
    }
}

/// The means of X (`XH`) into `slice` of a vector (`YH`), which is f32.
pub(crate) fn step(facts: &DeviceFacts, activations: Dtype, x: Dims, slice: Slice) -> Result<Step, Error> {
    let size = x.t * x.h * x.w;
    // A software device has one vector for a team, and no other threads to hide a barrier behind.
    let largest = reduction_workgroup(facts, if facts.software { 8 } else { 256 }, 4);
    let team = (size / ELEMENTS_A_THREAD).clamp(1, largest).next_power_of_two();
    let workgroup = team.max(reduction_workgroup(facts, ELEMENTWISE_WORKGROUP, 4));
    let planes = u64::from(x.n) * u64::from(x.c);
    let grid = Grid::fold(planes.div_ceil(u64::from(workgroup / team)), facts)?;
    let shape = Shape {
        planes: planes as u32,
        grid_x: grid.x,
        size,
        channels: x.c,
        first: slice.first,
        of: slice.of,
        unused: [0; 2],
    };
    Ok(Step {
        kernel: Kernel::GlobalPool(Constants { activations, workgroup, team }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![TensorId::XH, TensorId::YH],
        grid,
        packing: None,
        f16_terms: 0,
        work: Work::default(),
    })
}

#[cfg(all(test, feature = "verify"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, values};
    use super::*;
    use crate::context::encode;

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
