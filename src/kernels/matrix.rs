//! Host twin of `shaders/matrix.wgsl`: octave convolutions of any kernel as an implicit GEMM on matrix units.

use super::wgsl::Source;
use super::{Access, Kernel, Types, activation_number, slope};
use crate::error::Error;
use crate::estimate::{Part, Work};
use crate::packing::{BiasPacking, Blocks, Packing, PathPacking};
use crate::plan::{DeviceFacts, Dtype, Grid, Job, Operand, OutputJob, Step, TensorId};
use crate::spec::{Frequency, Path, Spec};

/// Matrices of a workgroup: pieces below each other and side by side, one a subgroup, of so many rows and columns of
/// matrices each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    piece_rows: u32,
    piece_cols: u32,
    matrix_rows: u32,
    matrix_cols: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    side: u32,
    tile: Tile,
    /// Matrices side by side that a slab of channels fills.
    depth: u32,
    workgroup: u32,
    /// The most that a workgroup can turn out to have.
    subgroups: u32,
    inputs: usize,
    /// Whether inputs are read two columns at a time; whether Y_H and Y_L are written so.
    paired: bool,
    outputs_paired: [bool; 2],
    /// In the order of [`Path::ALL`]: which of the inputs it reads, and whether its channels are whole slabs.
    paths: [Option<(usize, bool)>; 4],
    given_sums: bool,
    high_is_partial: bool,
    residual_high: bool,
    residual_low: bool,
    writes_high: bool,
    writes_low: bool,
    writes_pooled: bool,
    activation: u32,
}

/// A subgroup's matrices, rows by columns, and the subgroups of a workgroup. The more matrices, the more often an
/// operand that is loaded is used, and the fewer workgroups there are.
pub(crate) const TILES: [(&str, [u32; 4]); 6] = [
    ("4x4-2x2", [2, 2, 4, 4]),
    ("4x4-1x2", [1, 2, 4, 4]),
    ("4x2-2x2", [2, 2, 4, 2]),
    ("2x4-1x2", [1, 2, 2, 4]),
    ("2x2-2x2", [2, 2, 2, 2]),
    ("2x2-1x2", [1, 2, 2, 2]),
];

/// The most elements that a thread gathers for a step, and keeps in registers meanwhile.
const MAX_HELD: u32 = 16;

