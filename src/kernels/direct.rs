//! Host twin of `shaders/direct.wgsl`: octave convolutions of any kernel, dense, grouped or depthwise.

use super::family::{Family, Refusal, Request, names};
use super::wgsl::Source;
use super::{Kernel, Types, activation_number, slope};
use crate::device::DeviceFacts;
use crate::device::{Part, Work};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Job, Operand, OutputJob, PathJob, TensorId};
use crate::kernels::packing::{BiasPacking, Blocks, Packing, PathPacking};
use crate::kernels::{Grid, Step};
use crate::layer::{Frequency, Path, Sampling, Spec};
use crate::precision::Dtype;

/// Any layer.
pub(crate) static DIRECT: Direct = Direct { products: Dtype::F32 };

/// Any layer whose groups have two channels or more, with short sums of f16, if [`Precision::sums`](crate::Precision::sums)
/// allows it: two of them per instruction on devices that pack them.
pub(crate) static DIRECT_F16: Direct = Direct { products: Dtype::F16 };

/// `shaders/direct.wgsl`: convolutions without workgroup memory.
pub(crate) struct Direct {
    products: Dtype,
}

impl Family for Direct {
    fn name(&self) -> &'static str {
        if self.products == Dtype::F16 { "direct-f16" } else { "direct" }
    }

    fn tiles(&self) -> &'static [&'static str] {
        static NAMES: [&str; TILES.len()] = names(&TILES);
        &NAMES
    }

    fn products(&self) -> Dtype {
        self.products
    }

    fn adds_given_sums(&self) -> bool {
        true
    }

    fn slices_input_channels(&self) -> bool {
        true
    }

    fn makes_bands(&self) -> bool {
        true
    }

    fn step(&self, request: &Request) -> Result<Step, Refusal> {
        let Request { facts, spec, types, job, tile } = *request;
        let tiles = tiles(tile, facts, spec, job)?;
        match refusal(self.products, tiles) {
            Some(reason) => Err(reason.into()),
            None => Ok(step(facts, spec, types, job, tiles, self.products)?),
        }
    }
}

/// The outputs of one thread: positions by vectors of `lanes` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    /// Whether the threads of a workgroup lie side by side along the channels, and not along the positions.
    pub(crate) across: bool,
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) vectors: u32,
}

/// What distinguishes one path's instance of `shaders/path.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PathConstants {
    /// Which of the inputs it reads.
    input: usize,
    level: u32,
    step: u32,
    inner: [u32; 2],
    /// Channels whose windows a thread reads together.
    unroll: u32,
    /// Whether two columns are read as one word, and how many of the first word lie in front of the window.
    paired: bool,
    ahead: u32,
    /// Whether they do in every second channel only.
    alternates: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    types: Types,
    /// In which products are made, and those of a turn added up.
    products: Dtype,
    workgroup: u32,
    /// Products in the order that keeps few sums at a time, which a software device runs as it stands; else in that of
    /// the weights, of which a GPU then holds few.
    channel_by_channel: bool,
    /// Threads that lie side by side along the output channels of a block: a workgroup, or one.
    across: u32,
    /// Whether taps can lie in the padding.
    masked: bool,
    lanes: u32,
    high: Tile,
    low: Tile,
    /// Whether the inputs are read two columns at a time.
    inputs: Vec<bool>,
    /// In the order of [`Path::ALL`].
    paths: [Option<PathConstants>; 4],
    replicate_low: bool,
    /// Which of the inputs has the sums of L->H, where they are given.
    low_sums: Option<usize>,
    /// Y_H is a partial sum, to be added to elsewhere.
    high_is_partial: bool,
    /// Input channels are cut into slices, of which each makes partial sums.
    sliced: bool,
    residual_high: bool,
    residual_low: bool,
    writes_high: bool,
    writes_low: bool,
    writes_pooled: bool,
    /// Whether Y_H, Y_L and pool(Y_H) are written two columns at a time.
    paired: [bool; 3],
    activation: u32,
}

