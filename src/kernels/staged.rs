//! Host twin of `shaders/staged.wgsl`: octave convolutions of one group as GEMMs over tiles in workgroup memory.

use super::family::{Family, Refusal, Request, names};
use super::wgsl::Source;
use super::{Kernel, Types, activation_number, slope};
use crate::device::DeviceFacts;
use crate::device::{Part, Work};
use crate::error::Error;
use crate::kernels::job::{Job, Operand, OutputJob, PathJob, TensorId};
use crate::kernels::packing::{BiasPacking, Blocks, Packing, PathPacking};
use crate::kernels::{Grid, Step};
use crate::layer::{Frequency, Path, Spec};
use crate::precision::Dtype;

/// Any layer of one group.
pub(crate) static STAGED: Staged = Staged { products: Dtype::F32 };

/// The same with short sums of f16, if [`Precision::sums`](crate::Precision::sums) allows it.
pub(crate) static STAGED_F16: Staged = Staged { products: Dtype::F16 };

/// `shaders/staged.wgsl`: convolutions by tiles in workgroup memory.
pub(crate) struct Staged {
    products: Dtype,
}

impl Family for Staged {
    fn name(&self) -> &'static str {
        if self.products == Dtype::F16 { "staged-f16" } else { "staged" }
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

    fn step(&self, request: &Request) -> Result<Step, Refusal> {
        let Request { facts, spec, types, job, tile: name } = *request;
        if let Some(reason) = refusal(spec, job) {
            return Err(reason.into());
        }
        let tile = tile_of(name, job).ok_or_else(|| format!("half of a tile of {name} or more would stand idle"))?;
        Ok(step(facts, spec, types, job, tile, self.products)?)
    }
}

/// The outputs of a workgroup and of a thread, channels by positions, and the channels of a slab of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    pub(crate) channels: u32,
    pub(crate) positions: u32,
    thread: [u32; 2],
    slab: u32,
}

/// What distinguishes one path's instance of `shaders/staged_path.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PathConstants {
    /// Which of the inputs it reads.
    input: usize,
    level: u32,
    step: u32,
    /// Its channels are no multiple of a slab's.
    ragged: bool,
    /// It is done at low resolution, and starts the sums of cells.
    replicated: bool,
}

/// What distinguishes one output's instance of `shaders/staged_output.wgsl`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct OutputConstants {
    /// Tiles reach beyond it.
    edges: bool,
    /// A partial sum, to be added to elsewhere.
    partial: bool,
    residual: bool,
    /// Read and written two columns at a time.
    paired: bool,
    written: bool,
    pooled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    types: Types,
    /// In which products are made, and those of a slab added up.
    products: Dtype,
    tile: Tile,
    /// Whether each input is read two columns at a time.
    inputs: Vec<bool>,
    /// In the order of [`Path::ALL`].
    paths: [Option<PathConstants>; 4],
    /// Which of the inputs has the sums of L->H, where they are given.
    low_sums: Option<usize>,
    /// Of Y_H and of Y_L.
    outputs: [OutputConstants; 2],
    padded: bool,
    /// Input channels are cut into slices, of which each makes partial sums.
    sliced: bool,
    activation: u32,
}

/// Output channels by positions of a workgroup; those of a thread, and channels of a slab. Large tiles read each element
/// for more products, small ones fill a device with small maps.
pub(crate) const TILES: [(&str, Tile); 6] = [
    ("32x32", tile([32, 32], [4, 4], 16)),
    ("32x128", tile([32, 128], [8, 8], 8)),
    ("64x64", tile([64, 64], [8, 4], 16)),
    ("64x128", tile([64, 128], [8, 8], 8)),
    ("128x64", tile([128, 64], [8, 8], 8)),
    ("128x128", tile([128, 128], [8, 8], 8)),
];

const fn tile([channels, positions]: [u32; 2], thread: [u32; 2], slab: u32) -> Tile {
    Tile { channels, positions, thread, slab }
}

