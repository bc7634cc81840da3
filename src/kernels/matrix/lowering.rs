//! Lowers a job to a dispatch.

use super::limits::{device_refusal, workgroup};
use super::recipe::{Constants, OutputConstants, PathConstants};
use super::slab::{Problem, Slab, counted, is_convolved_into, upsampled};
use super::tile;
use super::uniform::{OutputShape, PathShape, Shape};
use super::work::Threads;
use crate::device::{Part, Work};
use crate::kernels::family::{Refusal, Request};
use crate::kernels::job::{Job, OutputJob, PathJob, TensorId};
use crate::kernels::kernel::Kernel;
use crate::kernels::packing::{BiasPacking, Blocks, Offsets, Packing, PathPacking};
use crate::kernels::step::{Grid, Step};
use crate::kernels::types::{Types, slope};
use crate::layer::{Frequency, Path, Spec};
use crate::precision::Dtype;

/// The dispatch that does a job, or why the family does not do it.
pub(super) fn step(request: &Request) -> Result<Step, Refusal> {
    let Request { facts, spec, types, job, tile: name } = *request;
    if let Some(reason) = types_refusal(types).or_else(|| device_refusal(facts)).or_else(|| job_refusal(spec, job)) {
        return Err(reason.into());
    }
    let tile = tile::named(name).ok_or("it has no such tile")?;
    let side = facts.matrix.unwrap_or(16);
    let problem = Problem { facts, spec, job, tile, side, workgroup: workgroup(facts, tile, side)? };
    let slab = problem.slab()?;
    let lowering = Lowering { problem, slab, word: problem.word(slab) };

    let packing = lowering.packing();
    let offsets = packing.offsets(spec);
    let paths = lowering.path_shapes(&offsets);
    let [high, low] = lowering.output_shapes(&offsets);
    let workgroups = [lowering.workgroups(&job.high, &high), lowering.workgroups(&job.low, &low)];
    let grid = Grid::fold((workgroups[0] + workgroups[1]) * u64::from(lowering.slices()), facts)?;
    let constants = lowering.constants(&paths);
    let work = Work { parts: lowering.parts(&paths, workgroups), bytes: job.bytes(Dtype::F16) + offsets.bytes };
    let shape = lowering.shape(paths, [high, low], grid, workgroups);
    Ok(Step {
        kernel: Kernel::recipe(constants.name(), constants.recipe()),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: lowering.tensors(constants.inputs),
        grid,
        packing: Some(packing),
        f16_terms: 0,
        work,
    })
}

fn types_refusal(types: Types) -> Option<&'static str> {
    let halves = types.activations == Dtype::F16 && types.weights == Dtype::F16;
    (!halves).then_some("the matrix kernel needs f16 activations and f16 weights")
}

/// Why the family cannot do a job on any device, or nothing.
fn job_refusal(spec: &Spec, job: &Job) -> Option<&'static str> {
    let mut paths = job.paths.iter().flatten();
    if paths.clone().any(|path| spec.path_groups(path.weights) != 1) {
        Some("the matrix kernel needs one group")
    } else if paths.any(|path| path.sampling.level > 0) {
        Some("the matrix kernel needs maps that the caller or an earlier dispatch has pooled")
    } else if upsampled(job).is_some_and(|[source, wanted]| !is_convolved_into(spec, source, wanted)) {
        Some("the matrix kernel needs L->H at half of the size of Y_H, or made by an earlier dispatch")
    } else {
        None
    }
}

/// A job that the family can do, and how it does it.
struct Lowering<'a> {
    problem: Problem<'a>,
    slab: Slab,
    /// Columns of a word of the inputs.
    word: u32,
}

