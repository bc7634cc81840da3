//! Host twin of `shaders/matrix.wgsl`: octave convolutions of any kernel as an implicit GEMM on matrix units.

use super::family::{Family, Refusal, Request, names};
use super::wgsl::Source;
use super::{Access, Kernel, Types, activation_number, slope};
use crate::device::DeviceFacts;
use crate::device::{Part, Work};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Job, Operand, OutputJob, PathJob, TensorId};
use crate::kernels::packing::{BiasPacking, Blocks, Packing, PathPacking};
use crate::kernels::{Grid, Step};
use crate::layer::{Frequency, Path, Spec};
use crate::precision::Dtype;

/// `shaders/matrix.wgsl`: layers of one group in f16, on devices with matrix units.
pub(crate) struct Matrix;

impl Family for Matrix {
    fn name(&self) -> &'static str {
        "matrix"
    }

    fn tiles(&self) -> &'static [&'static str] {
        static NAMES: [&str; TILES.len()] = names(&TILES);
        &NAMES
    }

    fn adds_given_sums(&self) -> bool {
        true
    }

    fn slices_input_channels(&self) -> bool {
        true
    }

    fn step(&self, request: &Request) -> Result<Step, Refusal> {
        let Request { facts, spec, types, job, tile: name } = *request;
        if let Some(reason) = refusal(facts, spec, types, job) {
            return Err(reason.into());
        }
        let tile = tile(name).ok_or("it has no such tile")?;
        Ok(step(facts, spec, job, tile)?)
    }
}

/// Matrices of a workgroup: pieces below each other and two side by side, one a subgroup, of so many rows and columns of
/// matrices each; the four phases of a cell are two pieces times an even number of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    piece_rows: u32,
    matrix_rows: u32,
    matrix_cols: u32,
}

/// What a step of the loop takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Slab {
    /// Matrices side by side that its channels fill.
    depth: u32,
    /// Cells in workgroup memory.
    window: u32,
    /// Whether these serve all taps; otherwise a step has one tap.
    windowed: bool,
    /// Positions of X_L there, where L->H is replicated.
    low_window: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    side: u32,
    tile: Tile,
    slab: Slab,
    workgroup: u32,
    inputs: usize,
    /// Adjacent columns that a load of an input brings.
    span: u32,
    /// Whether pairs of columns begin in the second one of a cell.
    pairs_straddle: bool,
    /// Whether Y_H and Y_L are written two columns at a time.
    outputs_paired: [bool; 2],
    /// In the order of [`Path::ALL`]: which of the inputs it reads, and whether its channels are whole slabs.
    paths: [Option<(usize, bool)>; 4],
    given_sums: bool,
    high_is_partial: bool,
    /// Input channels are cut into slices, of which each makes partial sums.
    sliced: bool,
    residual_high: bool,
    residual_low: bool,
    writes_high: bool,
    writes_low: bool,
    writes_pooled: bool,
    activation: u32,
}

/// A subgroup's matrices, rows by columns, and the subgroups of a workgroup. The more matrices, the more often an
/// operand that is loaded is used, and the fewer workgroups there are.
pub(crate) const TILES: [(&str, [u32; 3]); 6] = [
    ("4x4-2x2", [2, 4, 4]),
    ("4x4-1x2", [1, 4, 4]),
    ("4x2-2x2", [2, 4, 2]),
    ("2x4-1x2", [1, 2, 4]),
    ("2x2-2x2", [2, 2, 2]),
    ("2x2-1x2", [1, 2, 2]),
];

/// The most elements that a thread gathers for a step of one tap, and for one of all taps, and keeps in registers meanwhile.
const MAX_HELD: u32 = 16;
const MAX_HELD_WINDOW: u32 = 32;

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
    pitch_rows: u32,
    pitch_cols: u32,
    cells: u32,
    blocks: u32,
    bias: u32,
    pooled_h: u32,
    pooled_w: u32,
    sums_h: u32,
    sums_w: u32,
    planes: u32,
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
    kernel_t: u32,
    kernel_h: u32,
    kernel_w: u32,
    padding_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_t: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    slices: u32,
    unused: u32,
}

