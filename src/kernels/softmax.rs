//! Host twin of `shaders/softmax.wgsl`.

use super::wgsl::Source;
use super::{Kernel, reduction_workgroup};
use crate::device::DeviceFacts;
use crate::device::Work;
use crate::error::Error;
use crate::kernels::job::TensorId;
use crate::kernels::{Grid, Step};
use crate::precision::Dtype;

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
    fn sums_to_one() {
        for (n, length) in [(1, 1), (3, 1), (1, 2), (3, 10), (1, 255), (2, 257), (3, 1000), (1, 5000), (71, 3)] {
            // The largest of them would overflow without the subtraction of the maximum.
            for scale in [1.0, 30.0, 1e4] {
                let x: Vec<f32> = values(1, u64::from(n * length), Dtype::F32).iter().map(|v| v * scale).collect();
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
