//! Host twin of `shaders/pointwise.wgsl`: 1x1 octave convolutions over cells of both resolutions.

use super::family::{Family, Refusal, Request, names};
use super::wgsl::Source;
use super::{Kernel, Types, activation_number, slope};
use crate::device::DeviceFacts;
use crate::device::{Part, Work};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Job, Slice, TensorId};
use crate::kernels::packing::{BiasPacking, Blocks, Packing, PathPacking};
use crate::kernels::{Grid, Step};
use crate::layer::{Downsample, Frequency, Path, Spec};

/// `shaders/pointwise.wgsl`: layers of 1x1.
pub(crate) struct Pointwise;

impl Family for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise"
    }

    fn tiles(&self) -> &'static [&'static str] {
        static NAMES: [&str; TILES.len()] = names(&TILES);
        &NAMES
    }

    /// At stride 1 it reads X_H in any case, and has pool(X_H) for three additions.
    fn wants_pooled_input(&self, spec: &Spec) -> bool {
        spec.stride() == 2 || !spec.has(Path::HH)
    }

    /// The mean of what it reads costs three additions.
    fn free_poolings(&self) -> u32 {
        1
    }

    fn step(&self, request: &Request) -> Result<Step, Refusal> {
        let Request { facts, spec, types, job, tile: name } = *request;
        let pooled_only = job.path(Path::HH).is_none()
            && spec.stride() == 1
            && job.path(Path::HL).is_some_and(|path| path.source.id == TensorId::XP);
        if let Some(reason) = refusal(spec, job) {
            return Err(reason.into());
        }
        if pooled_only {
            return Err("the pointwise kernel pools X_H itself, which this layer does not bind".into());
        }
        let tile = tile(name, job).ok_or("it has no such tile")?;
        Ok(step(facts, spec, types, job, tile)?)
    }
}

/// The cells of one thread, and its vectors of 4 channels of either output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) high_vectors: u32,
    pub(crate) low_vectors: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    types: Types,
    workgroup: u32,
    tile: Tile,
    /// In the order of [`Path::ALL`].
    paths: [bool; 4],
    /// Channels of X_H and of X_L whose inputs a thread holds at once.
    unroll: [u32; 2],
    high_level: u32,
    high_step: u32,
    low_is_fine: bool,
    strided: bool,
    residual_high: bool,
    residual_low: bool,
    writes_high: bool,
    writes_low: bool,
    writes_pooled: bool,
    activation: u32,
    paired: Paired,
}

/// Which tensors are moved two columns at a time; a residual as its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Paired {
    x_h: bool,
    x_l: bool,
    y_h: bool,
    y_l: bool,
    y_p: bool,
}

/// Output channels of a vector.
const LANES: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    cell_rows: u32,
    cell_cols: u32,
    threads: u32,
    tiles: u32,
    blocks: u32,
    grid_x: u32,
    t_out: u32,
    stride_t: u32,
    high_in: u32,
    high_t: u32,
    high_h: u32,
    high_w: u32,
    fine_h: u32,
    fine_w: u32,
    low_in: u32,
    low_t: u32,
    low_h: u32,
    low_w: u32,
    high_out: u32,
    low_out: u32,
    coarse_h: u32,
    coarse_w: u32,
    bias_high: u32,
    bias_low: u32,
    /// Of hh, hl, lh, ll.
    weights: [u32; 4],
    slope: f32,
    high_of: u32,
    high_first: u32,
    low_of: u32,
    low_first: u32,
    unused: [u32; 3],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        let Tile { rows, cols, high_vectors, low_vectors } = self.tile;
        let (fine, coarse) = (format!("{}x{}x{}", 2 * rows, 2 * cols, 4 * high_vectors), format!("{rows}x{cols}"));
        match (self.writes_high, self.writes_low) {
            (true, true) => format!("pointwise {fine} + {coarse}x{}", 4 * low_vectors),
            (false, true) => format!("pointwise {coarse}x{}", 4 * low_vectors),
            _ => format!("pointwise {fine}"),
        }
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.types.activations, self.workgroup).with_words(self.types.words);
        source.constant("ACTIVATION", self.activation);
        source.constant("CELL_ROWS", self.tile.rows);
        source.constant("CELL_COLS", self.tile.cols);
        source.constant("HIGH_VECTORS", self.tile.high_vectors);
        source.constant("LOW_VECTORS", self.tile.low_vectors);
        source.constant("HIGH_UNROLL", self.unroll[0]);
        source.constant("LOW_UNROLL", self.unroll[1]);
        source.constant("HIGH_LEVEL", self.high_level);
        source.constant("HIGH_STEP", self.high_step);
        source.flag("LOW_IS_FINE", self.low_is_fine);
        source.flag("STRIDED", self.strided);
        source.flag("WRITES_Y_P", self.writes_pooled);
        let [hh, hl, lh, ll] = self.paths;
        for (name, present) in [("HH", hh), ("HL", hl), ("LH", lh), ("LL", ll), ("X_H", hh || hl), ("X_L", lh || ll)] {
            source.flag(&format!("HAS_{name}"), present);
        }
        let Paired { x_h, x_l, y_h, y_l, y_p } = self.paired;
        for (name, paired) in [("X_H", x_h), ("X_L", x_l), ("Y_H", y_h), ("Y_L", y_l), ("Y_P", y_p)] {
            source.flag(&format!("{name}_PAIRED"), paired);
        }
        source.weights(self.types.weights, LANES);
        source.paired_input("high", hh || hl, x_h);
        source.paired_input("x_l", lh || ll, x_l);
        source.paired_input("residual_h", self.residual_high, y_h);
        source.paired_input("residual_l", self.residual_low, y_l);
        source.paired_output("y_h", self.writes_high, y_h);
        source.paired_output("y_l", self.writes_low, y_l);
        source.paired_output("y_p", self.writes_pooled, y_p);
        source.file(include_str!("../../shaders/activate.wgsl"));
        source.file(include_str!("../../shaders/pointwise.wgsl"));
        source
    }
}