/// The outputs of a thread at high and at low resolution, in vectors of 4 lanes. Four positions share a fetched input
/// or weight with each other; more positions suit large maps, more channels small ones and windows that are expensive to
/// fetch. Where a name has a "c" in front, threads lie side by side along the channels, and its columns are the most that
/// a tile has.
pub(crate) const TILES: [(&str, [Tile; 2]); 14] = [
    ("4x4x4+4x4x4", [positions(4, 4, 1), positions(4, 4, 1)]),
    ("4x4x4+2x2x8", [positions(4, 4, 1), positions(2, 2, 2)]),
    ("4x4x8+4x4x8", [positions(4, 4, 2), positions(4, 4, 2)]),
    ("4x4x8+2x2x16", [positions(4, 4, 2), positions(2, 2, 4)]),
    ("4x4x4+2x2x16", [positions(4, 4, 1), positions(2, 2, 4)]),
    ("2x2x4+2x2x4", [positions(2, 2, 1), positions(2, 2, 1)]),
    ("2x2x8+2x2x8", [positions(2, 2, 2), positions(2, 2, 2)]),
    ("2x2x16+2x2x16", [positions(2, 2, 4), positions(2, 2, 4)]),
    ("2x2x16+c1x28x8", [positions(2, 2, 4), channels(1, 28, 2)]),
    ("c4x4x8+c1x28x8", [channels(4, 4, 2), channels(1, 28, 2)]),
    ("c2x14x8+c1x28x8", [channels(2, 14, 2), channels(1, 28, 2)]),
    ("c2x14x4+c1x28x4", [channels(2, 14, 1), channels(1, 28, 1)]),
    ("c1x28x8+c1x28x8", [channels(1, 28, 2), channels(1, 28, 2)]),
    ("c1x28x4+c1x28x4", [channels(1, 28, 1), channels(1, 28, 1)]),
];

const fn positions(rows: u32, cols: u32, vectors: u32) -> Tile {
    Tile { across: false, rows, cols, vectors }
}

const fn channels(rows: u32, cols: u32, vectors: u32) -> Tile {
    Tile { across: true, rows, cols, vectors }
}

/// The named tiles for a job with the lanes of their vectors, no tile wider than a group of channels, or why it cannot have
/// them.
pub(crate) fn tiles(name: &str, facts: &DeviceFacts, spec: &Spec, job: &Job) -> Result<(u32, [Tile; 2]), &'static str> {
    let &(_, [mut high, low]) = TILES.iter().find(|&&(other, _)| other == name).ok_or("it has no such tile")?;
    if job.at_low_resolution {
        high = low;
    }
    let outputs = [job.high.map(|o| (o, high)), job.low.map(|o| (o, low))];
    let present = || outputs.iter().flatten();
    let across: Vec<bool> = present().map(|(_, tile)| tile.across).collect();
    if across.iter().any(|&a| a != across[0]) {
        return Err("both outputs of a dispatch lie along the same threads");
    }
    // An output that is not there has the smallest tile.
    let fitted = |fit: &dyn Fn(&OutputJob, Tile) -> Tile| {
        outputs.map(|o| o.map_or(positions(2, 2, 1), |(o, tile)| fit(&o, tile)))
    };
    if !across.contains(&true) {
        let lanes = lanes(spec, job);
        let narrowed = |o: &OutputJob, tile: Tile| Tile {
            vectors: tile.vectors.min((o.y.dims.c / o.groups).div_ceil(lanes)),
            ..tile
        };
        return Ok((lanes, fitted(&narrowed)));
    }

    if !facts.software {
        return Err("threads lie along the channels on software devices");
    }
    if spec.kernel() != [1, 1] || spec.time().kernel != 1 || present().any(|(o, _)| o.groups > 1) {
        return Err("threads lie along the channels where the kernel is 1x1 and the channels one group");
    }
    if job.paths.iter().flatten().any(|path| path.sampling.level > 0) {
        return Err("threads lie along the channels where nothing is averaged on load");
    }
    let upsamples = job.paths.iter().flatten().any(|path| path.sampling.upsample);
    let cells = upsamples || job.low_sums.is_some() || job.high.is_some_and(|o| o.pooled.is_some());
    if cells && !(high.rows.is_multiple_of(2) && high.cols.is_multiple_of(2)) {
        return Err("a tile of one row has no 2x2 positions to pool or to start from L->H");
    }
    // A workgroup has a vector of each of its threads side by side, or several: 48 channels are three vectors of 2 lanes
    // by 8 threads, and of 4 lanes one and a half.
    let vectors = |o: &OutputJob, tile: Tile, lanes: u32| {
        let needed = o.y.dims.c.div_ceil(lanes * facts.workgroup_for([1]));
        needed.div_ceil(needed.div_ceil(tile.vectors * 4 / lanes))
    };
    let padded = |lanes: u32| {
        let one = |&(o, tile): &(OutputJob, Tile)| {
            o.y.dims.c.next_multiple_of(vectors(&o, tile, lanes) * lanes * facts.workgroup_for([1]))
        };
        present().map(one).sum::<u32>()
    };
    let lanes = if padded(2) < padded(4) { 2 } else { 4 };
    let flat = is_flat(spec, job, high, low);
    let fit = |o: &OutputJob, tile: Tile| {
        let Dims { t, h, w, .. } = o.y.dims;
        Tile { vectors: vectors(o, tile, lanes), cols: even_cols(if flat { t * h * w } else { w }, tile.cols), ..tile }
    };
    Ok((lanes, fitted(&fit)))
}