/// Elements between the ends of one position's channels and the next one's: see PITCH in the shader.
const SKEW: u32 = 8;

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct PathShape {
    channels: u32,
    slabs: u32,
    source_t: u32,
    source_h: u32,
    source_w: u32,
    stride: u32,
    weights: u32,
    row: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct OutputShape {
    channels: u32,
    first: u32,
    own: u32,
    t: u32,
    h: u32,
    w: u32,
    cell_rows: u32,
    cell_cols: u32,
    cells: u32,
    blocks: u32,
    bias: u32,
    steps: u32,
    pooled_h: u32,
    pooled_w: u32,
    sums_h: u32,
    sums_w: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    paths: [PathShape; 4],
    high: OutputShape,
    low: OutputShape,
    grid_x: u32,
    high_workgroups: u32,
    workgroups: u32,
    stride_t: u32,
    kernel_h: u32,
    kernel_w: u32,
    padding_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_t: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    unused: [u32; 3],
}

impl Tile {
    /// Rows of matrices.
    fn rows(self) -> u32 {
        self.piece_rows * self.matrix_rows
    }

    fn positions(self, side: u32) -> u32 {
        self.piece_cols * self.matrix_cols * side
    }

    /// Elements that a thread gathers for a step.
    fn held(self, side: u32, depth: u32, workgroup: u32) -> u32 {
        (self.positions(side) * depth * side).div_ceil(workgroup)
    }

    /// Bytes of workgroup memory: two steps' inputs, and a matrix of each subgroup.
    fn storage(self, side: u32, depth: u32, subgroups: u32) -> u32 {
        let inputs = 2 * self.positions(side) * (depth * side + SKEW) * 2;
        let stored_rows = subgroups.div_ceil(self.piece_cols) * side;
        inputs + 4 * stored_rows * self.piece_cols * side
    }
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        let Self { side, tile, .. } = self;
        format!("matrix {}x{} of {side}x{side}", tile.rows() * side, tile.positions(*side))
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::for_matrices(self.workgroup);
        source.constant("ACTIVATION", self.activation);
        source.constant("SIDE", self.side);
        source.constant("PIECE_ROWS", self.tile.piece_rows);
        source.constant("PIECE_COLS", self.tile.piece_cols);
        source.constant("MATRIX_ROWS", self.tile.matrix_rows);
        source.constant("MATRIX_COLS", self.tile.matrix_cols);
        source.constant("DEPTH", self.depth);
        source.constant("SKEW", SKEW);
        source.constant("SUBGROUPS", self.subgroups);
        source.flag("HAS_HIGH", self.writes_high);
        source.flag("HAS_LOW", self.writes_low);
        source.flag("HAS_SUMS", self.given_sums);
        source.flag("HIGH_IS_PARTIAL", self.high_is_partial);
        source.flag("WRITES_Y_P", self.writes_pooled);
        source.matrices(self.side, Dtype::F32);
        source.binding(Access::Read, "weights", "f16");
        source.binding(Access::Read, "biases", "f32");
        source.flag("PAIRED", self.paired);
        for i in 0..self.inputs {
            source.binding(Access::Read, &format!("x{i}"), if self.paired { "vec2<f16>" } else { "f16" });
        }
        source.optional_input("low_sums", self.given_sums);
        let [high, low] = self.outputs_paired;
        source.flag("HIGH_PAIRED", high);
        source.flag("LOW_PAIRED", low);
        source.paired_input("residual_h", self.residual_high, high);
        source.paired_input("residual_l", self.residual_low, low);
        source.paired_output("y_h", self.writes_high, high);
        source.paired_output("y_l", self.writes_low, low);
        source.output("y_p", self.writes_pooled);
        source.file(include_str!("../../shaders/activate.wgsl"));
        for (path, constants) in Path::ALL.into_iter().zip(self.paths) {
            let name = format!("{path:?}").to_lowercase();
            let Some((input, whole)) = constants else {
                source.instance(include_str!("../../shaders/matrix_path_absent.wgsl"), &name);
                continue;
            };
            let elements = if self.paired { format!("x{input}[i].x, x{input}[i].y") } else { format!("x{input}[i]") };
            source.line(&format!("fn {name}_load(i: u32) -> array<f16, SPAN> {{ return array({elements}); }}"));
            source.flag(&format!("{}_WHOLE", name.to_uppercase()), whole);
            source.instance(include_str!("../../shaders/matrix_path.wgsl"), &name);
        }
        source.file(include_str!("../../shaders/matrix.wgsl"));
        source
    }
}

/// Why this kernel cannot do `job`, or nothing.
pub(crate) fn refusal(facts: &DeviceFacts, spec: &Spec, types: Types, job: &Job) -> Option<&'static str> {
    let mut paths = job.paths.iter().flatten();
    if types.activations != Dtype::F16 || types.weights != Dtype::F16 {
        Some("the matrix kernel needs f16 activations and f16 weights")
    } else if facts.matrix.is_none() || !facts.features.contains(wgpu::Features::SUBGROUP) {
        Some("the matrix kernel needs a device that multiplies 16x16 or 8x8 matrices of f16 into f32, with subgroups")
    } else if paths.clone().any(|path| spec.path_groups(path.weights) != 1) {
        Some("the matrix kernel needs one group")
    } else if paths.clone().any(|path| path.sampling.level > 0) {
        Some("the matrix kernel needs maps that are pooled first, or given")
    } else if paths.any(|path| path.sampling.upsample) {
        Some("the matrix kernel needs L->H done first")
    } else {
        None
    }
}

/// The named tile.
pub(crate) fn tile(name: &str) -> Option<Tile> {
    let &(_, [piece_rows, piece_cols, matrix_rows, matrix_cols]) = TILES.iter().find(|&&(other, _)| other == name)?;
    Some(Tile { piece_rows, piece_cols, matrix_rows, matrix_cols })
}

