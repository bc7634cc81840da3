//! Lowers a job to a dispatch.

use super::recipe::{Constants, Paired};
use super::tile::{LANES, Tile};
use super::uniform::Shape;
use super::work;
use crate::device::{DeviceFacts, Work};
use crate::dims::{Dims, Extent};
use crate::error::Error;
use crate::kernels::family::Request;
use crate::kernels::job::{Job, Operand, OutputJob, Slice, TensorId};
use crate::kernels::kernel::Kernel;
use crate::kernels::packing::{BiasPacking, Blocks, Offsets, Packing, PathPacking};
use crate::kernels::step::{Grid, Step};
use crate::kernels::types::Types;
use crate::layer::{Downsample, Frequency, Path, Sampling, Spec};

/// The most inputs that a thread holds at once.
const MAX_INPUTS: u32 = 16;

/// A job, and all that is decided for the dispatch as a whole.
struct Lowering<'a> {
    facts: &'a DeviceFacts,
    spec: &'a Spec,
    types: Types,
    job: &'a Job,
    tile: Tile,
    /// How X_H, and X_L, is read. H->L pools what H->H reads once more.
    high: Option<(Operand, Sampling)>,
    low: Option<(Operand, Sampling)>,
    /// The resolution of Y_H.
    fine: Extent,
    /// X_L has the resolution of Y_H.
    low_is_fine: bool,
    /// Blocks of output channels, the same number for both outputs.
    blocks: u32,
}

/// The dispatch that does a job, which `refusal` has accepted, with a fitted tile.
pub(super) fn step(request: &Request, tile: Tile) -> Result<Step, Error> {
    let lowering = Lowering::new(request, tile);
    let Lowering { facts, spec, types, job, .. } = lowering;
    let packing = lowering.packing();
    let offsets = packing.offsets(spec);
    let shape = lowering.weights_shape(lowering.tensors_shape(lowering.threads_shape()), &offsets);
    let workgroup = facts.workgroup_for([u64::from(shape.threads)]);
    let tiles = shape.threads.div_ceil(workgroup);
    let grid = Grid::fold(u64::from(tiles) * u64::from(shape.blocks), facts)?;
    let shape = Shape { tiles, grid_x: grid.x, ..shape };
    let constants = lowering.constants(workgroup);
    let part = work::part(&constants, &shape);
    Ok(Step {
        kernel: Kernel::recipe(constants.name(), constants.recipe()),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: lowering.tensors(),
        grid,
        packing: Some(packing),
        f16_terms: 0,
        work: Work { parts: vec![part], bytes: job.bytes(types.activations) + offsets.bytes },
    })
}

impl<'a> Lowering<'a> {
    fn new(request: &Request<'a>, tile: Tile) -> Self {
        let Request { facts, spec, types, job, .. } = *request;
        let read = |path: Path| job.path(path).map(|p| (p.source, p.sampling));
        let high = read(Path::HH).or_else(|| read(Path::HL).map(|(source, s)| (source, s.before_half())));
        let fine = match (&job.high, high) {
            (Some(output), _) => output.y.dims.extent(),
            (None, Some((source, Sampling { level, step: stride, .. }))) => {
                let map = (0..level).fold(source.dims, |map, _| map.pooled(spec.rounding()));
                Extent { h: map.h.div_ceil(stride), w: map.w.div_ceil(stride) }
            }
            (None, None) => Extent { h: 1, w: 1 },
        };
        let blocks = |output: &Option<OutputJob>, vectors: u32| channels(output).div_ceil((vectors * LANES).max(1));
        Self {
            facts,
            spec,
            types,
            job,
            tile,
            high,
            low: read(Path::LH).or(read(Path::LL)),
            fine,
            low_is_fine: spec.stride() == 2,
            blocks: blocks(&job.high, tile.high_vectors).max(blocks(&job.low, tile.low_vectors)),
        }
    }

    fn packing(&self) -> Packing {
        let blocks = |output: &Option<OutputJob>, vectors: u32| Blocks {
            groups: 1,
            group_channels: channels(output),
            group_blocks: self.blocks,
            block: vectors * LANES,
        };
        let high = blocks(&self.job.high, self.tile.high_vectors);
        let low = blocks(&self.job.low, self.tile.low_vectors);
        let bias = |output: &Option<OutputJob>| output.as_ref().and_then(|output| output.bias);
        let path = |path: Path| {
            let blocks = if path.output() == Frequency::High { high } else { low };
            Some(PathPacking { path: self.job.path(path)?.weights, blocks, inner: [1, 1] })
        };
        Packing {
            dtype: self.types.weights,
            lanes: LANES,
            matrix_slab: None,
            biases: vec![
                BiasPacking { of: bias(&self.job.high), blocks: high },
                BiasPacking { of: bias(&self.job.low), blocks: low },
            ],
            paths: Path::ALL.into_iter().filter_map(path).collect(),
            points: Vec::new(),
        }
    }

    /// The uniform, with the fields of threads and blocks.
    fn threads_shape(&self) -> Shape {
        let any = self.job.high.as_ref().or(self.job.low.as_ref()).map(|output| output.y.dims);
        let (n, t_out) = any.map_or((1, 1), |dims| (dims.n, dims.t));
        let cell_rows = self.fine.h.div_ceil(2).div_ceil(self.tile.rows);
        let cell_cols = self.fine.w.div_ceil(2).div_ceil(self.tile.cols);
        Shape {
            cell_rows,
            cell_cols,
            threads: n * t_out * cell_rows * cell_cols,
            blocks: self.blocks,
            t_out,
            stride_t: self.spec.time().stride,
            slope: self.job.activation.slope(),
            ..Shape::default()
        }
    }