/// Columns of a tile that has at most `most` of so many: about as many in each tile, since what is beyond the last is
/// wasted.
fn even_cols(columns: u32, most: u32) -> u32 {
    columns.div_ceil(columns.div_ceil(most)).next_multiple_of(2)
}

/// The largest window of inputs a thread keeps in registers, of one channel or several; beside it stand up to 64
/// accumulators.
const MAX_WINDOW: u32 = 40;

/// The largest window of one channel and a row of taps on a software device, which has few registers in any case: that
/// of 4x4 outputs of a stem, 7x7 with stride 2.
const MAX_ROWS_OF_SOFTWARE: u32 = 52;

/// The largest window of inputs that all threads of a workgroup share, and the most of several channels together.
const MAX_SHARED: u32 = 64;

/// The most loads a window may take where each of its elements is a mean of 4 or 16.
const MAX_LOADS: u32 = 64;

/// The most sums that a thread has in f16.
const MAX_SUMS_OF_F16: u32 = 64;

/// The most products that are added up in f16, as [`Options::sums`](crate::Options::sums) promises.
const MAX_TERMS_OF_F16: u32 = 32;

/// The most bytes of weights of one tap that a GPU fetches for a turn: with 64 scalar registers full of them it moves others
/// back and forth.
const MAX_UNIFORM_BYTES: u64 = 128;