impl Tile {
    /// Rows of matrices.
    fn rows(self) -> u32 {
        self.piece_rows * self.matrix_rows
    }

    fn pieces(self) -> u32 {
        2 * self.piece_rows
    }

    fn cells(self, side: u32) -> u32 {
        self.matrix_cols / 2 * side
    }
}

impl Slab {
    /// Elements that a thread gathers for a step.
    fn held(self, side: u32, workgroup: u32) -> u32 {
        self.elements(side).div_ceil(workgroup)
    }

    /// Elements of a step, or as many as there can be.
    fn elements(self, side: u32) -> u32 {
        self.window.saturating_mul(4 * self.depth * side)
    }

    /// Bytes of workgroup memory: two steps' inputs, or one's of all taps, and a matrix of each piece.
    fn storage(self, side: u32, pieces: u32) -> u32 {
        let steps = if self.windowed { 1 } else { 2 };
        self.elements(side).saturating_mul(2 * steps).saturating_add(4 * pieces * side * side)
    }
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        let Self { side, tile, .. } = self;
        let windows = if self.slab.windowed { ", windows" } else { "" };
        format!("matrix {}x{} of {side}x{side}{windows}", tile.rows() * side, 4 * tile.cells(*side))
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::for_matrices(self.workgroup);
        source.constant("ACTIVATION", self.activation);
        source.constant("SIDE", self.side);
        source.constant("PIECE_ROWS", self.tile.piece_rows);
        source.constant("MATRIX_ROWS", self.tile.matrix_rows);
        source.constant("MATRIX_COLS", self.tile.matrix_cols);
        source.constant("DEPTH", self.slab.depth);
        source.constant("WINDOW", self.slab.window);
        source.flag("WINDOWED", self.slab.windowed);
        source.flag("UPSAMPLES", self.slab.low_window.is_some());
        source.constant("SPAN", self.span);
        source.flag("PAIRS_STRADDLE", self.pairs_straddle);
        source.flag("HAS_HIGH", self.writes_high);
        source.flag("HAS_LOW", self.writes_low);
        source.flag("HAS_SUMS", self.given_sums);
        source.flag("HIGH_IS_PARTIAL", self.high_is_partial);
        source.flag("WRITES_Y_P", self.writes_pooled);
        source.flag("SLICED", self.sliced);
        if self.sliced {
            source.outputs_are_partial_sums();
        }
        source.matrices(self.side, Dtype::F32);
        source.binding(Access::Read, "weights", "f16");
        source.binding(Access::Read, "biases", "f32");
        let span = self.span;
        for i in 0..self.inputs {
            let word = if span == 1 { "f16".into() } else { format!("vec{span}<f16>") };
            source.binding(Access::Read, &format!("x{i}"), &word);
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
            source.flag(&format!("{}_WHOLE", name.to_uppercase()), whole);
            if path == Path::LH && self.slab.low_window.is_some() {
                let element = if span == 1 { format!("x{input}[i]") } else { format!("x{input}[i / SPAN][i % SPAN]") };
                source.line(&format!("fn lh_load_one(i: u32) -> f16 {{ return {element}; }}"));
                source.instance(include_str!("../../shaders/matrix_path_absent.wgsl"), &name);
                continue;
            }
            let element = |k| if span == 1 { format!("x{input}[i]") } else { format!("x{input}[i][{k}]") };
            let elements = (0..span).map(element).collect::<Vec<_>>().join(", ");
            source.line(&format!("fn {name}_load(i: u32) -> array<f16, SPAN> {{ return array({elements}); }}"));
            source.instance(include_str!("../../shaders/matrix_path.wgsl"), &name);
        }
        match self.slab.low_window {
            Some(positions) => {
                source.constant("LOW_WINDOW", positions);
                source.file(include_str!("../../shaders/matrix_low.wgsl"));
            }
            None => source.file(include_str!("../../shaders/matrix_low_absent.wgsl")),
        }
        source.file(include_str!("../../shaders/matrix.wgsl"));
        source
    }
}