/// Why this kernel cannot do `job`, or nothing.
pub(crate) fn refusal(spec: &Spec, job: &Job) -> Option<&'static str> {
    let dense = job.paths.iter().flatten().all(|path| spec.path_groups(path.weights) == 1);
    if spec.kernel() != [1, 1] || spec.time().kernel != 1 {
        Some("the pointwise kernel needs a kernel of 1x1 (and 1 in time)")
    } else if spec.padding() != [0, 0] || spec.time().padding != 0 {
        Some("the pointwise kernel needs a padding of 0")
    } else if !dense {
        Some("the pointwise kernel needs one group")
    } else if job.high.is_none() && job.path(Path::HL).is_none() {
        Some("the pointwise kernel needs a high-frequency input or output")
    } else {
        None
    }
}

/// The cells of a thread, and the most vectors of one output it takes. Wider ones lose on lavapipe, and spill on AMD.
pub(crate) const TILES: [(&str, [u32; 3]); 3] = [("2x2x16", [1, 1, 4]), ("2x2x8", [1, 1, 2]), ("2x4x8", [1, 2, 2])];

/// The named tile for a job.
pub(crate) fn tile(name: &str, job: &Job) -> Option<Tile> {
    let &(_, [rows, cols, most]) = TILES.iter().find(|&&(other, _)| other == name)?;
    let channels = |o: &Option<crate::kernels::job::OutputJob>| o.as_ref().map_or(0, |o| o.y.dims.c);
    let [high_vectors, low_vectors] = balance(channels(&job.high), channels(&job.low), most);
    Some(Tile { rows, cols, high_vectors, low_vectors })
}

/// Vectors of both outputs, at most so many of either, so that both have about as many blocks of channels.
pub(crate) fn balance(high_out: u32, low_out: u32, most: u32) -> [u32; 2] {
    let vectors = |c: u32| c.div_ceil(LANES);
    let (high, low) = (vectors(high_out), vectors(low_out));
    if low == 0 {
        return [high.min(most), 0];
    }
    if high == 0 {
        return [0, low.min(most)];
    }
    // The pair with the least work over all blocks, where a vector of Y_H weighs as much as four of Y_L; of equals the
    // largest, which reads the input least often.
    (1..=most)
        .flat_map(|h| (1..=most).map(move |l| [h, l]))
        .min_by_key(|&[h, l]| (high.div_ceil(h).max(low.div_ceil(l)) * (4 * h + l), 2 * most - h - l))
        .unwrap_or([1, 1])
}

/// Channels that a thread takes at once, of whose inputs it then holds so many a channel: their loads are under way
/// together, and on a software device, which keeps sums in memory between turns of a loop, each sum is fetched once for
/// all of them.
fn unroll(channels: u32, inputs: u32) -> u32 {
    [4, 2].into_iter().find(|&u| channels.is_multiple_of(u) && u * inputs <= MAX_INPUTS).unwrap_or(1)
}

/// The most inputs a thread holds at a time.
const MAX_INPUTS: u32 = 16;