/// The slab's matrices, threads, and the most subgroups of a workgroup, as far as the device allows them.
fn workgroup(facts: &DeviceFacts, spec: &Spec, job: &Job, tile: Tile, side: u32) -> Result<[u32; 3], Error> {
    let limit = |what: &str, needs: u32, limit: &'static str, allowed: u32| match needs <= allowed {
        true => Ok(()),
        false => Err(Error::Limit { what: what.into(), needs: needs.into(), limit, allowed: allowed.into() }),
    };
    let [fewest, most] = facts.subgroup_sizes;
    let threads = tile.piece_rows * tile.piece_cols * most;
    let subgroups = threads / fewest.max(1);
    let limits = &facts.limits;
    let (name, allowed) = ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup);
    limit("the matrix kernel's workgroup, in threads,", threads, name, allowed)?;
    let (name, allowed) = ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x);
    limit("the matrix kernel's workgroup, in threads,", threads, name, allowed)?;
    let allowed = limits.max_compute_workgroup_storage_size;
    // A tap's channels as matrices; slabs of two halve the steps, and their barriers.
    let mut paths = job.paths.iter().flatten();
    let even = paths.all(|path| spec.weight_shape(path.weights)[1].div_ceil(side).is_multiple_of(2));
    let fits = tile.storage(side, 2, subgroups) <= allowed && tile.held(side, 2, threads) <= MAX_HELD;
    let depth = if even && fits { 2 } else { 1 };
    let needs = tile.storage(side, depth, subgroups);
    limit("the matrix kernel, in bytes,", needs, "max_compute_workgroup_storage_size", allowed)?;
    Ok([depth, threads, subgroups])
}