/// What a thread takes in a turn, at most.
#[derive(Clone, Copy)]
struct Limits {
    /// Elements of all windows together.
    window: u32,
    /// Elements of the window of a row of taps.
    row: u32,
    /// Products for each sum.
    terms: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct PathShape {
    channels: u32,
    source_channels: u32,
    source_t: u32,
    source_h: u32,
    source_w: u32,
    half_h: u32,
    half_w: u32,
    map_h: u32,
    map_w: u32,
    last_h: u32,
    last_w: u32,
    outer_h: u32,
    outer_w: u32,
    weights: u32,
    unused: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct OutputShape {
    channels: u32,
    t: u32,
    h: u32,
    w: u32,
    rows: u32,
    cols: u32,
    threads: u32,
    blocks: u32,
    group_channels: u32,
    group_blocks: u32,
    bias: u32,
    pooled_h: u32,
    pooled_w: u32,
    first: u32,
    first_row: u32,
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
    kernel_t: u32,
    stride_t: u32,
    padding_t: u32,
    dilation_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    slices: u32,
    unused: [u32; 3],
}

impl PathConstants {
    /// What a thread does for the path.
    fn count(&self, channels: u32, spec: &Spec, tile: Tile, lanes: u32, types: Types, products: Dtype) -> Part {
        let [kh, kw] = spec.kernel();
        let turns = u64::from(channels * spec.time().kernel) * u64::from(kh / self.inner[0] * (kw / self.inner[1]));
        let [rows, cols] = [self.window(tile.rows, 0), self.window(tile.cols, 1)].map(u64::from);
        let window = rows * cols;
        let loads = match (self.paired, self.level) {
            (true, 0) => 2 * rows * (cols + u64::from(self.ahead)).div_ceil(2),
            (_, level) => window << (2 * level),
        } / types.elements_a_load(self.paired);
        let taps = u64::from(self.inner[0] * self.inner[1]);
        let wide = u64::from(tile.vectors * lanes);
        let sums = u64::from(tile.rows * tile.cols) * wide;
        let (inputs, weights) = (turns * loads, turns * taps * wide / types.weights_a_load(lanes));
        let (own, shared) = if tile.across { (weights, inputs) } else { (inputs, weights) };
        let all = turns * taps * sums;
        let carried = turns / u64::from(self.unroll) * sums;
        // The sums of a turn in f16 are added to those in f32.
        let (multiplies, packed_multiplies) = if products == Dtype::F16 { (carried, all) } else { (all, 0) };
        Part {
            loads: own,
            uniform_loads: shared,
            // What a window has of padding is masked, element by element.
            multiplies: multiplies + turns * window,
            packed_multiplies,
            carried,
            ..Part::default()
        }
    }

    /// Elements of a window along an axis, for so many outputs.
    fn window(&self, outputs: u32, axis: usize) -> u32 {
        window(outputs, self.inner[axis], self.step)
    }
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        let tile =
            |t: Tile| format!("{}{}x{}x{}", if t.across { "c" } else { "" }, t.rows, t.cols, t.vectors * self.lanes);
        let family = if self.products == Dtype::F16 { "direct-f16" } else { "direct" };
        match (self.writes_high, self.writes_low) {
            (true, true) => format!("{family} {} + {}", tile(self.high), tile(self.low)),
            (false, true) => format!("{family} {}", tile(self.low)),
            _ => format!("{family} {}", tile(self.high)),
        }
    }

    /// The most products that are added up in f16, one after the other.
    fn f16_terms(&self) -> u32 {
        let terms = |path: &PathConstants| path.unroll * path.inner[0] * path.inner[1];
        let most = self.paths.iter().flatten().map(terms).max().unwrap_or(0);
        if self.products == Dtype::F16 { most } else { 0 }
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.types.activations, self.workgroup).with_words(self.types.words);
        source.constant("ACTIVATION", self.activation);
        for (name, tile) in [("HIGH", self.high), ("LOW", self.low)] {
            source.constant(&format!("{name}_ROWS"), tile.rows);
            source.constant(&format!("{name}_COLS"), tile.cols);
            source.constant(&format!("{name}_VECTORS"), tile.vectors);
        }
        source.flag("MASKED", self.masked);
        source.constant("ACROSS", self.across);
        source.constant("LH_SHIFT", u32::from(self.replicate_low));
        source.flag("MAKES_HIGH", self.writes_high);
        source.flag("MAKES_LOW", self.writes_low);
        source.flag("WRITES_Y_P", self.writes_pooled);
        source.flag("CHANNEL_BY_CHANNEL", self.channel_by_channel);
        let factor = self.products.wgsl();
        source.line(&format!("alias Factor = {factor};"));
        let factors = if self.lanes == 1 { factor.into() } else { format!("vec{}<{factor}>", self.lanes) };
        source.line(&format!("alias Factors = {factors};"));
        source.constant("PAIRS", self.lanes / 2);
        source.flag("HIGH_IS_PARTIAL", self.high_is_partial);
        source.flag("SLICED", self.sliced);
        if self.sliced {
            source.outputs_are_partial_sums();
        }
        match self.products {
            Dtype::F32 => source.weights(self.types.weights, self.lanes),
            Dtype::F16 => source.weights_of_f16(self.lanes),
        }
        let inputs: Vec<_> = (0..self.inputs.len()).map(|i| format!("x{i}")).collect();
        for (input, &paired) in inputs.iter().zip(&self.inputs) {
            source.paired_input(input, true, paired);
        }
        let [high, low, pooled] = self.paired;
        for (name, paired) in [("HIGH", high), ("LOW", low), ("POOLED", pooled)] {
            source.flag(&format!("{name}_PAIRED"), paired);
        }
        source.paired_input("residual_h", self.residual_high, high);
        source.paired_input("residual_l", self.residual_low, low);
        source.paired_output("y_h", self.writes_high, high);
        source.paired_output("y_l", self.writes_low, low);
        source.paired_output("y_p", self.writes_pooled, pooled);
        source.file(include_str!("../../shaders/activate.wgsl"));
        for (path, constants) in Path::ALL.into_iter().zip(self.paths) {
            let name = format!("{path:?}");
            let mut tile = if path.output() == Frequency::High { self.high } else { self.low };
            if path == Path::LH && self.replicate_low {
                (tile.rows, tile.cols) = (tile.rows / 2, tile.cols / 2);
            }
            source.constant(&format!("{name}_ROWS"), tile.rows);
            source.constant(&format!("{name}_COLS"), tile.cols);
            source.constant(&format!("{name}_VECTORS"), tile.vectors);
            let name = name.to_lowercase();
            let Some(constants) = constants else {
                if let Some(input) = self.low_sums.filter(|_| path == Path::LH) {
                    source.paired_loader("lh_load", Some(&inputs[input]));
                    source.flag("LH_PAIRED", self.inputs[input]);
                    source.instance(include_str!("../../shaders/path_given.wgsl"), &name);
                    continue;
                }
                source.instance(include_str!("../../shaders/path_absent.wgsl"), &name);
                continue;
            };
            source.paired_loader(&format!("{name}_load"), Some(&inputs[constants.input]));
            let upper = name.to_uppercase();
            source.constant(&format!("{upper}_INNER_H"), constants.inner[0]);
            source.constant(&format!("{upper}_INNER_W"), constants.inner[1]);
            source.constant(&format!("{upper}_UNROLL"), constants.unroll);
            source.constant(&format!("{upper}_LEVEL"), constants.level);
            source.constant(&format!("{upper}_STEP"), constants.step);
            source.flag(&format!("{upper}_PAIRED"), constants.paired);
            source.constant(&format!("{upper}_AHEAD"), constants.ahead);
            source.flag(&format!("{upper}_ALTERNATES"), constants.alternates);
            source.instance(include_str!("../../shaders/path.wgsl"), &name);
            let products = match self.products {
                Dtype::F32 => include_str!("../../shaders/path_products.wgsl"),
                Dtype::F16 => include_str!("../../shaders/path_products_f16.wgsl"),
            };
            source.instance(products, &name);
        }
        source.file(include_str!("../../shaders/turns.wgsl"));
        source.file(include_str!("../../shaders/direct.wgsl"));
        source
    }
}

