//! Host code of `shaders/network/scale.wgsl`: batch norms, excitations, activations, sums and copies of maps, and pool(Y)
//! if wanted.

use super::access::Access;
use super::job::{Slice, TensorId};
use super::source::Recipe;
use super::step::{Grid, Kernel, Step};
use super::types::{ELEMENTWISE_WORKGROUP, Types, activation_number, slope};
use super::uniform::uniform;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::Error;
use crate::layer::Activation;

/// What a map is scaled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Nothing: the map is copied.
    Copy,
    /// A factor and a shift per channel, as [`pack`] lays them out: a batch norm.
    Channel,
    /// A factor per sample and channel: an excitation.
    Sample,
}

/// Elements per thread, or pairs if paired. More than one, because the start of a thread costs more than an element.
const ELEMENTS: u32 = 4;

/// Cells per thread and pair of rows, if pool(Y) is written.
const CELLS: u32 = 2;

uniform! {
    struct Shape {
        threads: u32,
        grid_x: u32,
        channels: u32,
        plane: u32,
        threads_w: u32,
        x_first: u32,
        x_channels: u32,
        y_first: u32,
        y_channels: u32,
        factors_first: u32,
        factors_channels: u32,
        slope: f32,
        t: u32,
        h: u32,
        w: u32,
        pooled_h: u32,
        pooled_w: u32,
        threads_h: u32,
        unused_a: u32,
        unused_b: u32,
    }
}

/// How the work is cut into threads.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Whether maps are read and written two elements at a time.
    paired: bool,
    /// Pairs of rows per thread, if pool(Y) is written.
    rows: u32,
    /// Threads of a plane, or along a row if pool(Y) is written.
    threads_w: u32,
    /// Threads along a column, if pool(Y) is written.
    threads_h: u32,
}

fn recipe(types: Types, job: &Job, cut: Cut) -> Recipe {
    let sums = |are_sums| types.of_partial_sums(are_sums).form(true, cut.paired);
    let pooled = job.pooled.map_or(types.form(false, false), |dims| types.form(true, types.paired(dims)));
    let recipe = Recipe::new("network/scale")
        .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
        .constant("ACTIVATION", activation_number(job.activation))
        .constant("ELEMENTS", ELEMENTS)
        .constant("CELLS", CELLS)
        .constant("ROWS", cut.rows)
        .flag("PAIRED", cut.paired)
        .flag("WRITES_Y_P", job.pooled.is_some())
        .flag("POOLED_PAIRED", job.pooled.is_some_and(|dims| types.paired(dims)))
        .input("x", sums(job.from_sums));
    let recipe = match job.form {
        Form::Copy => recipe.file("network/affine", "network/affine_absent"),
        Form::Channel => recipe.binding("params", Access::Read),
        Form::Sample => recipe.file("network/affine", "network/affine_sample").binding("factors", Access::Read),
    };
    recipe
        .input("out_residual", types.form(job.residual, cut.paired))
        .output("out_y", sums(job.to_sums))
        .output("y_p", pooled)
}

/// What to scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// The dims of what is scaled: `c` counts only the channels that are scaled.
    pub(crate) dims: Dims,
    /// Where these channels lie in X.
    pub(crate) x: Slice,
    /// Where these channels lie in Y.
    pub(crate) y: Slice,
    pub(crate) form: Form,
    /// Where the factors of [`Form::Sample`] lie in their vector. Not used by other forms.
    pub(crate) factors: Slice,
    pub(crate) residual: bool,
    pub(crate) activation: Activation,
    /// The dims of pool(Y), if it is written: a tensor with only the channels that are scaled.
    pub(crate) pooled: Option<Dims>,
    /// Whether X has partial sums, which are f32.
    pub(crate) from_sums: bool,
    /// Whether Y gets partial sums.
    pub(crate) to_sums: bool,
}

impl Job {
    fn cut(&self, facts: &DeviceFacts, types: Types) -> Cut {
        let Dims { t, h, w, .. } = self.dims;
        // On a software device, the start of a thread costs as much as a dozen elements.
        let rows = if facts.software { 4 } else { 1 };
        let threads_h = h.div_ceil(2).div_ceil(rows);
        if self.pooled.is_some() {
            let threads_w = w.div_ceil(2).div_ceil(CELLS);
            return Cut { paired: types.paired(self.dims), rows, threads_w, threads_h };
        }
        let plane = t * h * w;
        let paired = types.pairs() && plane.is_multiple_of(2);
        let threads_w = plane.div_ceil(if paired { 2 * ELEMENTS } else { ELEMENTS });
        Cut { paired, rows, threads_w, threads_h }
    }

    fn threads(&self, cut: Cut) -> u64 {
        let planes = u64::from(self.dims.n) * u64::from(self.dims.c);
        let rows = if self.pooled.is_some() { self.dims.t * cut.threads_h } else { 1 };
        planes * u64::from(rows) * u64::from(cut.threads_w)
    }

