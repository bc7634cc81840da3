//! Lowers a job to a dispatch.

use super::recipe::{Constants, OutputConstants, PathConstants};
use super::tile::{Tile, Tiles, is_flat};
use super::uniform::{OutputShape, PathShape, Shape};
use super::window::Limits;
use super::work;
use crate::device::{DeviceFacts, Work};
use crate::dims::{Dims, Extent};
use crate::error::Error;
use crate::kernels::family::Request;
use crate::kernels::job::{Job, Operand, OutputJob, PathJob, TensorId};
use crate::kernels::kernel::Kernel;
use crate::kernels::packing::{BiasPacking, Blocks, Offsets, Packing, PathPacking};
use crate::kernels::step::{Grid, Step};
use crate::kernels::types::Types;
use crate::layer::{Frequency, Path, Spec};
use crate::precision::Dtype;

/// A job, and all that is decided for the dispatch as a whole.
struct Lowering<'a> {
    facts: &'a DeviceFacts,
    spec: &'a Spec,
    types: Types,
    job: &'a Job,
    products: Dtype,
    tiles: Tiles,
    /// Each map is passed as one row.
    flat: bool,
    workgroup: u32,
    /// Threads of a workgroup that lie side by side along the channels.
    across: u32,
    /// L->H is replicated: it has a quarter of the positions of Y_H.
    replicate_low: bool,
    limits: Limits,
}

/// A path of the job. Which input it reads, and whether in pairs, is set later in `constants`.
struct LoweredPath {
    path: Path,
    source: TensorId,
    constants: PathConstants,
    /// Whether it can read its source two columns at a time.
    pairs: bool,
    shape: PathShape,
    packing: PathPacking,
}

/// The tensors that paths read, and whether each is read two columns at a time.
#[derive(Default)]
struct Inputs {
    ids: Vec<TensorId>,
    paired: Vec<bool>,
}

/// The dispatch that does a job with these tiles, which `refusal` has accepted. If `products` is f16, activations and
/// weights are f16.
pub(super) fn step(request: &Request, tiles: Tiles, products: Dtype) -> Result<Step, Error> {
    let lowering = Lowering::new(request, tiles, products);
    let Lowering { facts, spec, types, job, .. } = lowering;
    let mut paths: Vec<_> = Path::ALL.into_iter().filter_map(|path| lowering.path(path)).collect();
    let mut inputs = Inputs::of(&mut paths);
    let low_sums = job.low_sums.map(|sums| inputs.add(sums.id, lowering.pairs_of_low_sums(sums.dims)));

    let packing = lowering.packing(&paths);
    let offsets = packing.offsets(spec);
    let mut path_shapes = lowering.path_shapes(&paths, &offsets);
    if let Some(Operand { dims, .. }) = job.low_sums {
        path_shapes[Path::LH as usize] = source_shape(dims);
    }
    let mut biases = offsets.biases.iter().copied();
    let [high, low] = [(&job.high, tiles.high), (&job.low, tiles.low)].map(|(output, tile)| match output {
        Some(output) => lowering.output_shape(output, tile, biases.next().unwrap_or_default()),
        None => OutputShape::default(),
    });
    let slices = job.slices.unwrap_or(1);
    let [high_workgroups, low_workgroups] = [&high, &low].map(|shape| lowering.workgroups(shape));
    let workgroups = high_workgroups + low_workgroups;
    let grid = Grid::fold(workgroups * u64::from(slices), facts)?;

    let constants = lowering.constants(&paths, &inputs, low_sums);
    let parts = [(&high, high_workgroups), (&low, low_workgroups)];
    let parts = work::parts(&constants, spec, &path_shapes, parts, slices);
    let [hh, hl, lh, ll] = path_shapes;
    let shape = Shape {
        hh,
        hl,
        lh,
        ll,
        high,
        low,
        grid_x: grid.x,
        high_workgroups: high_workgroups as u32,
        workgroups: workgroups as u32,
        slices,
        ..lowering.taps()
    };
    Ok(Step {
        kernel: Kernel::recipe(constants.name(), constants.recipe()),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: lowering.tensors(inputs),
        grid,
        packing: Some(packing),
        f16_terms: constants.f16_terms(),
        work: Work { parts, bytes: job.bytes(types.activations) + offsets.bytes },
    })
}