/// Output channels that a vector holds: 4, or fewer where the groups are narrower.
fn lanes(spec: &Spec, job: &Job) -> u32 {
    let widest =
        job.paths.iter().flatten().map(|p| spec.weight_shape(p.weights)[0] / spec.path_groups(p.weights)).max();
    match widest {
        Some(1) => 1,
        Some(2) => 2,
        _ => 4,
    }
}

/// Elements along an axis that so many outputs read with so many taps.
fn window(outputs: u32, taps: u32, step: u32) -> u32 {
    (outputs - 1) * if taps == 1 { 1 } else { step } + taps
}

/// The taps that share a window: the whole kernel where its window fits into registers, else a row of it, else one tap.
fn inner_kernel(spec: &Spec, tile: Tile, path: &PathJob, clamped: bool, limits: Limits) -> [u32; 2] {
    let [kh, kw] = spec.kernel();
    let [dh, dw] = spec.dilation();
    let adjacent = |k: u32, d: u32| k == 1 || d == 1;
    if clamped {
        return [1, 1];
    }
    let Sampling { level, step, .. } = path.sampling;
    let fits = |ih: u32, iw: u32, most: u32| {
        let window = u64::from(window(tile.rows, ih, step)) * u64::from(window(tile.cols, iw, step));
        window <= u64::from(most)
            && ih * iw <= limits.terms
            && (level == 0 || window << (2 * level) <= u64::from(MAX_LOADS))
    };
    if adjacent(kh, dh) && adjacent(kw, dw) && fits(kh, kw, limits.window) {
        [kh, kw]
    } else if adjacent(kw, dw) && fits(1, kw, limits.row) {
        [1, kw]
    } else {
        [1, 1]
    }
}

/// Whether the positions of a map count as one row, which a tile of one row then cuts without loss: each output position
/// reads its own position of the inputs and no other.
fn is_flat(spec: &Spec, job: &Job, high: Tile, low: Tile) -> bool {
    let time = spec.time();
    let in_one_row = |frequency: Frequency| {
        let (output, tile) = if frequency == Frequency::High { (job.high, high) } else { (job.low, low) };
        let mut paths = Path::ALL.into_iter().filter(|path| path.output() == frequency).filter_map(|p| job.path(p));
        output.is_none_or(|o| {
            let same = |p: &PathJob| {
                p.sampling == Sampling { level: 0, step: 1, upsample: false }
                    && p.source.dims.extent() == o.y.dims.extent()
            };
            tile.rows == 1 && o.pooled.is_none() && o.first_row == 0 && paths.all(same)
        })
    };
    spec.kernel() == [1, 1]
        && spec.padding() == [0, 0]
        && (time.kernel, time.stride, time.padding) == (1, 1, 0)
        && job.low_sums.is_none()
        && in_one_row(Frequency::High)
        && in_one_row(Frequency::Low)
}

/// Why the kernel cannot make products of this type with these tiles, or nothing.
pub(crate) fn refusal(products: Dtype, (lanes, tiles): (u32, [Tile; 2])) -> Option<&'static str> {
    match products {
        Dtype::F32 => None,
        Dtype::F16 if lanes == 1 => Some("products of f16 are of two output channels of a group at a time"),
        Dtype::F16 if tiles.iter().any(|tile| tile.across) => Some("products of f16 have threads along the positions"),
        Dtype::F16 => {
            // Sums of f16 stand beside those of f32, and take as many registers where a device does not pack them.
            let sums = |tile: &Tile| tile.rows * tile.cols * tile.vectors * lanes;
            tiles.iter().any(|tile| sums(tile) > MAX_SUMS_OF_F16).then_some("sums of f16 are few a thread")
        }
    }
}