/// Why this kernel cannot do `job`, or nothing.
pub(crate) fn refusal(facts: &DeviceFacts, spec: &Spec, types: Types, job: &Job) -> Option<&'static str> {
    let paths = job.paths.iter().flatten();
    if types.activations != Dtype::F16 || types.weights != Dtype::F16 {
        Some("the matrix kernel needs f16 activations and f16 weights")
    } else if !matches!(facts.matrix, Some(8 | 16)) || !facts.features.contains(wgpu::Features::SUBGROUP) {
        Some("the matrix kernel needs a device that multiplies 16x16 or 8x8 matrices of f16 into f32, with subgroups")
    } else if !facts.subgroup_sizes.iter().all(|size| size.is_power_of_two() && *size <= 128) {
        Some("the matrix kernel needs subgroups of 1 to 128 threads, a power of two")
    } else if paths.clone().any(|path| spec.path_groups(path.weights) != 1) {
        Some("the matrix kernel needs one group")
    } else if paths.clone().any(|path| path.sampling.level > 0) {
        Some("the matrix kernel needs maps that are pooled first, or given")
    } else if upsampled(job).is_some_and(|[source, wanted]| !is_convolved_into(spec, source, wanted)) {
        Some("the matrix kernel needs an L->H as large as half of Y_H, or done first")
    } else {
        None
    }
}

/// The named tile.
pub(crate) fn tile(name: &str) -> Option<Tile> {
    let &(_, [piece_rows, matrix_rows, matrix_cols]) = TILES.iter().find(|&&(other, _)| other == name)?;
    Some(Tile { piece_rows, matrix_rows, matrix_cols })
}

/// Cells that are counted in a frame of an output's map and in a row of it: those of the output, or of the padded map.
fn pitches(spec: &Spec, output: Dims, windowed: bool) -> [u32; 2] {
    let reach = if windowed { reach(spec) } else { [0; 2] };
    [(output.h + reach[0]).div_ceil(2), (output.w + reach[1]).div_ceil(2)]
}

/// Rows and columns from the first tap to the last.
fn reach(spec: &Spec) -> [u32; 2] {
    let (kernel, dilation) = (spec.kernel(), spec.dilation());
    [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis])
}

/// Workgroups of an output over all positions, for a block of its channels.
fn workgroups_across(spec: &Spec, output: Dims, tile: Tile, side: u32, windowed: bool) -> u64 {
    let [rows, cols] = pitches(spec, output, windowed).map(u64::from);
    let [last_row, last_col] = [output.h, output.w].map(|size| u64::from(size.div_ceil(2)) - 1);
    let frames = u64::from(output.n) * u64::from(output.t);
    // Up to the last that has a position of the output.
    let cells = ((frames - 1) * rows + last_row).saturating_mul(cols).saturating_add(last_col + 1);
    cells.div_ceil(tile.cells(side).into())
}

/// X_L and what its convolution makes, rounded up, where L->H is replicated.
fn upsampled(job: &Job) -> Option<[Dims; 2]> {
    let path = job.path(Path::LH).filter(|path| path.sampling.upsample)?;
    let y = job.high?.y.dims;
    Some([path.source.dims, Dims { h: y.h.div_ceil(2), w: y.w.div_ceil(2), ..y }])
}

/// Whether an output is as large as padding and kernel make it of a source.
fn is_convolved_into(spec: &Spec, source: Dims, output: Dims) -> bool {
    let (padding, reach) = (spec.padding(), reach(spec));
    source.h + 2 * padding[0] == output.h + reach[0] && source.w + 2 * padding[1] == output.w + reach[1]
}