impl<'a> Lowering<'a> {
    fn new(request: &Request<'a>, tiles: Tiles, products: Dtype) -> Self {
        let Request { facts, spec, types, job, .. } = *request;
        let flat = is_flat(spec, job, tiles);
        // If threads lie along the channels, a workgroup is one vector of threads, which reads its weights in order.
        let threads = |(output, tile): (&Option<OutputJob>, Tile)| {
            let dims = view(flat, output.as_ref()?.y.dims);
            Some(if tile.across { 1 } else { tiles_of(dims, tile) })
        };
        let outputs = [(&job.high, tiles.high), (&job.low, tiles.low)];
        let workgroup = facts.workgroup_for(outputs.into_iter().filter_map(threads));
        Self {
            facts,
            spec,
            types,
            job,
            products,
            tiles,
            flat,
            workgroup,
            across: if tiles.across() { workgroup } else { 1 },
            replicate_low: job.low_sums.is_some() || job.path(Path::LH).is_some_and(|p| p.sampling.upsample),
            limits: Limits::new(facts, tiles, products),
        }
    }

    fn output(&self, frequency: Frequency) -> Option<&'a OutputJob> {
        match frequency {
            Frequency::High => self.job.high.as_ref(),
            Frequency::Low => self.job.low.as_ref(),
        }
    }

    fn blocks(&self, output: &OutputJob, tile: Tile) -> Blocks {
        let group_channels = output.y.dims.c / output.groups;
        let block = tile.channels() * self.across;
        Blocks { groups: output.groups, group_channels, group_blocks: group_channels.div_ceil(block), block }
    }

    /// Lowers a path, if the job has the path and its output.
    fn path(&self, path: Path) -> Option<LoweredPath> {
        let (path_job, output) = (self.job.path(path)?, self.output(path.output())?);
        let PathJob { source, sampling, weights } = *path_job;
        let tile = self.tiles.of_path(path, self.replicate_low);
        let dims = view(self.flat, source.dims);
        let extent = self.clamped_extent(path, output);
        let [_, channels, ..] = self.spec.weight_shape(weights);
        let inner = self.limits.inner_kernel(self.spec, tile, sampling, extent.is_some());
        let unroll = self.limits.unroll(self.facts, self.types, tile, sampling, inner, channels);
        // Planes of odd size begin at even and odd elements alternately. That works if a thread takes channels in twos.
        let alternates = self.flat && !dims.w.is_multiple_of(2) && channels.is_multiple_of(2) && unroll > 1;
        let ahead = if sampling.level == 0 { u32::from(alternates) + self.spec.padding()[1] % 2 } else { 0 };
        let (level, stride) = (sampling.level, sampling.step);
        let constants = PathConstants { input: 0, level, stride, inner, unroll, paired: false, ahead, alternates };
        Some(LoweredPath {
            path,
            source: source.id,
            constants,
            pairs: (alternates || dims.w.is_multiple_of(2)) && self.pairs(&constants, tile, extent.is_some()),
            shape: self.path_shape(&constants, channels, dims, extent),
            packing: PathPacking { path: weights, blocks: self.blocks(output, self.tiles.of(path.output())), inner },
        })
    }

    /// The extent of L->H, if Y_H reaches beyond it. If odd sizes are rounded down, there is no row of L->H below the
    /// last row of Y_H, which then reads the last one.
    fn clamped_extent(&self, path: Path, output: &OutputJob) -> Option<Extent> {
        let dims = output.y.dims;
        let low = self.job.low_extent.filter(|_| path == Path::LH && self.replicate_low)?;
        (low.h * 2 < dims.h || low.w * 2 < dims.w).then_some(low)
    }

    /// Whether a path can read two columns at once, if its rows are whole words. Above level 0, both columns belong to
    /// one mean. At level 0, a window must be of adjacent columns, and begin at an even column in all threads, or at an
    /// odd column in all threads.
    fn pairs(&self, constants: &PathConstants, tile: Tile, clamped: bool) -> bool {
        let PathConstants { level, stride, inner, .. } = *constants;
        let kw = self.spec.kernel()[1];
        let adjacent = inner[1] == kw && (kw > 1 || stride == 1) && !clamped;
        self.types.pairs() && (level > 0 || (adjacent && (tile.cols * stride).is_multiple_of(2)))
    }

    fn pairs_of_low_sums(&self, dims: Dims) -> bool {
        // If odd sizes are rounded down, the last column of Y_H reads the last column of the sums again. A pair cannot.
        let whole = self.job.high.is_some_and(|output| output.y.dims.w <= 2 * dims.w);
        self.types.paired(dims) && whole && (self.tiles.high.cols / 2).is_multiple_of(2)
    }

    fn path_shape(&self, constants: &PathConstants, channels: u32, source: Dims, extent: Option<Extent>) -> PathShape {
        let rounding = self.spec.rounding();
        let half = source.pooled(rounding);
        let map = (0..constants.level).fold(source, |map, _| map.pooled(rounding));
        let [kh, kw] = self.spec.kernel();
        // Larger than the coordinate of any output.
        let unclamped = u32::MAX / 8;
        PathShape {
            group_channels: channels,
            half_h: half.h,
            half_w: half.w,
            map_h: map.h,
            map_w: map.w,
            last_h: extent.map_or(unclamped, |extent| extent.h - 1),
            last_w: extent.map_or(unclamped, |extent| extent.w - 1),
            outer_h: kh / constants.inner[0],
            outer_w: kw / constants.inner[1],
            ..source_shape(source)
        }
    }

    /// The shape of each path, with the offset of its weights.
    fn path_shapes(&self, paths: &[LoweredPath], offsets: &Offsets) -> [PathShape; 4] {
        let mut shapes = [PathShape::default(); 4];
        for (path, &weights) in paths.iter().zip(&offsets.paths) {
            shapes[path.path as usize] = PathShape { weights, ..path.shape };
        }
        shapes
    }

    fn packing(&self, paths: &[LoweredPath]) -> Packing {
        let bias = |frequency| {
            let output = self.output(frequency)?;
            Some(BiasPacking { of: output.bias, blocks: self.blocks(output, self.tiles.of(frequency)) })
        };
        Packing {
            dtype: self.types.weights,
            lanes: self.tiles.lanes(),
            matrix_slab: None,
            biases: [Frequency::High, Frequency::Low].into_iter().filter_map(bias).collect(),
            paths: paths.iter().map(|path| path.packing).collect(),
            points: Vec::new(),
        }
    }

    fn output_shape(&self, output: &OutputJob, tile: Tile, bias: u32) -> OutputShape {
        let dims = view(self.flat, output.y.dims);
        let blocks = self.blocks(output, tile);
        OutputShape {
            tensor_channels: output.slice.of,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            rows: dims.h.div_ceil(tile.rows),
            cols: dims.w.div_ceil(tile.cols),
            threads: tiles_of(dims, tile) as u32,
            blocks: blocks.count(),
            group_channels: blocks.group_channels,
            group_blocks: blocks.group_blocks,
            bias,
            pooled_h: output.pooled.map_or(0, |pooled| pooled.dims.h),
            pooled_w: output.pooled.map_or(0, |pooled| pooled.dims.w),
            first_channel: output.slice.first,
            first_row: output.first_row,
            slice_planes: dims.n * dims.c * dims.t,
        }
    }

    /// Workgroups of an output, per slice.
    fn workgroups(&self, shape: &OutputShape) -> u64 {
        let threads = self.workgroup / self.across;
        u64::from(shape.threads.div_ceil(threads)) * u64::from(shape.blocks)
    }

    /// The fields of the uniform that are the same for all paths and dispatches of the layer.
    fn taps(&self) -> Shape {
        let (time, padding, dilation) = (self.spec.time(), self.spec.padding(), self.spec.dilation());
        Shape {
            kernel_t: time.kernel,
            stride_t: time.stride,
            padding_t: time.padding,
            dilation_t: time.dilation,
            padding_h: padding[0],
            padding_w: padding[1],
            dilation_h: dilation[0],
            dilation_w: dilation[1],
            slope: self.job.activation.slope(),
            ..Shape::default()
        }
    }

    fn constants(&self, paths: &[LoweredPath], inputs: &Inputs, low_sums: Option<usize>) -> Constants {
        let mut path_constants = [None; 4];
        for path in paths {
            path_constants[path.path as usize] =
                Some(PathConstants { paired: inputs.paired[path.constants.input], ..path.constants });
        }
        Constants {
            types: self.types,
            products: self.products,
            workgroup: self.workgroup,
            channel_by_channel: self.facts.software || !self.facts.weight_by_weight,
            across: self.across,
            masked: self.spec.padding() != [0, 0] || self.spec.time().padding != 0,
            tiles: self.tiles,
            inputs: inputs.paired.clone(),
            paths: path_constants,
            replicate_low: self.replicate_low,
            low_sums,
            sliced: self.job.slices.is_some(),
            outputs: [Frequency::High, Frequency::Low].map(|frequency| self.output_constants(frequency)),
            activation: self.job.activation,
        }
    }

    fn output_constants(&self, frequency: Frequency) -> Option<OutputConstants> {
        let output = self.output(frequency)?;
        let pooled = output.pooled.map(|pooled| pooled.dims);
        Some(OutputConstants {
            residual: output.residual.is_some(),
            // Partial sums of Y_L need no flag, because their dispatch has no activation.
            partial: frequency == Frequency::High && output.bias.is_none(),
            pooled: pooled.is_some(),
            // All tiles have an even number of columns.
            paired: self.types.paired(view(self.flat, output.y.dims)),
            pooled_paired: pooled.is_some_and(|dims| self.types.paired(dims))
                && self.tiles.of(frequency).cols.is_multiple_of(4),
        })
    }

    /// What is bound, in the order of the recipe's bindings.
    fn tensors(&self, inputs: Inputs) -> Vec<TensorId> {
        let weights = if self.products == Dtype::F16 { 2 } else { 1 };
        let outputs = || [&self.job.high, &self.job.low].into_iter().flatten();
        let mut tensors = vec![TensorId::Weights; weights];
        tensors.extend(inputs.ids);
        tensors.extend(outputs().filter_map(|output| output.residual));
        tensors.extend(outputs().map(|output| output.y.id));
        tensors.extend(outputs().filter_map(|output| output.pooled).map(|pooled| pooled.id));
        tensors
    }
}

