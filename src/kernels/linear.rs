//! Host twin of `shaders/linear.wgsl`: fully connected layers.

use half::f16;

use super::wgsl::Source;
use super::{Kernel, reduction_workgroup};
use crate::error::Error;
use crate::plan::{DeviceFacts, Dtype, Grid, Step, TensorId};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    weights: Dtype,
    workgroup: u32,
    columns: u32,
    samples: u32,
}

/// Outputs of a vector.
const LANES: u32 = 4;

/// Workgroups that fill a large GPU.
const ENOUGH_WORKGROUPS: u64 = 128;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    n: u32,
    grid_x: u32,
    inputs: u32,
    outputs: u32,
    lanes: u32,
    blocks: u32,
    weights: u32,
    unused: u32,
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        format!("linear {}x{}", self.samples, LANES * self.columns)
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(Dtype::F32, self.workgroup);
        source.constant("COLUMNS", self.columns);
        source.constant("SAMPLES", self.samples);
        source.weights(self.weights, LANES);
        source.input("x");
        source.output("y", true);
        source.file(include_str!("../../shaders/linear.wgsl"));
        source
    }
}

/// From X (`XH`, `[n][inputs]`) to Y (`YH`, `[n][outputs]`), both f32, with weights as [`pack`] lays them out
/// (`Weights`).
pub(crate) fn step(facts: &DeviceFacts, weights: Dtype, n: u32, outputs: u32, inputs: u32) -> Result<Step, Error> {
    let lanes = outputs.div_ceil(LANES);
    // 16 bytes a thread of workgroup memory.
    let workgroup = reduction_workgroup(facts, 256, 16);
    let samples = if n == 1 { 1 } else { 4 };
    let workgroups = |columns: u32| u64::from(lanes.div_ceil(columns)) * u64::from(n.div_ceil(samples));
    // Two vectors of f32 are the least that a GPU fetches at once, half a line; four of f16.
    let least = if weights == Dtype::F16 { 4 } else { 2 };
    let columns = [16, 8, 4, 2].into_iter().filter(|&columns| columns >= least);
    let columns = columns.clone().find(|&columns| workgroups(columns) >= ENOUGH_WORKGROUPS).unwrap_or(least);
    let columns = columns.min(workgroup);
    let grid = Grid::fold(workgroups(columns), facts)?;
    let bias_bytes = u64::from(lanes * LANES) * 4;
    let shape = Shape {
        n,
        grid_x: grid.x,
        inputs,
        outputs,
        lanes,
        blocks: lanes.div_ceil(columns),
        weights: (bias_bytes / (u64::from(LANES) * weights.bytes())) as u32,
        unused: 0,
    };
    Ok(Step {
        kernel: Kernel::Linear(Constants { weights, workgroup, columns, samples }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![TensorId::Weights, TensorId::XH, TensorId::YH],
        grid,
        packing: None,
    })
}

/// Bytes that [`pack`] makes.
pub(crate) fn packed_bytes(outputs: u32, inputs: u32, dtype: Dtype) -> u64 {
    let row = u64::from(outputs).next_multiple_of(u64::from(LANES));
    row.saturating_mul(4 + u64::from(inputs) * dtype.bytes())
}

/// `weight` `[outputs][inputs]` as the kernel reads it: the bias in f32 (zeros where there is none), then the weights
/// `[inputs][outputs]`, each row padded with zeros to whole vectors.
pub(crate) fn pack(weight: &[f32], bias: Option<&[f32]>, outputs: usize, inputs: usize, dtype: Dtype) -> Vec<u8> {
    let row = outputs.next_multiple_of(LANES as usize);
    let mut bytes = Vec::with_capacity(row * (4 + inputs * dtype.bytes() as usize));
    for o in 0..row {
        let value = bias.and_then(|bias| bias.get(o)).copied().unwrap_or(0.0);
        bytes.extend(value.to_le_bytes());
    }
    for i in 0..inputs {
        for o in 0..row {
            let value = if o < outputs { weight[o * inputs + i] } else { 0.0 };
            match dtype {
                Dtype::F32 => bytes.extend(value.to_le_bytes()),
                Dtype::F16 => bytes.extend(f16::from_f32(value).to_le_bytes()),
            }
        }
    }
    bytes
}
