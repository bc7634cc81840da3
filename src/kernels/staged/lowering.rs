//! Lowers a job to a dispatch.

use super::recipe::{Constants, Input, OutputConstants, PathConstants};
use super::tile::{self, LANES, Tile, cells};
use super::uniform::{OutputShape, PathShape, Shape};
use super::work::{check_limits, path_part};
use crate::device::{Part, Work};
use crate::kernels::family::{Refusal, Request};
use crate::kernels::job::{Job, Operand, OutputJob, PathJob, TensorId};
use crate::kernels::kernel::Kernel;
use crate::kernels::packing::{BiasPacking, Blocks, Offsets, Packing, PathPacking};
use crate::kernels::step::{Grid, Step};
use crate::kernels::types::{Types, slope};
use crate::layer::{Frequency, Path, Spec};
use crate::precision::Dtype;

/// The dispatch that does a job, or why the family does not do it.
pub(super) fn step(request: &Request, products: Dtype) -> Result<Step, Refusal> {
    let Request { facts, spec, types, job, tile: name } = *request;
    if job.paths.iter().flatten().any(|path| spec.path_groups(path.weights) != 1) {
        return Err("the staged kernel needs one group".into());
    }
    let tile = tile::named(name).filter(|tile| tile.suits(job));
    let tile = tile.ok_or_else(|| format!("half of the tile {name} or more would be idle"))?;
    check_limits(facts, tile, products)?;

    let lowering = Lowering { spec, types, job, tile, products };
    let packing = lowering.packing();
    let offsets = packing.offsets(spec);
    let paths = lowering.path_shapes(&offsets);
    let [high, low] = lowering.output_shapes(&offsets);
    let workgroups = [&high, &low].map(|output| workgroups(output, tile));
    let grid = Grid::fold((workgroups[0] + workgroups[1]) * u64::from(lowering.slices()), facts)?;
    let constants = lowering.constants(&paths, [&high, &low]);
    let work = Work {
        parts: lowering.parts(&constants, &paths, [&high, &low]),
        bytes: job.bytes(types.activations) + offsets.bytes,
    };
    let shape = lowering.shape(paths, [high, low], grid, workgroups);
    Ok(Step {
        kernel: Kernel::recipe(constants.name(), constants.recipe()),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: lowering.tensors(&constants),
        grid,
        packing: Some(packing),
        f16_terms: constants.f16_terms(),
        work,
    })
}

/// A job that the family can do, with one of its tiles.
struct Lowering<'a> {
    spec: &'a Spec,
    types: Types,
    job: &'a Job,
    tile: Tile,
    products: Dtype,
}

/// Workgroups that make an output, of one slice.
fn workgroups(output: &OutputShape, tile: Tile) -> u64 {
    u64::from(output.cells.div_ceil(tile.cells())) * u64::from(output.blocks)
}