/// Output channels of a vector, and positions of a cell.
const LANES: u32 = 4;

/// Channels of a slab whose weights and inputs a thread holds at once.
const UNROLL: u32 = 4;

impl Tile {
    fn workgroup(self) -> u32 {
        self.channels / self.thread[0] * (self.positions / self.thread[1])
    }

    /// Cells of a workgroup.
    fn cells(self) -> u32 {
        self.positions / 4
    }

    /// Bytes of workgroup memory: two slabs of weights and inputs.
    fn storage(self, products: Dtype) -> u32 {
        products.bytes() as u32 * 2 * self.slab * (self.channels + self.positions)
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct PathShape {
    channels: u32,
    source_t: u32,
    source_h: u32,
    source_w: u32,
    half_h: u32,
    half_w: u32,
    map_h: u32,
    map_w: u32,
    last_h: u32,
    last_w: u32,
    weights: u32,
    taps: u32,
    slabs: u32,
    unused: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct OutputShape {
    channels: u32,
    tensor_channels: u32,
    first: u32,
    t: u32,
    h: u32,
    w: u32,
    rows: u32,
    cols: u32,
    cells: u32,
    blocks: u32,
    bias: u32,
    pooled_h: u32,
    pooled_w: u32,
    below_h: u32,
    below_w: u32,
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
    kernel: [u32; 2],
    stride_t: u32,
    padding: [u32; 3],
    dilation: [u32; 3],
    slope: f32,
    slices: u32,
    unused: [u32; 2],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        let family = if self.products == Dtype::F16 { "staged-f16" } else { "staged" };
        format!("{family} {}x{}", self.tile.channels, self.tile.positions)
    }

    /// The most products that are added up in f16, one after the other.
    fn f16_terms(&self) -> u32 {
        if self.products == Dtype::F16 { self.tile.slab } else { 0 }
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.types.activations, self.tile.workgroup()).with_words(self.types.words);
        source.constant("ACTIVATION", self.activation);
        source.constant("TILE_VECTORS", self.tile.channels / LANES);
        source.constant("TILE_CELLS", self.tile.cells());
        source.constant("VECTORS", self.tile.thread[0] / LANES);
        source.constant("CELLS", self.tile.thread[1] / 4);
        source.constant("SLAB", self.tile.slab);
        source.constant("UNROLL", UNROLL);
        source.flag("PADDED", self.padded);
        source.flag("SLICED", self.sliced);
        if self.sliced {
            source.outputs_are_partial_sums();
        }
        source.line(&format!("alias Factor = {};", self.products.wgsl()));
        source.line(&format!("alias Factors = vec4<{}>;", self.products.wgsl()));
        match self.products {
            Dtype::F32 => source.weights(self.types.weights, LANES),
            Dtype::F16 => source.weights_of_f16(LANES),
        }
        let inputs: Vec<_> = (0..self.inputs.len()).map(|i| format!("x{i}")).collect();
        for (input, &paired) in inputs.iter().zip(&self.inputs) {
            source.paired_input(input, true, paired);
        }
        let [high, low] = self.outputs;
        source.paired_input("residual_h", high.residual, high.paired);
        source.paired_input("residual_l", low.residual, low.paired);
        source.paired_output("y_h", high.written, high.paired);
        source.paired_output("y_l", low.written, low.paired);
        source.output("y_p", high.pooled);
        source.file(include_str!("../../shaders/activate.wgsl"));
        for (path, constants) in Path::ALL.into_iter().zip(self.paths) {
            let name = format!("{path:?}").to_lowercase();
            let Some(constants) = constants else {
                let parameters = "a: ptr<function, Sums>, b: PathShape, c: OutputShape, d: Owner, e: u32, f: u32";
                source.line(&format!("fn {name}_accumulate({parameters}) {{}}"));
                continue;
            };
            let upper = name.to_uppercase();
            source.paired_loader(&format!("{name}_load"), Some(&inputs[constants.input]));
            source.flag(&format!("{upper}_RAGGED"), constants.ragged);
            if constants.replicated {
                source.instance(include_str!("../../shaders/staged_replicated.wgsl"), &name);
                continue;
            }
            source.constant(&format!("{upper}_LEVEL"), constants.level);
            source.constant(&format!("{upper}_STEP"), constants.step);
            source.flag(&format!("{upper}_PAIRED"), self.inputs[constants.input]);
            source.instance(include_str!("../../shaders/staged_path.wgsl"), &name);
        }
        for (name, suffix, output, sums) in [("high", "h", high, self.low_sums), ("low", "l", low, None)] {
            let upper = name.to_uppercase();
            source.flag(&format!("{upper}_EDGES"), output.edges);
            source.flag(&format!("{upper}_PARTIAL"), output.partial);
            source.flag(&format!("{upper}_POOLED"), output.pooled);
            source.flag(&format!("{upper}_BELOW"), sums.is_some());
            source.loader(&format!("{name}_below"), sums.map(|input| inputs[input].as_str()));
            source.flag(&format!("{upper}_PAIRED"), output.paired);
            source.line(&format!("fn {name}_store(i: u32, value: f32) {{ store_y_{suffix}(i, value); }}"));
            source.line(&format!("fn {name}_store_2(i: u32, values: vec2<f32>) {{ store_y_{suffix}_2(i, values); }}"));
            source.paired_loader(&format!("{name}_residual"), Some(&format!("residual_{suffix}")));
            source.instance(include_str!("../../shaders/staged_output.wgsl"), name);
        }
        source.file(include_str!("../../shaders/staged.wgsl"));
        source.file(match self.products {
            Dtype::F32 => include_str!("../../shaders/staged_products.wgsl"),
            Dtype::F16 => include_str!("../../shaders/staged_products_f16.wgsl"),
        });
        source
    }
}

/// Why this kernel cannot do `job`, or nothing.
pub(crate) fn refusal(spec: &Spec, job: &Job) -> Option<&'static str> {
    let dense = job.paths.iter().flatten().all(|path| spec.path_groups(path.weights) == 1);
    (!dense).then_some("the staged kernel needs one group")
}

