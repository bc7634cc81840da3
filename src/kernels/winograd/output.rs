//! Host twin of `shaders/winograd_output.wgsl`.

use super::{Layout, Level, Product, transforms};
use crate::device::DeviceFacts;
use crate::device::Words;
use crate::device::{Part, Work};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Job, OutputJob, TensorId};
use crate::kernels::packing::{BiasPacking, Blocks, Packing};
use crate::kernels::wgsl::Source;
use crate::kernels::{Access, ELEMENTWISE_WORKGROUP, Kernel, Types, activation_number, slope};
use crate::kernels::{Grid, Step};
use crate::layer::Spec;
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    words: Words,
    outputs: u32,
    writes_high: bool,
    writes_low: bool,
    /// Whether Y_H has sums at high resolution, and of L->H at low resolution.
    sums: [bool; 2],
    residual_high: bool,
    residual_low: bool,
    writes_pooled: bool,
    /// Whether two columns of Y_H, Y_L and Y_P are one word; a residual is as its output.
    paired: [bool; 3],
    /// Channels of a thread, which lie side by side in M.
    channels: u32,
    activation: u32,
}

/// Where a product's sums begin, and their strides from point to point, tile to tile and thread to thread of channels, in
/// what a thread loads at once.
#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Sums {
    first: u32,
    point: u32,
    tile: u32,
    channel: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Output {
    workgroups: u32,
    threads: u32,
    tiles: u32,
    rows: u32,
    cols: u32,
    t: u32,
    h: u32,
    w: u32,
    bias: u32,
    of: u32,
    first_channel: u32,
    channels: u32,
    sums: Sums,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    high: Output,
    low: Output,
    from_low: Sums,
    from_low_rows: u32,
    from_low_cols: u32,
    pooled_h: u32,
    pooled_w: u32,
    grid_x: u32,
    slope: f32,
    unused: [u32; 2],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        format!("winograd output {0}x{0}", self.outputs)
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP).with_words(self.words);
        source.constant("ACTIVATION", self.activation);
        source.flag("HAS_HIGH", self.writes_high);
        source.flag("HAS_LOW", self.writes_low);
        source.flag("HAS_HIGH_SUMS", self.sums[0]);
        source.flag("HAS_LOW_SUMS", self.sums[1]);
        source.flag("WRITES_Y_P", self.writes_pooled);
        source.weights(Dtype::F32, 1);
        source.vectors(Access::Read, "m", self.channels);
        source.constant("CHANNELS", self.channels);
        source.file(include_str!("../../../shaders/activate.wgsl"));
        transforms(&mut source, self.outputs, self.channels);
        let part = if self.channels == 1 { "v" } else { "v[k]" };
        source.line(&format!("fn part(v: Value, k: u32) -> f32 {{ return {part}; }}"));
        let [high, low, pooled] = self.paired;
        source.paired_input("high_residual", self.residual_high, high);
        source.paired_input("low_residual", self.residual_low, low);
        source.paired_output("high_y", self.writes_high, high);
        source.paired_output("low_y", self.writes_low, low);
        source.flag("PAIRED_P", pooled);
        source.paired_output("y_p", self.writes_pooled, pooled);
        source.line("alias Square = array<array<f32, TILE>, TILE>;");
        for (name, paired) in [("high", high), ("low", low)] {
            source.flag(&format!("{}_PAIRED", name.to_uppercase()), paired);
            source.instance(include_str!("../../../shaders/winograd_store.wgsl"), name);
        }
        source.file(include_str!("../../../shaders/turns.wgsl"));
        source.file(include_str!("../../../shaders/winograd_output.wgsl"));
        source
    }
}