impl Lowering<'_> {
    fn slices(&self) -> u32 {
        self.problem.job.slices.unwrap_or(1)
    }

    /// Channels of a slab.
    fn slab_channels(&self) -> u32 {
        self.slab.depth * self.problem.side
    }

    /// Taps of the kernel.
    fn taps(&self) -> u32 {
        let [kernel_h, kernel_w] = self.problem.spec.kernel();
        self.problem.spec.time().kernel * kernel_h * kernel_w
    }

    /// Iterations for each slab of channels: one per tap, or one per frame of taps.
    fn iterations_per_slab(&self) -> u32 {
        if self.slab.windowed { self.problem.spec.time().kernel } else { self.taps() }
    }

    fn blocks(&self, output: &OutputJob) -> Blocks {
        let Problem { tile, side, .. } = self.problem;
        let group_channels = output.y.dims.c;
        let group_blocks = group_channels.div_ceil(side).next_multiple_of(tile.rows());
        Blocks { groups: 1, group_channels, group_blocks, block: side }
    }

    fn packing(&self) -> Packing {
        let job = self.problem.job;
        let bias = |output: &OutputJob| BiasPacking { of: output.bias, blocks: self.blocks(output) };
        let path = |(_, path, output): (Path, &PathJob, &OutputJob)| PathPacking {
            path: path.weights,
            blocks: self.blocks(output),
            inner: [1, 1],
        };
        Packing {
            dtype: Dtype::F16,
            lanes: 1,
            matrix_slab: Some(self.slab.depth),
            biases: job.outputs().map(bias).collect(),
            paths: job.paths_into_outputs().map(path).collect(),
            points: Vec::new(),
        }
    }

    fn path_shapes(&self, offsets: &Offsets) -> [PathShape; 4] {
        let mut shapes = [PathShape::default(); 4];
        for ((path, path_job, _), &weights) in self.problem.job.paths_into_outputs().zip(&offsets.paths) {
            let source = path_job.source.dims;
            let c_in = self.problem.spec.weight_shape(path_job.weights)[1];
            let slabs = c_in.div_ceil(self.slab_channels());
            shapes[path as usize] = PathShape {
                c_in,
                slabs,
                source_t: source.t,
                source_h: source.h,
                source_w: source.w,
                stride: path_job.sampling.step,
                weights,
                row_size: self.taps() * slabs * self.slab.depth,
            };
        }
        shapes
    }

    fn output_shapes(&self, offsets: &Offsets) -> [OutputShape; 2] {
        let job = self.problem.job;
        let mut biases = offsets.biases.iter().copied();
        [&job.high, &job.low].map(|output| match output {
            Some(output) => self.output_shape(output, biases.next().unwrap_or_default()),
            None => OutputShape::default(),
        })
    }

    fn output_shape(&self, output: &OutputJob, bias: u32) -> OutputShape {
        let dims = output.y.dims;
        let [counted_rows, counted_cols] = counted(self.problem.spec, dims, self.slab.windowed);
        let pooled = output.pooled.map(|pooled| pooled.dims);
        let given = self.problem.job.low_sums.map(|sums| sums.dims);
        OutputShape {
            tensor_c: output.slice.of,
            first_c: output.slice.first,
            c_out: dims.c,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            counted_rows,
            counted_cols,
            cells: dims.n * dims.t * counted_rows * counted_cols,
            blocks: self.blocks(output).group_blocks / self.problem.tile.rows(),
            bias,
            pooled_h: pooled.map_or(0, |pooled| pooled.h),
            pooled_w: pooled.map_or(0, |pooled| pooled.w),
            given_h: given.map_or(0, |given| given.h),
            given_w: given.map_or(0, |given| given.w),
            planes: dims.n * dims.c * dims.t,
        }
    }

    /// Workgroups that make an output, of one slice.
    fn workgroups(&self, output: &Option<OutputJob>, shape: &OutputShape) -> u64 {
        let across = |output: &OutputJob| self.problem.workgroups_across(output.y.dims, self.slab.windowed);
        output.as_ref().map_or(0, across) * u64::from(shape.blocks)
    }

    fn shape(
        &self,
        [hh, hl, lh, ll]: [PathShape; 4],
        [high, low]: [OutputShape; 2],
        grid: Grid,
        [high_workgroups, low_workgroups]: [u64; 2],
    ) -> Shape {
        let Problem { spec, job, .. } = self.problem;
        let (time, [kernel_h, kernel_w]) = (spec.time(), spec.kernel());
        let ([padding_h, padding_w], [dilation_h, dilation_w]) = (spec.padding(), spec.dilation());
        Shape {
            hh,
            hl,
            lh,
            ll,
            high,
            low,
            grid_x: grid.x,
            high_workgroups: high_workgroups as u32,
            workgroups: (high_workgroups + low_workgroups) as u32,
            stride_t: time.stride,
            kernel_t: time.kernel,
            kernel_h,
            kernel_w,
            padding_t: time.padding,
            padding_h,
            padding_w,
            dilation_t: time.dilation,
            dilation_h,
            dilation_w,
            slope: slope(job.activation),
            slices: self.slices(),
            unused: 0,
        }
    }

    fn constants(&self, shapes: &[PathShape; 4]) -> Constants {
        let Problem { spec, job, tile, side, workgroup, .. } = self.problem;
        let mut inputs = Vec::new();
        let mut paths = [None; 4];
        for (path, path_job, _) in job.paths_into_outputs() {
            paths[path as usize] = Some(PathConstants {
                input: place_of(&mut inputs, path_job.source.id),
                whole: shapes[path as usize].c_in.is_multiple_of(self.slab_channels()),
            });
        }
        let output = |output: &Option<OutputJob>| match output {
            Some(output) => OutputConstants {
                written: true,
                residual: output.residual.is_some(),
                paired: output.y.dims.w.is_multiple_of(2),
                partial: false,
            },
            None => OutputConstants::default(),
        };
        let partial = job.high.is_some_and(|high| high.bias.is_none());
        Constants {
            side,
            tile,
            slab: self.slab,
            workgroup,
            inputs,
            word: self.word,
            pairs_straddle: self.slab.windowed && self.word == 2 && spec.padding()[1] % 2 == 1,
            paths,
            given: job.low_sums.is_some(),
            high: OutputConstants { partial, ..output(&job.high) },
            low: output(&job.low),
            pooled: job.high.is_some_and(|high| high.pooled.is_some()),
            sliced: job.slices.is_some(),
            activation: job.activation,
        }
    }

    /// What is bound, in the order of the recipe's bindings.
    fn tensors(&self, inputs: Vec<TensorId>) -> Vec<TensorId> {
        let job = self.problem.job;
        let outputs = [&job.high, &job.low].map(Option::as_ref);
        // One buffer with biases and weights.
        let mut tensors = vec![TensorId::Weights, TensorId::Weights];
        tensors.extend(inputs);
        tensors.extend(job.low_sums.map(|sums| sums.id));
        tensors.extend(outputs.iter().filter_map(|output| (*output)?.residual));
        tensors.extend(outputs.iter().filter_map(|output| Some((*output)?.y.id)));
        tensors.extend(job.high.and_then(|high| high.pooled).map(|pooled| pooled.id));
        tensors
    }

    /// What the threads of each output do.
    fn parts(&self, shapes: &[PathShape; 4], [high_workgroups, low_workgroups]: [u64; 2]) -> Vec<Part> {
        let job = self.problem.job;
        // Iterations over the paths into each output, and over an L->H that is replicated.
        let mut iterations = [0; 2];
        let mut replicated = 0;
        for (path, path_job, _) in job.paths_into_outputs() {
            let of_path = self.iterations_per_slab() * shapes[path as usize].slabs;
            match path_job.sampling.upsample {
                true => replicated += of_path,
                false => iterations[usize::from(path.output() == Frequency::Low)] += of_path,
            }
        }
        let part = |workgroups: u64, output: &Option<OutputJob>, iterations: u32, replicated: u32| {
            let [iterations, replicated] = [iterations, replicated].map(|all| all.div_ceil(self.slices()).into());
            Threads {
                threads: workgroups * u64::from(self.problem.workgroup * self.slices()),
                iterations,
                replicated,
                paired: output.is_some_and(|output| output.y.dims.w.is_multiple_of(2)),
            }
            .part(&self.problem, self.slab, self.word)
        };
        vec![
            part(high_workgroups, &job.high, iterations[0], replicated),
            part(low_workgroups, &job.low, iterations[1], 0),
        ]
    }
}

/// The place of a tensor among the inputs, to which it is added if it is new.
fn place_of(inputs: &mut Vec<TensorId>, id: TensorId) -> usize {
    inputs.iter().position(|&other| other == id).unwrap_or_else(|| {
        inputs.push(id);
        inputs.len() - 1
    })
}