/// The named tile for a job. Nothing where half of its channels, or half of its positions, would stand idle.
pub(crate) fn tile_of(name: &str, job: &Job) -> Option<Tile> {
    let &(_, tile) = TILES.iter().find(|&&(other, _)| other == name)?;
    let (_, smallest) = TILES[0];
    let outputs = [&job.high, &job.low].into_iter().flatten();
    let fits = |mut sizes: Vec<u64>, least: u32, size: u32| {
        sizes.push(u64::from(least));
        sizes.into_iter().max().is_some_and(|widest| u64::from(size) <= widest.next_power_of_two())
    };
    let (channels, positions) = outputs.map(|output| (u64::from(output.y.dims.c), 4 * cells(output))).unzip();
    (fits(channels, smallest.channels, tile.channels) && fits(positions, smallest.positions, tile.positions))
        .then_some(tile)
}

/// Blocks of 2x2 positions of an output, over the batch and all frames.
fn cells(output: &OutputJob) -> u64 {
    let dims = output.y.dims;
    u64::from(dims.n) * u64::from(dims.t) * u64::from(dims.h.div_ceil(2)) * u64::from(dims.w.div_ceil(2))
}

/// Refuses a tile that the device has no room for.
fn check_limits(facts: &DeviceFacts, tile: Tile, products: Dtype) -> Result<(), Error> {
    let limits = &facts.limits;
    let what = |unit: &str| format!("a tile of {}x{}, in {unit},", tile.channels, tile.positions);
    let needs = tile.workgroup();
    for (limit, allowed) in [
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup),
        ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x),
    ] {
        if needs > allowed {
            return Err(Error::Limit { what: what("threads"), needs: needs.into(), limit, allowed: allowed.into() });
        }
    }
    let (needs, allowed) = (u64::from(tile.storage(products)), u64::from(limits.max_compute_workgroup_storage_size));
    if needs > allowed {
        let limit = "max_compute_workgroup_storage_size";
        return Err(Error::Limit { what: what("bytes of workgroup memory"), needs, limit, allowed });
    }
    Ok(())
}