/// The outputs of `job` from M.
pub(super) fn step(facts: &DeviceFacts, spec: &Spec, types: Types, job: &Job, layout: &Layout) -> Result<Step, Error> {
    let mut packing = Packing {
        dtype: Dtype::F32,
        lanes: 1,
        matrix_slab: None,
        biases: Vec::new(),
        paths: Vec::new(),
        points: Vec::new(),
    };
    for output in [&job.high, &job.low].into_iter().flatten() {
        let channels = output.y.dims.c;
        let blocks = Blocks { groups: 1, group_channels: channels, group_blocks: 1, block: channels };
        packing.biases.push(BiasPacking { of: output.bias, blocks });
    }
    let offsets = packing.offsets(spec);

    // Channels that lie side by side in M are even in number, and a pair of them one word.
    let channels = if types.words == Words::Integers && !layout.tile.rows_are_channels { 2 } else { 1 };
    let sums = |product: &Option<Product>| {
        product.as_ref().map_or(Sums::default(), |p| Sums {
            first: p.first / channels,
            point: p.padded * p.level.row / channels,
            tile: if layout.tile.rows_are_channels { 1 } else { p.padded / channels },
            channel: if layout.tile.rows_are_channels { p.level.row } else { 1 },
        })
    };
    let [of_high, of_low, from_low] = &layout.products;
    let window = u64::from(layout.tile.outputs + 2);
    let mut biases = offsets.biases.iter();
    let mut workgroups = 0u64;
    let mut parts = Vec::new();
    let mut output = |output: &Option<OutputJob>, level: Level, product: &Option<Product>, loads: u64| {
        let Some(output) = output else { return Output::default() };
        let dims = output.y.dims;
        let threads = level.tiles * dims.c.div_ceil(channels);
        let count = u64::from(threads.div_ceil(ELEMENTWISE_WORKGROUP));
        workgroups += count;
        parts.push(Part {
            threads: count * u64::from(ELEMENTWISE_WORKGROUP),
            multiplies: 3 * loads * u64::from(channels),
            loads: loads + u64::from(channels),
            stores: u64::from(channels * layout.tile.outputs * layout.tile.outputs)
                / types.elements_a_load(types.paired(dims)),
            ..Part::default()
        });
        Output {
            workgroups: count as u32,
            threads,
            tiles: level.tiles,
            rows: level.rows,
            cols: level.cols,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            bias: biases.next().copied().unwrap_or_default(),
            of: output.slice.of,
            first_channel: output.slice.first,
            channels: dims.c,
            sums: sums(product),
        }
    };
    let square = |has: bool, side: u64| if has { side * side } else { 0 };
    let high_loads = square(of_high.is_some(), window) + square(from_low.is_some(), window - 1);
    let high = output(&job.high, layout.high, of_high, high_loads);
    let low = output(&job.low, layout.low, of_low, window * window);
    let grid = Grid::fold(workgroups, facts)?;
    let pooled = job.high.and_then(|o| o.pooled);
    let shape = Shape {
        high,
        low,
        from_low: sums(from_low),
        from_low_rows: layout.low.rows,
        from_low_cols: layout.low.cols,
        pooled_h: pooled.map_or(0, |p| p.dims.h),
        pooled_w: pooled.map_or(0, |p| p.dims.w),
        grid_x: grid.x,
        slope: slope(job.activation),
        unused: [0; 2],
    };
    let residual = |o: &Option<OutputJob>| o.and_then(|o| o.residual);
    let (residual_high, residual_low) = (residual(&job.high), residual(&job.low));
    let paired = |dims: Option<Dims>| dims.is_some_and(|dims| types.paired(dims));
    let constants = Constants {
        activations: types.activations,
        words: types.words,
        outputs: layout.tile.outputs,
        writes_high: job.high.is_some(),
        writes_low: job.low.is_some(),
        sums: [of_high.is_some(), from_low.is_some()],
        residual_high: residual_high.is_some(),
        residual_low: residual_low.is_some(),
        writes_pooled: pooled.is_some(),
        paired: [
            paired(job.high.map(|o| o.y.dims)),
            paired(job.low.map(|o| o.y.dims)),
            layout.tile.outputs == 4 && paired(pooled.map(|p| p.dims)),
        ],
        channels,
        activation: activation_number(job.activation),
    };
    let mut tensors = vec![TensorId::Weights, layout.m];
    let written = [job.high.map(|o| o.y.id), job.low.map(|o| o.y.id), pooled.map(|p| p.id)];
    tensors.extend([residual_high, residual_low].into_iter().chain(written).flatten());
    let elements = [job.high, job.low].into_iter().flatten().map(|o| {
        o.y.dims.elements() * (1 + u64::from(o.residual.is_some())) + o.pooled.map_or(0, |p| p.dims.elements())
    });
    let bytes = 4 * layout.m_elements + elements.sum::<u64>() * types.activations.bytes();
    Ok(Step {
        kernel: Kernel::WinogradOutput(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors,
        grid,
        packing: Some(packing),
        f16_terms: 0,
        work: Work { parts, bytes },
    })
}