/// The dispatch that does `job` with these tiles, which [`refusal`] has let pass. Products of f16 are of activations and
/// weights of f16.
pub(crate) fn step(
    facts: &DeviceFacts,
    spec: &Spec,
    types: Types,
    job: &Job,
    (lanes, [high, low]): (u32, [Tile; 2]),
    products: Dtype,
) -> Result<Step, Error> {
    let replicate_low = job.low_sums.is_some() || job.path(Path::LH).is_some_and(|p| p.sampling.upsample);
    let mut inputs: Vec<TensorId> = Vec::new();
    let mut paired_inputs: Vec<bool> = Vec::new();
    let mut paths = [None; 4];
    let mut path_shapes = [PathShape::default(); 4];
    let mut packing = Packing {
        dtype: types.weights,
        lanes,
        matrix_slab: None,
        biases: Vec::new(),
        paths: Vec::new(),
        points: Vec::new(),
    };

    let flat = is_flat(spec, job, high, low);
    let view = |dims: Dims| if flat { Dims { t: 1, h: 1, w: dims.t * dims.h * dims.w, ..dims } } else { dims };
    let along_channels = high.across || low.across;
    // Along the channels one vector of threads, which then reads its weights in order.
    let workgroup = facts.workgroup_for([(&job.high, high), (&job.low, low)].into_iter().filter_map(|(o, tile)| {
        let dims = view(o.as_ref()?.y.dims);
        let positions = dims.h.div_ceil(tile.rows) * dims.w.div_ceil(tile.cols);
        Some(if tile.across { 1 } else { u64::from(dims.n) * u64::from(dims.t) * u64::from(positions) })
    }));
    let across = if along_channels { workgroup } else { 1 };
    let [window_limit, row_limit] = match (along_channels, facts.software) {
        (true, _) => [MAX_SHARED; 2],
        (false, true) => [MAX_WINDOW, MAX_ROWS_OF_SOFTWARE],
        (false, false) => [MAX_WINDOW; 2],
    };
    let terms = if products == Dtype::F16 { MAX_TERMS_OF_F16 } else { u32::MAX };
    let limits = Limits { window: window_limit, row: row_limit, terms };
    let blocks = |output: &OutputJob, tile: Tile| {
        let groups = output.groups;
        let group_channels = output.y.dims.c / groups;
        let block = tile.vectors * lanes * across;
        Blocks { groups, group_channels, group_blocks: group_channels.div_ceil(block), block }
    };
    for (output, tile) in [(&job.high, high), (&job.low, low)] {
        if let Some(output) = output {
            packing.biases.push(BiasPacking { of: output.bias, blocks: blocks(output, tile) });
        }
    }
    for (slot, path) in Path::ALL.into_iter().enumerate() {
        let Some(path_job) = job.path(path) else { continue };
        let (output, mut tile) = match path.output() {
            Frequency::High => (&job.high, high),
            Frequency::Low => (&job.low, low),
        };
        let Some(output) = output else { continue };
        let path_blocks = blocks(output, tile);
        if path == Path::LH && replicate_low {
            (tile.rows, tile.cols) = (tile.rows / 2, tile.cols / 2);
        }
        let Operand { id, dims } = path_job.source;
        let source = view(dims);
        // Where odd sizes are floored, the last row of Y_H has no row of its own below it, and repeats the last.
        let extent = job.low_extent.filter(|_| path == Path::LH && replicate_low);
        let clamped = extent.is_some_and(|low| low.h * 2 < output.y.dims.h || low.w * 2 < output.y.dims.w);
        let inner = inner_kernel(spec, tile, path_job, clamped, limits);
        let level = path_job.sampling.level;
        let half = source.pooled(spec.rounding());
        let mut map = source;
        for _ in 0..level {
            map = map.pooled(spec.rounding());
        }
        let [_, channels, _, kh, kw] = spec.weight_shape(path_job.weights);
        let unclamped = u32::MAX / 8;
        path_shapes[slot] = PathShape {
            channels,
            source_channels: source.c,
            source_t: source.t,
            source_h: source.h,
            source_w: source.w,
            half_h: half.h,
            half_w: half.w,
            map_h: map.h,
            map_w: map.w,
            last_h: extent.filter(|_| clamped).map_or(unclamped, |low| low.h - 1),
            last_w: extent.filter(|_| clamped).map_or(unclamped, |low| low.w - 1),
            outer_h: kh / inner[0],
            outer_w: kw / inner[1],
            weights: 0,
            unused: [0; 2],
        };
        let step = path_job.sampling.step;
        let size = u64::from(window(tile.rows, inner[0], step) * window(tile.cols, inner[1], step)) << (2 * level);
        let fits = |&u: &u32| {
            channels.is_multiple_of(u)
                && u64::from(u) * size <= u64::from(limits.window)
                && u64::from(u) * u64::from(inner[0] * inner[1]) <= u64::from(limits.terms)
                && (facts.software || u64::from(u * tile.vectors * lanes) * types.weights.bytes() <= MAX_UNIFORM_BYTES)
        };
        // The longer a sum of f16, the less often it goes to one of f32.
        let longest = if products == Dtype::F16 { 8 } else { 4 };
        let unroll = [longest, 4, 2].into_iter().find(fits).unwrap_or(1);
        // Planes of odd size begin at an even element and at an odd one in turn, and a thread takes two at once.
        let alternates = flat && !source.w.is_multiple_of(2) && channels.is_multiple_of(2) && unroll > 1;
        let input = inputs.iter().position(|&other| other == id).unwrap_or_else(|| {
            inputs.push(id);
            paired_inputs.push(types.pairs());
            inputs.len() - 1
        });
        paired_inputs[input] &= alternates || source.w.is_multiple_of(2);
        // Above level 0 two columns are those of a mean. At level 0 a window must be adjacent columns, and begin an odd or
        // an even one in every thread.
        let adjacent = inner[1] == kw && (kw > 1 || step == 1) && !clamped;
        paired_inputs[input] &= level > 0 || (adjacent && (tile.cols * step).is_multiple_of(2));
        let ahead = if level == 0 { u32::from(alternates) + spec.padding()[1] % 2 } else { 0 };
        paths[slot] = Some(PathConstants { input, level, step, inner, unroll, paired: false, ahead, alternates });
        packing.paths.push(PathPacking { path: path_job.weights, blocks: path_blocks, inner });
    }

    let low_sums = job.low_sums.map(|Operand { id, dims }| {
        path_shapes[Path::LH as usize] = PathShape {
            source_channels: dims.c,
            source_t: dims.t,
            source_h: dims.h,
            source_w: dims.w,
            ..PathShape::default()
        };
        inputs.push(id);
        // Where odd sizes are floored, the last column of Y_H reads the last of the sums again, which no pair brings.
        let whole = job.high.is_some_and(|o| o.y.dims.w <= 2 * dims.w);
        paired_inputs.push(types.paired(dims) && whole && (high.cols / 2).is_multiple_of(2));
        inputs.len() - 1
    });
    for path in paths.iter_mut().flatten() {
        // A tensor is read in pairs if all paths that read it can.
        path.paired = paired_inputs[path.input];
    }
    let slices = job.slices.unwrap_or(1);
    let offsets = packing.offsets(spec);
    let mut work = [Part::default(); 2];
    for (path, constants) in Path::ALL.into_iter().zip(&paths) {
        let Some(constants) = constants else { continue };
        let (mut tile, part) = match path.output() {
            Frequency::High => (high, &mut work[0]),
            Frequency::Low => (low, &mut work[1]),
        };
        if path == Path::LH && replicate_low {
            (tile.rows, tile.cols) = (tile.rows / 2, tile.cols / 2);
        }
        part.add(constants.count(
            path_shapes[path as usize].channels.div_ceil(slices),
            spec,
            tile,
            lanes,
            types,
            products,
        ));
    }
    let present = path_shapes.iter_mut().zip(&paths).filter(|(_, path)| path.is_some());
    for ((shape, _), &offset) in present.zip(&offsets.paths) {
        shape.weights = offset;
    }

    let mut biases = offsets.biases.iter();
    let mut output_shape = |output: &Option<OutputJob>, tile: Tile| {
        let Some(output) = output else { return OutputShape::default() };
        let dims = view(output.y.dims);
        let (rows, cols) = (dims.h.div_ceil(tile.rows), dims.w.div_ceil(tile.cols));
        let threads = dims.n * dims.t * rows * cols;
        let pooled = output.pooled.map(|p| p.dims);
        let blocks = blocks(output, tile);
        OutputShape {
            channels: output.slice.of,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            rows,
            cols,
            threads,
            blocks: blocks.count(),
            group_channels: blocks.group_channels,
            group_blocks: blocks.group_blocks,
            bias: biases.next().copied().unwrap_or_default(),
            pooled_h: pooled.map_or(0, |p| p.h),
            pooled_w: pooled.map_or(0, |p| p.w),
            first: output.slice.first,
            first_row: output.first_row,
            planes: dims.n * dims.c * dims.t,
        }
    };
    let (high_shape, low_shape) = (output_shape(&job.high, high), output_shape(&job.low, low));
    let threads = workgroup / across;
    let count = |shape: &OutputShape| u64::from(shape.threads.div_ceil(threads)) * u64::from(shape.blocks);
    let high_workgroups = count(&high_shape);
    let workgroups = high_workgroups + count(&low_shape);
    let grid = Grid::fold(workgroups * u64::from(slices), facts)?;

    let (time, padding, dilation) = (spec.time(), spec.padding(), spec.dilation());
    let shape = Shape {
        paths: path_shapes,
        high: high_shape,
        low: low_shape,
        grid_x: grid.x,
        high_workgroups: high_workgroups as u32,
        workgroups: workgroups as u32,
        kernel_t: time.kernel,
        stride_t: time.stride,
        padding_t: time.padding,
        dilation_t: time.dilation,
        padding_h: padding[0],
        padding_w: padding[1],
        dilation_h: dilation[0],
        dilation_w: dilation[1],
        slope: slope(job.activation),
        slices,
        unused: [0; 3],
    };

    let residual = |o: &Option<OutputJob>| o.as_ref().and_then(|o| o.residual);
    let written = |o: &Option<OutputJob>| o.as_ref().map(|o| o.y.id);
    let (residual_high, residual_low) = (residual(&job.high), residual(&job.low));
    let (y_h, y_l) = (written(&job.high), written(&job.low));
    let y_p = job.high.as_ref().and_then(|o| o.pooled).map(|p| p.id);
    // Tiles have an even number of columns.
    let pairs = |dims: Option<Dims>| dims.is_some_and(|dims| types.paired(dims));
    let pooled_dims = job.high.as_ref().and_then(|o| o.pooled).map(|p| p.dims);
    let paired = [
        pairs(job.high.as_ref().map(|o| view(o.y.dims))),
        pairs(job.low.as_ref().map(|o| view(o.y.dims))),
        pairs(pooled_dims) && high.cols.is_multiple_of(4),
    ];
    let constants = Constants {
        types,
        products,
        workgroup,
        channel_by_channel: facts.software,
        across,
        masked: padding != [0, 0] || time.padding != 0,
        lanes,
        high,
        low,
        inputs: paired_inputs,
        paths,
        replicate_low,
        low_sums,
        high_is_partial: job.high.as_ref().is_some_and(|o| o.bias.is_none()),
        sliced: job.slices.is_some(),
        residual_high: residual_high.is_some(),
        residual_low: residual_low.is_some(),
        writes_high: y_h.is_some(),
        writes_low: y_l.is_some(),
        writes_pooled: y_p.is_some(),
        paired,
        activation: activation_number(job.activation),
    };
    let mut tensors = vec![TensorId::Weights];
    if products == Dtype::F16 {
        tensors.push(TensorId::Weights);
    }
    tensors.extend(inputs);
    tensors.extend([residual_high, residual_low, y_h, y_l, y_p].into_iter().flatten());
    if low_sums.is_some() {
        work[0].loads += u64::from(high.rows * high.cols / 4 * high.vectors * lanes);
    }
    let stored = types.of_partial_sums(job.slices.is_some());
    let outputs = [(&high_shape, high), (&low_shape, low)].into_iter().zip(paired);
    for (part, ((shape, tile), own)) in work.iter_mut().zip(outputs) {
        part.threads = count(shape) * u64::from(workgroup * slices);
        let sums = u64::from(tile.rows * tile.cols * tile.vectors * lanes);
        let means = if shape.pooled_w > 0 { sums / 4 / stored.elements_a_load(paired[2]) } else { 0 };
        part.stores = sums / stored.elements_a_load(own) + means;
    }
    let work = Work { parts: work.to_vec(), bytes: job.bytes(types.activations) + offsets.bytes };
    let f16_terms = constants.f16_terms();
    Ok(Step {
        kernel: Kernel::Direct(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors,
        grid,
        packing: Some(packing),
        f16_terms,
        work,
    })
}