impl Lowering<'_> {
    fn slices(&self) -> u32 {
        self.job.slices.unwrap_or(1)
    }

    fn blocks(&self, output: &OutputJob) -> Blocks {
        let (channels, block) = (output.y.dims.c, self.tile.channels);
        Blocks { groups: 1, group_channels: channels, group_blocks: channels.div_ceil(block), block }
    }

    fn packing(&self) -> Packing {
        let bias = |output: &OutputJob| BiasPacking { of: output.bias, blocks: self.blocks(output) };
        let path = |(_, path, output): (Path, &PathJob, &OutputJob)| PathPacking {
            path: path.weights,
            blocks: self.blocks(output),
            inner: [1, 1],
        };
        Packing {
            dtype: self.types.weights,
            lanes: LANES,
            matrix_slab: None,
            biases: self.job.outputs().map(bias).collect(),
            paths: self.job.paths_into_outputs().map(path).collect(),
            points: Vec::new(),
        }
    }

    fn path_shapes(&self, offsets: &Offsets) -> [PathShape; 4] {
        let mut shapes = [PathShape::default(); 4];
        for ((path, path_job, _), &weights) in self.job.paths_into_outputs().zip(&offsets.paths) {
            shapes[path as usize] = self.path_shape(path_job, weights);
        }
        shapes
    }

    fn path_shape(&self, path: &PathJob, weights: u32) -> PathShape {
        let source = path.source.dims;
        let pooled = source.pooled(self.spec.rounding());
        let map = (0..path.sampling.level).fold(source, |map, _| map.pooled(self.spec.rounding()));
        let [_, c_in, kt, kh, kw] = self.spec.weight_shape(path.weights);
        let last = |size: Option<u32>| size.map_or(0, |size| size.saturating_sub(1));
        PathShape {
            c_in,
            source_t: source.t,
            source_h: source.h,
            source_w: source.w,
            pooled_h: pooled.h,
            pooled_w: pooled.w,
            map_h: map.h,
            map_w: map.w,
            last_h: last(self.job.low_extent.map(|extent| extent.h)),
            last_w: last(self.job.low_extent.map(|extent| extent.w)),
            weights,
            taps: kt * kh * kw,
            slabs: c_in.div_ceil(self.tile.slab),
            ..PathShape::default()
        }
    }

    fn output_shapes(&self, offsets: &Offsets) -> [OutputShape; 2] {
        let mut biases = offsets.biases.iter().copied();
        [&self.job.high, &self.job.low].map(|output| match output {
            Some(output) => self.output_shape(output, biases.next().unwrap_or_default()),
            None => OutputShape::default(),
        })
    }

    fn output_shape(&self, output: &OutputJob, bias: u32) -> OutputShape {
        let dims = output.y.dims;
        let pooled = output.pooled.map(|pooled| pooled.dims);
        let given = self.job.low_sums.map(|sums| sums.dims);
        OutputShape {
            c_out: dims.c,
            tensor_c: output.slice.of,
            first_c: output.slice.first,
            t: dims.t,
            h: dims.h,
            w: dims.w,
            cell_rows: dims.h.div_ceil(2),
            cell_cols: dims.w.div_ceil(2),
            cells: cells(output) as u32,
            blocks: self.blocks(output).count(),
            bias,
            pooled_h: pooled.map_or(0, |pooled| pooled.h),
            pooled_w: pooled.map_or(0, |pooled| pooled.w),
            given_h: given.map_or(0, |given| given.h),
            given_w: given.map_or(0, |given| given.w),
            planes: dims.n * dims.c * dims.t,
        }
    }

    fn shape(
        &self,
        [hh, hl, lh, ll]: [PathShape; 4],
        [high, low]: [OutputShape; 2],
        grid: Grid,
        [high_workgroups, low_workgroups]: [u64; 2],
    ) -> Shape {
        let (time, [kernel_h, kernel_w]) = (self.spec.time(), self.spec.kernel());
        let ([padding_h, padding_w], [dilation_h, dilation_w]) = (self.spec.padding(), self.spec.dilation());
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
            kernel_h,
            kernel_w,
            stride_t: time.stride,
            padding_t: time.padding,
            padding_h,
            padding_w,
            dilation_t: time.dilation,
            dilation_h,
            dilation_w,
            slope: slope(self.job.activation),
            slices: self.slices(),
            unused_a: 0,
            unused_b: 0,
        }
    }

    fn constants(&self, shapes: &[PathShape; 4], [high, low]: [&OutputShape; 2]) -> Constants {
        let job = self.job;
        let mut inputs = Vec::new();
        let mut paths = [None; 4];
        let mut padded = false;
        for (path, path_job, output) in job.paths_into_outputs() {
            let shape = &shapes[path as usize];
            padded |= self.reaches_outside(path_job, shape, output);
            paths[path as usize] = Some(PathConstants {
                input: self.input(&mut inputs, path_job.source.id, self.reads_pairs(path_job, shape)),
                level: path_job.sampling.level,
                stride: path_job.sampling.step,
                ragged: !shape.c_in.is_multiple_of(self.tile.slab),
                replicated: path_job.sampling.upsample,
            });
        }
        let given = job.low_sums.map(|Operand { id, .. }| self.input(&mut inputs, id, false));
        Constants {
            types: self.types,
            products: self.products,
            tile: self.tile,
            inputs,
            paths,
            given,
            outputs: [self.output_constants(&job.high, high), self.output_constants(&job.low, low)],
            padded,
            sliced: job.slices.is_some(),
            activation: job.activation,
        }
    }

    /// The place of a tensor among the inputs, to which it is added if it is new. It is read in pairs if all readers
    /// can.
    fn input(&self, inputs: &mut Vec<Input>, id: TensorId, paired: bool) -> usize {
        let place = inputs.iter().position(|input| input.id == id).unwrap_or_else(|| {
            inputs.push(Input { id, paired: self.types.pairs() });
            inputs.len() - 1
        });
        inputs[place].paired &= paired;
        place
    }

    /// Whether a path can read two columns at a time: if both belong to one mean, or to adjacent positions of a cell.
    fn reads_pairs(&self, path: &PathJob, shape: &PathShape) -> bool {
        let sampling = path.sampling;
        let one_to_one = self.spec.kernel()[1] == 1 && self.spec.padding()[1] == 0 && sampling.step == 1;
        !sampling.upsample && shape.source_w.is_multiple_of(2) && (sampling.level > 0 || one_to_one)
    }

    /// Whether any tap of any position lies outside of the map.
    fn reaches_outside(&self, path: &PathJob, shape: &PathShape, output: &OutputJob) -> bool {
        let spec = self.spec;
        let (time, kernel, padding, dilation) = (spec.time(), spec.kernel(), spec.padding(), spec.dilation());
        let (dims, stride) = (output.y.dims, path.sampling.step);
        // If L->H is replicated, outputs are those of its convolution at low resolution.
        let (h, w) = if path.sampling.upsample { (shape.last_h + 1, shape.last_w + 1) } else { (dims.h, dims.w) };
        let beyond = |outputs: u32, stride: u32, kernel: u32, dilation: u32, inputs: u32| {
            let last = u64::from(outputs - 1) * u64::from(stride) + u64::from(kernel - 1) * u64::from(dilation);
            last >= u64::from(inputs)
        };
        time.padding > 0
            || padding != [0, 0]
            || beyond(dims.t, time.stride, time.kernel, time.dilation, shape.source_t)
            || beyond(h, stride, kernel[0], dilation[0], shape.map_h)
            || beyond(w, stride, kernel[1], dilation[1], shape.map_w)
    }

    fn output_constants(&self, output: &Option<OutputJob>, shape: &OutputShape) -> OutputConstants {
        let Some(output) = output else { return OutputConstants::default() };
        let whole = shape.c_out.is_multiple_of(self.tile.channels)
            && shape.cells.is_multiple_of(self.tile.cells())
            && shape.h.is_multiple_of(2)
            && shape.w.is_multiple_of(2);
        OutputConstants {
            edges: !whole,
            partial: output.bias.is_none(),
            residual: output.residual.is_some(),
            paired: self.types.paired(output.y.dims),
            written: true,
            pooled: output.pooled.is_some(),
        }
    }

    /// What is bound, in the order of the recipe's bindings.
    fn tensors(&self, constants: &Constants) -> Vec<TensorId> {
        let outputs = [&self.job.high, &self.job.low].map(Option::as_ref);
        let mut tensors = vec![TensorId::Weights];
        if self.products == Dtype::F16 {
            // Biases are a second binding of the same buffer.
            tensors.push(TensorId::Weights);
        }
        tensors.extend(constants.inputs.iter().map(|input| input.id));
        tensors.extend(outputs.iter().filter_map(|output| (*output)?.residual));
        tensors.extend(outputs.iter().filter_map(|output| Some((*output)?.y.id)));
        tensors.extend(self.job.high.and_then(|high| high.pooled).map(|pooled| pooled.id));
        tensors
    }

    /// What the threads of each output do.
    fn parts(&self, constants: &Constants, paths: &[PathShape; 4], outputs: [&OutputShape; 2]) -> Vec<Part> {
        let (tile, types, slices) = (self.tile, self.types, self.slices());
        let mut parts = [Part::default(); 2];
        for (path, path_job, _) in self.job.paths_into_outputs() {
            let shape = &paths[path as usize];
            let Some(PathConstants { input, .. }) = constants.paths[path as usize] else { continue };
            let per_load = types.elements_a_load(constants.inputs[input].paired);
            let slabs = shape.slabs.div_ceil(slices);
            let part = path_part(tile, self.products, path_job, shape.taps, slabs, per_load);
            parts[usize::from(path.output() == Frequency::Low)].add(part);
        }
        let made = u64::from(tile.thread_channels * tile.thread_positions);
        let stored = types.of_partial_sums(self.job.slices.is_some());
        for (part, shape) in parts.iter_mut().zip(outputs) {
            part.threads = workgroups(shape, tile) * u64::from(tile.workgroup() * slices);
            part.stores = made / stored.elements_a_load(types.pairs() && shape.w.is_multiple_of(2));
        }
        if self.job.low_sums.is_some() {
            parts[0].loads += made / 4;
        }
        parts.to_vec()
    }
}
