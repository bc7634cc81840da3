//! The last dispatch: makes the outputs of a job from M.

use super::layout::{Layout, Product, Resolution};
use super::recipe::{OutputConstants, OutputTensor, channels_per_thread};
use super::uniform::{Output, OutputShape, Sums};
use super::work;
use crate::device::{Part, Work};
use crate::error::Error;
use crate::kernels::family::Request;
use crate::kernels::job::{Job, OutputJob, TensorId};
use crate::kernels::packing::{BiasPacking, Blocks, Packing};
use crate::kernels::step::{Grid, Kernel, Step};
use crate::kernels::types::{ELEMENTWISE_WORKGROUP, Types, slope};
use crate::precision::Dtype;

/// The packing of the biases: this dispatch needs no other weights.
fn packing(job: &Job) -> Packing {
    let biases = [&job.high, &job.low].into_iter().flatten().map(|output| {
        let channels = output.y.dims.c;
        let blocks = Blocks { groups: 1, group_channels: channels, group_blocks: 1, block: channels };
        BiasPacking { of: output.bias, blocks }
    });
    Packing {
        dtype: Dtype::F32,
        lanes: 1,
        matrix_slab: None,
        biases: biases.collect(),
        paths: Vec::new(),
        points: Vec::new(),
    }
}

/// Where the sums of a product lie in M, if a thread has this many channels.
fn sums(layout: &Layout, product: Option<&Product>, channels: u32) -> Sums {
    product.map_or(Sums::default(), |product| {
        let side_by_side = !layout.tile.rows_are_channels;
        Sums {
            first: product.first / channels,
            point: product.padded * product.resolution.row / channels,
            tile: if side_by_side { product.padded / channels } else { 1 },
            channel: if side_by_side { 1 } else { product.resolution.row },
        }
    })
}

/// The uniform of an output.
fn output_shape(output: &OutputJob, resolution: Resolution, channels: u32, bias: u32, sums: Sums) -> Output {
    let dims = output.y.dims;
    let threads = resolution.tiles * dims.c.div_ceil(channels);
    Output {
        workgroups: threads.div_ceil(ELEMENTWISE_WORKGROUP),
        threads,
        tiles: resolution.tiles,
        rows: resolution.rows,
        cols: resolution.cols,
        t: dims.t,
        h: dims.h,
        w: dims.w,
        bias,
        tensor_channels: output.slice.of,
        first_channel: output.slice.first,
        channels: dims.c,
        sums,
    }
}

/// The uniforms of both outputs, and the work of making them.
fn outputs(request: &Request, layout: &Layout, biases: &[u32]) -> ([Output; 2], Vec<Part>) {
    let Request { types, job, .. } = *request;
    let channels = channels_per_thread(types.words, layout.tile);
    let [of_high, of_low, from_low] = layout.products.each_ref().map(Option::as_ref);
    let loads =
        [work::loads_of_high(layout.tile, of_high.is_some(), from_low.is_some()), work::loads_of_low(layout.tile)];
    let all = [(job.high, layout.high, of_high), (job.low, layout.low, of_low)];
    let mut biases = biases.iter();
    let mut parts = Vec::new();
    let mut shapes = [Output::default(); 2];
    for ((shape, (output, resolution, product)), loads) in shapes.iter_mut().zip(all).zip(loads) {
        let Some(output) = output else { continue };
        let bias = biases.next().copied().unwrap_or_default();
        *shape = output_shape(&output, resolution, channels, bias, sums(layout, product, channels));
        parts.push(work::of_output(types, layout.tile, shape.workgroups, output.y.dims, channels, loads));
    }
    (shapes, parts)
}

fn constants(types: Types, job: &Job, layout: &Layout) -> OutputConstants {
    let tensor =
        |output: OutputJob| OutputTensor { residual: output.residual.is_some(), paired: types.paired(output.y.dims) };
    let [high_sums, _, low_sums] = layout.products.each_ref().map(Option::is_some);
    let pooled = job.high.and_then(|output| output.pooled);
    OutputConstants {
        types,
        tile: layout.tile,
        high: job.high.map(tensor),
        low: job.low.map(tensor),
        high_sums,
        low_sums,
        pooled: pooled.map(|pooled| layout.tile.outputs == 4 && types.paired(pooled.dims)),
        activation: job.activation,
    }
}

/// What is bound, in binding order.
fn tensors(job: &Job, layout: &Layout) -> Vec<TensorId> {
    let outputs = [job.high, job.low];
    let residuals = outputs.iter().flatten().filter_map(|output| output.residual);
    let written = outputs.iter().flatten().map(|output| output.y.id);
    let pooled = job.high.and_then(|output| output.pooled).map(|pooled| pooled.id);
    [TensorId::Weights, layout.m].into_iter().chain(residuals).chain(written).chain(pooled).collect()
}

/// The dispatch that makes the outputs of a job from M.
pub(super) fn step(request: &Request, layout: &Layout) -> Result<Step, Error> {
    let Request { facts, spec, types, job, .. } = *request;
    let packing = packing(job);
    let ([high, low], parts) = outputs(request, layout, &packing.offsets(spec).biases);
    let workgroups = u64::from(high.workgroups) + u64::from(low.workgroups);
    let grid = Grid::of_threads(workgroups * u64::from(ELEMENTWISE_WORKGROUP), facts)?;
    let pooled = job.high.and_then(|output| output.pooled);
    let shape = OutputShape {
        high,
        low,
        from_low: sums(layout, layout.products[2].as_ref(), channels_per_thread(types.words, layout.tile)),
        from_low_rows: layout.low.rows,
        from_low_cols: layout.low.cols,
        pooled_h: pooled.map_or(0, |p| p.dims.h),
        pooled_w: pooled.map_or(0, |p| p.dims.w),
        grid_x: grid.x,
        slope: slope(job.activation),
        unused_a: 0,
        unused_b: 0,
    };
    let constants = constants(types, job, layout);
    Ok(Step {
        kernel: Kernel::recipe(constants.name(), constants.recipe()),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: tensors(job, layout),
        grid,
        packing: Some(packing),
        f16_terms: 0,
        work: Work { parts, bytes: 4 * layout.m_elements + work::output_bytes(types, job) },
    })
}