    /// Adds the sizes of all tensors to the uniform.
    fn tensors_shape(&self, shape: Shape) -> Shape {
        let absent = Dims { n: 1, c: 0, t: 1, h: 1, w: 1 };
        let [high, low] = [self.high, self.low].map(|read| read.map_or(absent, |(source, _)| source.dims));
        let slice = |output: &Option<OutputJob>| output.as_ref().map_or(Slice { first: 0, of: 0 }, |o| o.slice);
        let (high_slice, low_slice) = (slice(&self.job.high), slice(&self.job.low));
        let pooled = || self.job.high.as_ref()?.pooled;
        let coarse = self.job.low.as_ref().map(|output| output.y).or_else(pooled).map(|coarse| coarse.dims);
        Shape {
            high_in: high.c,
            high_t: high.t,
            high_h: high.h,
            high_w: high.w,
            fine_h: self.fine.h,
            fine_w: self.fine.w,
            low_in: low.c,
            low_t: low.t,
            low_h: low.h,
            low_w: low.w,
            high_out: channels(&self.job.high),
            low_out: channels(&self.job.low),
            coarse_h: coarse.map_or(0, |dims| dims.h),
            coarse_w: coarse.map_or(0, |dims| dims.w),
            high_of: high_slice.of,
            high_first: high_slice.first,
            low_of: low_slice.of,
            low_first: low_slice.first,
            ..shape
        }
    }

    /// Adds the offsets of biases and weights to the uniform.
    fn weights_shape(&self, shape: Shape, offsets: &Offsets) -> Shape {
        let mut next = offsets.paths.iter().copied();
        let [hh, hl, lh, ll] = Path::ALL.map(|path| self.job.path(path).and_then(|_| next.next()).unwrap_or(0));
        Shape { bias_high: offsets.biases[0], bias_low: offsets.biases[1], hh, hl, lh, ll, ..shape }
    }

    /// Which tensors are moved two columns at a time.
    fn paired(&self) -> Paired {
        // Rows of a paired input must be as long as what is read of them. Beyond their end, both elements would have to
        // be the last one, which no pair is. Rows of low resolution may be too short if an odd width is rounded down.
        let input = |read: Option<(Operand, Sampling)>, columns: u32| {
            read.is_some_and(|(source, _)| self.types.paired(source.dims) && columns <= source.dims.w)
        };
        let output = |y: Option<Operand>| y.is_some_and(|y| self.types.paired(y.dims));
        let (level, stride) = self.high_sampling();
        let whole_pairs = self.tile.cols.is_multiple_of(2);
        let low_w = if self.low_is_fine { self.fine.w } else { self.fine.w.div_ceil(2) };
        Paired {
            x_h: (level > 0 || stride == 1) && input(self.high, (self.fine.w << level) * stride),
            x_l: (self.low_is_fine || whole_pairs) && input(self.low, low_w),
            y_h: output(self.job.high.map(|o| o.y)),
            y_l: whole_pairs && output(self.job.low.map(|o| o.y)),
            y_p: whole_pairs && output(self.job.high.and_then(|o| o.pooled)),
        }
    }

    /// Number of 2x2 means between X_H and what is convolved, and the stride over them.
    fn high_sampling(&self) -> (u32, u32) {
        self.high.map_or((0, 1), |(_, sampling)| (sampling.level, sampling.step))
    }

    fn constants(&self, workgroup: u32) -> Constants {
        let Self { spec, job, tile, .. } = *self;
        let fine = 4 * tile.cells();
        let low = if self.low_is_fine { fine } else { tile.cells() };
        let channels = |read: Option<(Operand, Sampling)>| read.map_or(0, |(source, _)| source.dims.c);
        let residual = |output: &Option<OutputJob>| output.as_ref().is_some_and(|output| output.residual.is_some());
        let (high_level, high_stride) = self.high_sampling();
        Constants {
            types: self.types,
            workgroup,
            tile,
            paths: Path::ALL.map(|path| job.path(path).is_some()),
            unroll: [unroll(channels(self.high), fine), unroll(channels(self.low), low)],
            high_level,
            high_stride,
            low_is_fine: self.low_is_fine,
            strided: spec.downsample() == Downsample::StridedConv,
            residual_high: residual(&job.high),
            residual_low: residual(&job.low),
            writes_high: job.high.is_some(),
            writes_low: job.low.is_some(),
            writes_pooled: job.high.is_some_and(|output| output.pooled.is_some()),
            activation: job.activation,
            paired: self.paired(),
        }
    }

    /// What is bound, in the order of the recipe's bindings.
    fn tensors(&self) -> Vec<TensorId> {
        let outputs = || [&self.job.high, &self.job.low].into_iter().flatten();
        let mut tensors = vec![TensorId::Weights];
        tensors.extend([self.high, self.low].into_iter().flatten().map(|(source, _)| source.id));
        tensors.extend(outputs().filter_map(|output| output.residual));
        tensors.extend(outputs().map(|output| output.y.id));
        tensors.extend(outputs().filter_map(|output| output.pooled).map(|pooled| pooled.id));
        tensors
    }
}

fn channels(output: &Option<OutputJob>) -> u32 {
    output.as_ref().map_or(0, |output| output.y.dims.c)
}

/// Input channels that a thread takes at once, if each has this many inputs. Their loads are under way together. And a
/// software device, which keeps sums in memory between iterations, loads each sum once for all of them.
fn unroll(channels: u32, inputs: u32) -> u32 {
    [4, 2].into_iter().find(|&u| channels.is_multiple_of(u) && u * inputs <= MAX_INPUTS).unwrap_or(1)
}