/// The dispatch that does `job`, which [`refusal`] has let pass.
pub(crate) fn step(facts: &DeviceFacts, spec: &Spec, types: Types, job: &Job, tile: Tile) -> Result<Step, Error> {
    let sampled = |path: Path| job.path(path).map(|p| (p.source, p.sampling));
    // H->L is taken from what H->H reads, one more pooling down.
    let high_source = sampled(Path::HH).or_else(|| sampled(Path::HL).map(|(source, s)| (source, s.before_half())));
    let low_source = sampled(Path::LH).or(sampled(Path::LL));
    let (high_level, high_step) = high_source.map_or((0, 1), |(_, s)| (s.level, s.step));
    let low_is_fine = spec.stride() == 2;

    let any = job.high.as_ref().or(job.low.as_ref()).map(|o| o.y.dims);
    let (n, t_out) = any.map_or((1, 1), |dims| (dims.n, dims.t));
    let fine = match (&job.high, high_source) {
        (Some(high), _) => high.y.dims.extent(),
        (None, Some((source, s))) => {
            let mut map = source.dims;
            for _ in 0..s.level {
                map = map.pooled(spec.rounding());
            }
            crate::dims::Extent { h: map.h.div_ceil(s.step), w: map.w.div_ceil(s.step) }
        }
        (None, None) => crate::dims::Extent { h: 1, w: 1 },
    };
    let coarse = job.low.as_ref().map(|o| o.y.dims).or(job.high.as_ref().and_then(|o| o.pooled).map(|p| p.dims));
    let (cell_rows, cell_cols) = (fine.h.div_ceil(2).div_ceil(tile.rows), fine.w.div_ceil(2).div_ceil(tile.cols));
    let threads = n * t_out * cell_rows * cell_cols;
    let workgroup = facts.workgroup_for([u64::from(threads)]);
    let tiles = threads.div_ceil(workgroup);

    let channels = |o: &Option<crate::kernels::job::OutputJob>| o.as_ref().map_or(0, |o| o.y.dims.c);
    let (high_out, low_out) = (channels(&job.high), channels(&job.low));
    let slice = |o: &Option<crate::kernels::job::OutputJob>| o.as_ref().map_or(Slice { first: 0, of: 0 }, |o| o.slice);
    let (high_slice, low_slice) = (slice(&job.high), slice(&job.low));
    let per_block = |vectors: u32| (vectors * LANES).max(1);
    let count = [(high_out, tile.high_vectors), (low_out, tile.low_vectors)]
        .map(|(c, vectors)| c.div_ceil(per_block(vectors)))
        .into_iter()
        .max()
        .unwrap_or(0);
    let blocks =
        |c: u32, vectors: u32| Blocks { groups: 1, group_channels: c, group_blocks: count, block: vectors * LANES };
    let high_blocks = blocks(high_out, tile.high_vectors);
    let low_blocks = blocks(low_out, tile.low_vectors);

    let bias = |o: &Option<crate::kernels::job::OutputJob>| o.as_ref().and_then(|o| o.bias);
    let mut packing = Packing {
        dtype: types.weights,
        lanes: LANES,
        matrix_slab: None,
        biases: vec![
            BiasPacking { of: bias(&job.high), blocks: high_blocks },
            BiasPacking { of: bias(&job.low), blocks: low_blocks },
        ],
        paths: Vec::new(),
        points: Vec::new(),
    };
    for path in Path::ALL {
        if let Some(path_job) = job.path(path) {
            let blocks = if path.output() == Frequency::High { high_blocks } else { low_blocks };
            packing.paths.push(PathPacking { path: path_job.weights, blocks, inner: [1, 1] });
        }
    }
    let offsets = packing.offsets(spec);
    let mut next = offsets.paths.iter();
    let weights = Path::ALL.map(|path| job.path(path).and_then(|_| next.next()).copied().unwrap_or(0));

    let grid = Grid::fold(u64::from(tiles) * u64::from(count), facts)?;
    let high_dims = high_source.map(|(source, _)| source.dims);
    let low_dims = low_source.map(|(source, _)| source.dims);
    let shape = Shape {
        cell_rows,
        cell_cols,
        threads,
        tiles,
        blocks: count,
        grid_x: grid.x,
        t_out,
        stride_t: spec.time().stride,
        high_in: high_dims.map_or(0, |d| d.c),
        high_t: high_dims.map_or(1, |d| d.t),
        high_h: high_dims.map_or(1, |d| d.h),
        high_w: high_dims.map_or(1, |d| d.w),
        fine_h: fine.h,
        fine_w: fine.w,
        low_in: low_dims.map_or(0, |d| d.c),
        low_t: low_dims.map_or(1, |d| d.t),
        low_h: low_dims.map_or(1, |d| d.h),
        low_w: low_dims.map_or(1, |d| d.w),
        high_out,
        low_out,
        coarse_h: coarse.map_or(0, |d| d.h),
        coarse_w: coarse.map_or(0, |d| d.w),
        bias_high: offsets.biases[0],
        bias_low: offsets.biases[1],
        weights,
        slope: slope(job.activation),
        high_of: high_slice.of,
        high_first: high_slice.first,
        low_of: low_slice.of,
        low_first: low_slice.first,
        unused: [0; 3],
    };

    let residual_high = job.high.as_ref().and_then(|o| o.residual);
    let residual_low = job.low.as_ref().and_then(|o| o.residual);
    // Rows of an input that is paired must be as long as what is read of them: at an edge that is clamped, the two of a
    // pair are not the same element. The low resolution of an odd width may be shorter, where it is rounded down.
    let input = |dims: Option<Dims>, columns: u32| dims.is_some_and(|d| types.paired(d) && columns <= d.w);
    let output = |dims: Option<Dims>| dims.is_some_and(|d| types.paired(d));
    let whole_pairs = tile.cols.is_multiple_of(2);
    let paired = Paired {
        x_h: (high_level > 0 || high_step == 1) && input(high_dims, (fine.w << high_level) * high_step),
        x_l: (low_is_fine || whole_pairs) && input(low_dims, if low_is_fine { fine.w } else { fine.w.div_ceil(2) }),
        y_h: output(job.high.as_ref().map(|o| o.y.dims)),
        y_l: whole_pairs && output(job.low.as_ref().map(|o| o.y.dims)),
        y_p: whole_pairs && output(job.high.as_ref().and_then(|o| o.pooled).map(|p| p.dims)),
    };
    let y_h = job.high.as_ref().map(|o| o.y.id);
    let y_l = job.low.as_ref().map(|o| o.y.id);
    let y_p = job.high.as_ref().and_then(|o| o.pooled).map(|p| p.id);
    let has = |path: Path| u64::from(job.path(path).is_some());
    let cells = u64::from(tile.rows * tile.cols);
    let (fine, wide_high, wide_low) =
        (4 * cells, u64::from(tile.high_vectors * LANES), u64::from(tile.low_vectors * LANES));
    let low_read = if low_is_fine { fine } else { cells };
    let [high_in, low_in] = [shape.high_in, shape.low_in].map(u64::from);
    let unroll = [unroll(shape.high_in, fine as u32), unroll(shape.low_in, low_read as u32)];
    // Elements that a load or a store moves.
    let at_once = |paired: bool| types.elements_a_load(paired);
    let [high_turns, low_turns] = [high_in / u64::from(unroll[0]), low_in / u64::from(unroll[1])];
    let part = Part {
        threads: u64::from(tiles) * u64::from(workgroup) * u64::from(count),
        matrix_multiplies: 0,
        multiplies: high_in * (has(Path::HH) * fine * wide_high + has(Path::HL) * cells * wide_low)
            + low_in * (has(Path::LH) * low_read * wide_high + has(Path::LL) * cells * wide_low),
        loads: ((high_in * fine) << (2 * high_level)) / at_once(paired.x_h) + low_in * low_read / at_once(paired.x_l),
        uniform_loads: (high_in * (has(Path::HH) * wide_high + has(Path::HL) * wide_low)
            + low_in * (has(Path::LH) * wide_high + has(Path::LL) * wide_low))
            / types.weights_a_load(LANES),
        stores: fine * wide_high / at_once(paired.y_h) + cells * wide_low / at_once(paired.y_l),
        carried: high_turns * (has(Path::HH) * fine * wide_high + has(Path::HL) * cells * wide_low)
            + low_turns * (has(Path::LH) * low_read * wide_high + has(Path::LL) * cells * wide_low),
        ..Part::default()
    };
    let work = Work { parts: vec![part], bytes: job.bytes(types.activations) + offsets.bytes };
    let constants = Constants {
        types,
        workgroup,
        tile,
        paths: Path::ALL.map(|path| job.path(path).is_some()),
        unroll,
        high_level,
        high_step,
        low_is_fine,
        strided: spec.downsample() == Downsample::StridedConv,
        residual_high: residual_high.is_some(),
        residual_low: residual_low.is_some(),
        writes_high: y_h.is_some(),
        writes_low: y_l.is_some(),
        writes_pooled: y_p.is_some(),
        activation: activation_number(job.activation),
        paired,
    };
    let mut tensors = vec![TensorId::Weights];
    let inputs = [high_source.map(|(s, _)| s.id), low_source.map(|(s, _)| s.id)];
    tensors.extend(inputs.into_iter().chain([residual_high, residual_low, y_h, y_l, y_p]).flatten());
    Ok(Step {
        kernel: Kernel::Pointwise(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors,
        grid,
        packing: Some(packing),
        f16_terms: 0,
        work,
    })
}