/// Whether all taps can be taken from one window: those of a stride of 1, more than one. Pairs of columns that straddle
/// cells want maps, too, that are with their padding as wide as the cells that are counted.
fn has_windows(spec: &Spec, job: &Job) -> bool {
    let output = |path: Path| match path.output() {
        Frequency::High => job.high.as_ref(),
        Frequency::Low => job.low.as_ref(),
    };
    let reach = reach(spec);
    let fits = |(path, output): (&PathJob, &OutputJob)| {
        if !path.sampling.upsample {
            return path.sampling.step == 1 && is_convolved_into(spec, path.source.dims, output.y.dims);
        }
        // The padding between the rows of X_L, and between its frames, stands for that on either side of them.
        let pitches = pitches(spec, output.y.dims, true);
        let sizes = [path.source.dims.h, path.source.dims.w];
        (0..2).all(|i| pitches[i] >= sizes[i] + spec.padding()[i].max(reach[i].saturating_sub(spec.padding()[i])))
    };
    let mut paths = Path::ALL.into_iter().filter_map(|path| Some((job.path(path)?, output(path)?))).peekable();
    reach != [0; 2] && paths.peek().is_some() && paths.all(fits)
}

/// Adjacent columns of the inputs that a load brings, of a step as `slab` says.
fn span(spec: &Spec, job: &Job, slab: Slab, side: u32, workgroup: u32) -> u32 {
    // X_L may be read by itself, one column at a time.
    let whole = |span: u32| {
        let spans = 4 * slab.window / span;
        let shared = slab.depth * side * spans >= workgroup;
        let aligned = |path: &PathJob| path.sampling.step == 1 && path.source.dims.w.is_multiple_of(span);
        shared && job.paths.iter().flatten().all(aligned)
    };
    let one_tap = spec.kernel()[1] == 1 && spec.padding()[1] == 0;
    match (slab.windowed, one_tap) {
        (false, true) if whole(4) => 4,
        (false, false) => 1,
        _ if whole(2) => 2,
        _ => 1,
    }
}

/// The threads of a workgroup, as far as the device allows them.
fn workgroup(facts: &DeviceFacts, tile: Tile, side: u32) -> Result<u32, Error> {
    // A thread finishes whole rows of cells.
    let threads = tile.pieces().saturating_mul(facts.subgroup_sizes[1]).max(side);
    let limits = &facts.limits;
    for (name, allowed) in [
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup),
        ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x),
    ] {
        within("the matrix kernel's workgroup, in threads,", threads, name, allowed)?;
    }
    Ok(threads)
}

fn within(what: &str, needs: u32, limit: &'static str, allowed: u32) -> Result<(), Error> {
    match needs <= allowed {
        true => Ok(()),
        false => Err(Error::Limit { what: what.into(), needs: needs.into(), limit, allowed: allowed.into() }),
    }
}

/// What a step takes of so many threads, as far as workgroup memory allows it.
fn slab(facts: &DeviceFacts, spec: &Spec, job: &Job, tile: Tile, side: u32, threads: u32) -> Result<Slab, Error> {
    let allowed = facts.limits.max_compute_workgroup_storage_size;
    let (cells, pieces) = (tile.cells(side), tile.pieces());
    let fits = |slab: Slab, most: u32| slab.storage(side, pieces) <= allowed && slab.held(side, threads) <= most;
    // As many positions of X_L as a step reads, and as share its channels among all threads.
    let low_window = |depth: u32, positions: u64| {
        let positions = positions.max(u64::from(threads.div_ceil(depth * side))).next_power_of_two();
        upsampled(job).map(|_| u32::try_from(positions).unwrap_or(u32::MAX))
    };

    if has_windows(spec, job) {
        let outputs = || [&job.high, &job.low].into_iter().flatten().map(|output| output.y.dims);
        let across = |windowed| {
            let workgroups = outputs().map(|y| workgroups_across(spec, y, tile, side, windowed));
            workgroups.fold(0, u64::saturating_add)
        };
        // Cells from the first that a workgroup's first one reads to the last that its last one does.
        let widest = outputs().map(|y| pitches(spec, y, true)[1]).max().unwrap_or(0);
        let farthest =
            |down: u32, right: u32| u64::from(cells) + u64::from(down) * u64::from(widest) + u64::from(right);
        let [down, right] = reach(spec);
        // One to spare where pairs straddle cells.
        let window = (farthest(down.div_ceil(2), right.div_ceil(2)) + 1).next_power_of_two();
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        let slab = Slab { depth: 1, window, windowed: true, low_window: low_window(1, farthest(down, right)) };
        // Cells beyond the output are multiplied in vain, of small maps more than a window saves.
        let few = across(true).saturating_mul(2) <= across(false).saturating_mul(3);
        if few && fits(slab, MAX_HELD_WINDOW) && slab.low_window.is_none_or(|low| low <= window.saturating_mul(4)) {
            return Ok(slab);
        }
    }
    // A tap's channels as matrices; slabs of two halve the steps, and their barriers.
    let mut paths = job.paths.iter().flatten();
    let even = paths.all(|path| spec.weight_shape(path.weights)[1].div_ceil(side).is_multiple_of(2));
    let slab = |depth| {
        // Something for every thread to gather.
        let window = cells.max(threads.div_ceil(4 * depth * side).next_power_of_two());
        Slab { depth, window, windowed: false, low_window: low_window(depth, cells.into()) }
    };
    // The planner cuts channels into slices of no fewer than a slab of one.
    if even && job.slices.is_none() && fits(slab(2), MAX_HELD) {
        return Ok(slab(2));
    }
    let needs = slab(1).storage(side, pieces);
    within("the matrix kernel, in bytes,", needs, "max_compute_workgroup_storage_size", allowed)?;
    Ok(slab(1))
}

