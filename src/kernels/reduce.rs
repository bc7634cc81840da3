//! Host twin of `shaders/reduce.wgsl`.

use super::wgsl::Source;
use super::{Access, ELEMENTWISE_WORKGROUP, Kernel, Types, activation_number, slope};
use crate::device::DeviceFacts;
use crate::device::{Part, Work};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{OutputJob, TensorId};
use crate::kernels::packing::{BiasPacking, Blocks, Packing};
use crate::kernels::{Grid, Step};
use crate::layer::Spec;
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    /// Of Y_H and Y_L: whether it is there, and whether it has a residual.
    outputs: [Option<bool>; 2],
    pooled: bool,
    activation: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
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
    first: u32,
    pooled_h: u32,
    pooled_w: u32,
    bias: u32,
    unused: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    high: OutputShape,
    low: OutputShape,
    grid_x: u32,
    slices: u32,
    slope: f32,
    unused: u32,
}

impl Constants {
    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP);
        source.constant("ACTIVATION", self.activation);
        source.flag("WRITES_Y_P", self.pooled);
        source.binding(Access::Read, "biases", "f32");
        let [high, low] = self.outputs;
        for (name, output) in [("p_h", high), ("p_l", low)] {
            if output.is_some() {
                source.binding(Access::Read, name, "f32");
            }
            source.loader(&format!("load_{name}"), output.map(|_| name));
        }
        source.optional_input("residual_h", high == Some(true));
        source.optional_input("residual_l", low == Some(true));
        source.output("y_h", high.is_some());
        source.output("y_l", low.is_some());
        source.output("y_p", self.pooled);
        source.file(include_str!("../../shaders/activate.wgsl"));
        source.file(include_str!("../../shaders/reduce.wgsl"));
        source
    }
}

/// The dispatch that makes the outputs of a layer, Y_H and Y_L, of the `partial` sums, in f32, of so many slices.
pub(crate) fn step(
    facts: &DeviceFacts,
    spec: &Spec,
    types: Types,
    slices: u32,
    [high, low]: [Option<OutputJob>; 2],
    partial: [Option<TensorId>; 2],
) -> Result<Step, Error> {
    let outputs = [high, low];
    let mut packing = Packing {
        dtype: types.weights,
        lanes: 1,
        matrix_slab: None,
        biases: Vec::new(),
        paths: Vec::new(),
        points: Vec::new(),
    };
    for output in outputs.iter().flatten() {
        let channels = output.y.dims.c;
        let blocks = Blocks { groups: 1, group_channels: channels, group_blocks: channels, block: 1 };
        packing.biases.push(BiasPacking { of: output.bias, blocks });
    }
    let offsets = packing.offsets(spec);
    let mut biases = offsets.biases.iter();
    let mut work = Work { bytes: offsets.bytes, ..Work::default() };
    let shapes = outputs.map(|output| {
        let Some(output) = output else { return OutputShape::default() };
        let dims = output.y.dims;
        let (rows, cols) = (dims.h.div_ceil(2), dims.w.div_ceil(2));
        let threads = Dims { h: rows, w: cols, ..dims }.elements();
        let pooled = output.pooled.map(|p| p.dims);
        let loads = slices + u32::from(output.residual.is_some());
        let stores = 4 + u64::from(pooled.is_some());
        let loaded = 4 * u64::from(loads);
        work.parts.push(Part { threads, multiplies: loaded, loads: loaded, stores, ..Part::default() });
        let residual = u64::from(output.residual.is_some());
        let bytes = 4 * u64::from(slices) + (1 + residual) * types.activations.bytes();
        work.bytes = work.bytes.saturating_add(bytes.saturating_mul(dims.elements()));
        OutputShape {
            threads: threads as u32,
            slice_stride: dims.elements() as u32,
            channels: dims.c,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            rows,
            cols,
            tensor_channels: output.slice.of,
            first: output.slice.first,
            pooled_h: pooled.map_or(0, |p| p.h),
            pooled_w: pooled.map_or(0, |p| p.w),
            bias: biases.next().copied().unwrap_or_default(),
            unused: [0; 3],
        }
    });
    let threads = work.parts.iter().map(|part| part.threads).sum::<u64>();
    let grid = Grid::fold(threads.div_ceil(u64::from(ELEMENTWISE_WORKGROUP)), facts)?;
    let [high_shape, low_shape] = shapes;
    let activation = spec.activation();
    let shape = Shape { high: high_shape, low: low_shape, grid_x: grid.x, slices, slope: slope(activation), unused: 0 };
    let pooled = high.and_then(|output| output.pooled);
    let constants = Constants {
        activations: types.activations,
        outputs: outputs.map(|output| output.map(|output| output.residual.is_some())),
        pooled: pooled.is_some(),
        activation: activation_number(activation),
    };
    let mut tensors = vec![TensorId::Weights];
    tensors.extend(partial.into_iter().flatten());
    tensors.extend(outputs.iter().flatten().filter_map(|output| output.residual));
    tensors.extend(outputs.iter().flatten().map(|output| output.y.id));
    tensors.extend(pooled.map(|p| p.id));
    Ok(Step {
        kernel: Kernel::Reduce(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors,
        grid,
        packing: Some(packing),
        f16_terms: 0,
        work,
    })
}