/// The dispatch that does `job`, which [`refusal`] has let pass.
pub(crate) fn step(
    facts: &DeviceFacts,
    spec: &Spec,
    types: Types,
    job: &Job,
    tile: Tile,
    products: Dtype,
) -> Result<Step, Error> {
    check_limits(facts, tile, products)?;
    let blocks = |output: &OutputJob| {
        let channels = output.y.dims.c;
        Blocks {
            groups: 1,
            group_channels: channels,
            group_blocks: channels.div_ceil(tile.channels),
            block: tile.channels,
        }
    };
    let mut packing = Packing {
        dtype: types.weights,
        lanes: LANES,
        biases: Vec::new(),
        paths: Vec::new(),
        matrix_slab: None,
        points: Vec::new(),
    };
    for output in [&job.high, &job.low].into_iter().flatten() {
        packing.biases.push(BiasPacking { of: output.bias, blocks: blocks(output) });
    }
    let output_of = |path: Path| match path.output() {
        Frequency::High => job.high.as_ref(),
        Frequency::Low => job.low.as_ref(),
    };
    let present = |path: Path| Some((job.path(path)?, output_of(path)?));
    for (path_job, output) in Path::ALL.into_iter().filter_map(present) {
        packing.paths.push(PathPacking { path: path_job.weights, blocks: blocks(output), inner: [1, 1] });
    }
    let offsets = packing.offsets(spec);

    // A tensor is read in pairs if all paths that read it can.
    let mut inputs: Vec<(TensorId, bool)> = Vec::new();
    let mut input = |id: TensorId, paired: bool| {
        let place = inputs.iter().position(|&(other, _)| other == id).unwrap_or_else(|| {
            inputs.push((id, types.pairs()));
            inputs.len() - 1
        });
        inputs[place].1 &= paired;
        place
    };
    let mut paths = [None; 4];
    let mut path_shapes = [PathShape::default(); 4];
    let slices = job.slices.unwrap_or(1);
    let mut work = [Part::default(); 2];
    let mut padded = false;
    let mut starts = offsets.paths.iter();
    for (slot, path) in Path::ALL.into_iter().enumerate() {
        let Some((path_job, output)) = present(path) else { continue };
        let replicated = path_job.sampling.upsample;
        let shape = path_shape(spec, job, tile, path_job, starts.next().copied().unwrap_or_default());
        padded |= reaches_outside(spec, path_job, &shape, output);
        let sampling = path_job.sampling;
        let one_to_one = spec.kernel()[1] == 1 && spec.padding()[1] == 0 && sampling.step == 1;
        let pairs = !replicated && shape.source_w.is_multiple_of(2) && (sampling.level > 0 || one_to_one);
        paths[slot] = Some(PathConstants {
            input: input(path_job.source.id, pairs),
            level: path_job.sampling.level,
            step: path_job.sampling.step,
            ragged: !shape.channels.is_multiple_of(tile.slab),
            replicated,
        });
        path_shapes[slot] = shape;
    }
    let low_sums = job.low_sums.map(|Operand { id, .. }| input(id, false));
    for ((path, constants), shape) in Path::ALL.into_iter().zip(&paths).zip(&path_shapes) {
        let (Some((path_job, _)), Some(constants)) = (present(path), constants) else { continue };
        let part = &mut work[usize::from(path.output() == Frequency::Low)];
        let shape = PathShape { slabs: shape.slabs.div_ceil(slices), ..*shape };
        count(tile, products, path_job, &shape, types.elements_a_load(inputs[constants.input].1), part);
    }

    let mut biases = offsets.biases.iter();
    let mut output_shape = |output: &Option<OutputJob>| {
        let Some(output) = output else { return OutputShape::default() };
        let dims = output.y.dims;
        let (rows, cols) = (dims.h.div_ceil(2), dims.w.div_ceil(2));
        let pooled = output.pooled.map(|p| p.dims);
        let below = job.low_sums.map(|sums| sums.dims);
        OutputShape {
            channels: dims.c,
            tensor_channels: output.slice.of,
            first: output.slice.first,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            rows,
            cols,
            cells: cells(output) as u32,
            blocks: blocks(output).count(),
            bias: biases.next().copied().unwrap_or_default(),
            pooled_h: pooled.map_or(0, |p| p.h),
            pooled_w: pooled.map_or(0, |p| p.w),
            below_h: below.map_or(0, |b| b.h),
            below_w: below.map_or(0, |b| b.w),
            planes: dims.n * dims.c * dims.t,
        }
    };
    let (high, low) = (output_shape(&job.high), output_shape(&job.low));
    let workgroups = |shape: &OutputShape| u64::from(shape.cells.div_ceil(tile.cells())) * u64::from(shape.blocks);
    let all = workgroups(&high) + workgroups(&low);
    let grid = Grid::fold(all * u64::from(slices), facts)?;
    let (time, padding, dilation) = (spec.time(), spec.padding(), spec.dilation());
    let shape = Shape {
        paths: path_shapes,
        high,
        low,
        grid_x: grid.x,
        high_workgroups: workgroups(&high) as u32,
        workgroups: all as u32,
        kernel: spec.kernel(),
        stride_t: time.stride,
        padding: [time.padding, padding[0], padding[1]],
        dilation: [time.dilation, dilation[0], dilation[1]],
        slope: slope(job.activation),
        slices,
        unused: [0; 2],
    };

    let constants = |output: &Option<OutputJob>, shape: &OutputShape| {
        output.as_ref().map_or(OutputConstants::default(), |output| OutputConstants {
            edges: !(shape.channels.is_multiple_of(tile.channels)
                && shape.cells.is_multiple_of(tile.cells())
                && shape.h.is_multiple_of(2)
                && shape.w.is_multiple_of(2)),
            partial: output.bias.is_none(),
            residual: output.residual.is_some(),
            paired: types.paired(output.y.dims),
            written: true,
            pooled: output.pooled.is_some(),
        })
    };
    let constants = Constants {
        types,
        products,
        tile,
        inputs: inputs.iter().map(|&(_, paired)| paired).collect(),
        paths,
        low_sums,
        outputs: [constants(&job.high, &high), constants(&job.low, &low)],
        padded,
        sliced: job.slices.is_some(),
        activation: activation_number(job.activation),
    };
    let [residual_high, residual_low] = [&job.high, &job.low].map(|o| o.as_ref().and_then(|o| o.residual));
    let [y_h, y_l] = [&job.high, &job.low].map(|o| o.as_ref().map(|o| o.y.id));
    let y_p = job.high.as_ref().and_then(|o| o.pooled).map(|p| p.id);
    let mut tensors = vec![TensorId::Weights];
    if products == Dtype::F16 {
        tensors.push(TensorId::Weights);
    }
    tensors.extend(inputs.iter().map(|&(id, _)| id));
    tensors.extend([residual_high, residual_low, y_h, y_l, y_p].into_iter().flatten());

    let outputs = u64::from(tile.thread[0] * tile.thread[1]);
    let stored = types.of_partial_sums(job.slices.is_some());
    for (part, shape) in work.iter_mut().zip([&high, &low]) {
        part.threads = workgroups(shape) * u64::from(tile.workgroup() * slices);
        part.stores = outputs / stored.elements_a_load(types.pairs() && shape.w.is_multiple_of(2));
    }
    if job.low_sums.is_some() {
        work[0].loads += outputs / 4;
    }
    let work = Work { parts: work.to_vec(), bytes: job.bytes(types.activations) + offsets.bytes };
    let f16_terms = constants.f16_terms();
    Ok(Step {
        kernel: Kernel::Staged(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors,
        grid,
        packing: Some(packing),
        f16_terms,
        work,
    })
}

fn path_shape(spec: &Spec, job: &Job, tile: Tile, path: &PathJob, weights: u32) -> PathShape {
    let source = path.source.dims;
    let half = source.pooled(spec.rounding());
    let mut map = source;
    for _ in 0..path.sampling.level {
        map = map.pooled(spec.rounding());
    }
    let [_, channels, kt, kh, kw] = spec.weight_shape(path.weights);
    let last = |extent: Option<u32>| extent.map_or(0, |size| size - 1);
    PathShape {
        channels,
        source_t: source.t,
        source_h: source.h,
        source_w: source.w,
        half_h: half.h,
        half_w: half.w,
        map_h: map.h,
        map_w: map.w,
        last_h: last(job.low_extent.map(|extent| extent.h)),
        last_w: last(job.low_extent.map(|extent| extent.w)),
        weights,
        taps: kt * kh * kw,
        slabs: channels.div_ceil(tile.slab),
        unused: [0; 3],
    }
}

/// Whether any tap of any output lies outside of the map.
fn reaches_outside(spec: &Spec, path: &PathJob, shape: &PathShape, output: &OutputJob) -> bool {
    let (time, kernel, padding, dilation) = (spec.time(), spec.kernel(), spec.padding(), spec.dilation());
    let dims = output.y.dims;
    let step = path.sampling.step;
    let last = |size: u32, step: u32, kernel: u32, dilation: u32| {
        u64::from(size - 1) * u64::from(step) + u64::from(kernel - 1) * u64::from(dilation)
    };
    // At low resolution fewer rows are read, but no others than these.
    let (h, w) = if path.sampling.upsample { (shape.last_h + 1, shape.last_w + 1) } else { (dims.h, dims.w) };
    let beyond = |last: u64, size: u32| last >= u64::from(size);
    time.padding > 0
        || padding != [0, 0]
        || beyond(last(dims.t, time.stride, time.kernel, time.dilation), shape.source_t)
        || beyond(last(h, step, kernel[0], dilation[0]), shape.map_h)
        || beyond(last(w, step, kernel[1], dilation[1]), shape.map_w)
}

/// Adds what a thread does for a path to `part`.
fn count(tile: Tile, products: Dtype, path: &PathJob, shape: &PathShape, at_once: u64, part: &mut Part) {
    let turns = u64::from(shape.taps) * u64::from(shape.slabs);
    let (slab, workgroup) = (u64::from(tile.slab), u64::from(tile.workgroup()));
    let [wide, positions] = tile.thread.map(u64::from);
    let reads = if path.sampling.upsample { tile.cells() } else { tile.positions };
    let vectors = u64::from(tile.channels / LANES);
    let multiplies = wide * if path.sampling.upsample { positions / 4 } else { positions };
    if products == Dtype::F16 && !path.sampling.upsample {
        part.packed_multiplies += turns * slab * multiplies;
        // The sums of a slab are added to those of f32.
        part.multiplies += turns * multiplies;
    } else {
        part.multiplies += turns * slab * multiplies;
    }
    let inputs = (u64::from(reads) << (2 * path.sampling.level)) / at_once;
    part.loads += turns * (slab * (vectors + inputs)).div_ceil(workgroup);
    part.shared_loads += turns * slab * (wide + multiplies / wide) / 4;
    part.barriers += turns;
}
