//! Host code of `shaders/network/window_pool.wgsl`: maxima and means over pool windows.

use super::job::{Operand, Slice};
use super::source::{Form, Recipe};
use super::step::{Grid, Kernel, Step};
use super::types::{ELEMENTWISE_WORKGROUP, Types};
use super::uniform::uniform;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::Error;
use crate::layer::{Rows, Window};

/// The most elements of a small pool window.
const SMALL: u32 = 9;

uniform! {
    #[derive(Default)]
    struct Shape {
        threads: u32,
        grid_x: u32,
        threads_h: u32,
        threads_w: u32,
        channels: u32,
        y_first: u32,
        y_channels: u32,
        t: u32,
        h: u32,
        w: u32,
        t_out: u32,
        h_out: u32,
        w_out: u32,
        kernel_t: u32,
        kernel_h: u32,
        kernel_w: u32,
        stride_t: u32,
        stride_h: u32,
        stride_w: u32,
        padding_t: u32,
        padding_h: u32,
        padding_w: u32,
        x_row: u32,
        x_rows: u32,
        y_row: u32,
        y_rows: u32,
        before_t: u32,
        before_h: u32,
        before_w: u32,
        behind_t: u32,
        behind_h: u32,
        behind_w: u32,
    }
}

/// What distinguishes a kernel, besides the types.
#[derive(Clone, Copy, Debug)]
struct Constants {
    average: bool,
    /// The pool window, if it is a small one: a thread then makes 2x2 elements.
    small: Option<Window>,
    /// Whether Y is written two columns at a time.
    paired: bool,
}

impl Constants {
    fn new(types: Types, job: &Job, y: Operand) -> Self {
        let [_, h, w] = job.window.kernel;
        let small = Some(job.window).filter(|_| h.saturating_mul(w) <= SMALL);
        Self { average: job.average, small, paired: small.is_some() && types.paired(y.dims) }
    }

    /// Elements of a thread along each axis.
    fn side(&self) -> u32 {
        if self.small.is_some() { 2 } else { 1 }
    }

    fn recipe(&self, types: Types) -> Recipe {
        let recipe = Recipe::new("network/window_pool")
            .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
            .flag("AVERAGE", self.average)
            .flag("PAIRED", self.paired)
            .constant("ROWS", self.side())
            .constant("COLS", self.side())
            .flag("SMALL", self.small.is_some());
        let recipe = match self.small {
            Some(Window { kernel: [_, kernel_h, kernel_w], stride: [_, stride_h, stride_w], .. }) => recipe
                .constant("KERNEL_H", kernel_h)
                .constant("KERNEL_W", kernel_w)
                .constant("STRIDE_H", stride_h)
                .constant("STRIDE_W", stride_w),
            None => recipe,
        };
        recipe.input("x", Form::Elements(types.activations)).output("y", types.form(true, self.paired))
    }

    fn name(&self) -> &'static str {
        if self.average { "average pool" } else { "max pool" }
    }
}

/// What is pooled, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// Whether to make means. If not, maxima.
    pub(crate) average: bool,
    pub(crate) window: Window,
    /// Where the channels lie in the tensor `y`.
    pub(crate) slice: Slice,
    /// If given, only these rows of `y` are made, and `x` has only the rows that they need.
    pub(crate) band: Option<Rows>,
}

/// `common`, completed with the values of the job.
fn shape(common: Shape, job: &Job, x: Dims, y: Dims) -> Shape {
    let Job { window, slice, band, .. } = *job;
    let [kernel_t, kernel_h, kernel_w] = window.kernel;
    let [stride_t, stride_h, stride_w] = window.stride;
    let [padding_t, padding_h, padding_w] = window.padding;
    let [[before_t, before_h, before_w], [behind_t, behind_h, behind_w]] = window.counted();
    let y_rows = band.unwrap_or(Rows { first: 0, count: y.h });
    let x_rows = band.map_or(Rows { first: 0, count: x.h }, |rows| window.rows_under(rows, x.h));
    Shape {
        channels: y.c,
        y_first: slice.first,
        y_channels: slice.of,
        t: x.t,
        h: x.h,
        w: x.w,
        t_out: y.t,
        h_out: y.h,
        w_out: y.w,
        kernel_t,
        kernel_h,
        kernel_w,
        stride_t,
        stride_h,
        stride_w,
        padding_t,
        padding_h,
        padding_w,
        x_row: x_rows.first,
        x_rows: x_rows.count,
        y_row: y_rows.first,
        y_rows: y_rows.count,
        before_t,
        before_h,
        before_w,
        behind_t,
        behind_h,
        behind_w,
        ..common
    }
}

