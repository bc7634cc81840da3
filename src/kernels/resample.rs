//! Host code of `shaders/network/resample.wgsl`: a map in another size.

use super::axis::Axis;
use super::job::{Operand, Slice};
use super::source::{Form, Recipe};
use super::step::{Grid, Kernel, Step};
use super::types::{ELEMENTWISE_WORKGROUP, Types};
use super::uniform::uniform;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::Error;
use crate::layer::{Fraction, Resample};

uniform! {
    struct Shape {
        threads: u32,
        grid_x: u32,
        threads_w: u32,
        channels: u32,
        x_first: u32,
        x_channels: u32,
        y_first: u32,
        y_channels: u32,
        t_in: u32,
        h_in: u32,
        w_in: u32,
        t: u32,
        h: u32,
        w: u32,
        unused_a: u32,
        unused_b: u32,
        frames: Axis,
        rows: Axis,
        cols: Axis,
    }
}

/// What is resampled, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) resample: Resample,
    /// Where the channels lie in the tensor `x`.
    pub(crate) x: Slice,
    /// Where they lie in the tensor `y`.
    pub(crate) y: Slice,
}

/// The kernel with this many elements per thread. Y may be written two columns at a time.
fn recipe(types: Types, bilinear: bool, cols: u32, paired: bool) -> Recipe {
    Recipe::new("network/resample")
        .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
        .constant("COLS", cols)
        .flag("BILINEAR", bilinear)
        .flag("PAIRED", paired)
        .input("x", Form::Elements(types.activations))
        .output("y", types.form(true, paired))
}

/// How the shader finds the places of an axis of `to` elements in one of `from`.
fn axis(resample: &Resample, axis: usize, from: u32, to: u32) -> Result<Axis, Error> {
    let Fraction { above, below } = resample.distance(axis, from, to);
    let centred = resample.interpolates(axis) && !resample.align_corners;
    Axis::new(["frames", "rows", "columns"][axis], [from, to], [above, below], centred)
}