/// The dispatch that does `job`, which [`refusal`] has let pass.
pub(crate) fn step(facts: &DeviceFacts, spec: &Spec, job: &Job, tile: Tile) -> Result<Step, Error> {
    let side = facts.matrix.unwrap_or(16);
    let workgroup = workgroup(facts, tile, side)?;
    let slab = slab(facts, spec, job, tile, side, workgroup)?;
    let Slab { depth, windowed, .. } = slab;
    let channels_a_step = depth * side;
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
    let taps_of_steps = if windowed { time.kernel } else { taps };
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
        let slabs = channels.div_ceil(channels_a_step);
        if !path_job.sampling.upsample {
            *steps += taps_of_steps * slabs;
        }
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
        paths[slot] = Some((input, channels.is_multiple_of(channels_a_step)));
        packing.paths.push(PathPacking { path: path_job.weights, blocks: blocks(output), inner: [1, 1] });
    }
    let offsets = packing.offsets(spec);
    let present = path_shapes.iter_mut().zip(&paths).filter(|(_, path)| path.is_some());
    for ((shape, _), &offset) in present.zip(&offsets.paths) {
        shape.weights = offset;
    }

    let mut biases = offsets.biases.iter();
    let mut output_shape = |output: &Option<OutputJob>, sums: Option<Operand>| {
        let Some(output) = output else { return OutputShape::default() };
        let dims = output.y.dims;
        let [pitch_rows, pitch_cols] = pitches(spec, dims, windowed);
        let pooled = output.pooled.map(|p| p.dims);
        OutputShape {
            channels: output.slice.of,
            first: output.slice.first,
            own: dims.c,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            pitch_rows,
            pitch_cols,
            cells: dims.n * dims.t * pitch_rows * pitch_cols,
            blocks: blocks(output).group_blocks / tile.rows(),
            bias: biases.next().copied().unwrap_or_default(),
            pooled_h: pooled.map_or(0, |p| p.h),
            pooled_w: pooled.map_or(0, |p| p.w),
            sums_h: sums.map_or(0, |s| s.dims.h),
            sums_w: sums.map_or(0, |s| s.dims.w),
            planes: dims.n * dims.c * dims.t,
        }
    };
    let high = output_shape(&job.high, job.low_sums);
    let low = output_shape(&job.low, None);
    let count = |output: &Option<OutputJob>, shape: &OutputShape| {
        let across = |output: &OutputJob| workgroups_across(spec, output.y.dims, tile, side, windowed);
        output.as_ref().map_or(0, across) * u64::from(shape.blocks)
    };
    let [high_workgroups, low_workgroups] = [count(&job.high, &high), count(&job.low, &low)];
    let workgroups = high_workgroups + low_workgroups;
    let slices = job.slices.unwrap_or(1);
    let grid = Grid::fold(workgroups * u64::from(slices), facts)?;
    let (padding, dilation) = (spec.padding(), spec.dilation());
    let shape = Shape {
        paths: path_shapes,
        high,
        low,
        grid_x: grid.x,
        high_workgroups: high_workgroups as u32,
        workgroups: workgroups as u32,
        stride_t: time.stride,
        kernel_t: time.kernel,
        kernel_h,
        kernel_w,
        padding_t: time.padding,
        padding_h: padding[0],
        padding_w: padding[1],
        dilation_t: time.dilation,
        dilation_h: dilation[0],
        dilation_w: dilation[1],
        slope: slope(job.activation),
        slices,
        unused: 0,
    };

    let span = span(spec, job, slab, side, workgroup);
    let even = |o: &Option<OutputJob>| o.as_ref().is_some_and(|o| o.y.dims.w.is_multiple_of(2));
    let outputs_paired = [even(&job.high), even(&job.low)];
    let residual = |o: &Option<OutputJob>| o.as_ref().and_then(|o| o.residual);
    let written = |o: &Option<OutputJob>| o.as_ref().map(|o| o.y.id);
    let (residual_high, residual_low) = (residual(&job.high), residual(&job.low));
    let (y_h, y_l) = (written(&job.high), written(&job.low));
    let y_p = job.high.as_ref().and_then(|o| o.pooled).map(|p| p.id);
    // Half as many matrices for each step of a replicated L->H, which both subgroups side by side make.
    let replicated = &path_shapes[Path::LH as usize];
    let low_steps = if slab.low_window.is_some() { taps_of_steps * replicated.slabs } else { 0 };
    let part = |workgroups: u64, steps: u32, low_steps: u32, paired_output: bool| {
        let [steps, low_steps] = [steps, low_steps].map(|steps| u64::from(steps.div_ceil(slices)));
        let each = u64::from(tile.matrix_rows * tile.matrix_cols);
        let finished =
            u64::from(tile.rows() * side * 4 * tile.cells(side) / workgroup) / if paired_output { 2 } else { 1 };
        let products = u64::from(depth * if windowed { kernel_h * kernel_w } else { 1 });
        let gathered = u64::from(slab.held(side, workgroup));
        let low_gathered = u64::from((slab.low_window.unwrap_or(0) * depth * side).div_ceil(workgroup));
        // A matrix is loaded in two wide words.
        let [weights, inputs] = [tile.matrix_rows, tile.matrix_cols].map(|matrices| 2 * products * u64::from(matrices));
        Part {
            threads: workgroups * u64::from(workgroup * slices),
            matrix_multiplies: (2 * steps + low_steps) * each * products * u64::from(side.pow(3))
                / u64::from(2 * facts.subgroup_sizes[1].max(1)),
            loads: steps * (weights + gathered / u64::from(span)) + low_steps * (weights + low_gathered) + finished,
            shared_loads: (2 * steps + low_steps) * inputs / 2,
            stores: steps * (gathered / 8) + low_steps * (low_gathered / 8) + finished,
            ..Part::default()
        }
    };
    let work = Work {
        parts: vec![
            part(high_workgroups, steps[0], low_steps, outputs_paired[0]),
            part(low_workgroups, steps[1], 0, outputs_paired[1]),
        ],
        bytes: job.bytes(Dtype::F16) + offsets.bytes,
    };
    let constants = Constants {
        side,
        tile,
        slab,
        workgroup,
        inputs: inputs.len(),
        span,
        pairs_straddle: windowed && span == 2 && padding[1] % 2 == 1,
        outputs_paired,
        paths,
        given_sums: job.low_sums.is_some(),
        high_is_partial: job.high.as_ref().is_some_and(|o| o.bias.is_none()),
        sliced: job.slices.is_some(),
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
        f16_terms: 0,
        work,
    })
}
