//! Host twin of `shaders/scale.wgsl`: batch norms, excitations and copies of maps, with their means where asked for.

use super::wgsl::Source;
use super::{Access, ELEMENTWISE_WORKGROUP, Kernel, Types, activation_number, slope};
use crate::device::DeviceFacts;
use crate::device::Words;
use crate::device::Work;
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Slice, TensorId};
use crate::kernels::{Grid, Step};
use crate::layer::Activation;
use crate::precision::Dtype;

/// By what a map is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Nothing.
    Copy,
    /// A factor and a shift for each channel, as [`pack`] lays them out: a batch norm.
    Channel,
    /// A factor for each sample and channel: an excitation.
    Sample,
}

/// Elements of a thread, or pairs of them: 256x56x56 takes 3.4 ms on lavapipe, and 12.7 ms with one.
const ELEMENTS: u32 = 4;

/// 2x2 blocks of a thread that writes their means.
const BLOCKS: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    words: Words,
    form: Form,
    residual: bool,
    activation: u32,
    /// Whether maps are read and written two elements at a time.
    paired: bool,
    writes_pooled: bool,
    /// Pairs of rows of a thread that writes means.
    rows: u32,
    /// Whether the means are written two columns at a time.
    pooled_paired: bool,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    threads: u32,
    grid_x: u32,
    channels: u32,
    plane: u32,
    stride: u32,
    x_first: u32,
    x_of: u32,
    y_first: u32,
    y_of: u32,
    factors_first: u32,
    factors_of: u32,
    slope: f32,
    t: u32,
    h: u32,
    w: u32,
    pooled_h: u32,
    pooled_w: u32,
    row_stride: u32,
    unused: [u32; 2],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        match self.form {
            Form::Copy => "copy".into(),
            Form::Channel => "norm".into(),
            Form::Sample => "scale".into(),
        }
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP).with_words(self.words);
        source.constant("ACTIVATION", self.activation);
        source.constant("ELEMENTS", ELEMENTS);
        source.constant("BLOCKS", BLOCKS);
        source.constant("ROWS", self.rows);
        source.flag("PAIRED", self.paired);
        source.flag("WRITES_Y_P", self.writes_pooled);
        source.flag("POOLED_PAIRED", self.pooled_paired);
        source.paired_input("x", true, self.paired);
        let value = match self.form {
            Form::Copy => "vec2(1.0, 0.0)",
            Form::Channel => {
                source.binding(Access::Read, "params", "vec2<f32>");
                "params[c]"
            }
            Form::Sample => {
                source.binding(Access::Read, "factors", "f32");
                "vec2(factors[n * shape.factors_of + shape.factors_first + c], 0.0)"
            }
        };
        source.line(&format!("fn affine(n: u32, c: u32) -> vec2<f32> {{ return {value}; }}"));
        source.paired_input("residual", self.residual, self.paired);
        source.paired_output("y", true, self.paired);
        source.paired_output("y_p", self.writes_pooled, self.pooled_paired);
        source.file(include_str!("../../shaders/activate.wgsl"));
        source.file(include_str!("../../shaders/scale.wgsl"));
        source
    }
}

/// What to scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// Of the channels worked on.
    pub(crate) dims: Dims,
    /// Where they lie in X.
    pub(crate) x: Slice,
    /// Where they lie in Y.
    pub(crate) y: Slice,
    pub(crate) form: Form,
    /// Where the factors of [`Form::Sample`] lie in their vector; of no meaning to the others.
    pub(crate) factors: Slice,
    pub(crate) residual: bool,
    pub(crate) activation: Activation,
    /// Of pool(Y), where that is to be written: a tensor of these channels alone.
    pub(crate) pooled: Option<Dims>,
}