/// Pools `x` into the job's slice of the tensor `y`. The dims of `y` are those of the slice. The dims of both are those
/// of whole maps, even if the job has a band. Every pool window must have an element that exists.
pub(crate) fn step(facts: &DeviceFacts, types: Types, job: &Job, x: Operand, y: Operand) -> Result<Step, Error> {
    let constants = Constants::new(types, job, y);
    // Only elements that exist are looped over, unless the pool window is small.
    let [frames, down, across] = [x.dims.t, x.dims.h, x.dims.w];
    let [frames, down, across] =
        [(0, frames), (1, down), (2, across)].map(|(i, size)| u64::from(job.window.kernel[i].min(size)));
    let elements = u64::from(constants.side() * constants.side());
    facts.check_iterations("a pool window", elements * (2 + frames * (1 + down * (1 + across))))?;
    let rows = job.band.unwrap_or(Rows { first: 0, count: y.dims.h });
    let [threads_h, threads_w] = [rows.count, y.dims.w].map(|size| size.div_ceil(constants.side()));
    let planes = u64::from(y.dims.n) * u64::from(y.dims.c) * u64::from(y.dims.t);
    let threads = planes * u64::from(threads_h) * u64::from(threads_w);
    let grid = Grid::of_threads(threads, facts)?;
    let common = Shape { threads: threads as u32, grid_x: grid.x, threads_h, threads_w, ..Shape::default() };
    let shape = shape(common, job, x.dims, y.dims);
    Ok(Step::new(Kernel::recipe(constants.name(), constants.recipe(types)), &shape, vec![x.id, y.id], grid))
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, values};
    use super::*;
    use crate::context::encode;
    use crate::device::Words;
    use crate::kernels::job::TensorId;
    use crate::precision::Dtype;

    /// With the same padding behind the map as before it.
    fn window(kernel: [u32; 3], stride: [u32; 3], padding: [u32; 3]) -> Window {
        Window { kernel, stride, padding, behind: padding, ceil: false, counts_padding: false }
    }

    #[test]
    fn the_uniform_is_the_shaders() {
        let window = window([1, 3, 3], [1, 2, 2], [0, 1, 1]);
        for (average, small, paired) in [(true, None, false), (false, Some(window), false), (true, Some(window), true)]
        {
            for activations in [Dtype::F32, Dtype::F16] {
                let types = Types { activations, weights: Dtype::F32, words: Words::Vectors };
                crate::kernels::uniform::check::<Shape>(&Constants { average, small, paired }.recipe(types));
            }
        }
    }

    #[test]
    fn windows_keep_within_what_a_driver_runs() {
        let made = |side: u32, loop_iterations| {
            let facts = DeviceFacts { loop_iterations, ..DeviceFacts::default() };
            let types = Types { activations: Dtype::F32, weights: Dtype::F32, words: Words::Vectors };
            let operand = |id, h, w| Operand { id, dims: Dims { n: 1, c: 1, t: 1, h, w } };
            let window = window([1, side, side], [1, 1, 1], [0; 3]);
            let job = Job { average: true, window, slice: Slice::whole(1), band: None };
            step(&facts, types, &job, operand(TensorId::XH, 700, 700), operand(TensorId::YH, 701 - side, 701 - side))
        };
        assert!(made(700, None).is_ok() && made(250, Some(65_535)).is_ok());
        assert!(matches!(made(700, Some(65_535)), Err(Error::Limit { allowed: 65_535, .. })));
    }

    /// The expected values, made in f64.
    fn pooled(window: Window, average: bool, x: &[f32], from: Dims, to: Dims, slice: Slice) -> Vec<Option<f64>> {
        let (size, out) = ([from.t, from.h, from.w], [to.t, to.h, to.w]);
        let mut y = vec![None; to.with_channels(slice.of).elements() as usize];
        let mut each = |n: u32, c: u32, at: [u32; 3]| {
            let whole = |i: usize| {
                let begin = i64::from(at[i] * window.stride[i]) - i64::from(window.padding[i]);
                begin..begin + i64::from(window.kernel[i])
            };
            let ranges = [0, 1, 2].map(|i| whole(i).filter(move |&k| 0 <= k && k < i64::from(size[i])));
            let padded = [0, 1, 2].map(|i| {
                let last = i64::from(size[i] + window.behind[i]);
                whole(i).filter(|&k| -i64::from(window.padding[i]) <= k && k < last).count()
            });
            let mut elements = Vec::new();
            for t in ranges[0].clone() {
                for h in ranges[1].clone() {
                    for w in ranges[2].clone() {
                        let plane = i64::from(n * from.c + c) * i64::from(from.t) + t;
                        let index = (plane * i64::from(from.h) + h) * i64::from(from.w) + w;
                        elements.push(f64::from(x[index as usize]));
                    }
                }
            }
            assert!(!elements.is_empty());
            let value = match average {
                true => {
                    let count = if window.counts_padding { padded.iter().product() } else { elements.len() };
                    elements.iter().sum::<f64>() / count as f64
                }
                false => elements.into_iter().fold(f64::NEG_INFINITY, |m, v| if v > m || v.is_nan() { v } else { m }),
            };
            let plane = (n * slice.of + slice.first + c) * out[0] + at[0];
            y[((plane * out[1] + at[1]) * out[2] + at[2]) as usize] = Some(value);
        };
        for n in 0..to.n {
            for c in 0..to.c {
                for t in 0..to.t {
                    (0..to.h).for_each(|h| (0..to.w).for_each(|w| each(n, c, [t, h, w])));
                }
            }
        }
        y
    }

    #[test]
    fn agrees_with_the_definition() {
        let square = |kernel: u32, stride: u32, padding: u32| {
            window([1, kernel, kernel], [1, stride, stride], [0, padding, padding])
        };
        let clips = window([2, 1, 1], [2, 1, 1], [0; 3]);
        let all = window([3, 2, 5], [2, 3, 1], [1, 1, 4]);
        let counts = |window: Window| Window { counts_padding: true, ..window };
        let behind = |behind: [u32; 3], window: Window| Window { behind, ..window };
        // Window, batch, channels, sizes of X and of Y, and the slice.
        for (window, [n, c], from, to, [first, of]) in [
            (square(3, 2, 1), [1, 3], [1, 8, 10], [1, 4, 5], [0, 3]),
            (square(3, 2, 1), [3, 2], [1, 7, 5], [1, 4, 3], [3, 7]),
            (square(2, 2, 0), [1, 5], [1, 7, 5], [1, 3, 2], [1, 6]),
            (square(2, 2, 0), [2, 1], [1, 7, 5], [1, 4, 3], [0, 2]),
            (square(3, 1, 1), [3, 1], [1, 1, 1], [1, 1, 1], [2, 5]),
            (square(3, 1, 2), [1, 1], [1, 1, 1], [1, 3, 3], [0, 1]),
            (square(1, 3, 0), [1, 2], [1, 4, 4], [1, 2, 2], [0, 2]),
            (square(1024, 1, 1023), [1, 1], [1, 3, 2], [1, 3, 2], [0, 1]),
            (square(3, 2, 0), [1, 2], [2, 9, 9], [2, 4, 4], [0, 2]),
            (clips, [1, 2], [5, 3, 3], [3, 3, 3], [1, 3]),
            (all, [3, 2], [5, 6, 4], [3, 3, 8], [1, 4]),
            (counts(square(3, 2, 1)), [1, 3], [1, 8, 10], [1, 5, 6], [0, 3]),
            (counts(square(3, 3, 0)), [2, 1], [1, 4, 7], [1, 2, 3], [1, 2]),
            (counts(square(5, 4, 2)), [1, 1], [1, 6, 8], [1, 2, 3], [0, 1]),
            (counts(behind([0, 3, 0], square(3, 2, 1))), [1, 2], [1, 7, 6], [1, 4, 3], [0, 2]),
            (counts(behind([1, 0, 6], all)), [1, 2], [6, 7, 2], [4, 3, 6], [0, 2]),
        ] {
            let dims = |[t, h, w]: [u32; 3]| Dims { n, c, t, h, w };
            let (from, to, slice) = (dims(from), dims(to), Slice { first, of });
            for (average, activations) in
                [(false, Dtype::F32), (true, Dtype::F32), (false, Dtype::F16), (true, Dtype::F16)]
            {
                // All values are below zero, so that a zero from outside of the map shows in a maximum.
                let x: Vec<f32> = values(1, from.elements(), activations).iter().map(|v| v.abs() - 2.0).collect();
                let mut x = super::super::testing::round(&x, activations);
                // Of what is not finite, each pool window keeps what PyTorch's does.
                for (i, value) in [(7, f32::NAN), (12, f32::INFINITY), (19, f32::NEG_INFINITY), (31, -f32::NAN)] {
                    if let Some(x) = x.get_mut(i) {
                        *x = value;
                    }
                }
                let values = pooled(window, average, &x, from, to, slice);
                let error = if average { 1e-5 } else { 0.0 };
                for context in contexts() {
                    for facts in facts(context) {
                        let (x_h, y_h) =
                            (Operand { id: TensorId::XH, dims: from }, Operand { id: TensorId::YH, dims: to });
                        let types = Types { activations, weights: Dtype::F32, words: facts.words() };
                        let job = Job { average, window, slice, band: None };
                        let step = step(&facts, types, &job, x_h, y_h).unwrap();
                        let wanted = Wanted { dtype: activations, values: values.clone(), error };
                        let case = format!("{window:?} from {from} to {to}, average {average}, {activations}");
                        check(&case, context, &step, &[(TensorId::XH, encode(&x, activations))], &wanted);
                    }
                }
            }
        }
    }
}
