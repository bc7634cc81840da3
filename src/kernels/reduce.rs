//! Host code of `shaders/layer/reduce.wgsl`.

use super::access::Access;
use super::job::{OutputJob, TensorId};
use super::packing::{BiasPacking, Blocks, Packing};
use super::source::{Form, Recipe};
use super::step::{Grid, Step};
use super::types::{ELEMENTWISE_WORKGROUP, Types};
use super::uniform::uniform;
use crate::device::{DeviceFacts, Part, Work};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::Kernel;
use crate::layer::{Activation, Spec};
use crate::precision::Dtype;

uniform! {
    #[derive(Default)]
    struct OutputShape {
        threads: u32,
        slice_stride: u32,
        channels: u32,
        t: u32,
        h: u32,
        w: u32,
        rows: u32,
        cols: u32,
        tensor_channels: u32,
        first_channel: u32,
        pooled_h: u32,
        pooled_w: u32,
        bias: u32,
        unused_a: u32,
        unused_b: u32,
        unused_c: u32,
    }
}

uniform! {
    struct Shape {
        high: OutputShape,
        low: OutputShape,
        grid_x: u32,
        slices: u32,
        slope: f32,
        unused: u32,
    }
}

/// The kernel. `outputs` says whether Y_H and Y_L have a residual, `None` for an absent output. `pooled` says whether
/// pool(Y_H) is written.
fn recipe(activations: Dtype, outputs: [Option<bool>; 2], pooled: bool, activation: Activation) -> Recipe {
    let given = |given| if given { Form::Elements(activations) } else { Form::Absent };
    let sums = |given| if given { Form::Elements(Dtype::F32) } else { Form::Absent };
    let [high, low] = outputs;
    Recipe::new("layer/reduce")
        .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
        .constant("ACTIVATION", activation.number())
        .flag("WRITES_Y_P", pooled)
        .binding("biases", Access::Read)
        .input("p_h", sums(high.is_some()))
        .input("p_l", sums(low.is_some()))
        .input("high_residual", given(high == Some(true)))
        .input("low_residual", given(low == Some(true)))
        .output("high_y", given(high.is_some()))
        .output("low_y", given(low.is_some()))
        .output("y_p", given(pooled))
}

/// The dispatch that makes the outputs of a layer, Y_H and Y_L, from the `partial` sums, in f32, of all slices.
pub(crate) fn step(
    facts: &DeviceFacts,
    spec: &Spec,
    types: Types,
    slices: u32,
    outputs: [Option<OutputJob>; 2],
    partial: [Option<TensorId>; 2],
) -> Result<Step, Error> {
    let packing = packing(types, &outputs);
    let offsets = packing.offsets(spec);
    let mut biases = offsets.biases.iter().copied();
    let [high, low] = outputs.each_ref().map(|output| match output {
        Some(output) => output_shape(output, biases.next().unwrap_or_default()),
        None => OutputShape::default(),
    });
    let present = || outputs.iter().flatten();
    let work = Work {
        parts: present().map(|output| part(slices, output)).collect(),
        bytes: present().fold(offsets.bytes, |sum, output| sum.saturating_add(bytes(types, slices, output))),
    };
    let threads = work.parts.iter().map(|part| part.threads).sum::<u64>();
    let grid = Grid::of_threads(threads, facts)?;
    let activation = spec.activation();
    let shape = Shape { high, low, grid_x: grid.x, slices, slope: activation.slope(), unused: 0 };
    let residuals = outputs.each_ref().map(|output| output.as_ref().map(|output| output.residual.is_some()));
    let pooled = outputs[0].and_then(|output| output.pooled);
    let mut tensors = vec![TensorId::Weights];
    tensors.extend(partial.into_iter().flatten());
    tensors.extend(present().filter_map(|output| output.residual));
    tensors.extend(present().map(|output| output.y.id));
    tensors.extend(pooled.map(|pooled| pooled.id));
    Ok(Step {
        kernel: Kernel::recipe("reduce", recipe(types.activations, residuals, pooled.is_some(), activation)),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors,
        grid,
        packing: Some(packing),
        f16_terms: 0,
        work,
    })
}

/// A packing of only the biases.
fn packing(types: Types, outputs: &[Option<OutputJob>; 2]) -> Packing {
    let bias = |output: &OutputJob| {
        let channels = output.y.dims.c;
        let blocks = Blocks { groups: 1, group_channels: channels, group_blocks: channels, block: 1 };
        BiasPacking { of: output.bias, blocks }
    };
    Packing {
        dtype: types.weights,
        lanes: 1,
        matrix_slab: None,
        biases: outputs.iter().flatten().map(bias).collect(),
        paths: Vec::new(),
        points: Vec::new(),
    }
}

/// The cells of all planes.
fn cells(dims: Dims) -> Dims {
    Dims { h: dims.h.div_ceil(2), w: dims.w.div_ceil(2), ..dims }
}

fn output_shape(output: &OutputJob, bias: u32) -> OutputShape {
    let dims = output.y.dims;
    let cells = cells(dims);
    OutputShape {
        threads: cells.elements() as u32,
        slice_stride: dims.elements() as u32,
        channels: dims.c,
        t: dims.t,
        h: dims.h,
        w: dims.w,
        rows: cells.h,
        cols: cells.w,
        tensor_channels: output.slice.of,
        first_channel: output.slice.first,
        pooled_h: output.pooled.map_or(0, |pooled| pooled.dims.h),
        pooled_w: output.pooled.map_or(0, |pooled| pooled.dims.w),
        bias,
        ..OutputShape::default()
    }
}

fn part(slices: u32, output: &OutputJob) -> Part {
    let loads = 4 * u64::from(slices + u32::from(output.residual.is_some()));
    let stores = 4 + u64::from(output.pooled.is_some());
    Part { threads: cells(output.y.dims).elements(), multiplies: loads, loads, stores, ..Part::default() }
}

/// Bytes of partial sums, residual and output.
fn bytes(types: Types, slices: u32, output: &OutputJob) -> u64 {
    let stored = 1 + u64::from(output.residual.is_some());
    let each = 4 * u64::from(slices) + stored * types.activations.bytes();
    each.saturating_mul(output.y.dims.elements())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uniform_is_the_shaders() {
        for dtype in [Dtype::F32, Dtype::F16] {
            for outputs in [[Some(true), Some(false)], [Some(false), None], [None, Some(true)]] {
                for pooled in [false, true] {
                    let recipe = recipe(dtype, outputs, pooled && outputs[0].is_some(), Activation::Relu);
                    super::super::uniform::check::<Shape>(&recipe);
                }
            }
        }
    }
}