/// Scales X (`XH`) by params (`Weights`) or factors (`XP`) into Y (`YH`), adding the residual (`ResidualH`), and
/// writes pool(Y) (`YP`) where the job has it.
pub(crate) fn step(facts: &DeviceFacts, types: Types, job: &Job) -> Result<Step, Error> {
    let Job { dims, x, y, form, factors, residual, activation, pooled } = *job;
    let plane = dims.t * dims.h * dims.w;
    // What a thread begins with costs a software device as much as a dozen elements.
    let rows = if facts.software { 4 } else { 1 };
    let row_stride = dims.h.div_ceil(2).div_ceil(rows);
    let (paired, stride, times) = match pooled {
        Some(_) => (types.paired(dims), dims.w.div_ceil(2).div_ceil(BLOCKS), dims.t * row_stride),
        None => {
            let paired = types.pairs() && plane.is_multiple_of(2);
            (paired, plane.div_ceil(if paired { 2 * ELEMENTS } else { ELEMENTS }), 1)
        }
    };
    let threads = u64::from(dims.n) * u64::from(dims.c) * u64::from(times) * u64::from(stride);
    let grid = Grid::fold(threads.div_ceil(u64::from(ELEMENTWISE_WORKGROUP)), facts)?;
    let shape = Shape {
        threads: threads as u32,
        grid_x: grid.x,
        channels: dims.c,
        plane,
        stride,
        x_first: x.first,
        x_of: x.of,
        y_first: y.first,
        y_of: y.of,
        factors_first: factors.first,
        factors_of: factors.of,
        slope: slope(activation),
        t: dims.t,
        h: dims.h,
        w: dims.w,
        pooled_h: pooled.map_or(0, |p| p.h),
        pooled_w: pooled.map_or(0, |p| p.w),
        row_stride,
        unused: [0; 2],
    };
    let by = match form {
        Form::Copy => None,
        Form::Channel => Some(TensorId::Weights),
        Form::Sample => Some(TensorId::XP),
    };
    let tensors = [
        Some(TensorId::XH),
        by,
        residual.then_some(TensorId::ResidualH),
        Some(TensorId::YH),
        pooled.map(|_| TensorId::YP),
    ];
    Ok(Step {
        kernel: Kernel::Scale(Constants {
            activations: types.activations,
            words: types.words,
            form,
            residual,
            activation: activation_number(activation),
            paired,
            writes_pooled: pooled.is_some(),
            rows,
            pooled_paired: pooled.is_some_and(|p| types.paired(p)),
        }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: tensors.into_iter().flatten().collect(),
        grid,
        packing: None,
        f16_terms: 0,
        work: Work::default(),
    })
}

/// The params of [`Form::Channel`]: (factor, shift) channel by channel.
pub(crate) fn pack(affine: impl IntoIterator<Item = (f32, f32)>) -> Vec<u8> {
    affine.into_iter().flat_map(|(factor, shift)| [factor, shift]).flat_map(f32::to_le_bytes).collect()
}

#[cfg(all(test, feature = "verify"))]
mod tests {
    use super::super::testing::{Wanted, check_all, contexts, facts, values};
    use super::*;
    use crate::context::encode;

    fn compare(job: &Job, activations: Dtype) {
        let Job { dims, x, y, form, factors, residual, activation, pooled } = *job;
        let plane = u64::from(dims.t * dims.h * dims.w);
        let x_values = values(1, dims.with_channels(x.of).elements(), activations);
        let residuals = values(2, dims.elements(), activations);
        let params = values(3, 2 * u64::from(dims.c), Dtype::F32);
        let excitation = values(4, u64::from(dims.n * factors.of), Dtype::F32);
        let mut wanted = vec![None; dims.with_channels(y.of).elements() as usize];
        for n in 0..u64::from(dims.n) {
            for c in 0..u64::from(dims.c) {
                let (factor, shift) = match form {
                    Form::Copy => (1.0, 0.0),
                    Form::Channel => (params[2 * c as usize], params[2 * c as usize + 1]),
                    Form::Sample => {
                        (excitation[(n * u64::from(factors.of) + u64::from(factors.first) + c) as usize], 0.0)
                    }
                };
                let at = |slice: Slice| ((n * u64::from(slice.of) + u64::from(slice.first) + c) * plane) as usize;
                for i in 0..plane as usize {
                    let mut value = f64::from(x_values[at(x) + i]) * f64::from(factor) + f64::from(shift);
                    if residual {
                        value += f64::from(residuals[at(Slice::whole(dims.c)) + i]);
                    }
                    wanted[at(y) + i] = Some(activation.apply(value));
                }
            }
        }
        let inputs = [
            (TensorId::XH, encode(&x_values, activations)),
            (TensorId::Weights, pack(params.chunks_exact(2).map(|pair| (pair[0], pair[1])))),
            (TensorId::XP, encode(&excitation, Dtype::F32)),
            (TensorId::ResidualH, encode(&residuals, activations)),
        ];
        let error = if form == Form::Copy && !residual && activation == Activation::None { 0.0 } else { 2e-6 };
        let means = pooled.map(|to| Wanted { dtype: activations, values: means(dims, to, y, &wanted), error });
        let whole = Wanted { dtype: activations, values: wanted, error };
        let wanted: Vec<_> =
            [Some((TensorId::YH, &whole)), means.as_ref().map(|m| (TensorId::YP, m))].into_iter().flatten().collect();
        for context in contexts() {
            for facts in facts(context) {
                let types = Types { activations, weights: Dtype::F32, words: facts.words() };
                let step = step(&facts, types, job).unwrap();
                check_all(&format!("{job:?}, {activations}"), context, &step, &inputs, &wanted);
            }
        }
    }

    /// The means of those of each 2x2 block of the slice `y` that exist.
    fn means(from: Dims, to: Dims, y: Slice, values: &[Option<f64>]) -> Vec<Option<f64>> {
        let [rows, cols, frames] = [from.h, from.w, from.t].map(|size| size as usize);
        let mut means = Vec::new();
        for n in 0..from.n {
            for c in 0..from.c {
                let channel = (n * y.of + y.first + c) as usize;
                for frame in channel * frames..(channel + 1) * frames {
                    for (row, col) in (0..to.h as usize).flat_map(|row| (0..to.w as usize).map(move |col| (row, col))) {
                        let under = (2 * row..rows.min(2 * row + 2))
                            .flat_map(|y| (2 * col..cols.min(2 * col + 2)).map(move |x| (y, x)));
                        let under: Vec<_> = under.filter_map(|(y, x)| values[(frame * rows + y) * cols + x]).collect();
                        means.push(Some(under.iter().sum::<f64>() / under.len() as f64));
                    }
                }
            }
        }
        means
    }

    fn job([n, c, t, h, w]: [u32; 5], form: Form) -> Job {
        Job {
            dims: Dims { n, c, t, h, w },
            x: Slice::whole(c),
            y: Slice::whole(c),
            form,
            factors: Slice::whole(c),
            residual: false,
            activation: Activation::None,
            pooled: None,
        }
    }

    #[test]
    fn writes_means() {
        use crate::layer::Rounding;
        for (rounding, [h, w]) in [Rounding::Ceil, Rounding::Floor]
            .into_iter()
            .flat_map(|rounding| [[2, 2], [6, 8], [7, 12], [5, 11], [8, 9], [3, 18]].map(|size| (rounding, size)))
        {
            for activations in [Dtype::F32, Dtype::F16] {
                let plain = job([2, 3, 2, h, w], Form::Channel);
                let pooled = Some(plain.dims.pooled(rounding));
                compare(&Job { pooled, ..plain }, activations);
                let [x, y] = [Slice { first: 2, of: 6 }, Slice { first: 1, of: 5 }];
                let sample = Job { form: Form::Sample, residual: true, activation: Activation::Relu, ..plain };
                compare(&Job { pooled, x, y, ..sample }, activations);
            }
        }
    }

    #[test]
    fn scales_slices_of_maps() {
        for form in [Form::Copy, Form::Channel, Form::Sample] {
            for residual in [false, true] {
                for activations in [Dtype::F32, Dtype::F16] {
                    let whole = Job { residual, ..job([1, 1, 1, 1, 1], form) };
                    let odd = Job { residual, activation: Activation::Relu, ..job([3, 5, 1, 7, 3], form) };
                    let [x, y] = [Slice { first: 0, of: 7 }, Slice { first: 2, of: 8 }];
                    let factors = Slice { first: 4, of: 9 };
                    compare(&whole, activations);
                    compare(&odd, activations);
                    compare(&Job { x, y, factors, ..odd }, activations);
                    let clip = Job { residual, ..job([2, 3, 3, 2, 5], form) };
                    compare(&Job { x: Slice { first: 1, of: 4 }, ..clip }, activations);
                }
            }
        }
    }

    #[test]
    fn activates() {
        let leaky = Activation::LeakyRelu { slope: 0.1 };
        for activation in [Activation::Relu6, Activation::Silu, Activation::HardSwish, leaky] {
            compare(&Job { activation, residual: true, ..job([1, 2, 1, 5, 5], Form::Channel) }, Dtype::F32);
        }
    }
}