/// Resamples the slice of `x` into that of `y`. The dims of both are those of the slices.
pub(crate) fn step(facts: &DeviceFacts, types: Types, job: &Job, x: Operand, y: Operand) -> Result<Step, Error> {
    let Job { resample, x: from, y: into } = job;
    let (x_dims, y_dims) = (x.dims, y.dims);
    // On a software device, the start of a thread costs as much as a dozen elements.
    let cols = if facts.software { 8 } else { 2 };
    let paired = types.paired(y_dims);
    let threads_w = y_dims.w.div_ceil(cols);
    let threads = Dims { w: threads_w, ..y_dims }.elements();
    let grid = Grid::of_threads(threads, facts)?;
    let shape = Shape {
        threads: threads as u32,
        grid_x: grid.x,
        threads_w,
        channels: y_dims.c,
        x_first: from.first,
        x_channels: from.of,
        y_first: into.first,
        y_channels: into.of,
        t_in: x_dims.t,
        h_in: x_dims.h,
        w_in: x_dims.w,
        t: y_dims.t,
        h: y_dims.h,
        w: y_dims.w,
        unused_a: 0,
        unused_b: 0,
        frames: axis(resample, 0, x_dims.t, y_dims.t)?,
        rows: axis(resample, 1, x_dims.h, y_dims.h)?,
        cols: axis(resample, 2, x_dims.w, y_dims.w)?,
    };
    let name = if resample.bilinear { "resample bilinear" } else { "resample nearest" };
    Ok(Step::new(Kernel::recipe(name, recipe(types, resample.bilinear, cols, paired)), &shape, vec![x.id, y.id], grid))
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, values};
    use super::*;
    use crate::context::encode;
    use crate::device::Words;
    use crate::kernels::job::TensorId;
    use crate::precision::Dtype;

    #[test]
    fn the_uniform_is_the_shaders() {
        for (bilinear, paired) in [(false, false), (false, true), (true, false), (true, true)] {
            for activations in [Dtype::F32, Dtype::F16] {
                let types = Types { activations, weights: Dtype::F32, words: Words::Vectors };
                crate::kernels::uniform::check::<Shape>(&recipe(types, bilinear, 2, paired));
            }
        }
    }

    /// As PyTorch defines it, in f64, whose places are a hair off: none of the cases has a place where that matters.
    fn resampled(resample: &Resample, x: &[f32], from: Dims, to: Dims, [first, of]: [u32; 2]) -> Vec<Option<f64>> {
        let around = |axis: usize, i: u32| -> [(u32, f64); 2] {
            let (from, to) = ([from.t, from.h, from.w][axis], [to.t, to.h, to.w][axis]);
            let factor = resample.factor.filter(|_| from != to);
            let factor = factor.map(|factor| f64::from(factor[axis].above) / f64::from(factor[axis].below));
            let scale = factor.map_or(f64::from(from) / f64::from(to), |factor| 1.0 / factor);
            let i = f64::from(i);
            let place = match (axis > 0 && resample.bilinear, resample.align_corners) {
                (false, _) => (i * scale + 1e-9).floor(),
                (true, true) => i * f64::from(from - 1) / f64::from(to - 1).max(1.0),
                (true, false) => ((i + 0.5) * scale - 0.5).max(0.0),
            };
            let first = (place.floor() as u32).min(from - 1);
            let weight = (place - f64::from(first)).clamp(0.0, 1.0);
            [(first, 1.0 - weight), ((first + 1).min(from - 1), weight)]
        };
        let mut y = vec![None; to.with_channels(of).elements() as usize];
        let mut made = 0;
        for n in 0..to.n {
            for c in 0..of {
                for (t, h, w) in (0..to.t).flat_map(|t| (0..to.h).flat_map(move |h| (0..to.w).map(move |w| (t, h, w))))
                {
                    if (first..first + to.c).contains(&c) {
                        let mut sum = 0.0;
                        for (t, by_t) in around(0, t) {
                            for (h, by_h) in around(1, h) {
                                for (w, by_w) in around(2, w) {
                                    let plane = (n * from.c + c - first) * from.t + t;
                                    let at = (plane * from.h + h) * from.w + w;
                                    sum += by_t * by_h * by_w * f64::from(x[at as usize]);
                                }
                            }
                        }
                        y[made] = Some(sum);
                    }
                    made += 1;
                }
            }
        }
        y
    }

    #[test]
    fn agrees_with_the_definition() {
        let sizes = Resample { bilinear: false, align_corners: false, factor: None };
        let by = |t: f64, h: f64, w: f64| Resample {
            factor: Some([t, h, w].map(|factor| Fraction::of_factor(factor).unwrap())),
            ..sizes
        };
        // Batch and channels, sizes of X and of Y, and the slices of X and Y: the first channel, and all channels.
        for (resample, [n, c], from, to, x_slice, y_slice) in [
            (by(1.0, 2.0, 2.0), [2, 3], [1, 4, 6], [1, 8, 12], [0, 3], [0, 3]),
            (by(1.0, 2.0, 2.0), [1, 2], [1, 3, 4], [1, 5, 7], [0, 2], [1, 4]),
            (by(1.0, 1.5, 3.0), [3, 2], [1, 5, 3], [1, 7, 9], [1, 4], [3, 7]),
            (by(1.0, 0.5, 0.75), [1, 2], [1, 7, 9], [1, 3, 6], [0, 2], [0, 2]),
            (by(2.0, 1.0, 2.0), [1, 2], [3, 2, 5], [6, 2, 10], [0, 2], [0, 3]),
            (by(1.0, 1.25, 1.25), [1, 2], [1, 3, 6], [1, 3, 7], [0, 2], [0, 2]),
            (sizes, [2, 2], [1, 3, 5], [1, 8, 13], [2, 5], [0, 2]),
            (sizes, [1, 3], [1, 1, 1], [1, 4, 7], [0, 3], [0, 3]),
            (sizes, [1, 2], [1, 9, 8], [1, 1, 1], [0, 2], [0, 2]),
            (sizes, [2, 1], [4, 2, 3], [3, 5, 2], [0, 1], [2, 4]),
            (sizes, [1, 5], [1, 20, 33], [1, 41, 64], [0, 5], [0, 5]),
            // More threads than one row of a small grid has.
            (by(1.0, 2.0, 2.0), [2, 40], [1, 8, 20], [1, 16, 40], [0, 40], [0, 40]),
        ] {
            let dims = |[t, h, w]: [u32; 3]| Dims { n, c, t, h, w };
            let (from, to) = (dims(from), dims(to));
            for (bilinear, align_corners) in [(false, false), (true, false), (true, true)] {
                for activations in [Dtype::F32, Dtype::F16] {
                    let resample = Resample { bilinear, align_corners, ..resample };
                    let [x_slice, y_slice] = [x_slice, y_slice].map(|[first, of]| Slice { first, of });
                    let whole = values(1, from.with_channels(x_slice.of).elements(), activations);
                    let volume = (from.t * from.h * from.w) as usize;
                    let channels = whole.chunks(volume).collect::<Vec<_>>();
                    let used = channels
                        .chunks(x_slice.of as usize)
                        .flat_map(|sample| sample[x_slice.first as usize..][..c as usize].concat());
                    let y = resampled(&resample, &used.collect::<Vec<_>>(), from, to, [y_slice.first, y_slice.of]);
                    let error = if bilinear { 1e-6 } else { 0.0 };
                    let wanted = Wanted { dtype: activations, values: y, error };
                    for context in contexts() {
                        for facts in facts(context) {
                            let types = Types { activations, weights: Dtype::F32, words: facts.words() };
                            let job = Job { resample, x: x_slice, y: y_slice };
                            let x = Operand { id: TensorId::XH, dims: from };
                            let step = step(&facts, types, &job, x, Operand { id: TensorId::YH, dims: to }).unwrap();
                            let case = format!("{resample:?} from {from} to {to}, {activations}");
                            check(&case, context, &step, &[(TensorId::XH, encode(&whole, activations))], &wanted);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn places_are_whole_numbers_of_32_bits() {
        let sizes = Resample { bilinear: true, align_corners: false, factor: None };
        // A common divisor keeps the numbers small.
        let Axis { step, start, back, whole } = axis(&sizes, 1, 1 << 19, 1 << 20).unwrap();
        assert_eq!([step, start, back, whole], [2, 1, 2, 4]);
        let refusal = axis(&sizes, 2, (1 << 20) - 1, 1 << 20).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "resampling 1048575 to 1048576 columns needs 2199022206975, but what places are counted with is 4294967295"
        );
    }
}