impl Inputs {
    /// Collects the sources of the paths, each once, and tells each path which one it reads. A source is read in pairs
    /// if all of its paths can.
    fn of(paths: &mut [LoweredPath]) -> Self {
        let mut inputs = Self::default();
        for path in paths {
            let known = inputs.ids.iter().position(|&id| id == path.source);
            path.constants.input = known.unwrap_or_else(|| inputs.add(path.source, true));
            inputs.paired[path.constants.input] &= path.pairs;
        }
        inputs
    }

    fn add(&mut self, id: TensorId, paired: bool) -> usize {
        self.ids.push(id);
        self.paired.push(paired);
        self.ids.len() - 1
    }
}

/// The tensor that a path reads.
fn source_shape(dims: Dims) -> PathShape {
    PathShape { source_channels: dims.c, source_t: dims.t, source_h: dims.h, source_w: dims.w, ..PathShape::default() }
}

/// A map, as one row if it is `flat`.
fn view(flat: bool, dims: Dims) -> Dims {
    if flat { Dims { t: 1, h: 1, w: dims.t * dims.h * dims.w, ..dims } } else { dims }
}

/// Tiles of positions that cover a map.
fn tiles_of(dims: Dims, tile: Tile) -> u64 {
    let positions = dims.h.div_ceil(tile.rows) * dims.w.div_ceil(tile.cols);
    u64::from(dims.n) * u64::from(dims.t) * u64::from(positions)
}