/// The dispatch that does `job`, which [`refusal`] has let pass.
pub(crate) fn step(facts: &DeviceFacts, spec: &Spec, job: &Job, tile: Tile) -> Result<Step, Error> {
    let side = facts.matrix.unwrap_or(16);
    let [depth, workgroup, subgroups] = workgroup(facts, spec, job, tile, side)?;
    let slab = depth * side;
    let blocks = |output: &OutputJob| {
        let group_channels = output.y.dims.c;
        let group_blocks = group_channels.div_ceil(side).next_multiple_of(tile.rows());
        Blocks { groups: 1, group_channels, group_blocks, block: side }
    };
    let mut packing = Packing {
        dtype: Dtype::F16,
        lanes: 1,
        matrix_slab: Some(depth),
        biases: Vec::new(),
        paths: Vec::new(),
        points: Vec::new(),
    };
    for output in [&job.high, &job.low].into_iter().flatten() {
        packing.biases.push(BiasPacking { of: output.bias, blocks: blocks(output) });
    }

    let [kernel_h, kernel_w] = spec.kernel();
    let time = spec.time();
    let taps = time.kernel * kernel_h * kernel_w;
    let mut inputs: Vec<TensorId> = Vec::new();
    let mut paths = [None; 4];
    let mut path_shapes = [PathShape::default(); 4];
    let mut steps = [0; 2];
    for (slot, path) in Path::ALL.into_iter().enumerate() {
        let Some(path_job) = job.path(path) else { continue };
        let (output, steps) = match path.output() {
            Frequency::High => (&job.high, &mut steps[0]),
            Frequency::Low => (&job.low, &mut steps[1]),
        };
        let Some(output) = output else { continue };
        let Operand { id, dims: source } = path_job.source;
        let input = inputs.iter().position(|&other| other == id).unwrap_or_else(|| {
            inputs.push(id);
            inputs.len() - 1
        });
        let channels = spec.weight_shape(path_job.weights)[1];
        let slabs = channels.div_ceil(slab);
        *steps += taps * slabs;
        path_shapes[slot] = PathShape {
            channels,
            slabs,
            source_t: source.t,
            source_h: source.h,
            source_w: source.w,
            stride: path_job.sampling.step,
            weights: 0,
            row: taps * slabs * depth,
        };
        paths[slot] = Some((input, channels.is_multiple_of(slab)));
        packing.paths.push(PathPacking { path: path_job.weights, blocks: blocks(output), inner: [1, 1] });
    }
    let offsets = packing.offsets(spec);
    let present = path_shapes.iter_mut().zip(&paths).filter(|(_, path)| path.is_some());
    for ((shape, _), &offset) in present.zip(&offsets.paths) {
        shape.weights = offset;
    }

    let mut biases = offsets.biases.iter();
    let mut output_shape = |output: &Option<OutputJob>, steps: u32, sums: Option<Operand>| {
        let Some(output) = output else { return OutputShape::default() };
        let dims = output.y.dims;
        let (cell_rows, cell_cols) = (dims.h.div_ceil(2), dims.w.div_ceil(2));
        let pooled = output.pooled.map(|p| p.dims);
        OutputShape {
            channels: output.slice.of,
            first: output.slice.first,
            own: dims.c,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            cell_rows,
            cell_cols,
            cells: dims.n * dims.t * cell_rows * cell_cols,
            blocks: blocks(output).group_blocks / tile.rows(),
            bias: biases.next().copied().unwrap_or_default(),
            steps,
            pooled_h: pooled.map_or(0, |p| p.h),
            pooled_w: pooled.map_or(0, |p| p.w),
            sums_h: sums.map_or(0, |s| s.dims.h),
            sums_w: sums.map_or(0, |s| s.dims.w),
        }
    };
    let high = output_shape(&job.high, steps[0], job.low_sums);
    let low = output_shape(&job.low, steps[1], None);
    let positions = tile.positions(side);
    let count = |shape: &OutputShape| u64::from((4 * shape.cells).div_ceil(positions)) * u64::from(shape.blocks);
    let workgroups = count(&high) + count(&low);
    let grid = Grid::fold(workgroups, facts)?;
    let (padding, dilation) = (spec.padding(), spec.dilation());
    let shape = Shape {
        paths: path_shapes,
        high,
        low,
        grid_x: grid.x,
        high_workgroups: count(&high) as u32,
        workgroups: workgroups as u32,
        stride_t: time.stride,
        kernel_h,
        kernel_w,
        padding_t: time.padding,
        padding_h: padding[0],
        padding_w: padding[1],
        dilation_t: time.dilation,
        dilation_h: dilation[0],
        dilation_w: dilation[1],
        slope: slope(job.activation),
        unused: [0; 3],
    };

    let spans = positions / 2;
    let one_to_one = kernel_w == 1 && padding[1] == 0 && slab * spans >= workgroup;
    let paired = one_to_one
        && job.paths.iter().flatten().all(|path| path.sampling.step == 1 && path.source.dims.w.is_multiple_of(2));
    let even = |o: &Option<OutputJob>| o.as_ref().is_some_and(|o| o.y.dims.w.is_multiple_of(2));
    let outputs_paired = [even(&job.high), even(&job.low)];
    let residual = |o: &Option<OutputJob>| o.as_ref().and_then(|o| o.residual);
    let written = |o: &Option<OutputJob>| o.as_ref().map(|o| o.y.id);
    let (residual_high, residual_low) = (residual(&job.high), residual(&job.low));
    let (y_h, y_l) = (written(&job.high), written(&job.low));
    let y_p = job.high.as_ref().and_then(|o| o.pooled).map(|p| p.id);
    let part = |shape: &OutputShape, paired_output: bool| {
        let [steps, each] = [shape.steps, tile.matrix_rows * tile.matrix_cols].map(u64::from);
        let finished = u64::from(tile.rows() * side * positions / workgroup) / if paired_output { 2 } else { 1 };
        // A matrix is loaded in a few wide words.
        let held = tile.held(side, depth, workgroup) / if paired { 2 } else { 1 };
        let loads = depth * 2 * (tile.matrix_rows + tile.matrix_cols) + held;
        Part {
            threads: count(shape) * u64::from(workgroup),
            matrix_multiplies: steps * each * u64::from(depth * side.pow(3))
                / u64::from(facts.subgroup_sizes[1].max(1)),
            loads: steps * u64::from(loads) + finished,
            stores: steps * u64::from(tile.held(side, depth, workgroup) / 8) + finished,
            ..Part::default()
        }
    };
    let work = Work {
        parts: vec![part(&shape.high, outputs_paired[0]), part(&shape.low, outputs_paired[1])],
        bytes: job.bytes(Dtype::F16) + offsets.bytes,
    };
    let constants = Constants {
        side,
        tile,
        depth,
        workgroup,
        subgroups,
        inputs: inputs.len(),
        paired,
        outputs_paired,
        paths,
        given_sums: job.low_sums.is_some(),
        high_is_partial: job.high.as_ref().is_some_and(|o| o.bias.is_none()),
        residual_high: residual_high.is_some(),
        residual_low: residual_low.is_some(),
        writes_high: y_h.is_some(),
        writes_low: y_l.is_some(),
        writes_pooled: y_p.is_some(),
        activation: activation_number(job.activation),
    };
    // Biases and weights are one buffer.
    let mut tensors = vec![TensorId::Weights, TensorId::Weights];
    tensors.extend(inputs);
    tensors.extend(job.low_sums.map(|sums| sums.id));
    tensors.extend([residual_high, residual_low, y_h, y_l, y_p].into_iter().flatten());
    Ok(Step {
        kernel: Kernel::Matrix(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors,
        grid,
        packing: Some(packing),
        work,
    })
}