    fn name(&self) -> &'static str {
        match self.form {
            Form::Copy if self.residual => "sum",
            Form::Copy if self.activation != Activation::None => "activate",
            Form::Copy => "copy",
            Form::Channel => "norm",
            Form::Sample => "scale",
        }
    }

    /// What is bound, in binding order.
    fn tensors(&self) -> Vec<TensorId> {
        let by = match self.form {
            Form::Copy => None,
            Form::Channel => Some(TensorId::Weights),
            Form::Sample => Some(TensorId::XP),
        };
        let residual = self.residual.then_some(TensorId::ResidualH);
        let pooled = self.pooled.map(|_| TensorId::YP);
        [Some(TensorId::XH), by, residual, Some(TensorId::YH), pooled].into_iter().flatten().collect()
    }
}

/// Scales X (`XH`) by params (`Weights`) or factors (`XP`) into Y (`YH`), adds the residual (`ResidualH`), and writes
/// pool(Y) (`YP`) if the job has it.
pub(crate) fn step(facts: &DeviceFacts, types: Types, job: &Job) -> Result<Step, Error> {
    let Job { dims, x, y, factors, activation, pooled, .. } = *job;
    let cut = job.cut(facts, types);
    let threads = job.threads(cut);
    let grid = Grid::of_threads(threads, facts)?;
    let shape = Shape {
        threads: threads as u32,
        grid_x: grid.x,
        channels: dims.c,
        plane: dims.t * dims.h * dims.w,
        threads_w: cut.threads_w,
        x_first: x.first,
        x_channels: x.of,
        y_first: y.first,
        y_channels: y.of,
        factors_first: factors.first,
        factors_channels: factors.of,
        slope: slope(activation),
        t: dims.t,
        h: dims.h,
        w: dims.w,
        pooled_h: pooled.map_or(0, |p| p.h),
        pooled_w: pooled.map_or(0, |p| p.w),
        threads_h: cut.threads_h,
        unused_a: 0,
        unused_b: 0,
    };
    Ok(Step::new(Kernel::recipe(job.name(), recipe(types, job, cut)), &shape, job.tensors(), grid))
}

/// Packs the params of [`Form::Channel`]: (factor, shift), channel by channel.
pub(crate) fn pack(affine: impl IntoIterator<Item = (f32, f32)>) -> Vec<u8> {
    affine.into_iter().flat_map(|(factor, shift)| [factor, shift]).flat_map(f32::to_le_bytes).collect()
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::super::testing::{Wanted, check_all, contexts, facts, values};
    use super::*;
    use crate::context::encode;
    use crate::precision::Dtype;

    #[test]
    fn the_uniform_is_the_shaders() {
        use crate::layer::Rounding;
        let facts = DeviceFacts::default();
        for form in [Form::Copy, Form::Channel, Form::Sample] {
            for (residual, pools) in [(false, false), (true, false), (false, true), (true, true)] {
                for activations in [Dtype::F32, Dtype::F16] {
                    let whole = Job { residual, ..job([1, 3, 1, 8, 8], form) };
                    let job = Job { pooled: pools.then(|| whole.dims.pooled(Rounding::Ceil)), ..whole };
                    let types = Types { activations, weights: Dtype::F32, words: facts.words() };
                    crate::kernels::uniform::check::<Shape>(&recipe(types, &job, job.cut(&facts, types)));
                }
            }
        }
    }

    fn compare(job: &Job, activations: Dtype) {
        let Job { dims, x, y, form, factors, residual, activation, pooled, from_sums, to_sums } = *job;
        let [x_type, y_type] = [from_sums, to_sums].map(|sums| if sums { Dtype::F32 } else { activations });
        let plane = u64::from(dims.t * dims.h * dims.w);
        let mut x_values = values(1, dims.with_channels(x.of).elements(), x_type);
        if residual {
            let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
            x_values.iter_mut().skip(1).step_by(7).zip(strange).for_each(|(x, strange)| *x = strange);
        }
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
            (TensorId::XH, encode(&x_values, x_type)),
            (TensorId::Weights, pack(params.chunks_exact(2).map(|pair| (pair[0], pair[1])))),
            (TensorId::XP, encode(&excitation, Dtype::F32)),
            (TensorId::ResidualH, encode(&residuals, activations)),
        ];
        let error = if form == Form::Copy && !residual && activation == Activation::None { 0.0 } else { 2e-6 };
        let means = pooled.map(|to| Wanted { dtype: activations, values: means(dims, to, y, &wanted), error });
        let whole = Wanted { dtype: y_type, values: wanted, error };
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

    /// The means of 2x2 elements of the slice `y`, over those that exist.
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
            from_sums: false,
            to_sums: false,
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

    /// Partial sums are f32, whatever the type of maps.
    #[test]
    fn adds_partial_sums() {
        for activations in [Dtype::F32, Dtype::F16] {
            for [h, w] in [[4, 6], [3, 5]] {
                let sum = Job { residual: true, ..job([2, 3, 1, h, w], Form::Copy) };
                compare(&Job { to_sums: true, ..sum }, activations);
                compare(&Job { from_sums: true, to_sums: true, ..sum }, activations);
                let last = Job { from_sums: true, activation: Activation::Tanh, y: Slice { first: 1, of: 5 }, ..sum };
                compare(&last, activations);
                compare(&Job { pooled: Some(sum.dims.pooled(Default::default())), ..last }, activations);
            }
        }
    }

    #[test]
    fn activates() {
        for activation in Activation::all() {
            compare(&Job { activation, residual: true, ..job([1, 2, 1, 5, 5], Form::Channel) }, Dtype::F32);
        }
    }
}
