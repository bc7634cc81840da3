//! Host code of `shaders/network/attention.wgsl`: softmax of dot products, times values.

use super::job::{Slice, TensorId};
use super::source::Recipe;
use super::step::{Grid, Kernel, Step};
use super::types::{Types, reduction_workgroup};
use super::uniform::uniform;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::Error;

/// Queries of a thread, and keys that it scores at a time.
const FOUR: u32 = 4;

/// The most threads side by side along the queries, and the most with the same queries.
const MOST_QUADS: u32 = 4;
const MOST_PARTS: u32 = 32;

/// The most channels of a thread: it holds the sums of four queries for each.
const MOST_CHANNELS: u32 = 16;

/// Workgroups that are enough to fill a large GPU, and the fewest channels of a thread for which it is worth it that
/// several workgroups compute the same weights.
const ENOUGH_WORKGROUPS: u64 = 128;
const LEAST_CHANNELS: u32 = 4;

uniform! {
    struct Shape {
        workgroups: u32,
        grid_x: u32,
        tiles: u32,
        blocks: u32,
        queries: u32,
        keys: u32,
        depth: u32,
        channels: u32,
        y_first: u32,
        y_channels: u32,
        scale: f32,
        unused: u32,
    }
}

/// One frequency of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) queries: Dims,
    pub(crate) keys: Dims,
    /// Their channels are those of the result.
    pub(crate) values: Dims,
    pub(crate) scale: f32,
    /// Where the channels lie in the tensor `y`.
    pub(crate) slice: Slice,
}

/// How the work is cut into threads and workgroups.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Threads side by side, with four queries each.
    quads: u32,
    /// Threads with the same queries.
    parts: u32,
    /// Channels of a thread.
    channels: u32,
}

impl Cut {
    fn new(facts: &DeviceFacts, job: &Job) -> Self {
        let (queries, keys, channels) = (job.queries.positions(), job.keys.positions(), job.values.c);
        let fours = |positions: u64| positions.div_ceil(u64::from(FOUR)).min(1 << 16) as u32;
        let quads = fours(queries).next_power_of_two().min(MOST_QUADS);
        let wanted = fours(keys).max(channels.div_ceil(MOST_CHANNELS));
        let parts = wanted.min(MOST_PARTS).next_power_of_two();
        // 16 bytes per thread for what it has found, and 64 for the weights of its keys.
        let threads = reduction_workgroup(facts, quads * parts, 80);
        let quads = quads.min(threads);
        let parts = threads / quads;
        let of_thread = channels.div_ceil(parts);
        let mut blocks = of_thread.div_ceil(MOST_CHANNELS);
        let tiles = queries.div_ceil(u64::from(FOUR * quads)).saturating_mul(u64::from(job.queries.n));
        // Each block of channels computes the weights again. That is worth it if processors would idle.
        while !facts.software
            && of_thread.div_ceil(2 * blocks) >= LEAST_CHANNELS
            && tiles.saturating_mul(u64::from(blocks)) < ENOUGH_WORKGROUPS
        {
            blocks *= 2;
        }
        Self { quads, parts, channels: of_thread.div_ceil(blocks) }
    }

    /// Keys of a tile.
    #[cfg(any(test, feature = "verify"))]
    fn tile(self) -> u32 {
        FOUR * self.parts
    }
}

/// How far the exponential of a score may be off, in units of u = 2^-24 and as a distance of the score, if the scores of a
/// query differ by at most `range`, in so many tiles of keys.
///
/// WGSL's exp(x) is off by up to 3 + 2 |x| ulp, and an ulp is up to 2 u. x is the distance of a score from the largest so
/// far, which is rounded to u |x|. Each time that the largest grows, the weights so far are multiplied by another
/// exponential, which is off likewise, and each product is rounded. All these x together are at most the range.
#[cfg(any(test, feature = "verify"))]
pub(crate) fn exponent_error(tiles: f64, range: f64) -> f64 {
    6.0 + 7.0 * tiles + 10.0 * range
}

/// How many tiles of keys a workgroup goes through.
#[cfg(any(test, feature = "verify"))]
pub(crate) fn tiles_of_keys(facts: &DeviceFacts, job: &Job) -> u64 {
    job.keys.positions().div_ceil(u64::from(Cut::new(facts, job).tile()))
}

fn recipe(types: Types, cut: Cut, [queries, keys]: [bool; 2]) -> Recipe {
    Recipe::new("network/attention")
        .constant("QUADS", cut.quads)
        .constant("PARTS", cut.parts)
        .constant("CHANNELS", cut.channels)
        .flag("QUERIES_PAIRED", queries)
        .flag("KEYS_PAIRED", keys)
        .input("q", types.form(true, queries))
        .input("k", types.form(true, keys))
        .input("v", types.form(true, keys))
        .output("y", types.form(true, queries))
}

/// Writes the attention of queries (`XH`), keys (`XL`) and values (`XP`) to a slice of Y (`YH`).
pub(crate) fn step(facts: &DeviceFacts, types: Types, job: &Job) -> Result<Step, Error> {
    let cut = Cut::new(facts, job);
    let (queries, keys) = (job.queries.positions(), job.keys.positions());
    let (own, tile) = (u64::from(FOUR), u64::from(FOUR * cut.parts));
    // Of each tile of keys: the scores of a thread's own, the maxima of all threads, and the sums, four keys at a time.
    let of_tile = u64::from(job.queries.c) + 2 * own + u64::from(cut.parts) + tile.min(keys) / own + own;
    let iterations = keys.div_ceil(tile).saturating_mul(of_tile) + u64::from(cut.parts);
    facts.check_iterations("an attention", iterations)?;
    let tiles = queries.div_ceil(u64::from(FOUR * cut.quads));
    let blocks = job.values.c.div_ceil(cut.parts * cut.channels);
    let workgroups = tiles.saturating_mul(u64::from(blocks)).saturating_mul(u64::from(job.queries.n));
    let grid = Grid::fold(workgroups, facts)?;
    let paired = [queries, keys].map(|positions| types.pairs() && positions.is_multiple_of(2));
    let shape = Shape {
        workgroups: workgroups as u32,
        grid_x: grid.x,
        tiles: tiles as u32,
        blocks,
        queries: queries as u32,
        keys: keys as u32,
        depth: job.keys.c,
        channels: job.values.c,
        y_first: job.slice.first,
        y_channels: job.slice.of,
        scale: job.scale,
        unused: 0,
    };
    Ok(Step::new(
        Kernel::recipe(
            format!("attention {}x{}", FOUR * cut.quads, cut.parts * cut.channels),
            recipe(types, cut, paired),
        ),
        &shape,
        vec![TensorId::XH, TensorId::XL, TensorId::XP, TensorId::YH],
        grid,
    ))
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, values};
    use super::*;
    use crate::context::encode;
    use crate::device::Words;
    use crate::precision::Dtype;

    #[test]
    fn the_uniform_is_the_shaders() {
        let cut = Cut { quads: 4, parts: 8, channels: 3 };
        for activations in [Dtype::F32, Dtype::F16] {
            for paired in [[false, false], [true, false], [true, true]] {
                let types = Types { activations, weights: Dtype::F32, words: Words::Vectors };
                crate::kernels::uniform::check::<Shape>(&recipe(types, cut, paired));
            }
        }
    }

    /// What queries, keys and values make in f64, and how far f32 may be from it.
    fn attended(job: &Job, [q, k, v]: [&[f32]; 3], tiles: f64) -> (Vec<Option<f64>>, f64) {
        let [to, from] = [job.queries, job.keys].map(|dims| dims.positions() as usize);
        let [depth, channels, of] = [job.keys.c, job.values.c, job.slice.of].map(|c| c as usize);
        let u = 2f64.powi(-24);
        let rounding = |terms: f64| (8.0 * terms.sqrt() + 16.0) * u;
        let mut wanted = vec![None; job.queries.n as usize * of * to];
        let mut error = 0.0f64;
        for n in 0..job.queries.n as usize {
            for i in 0..to {
                let product = |d: usize, j: usize| {
                    f64::from(q[(n * depth + d) * to + i]) * f64::from(k[(n * depth + d) * from + j])
                };
                let scale = f64::from(job.scale);
                let scores: Vec<f64> =
                    (0..from).map(|j| scale * (0..depth).map(|d| product(d, j)).sum::<f64>()).collect();
                let magnitude = |j| scale.abs() * (0..depth).map(|d| product(d, j).abs()).sum::<f64>();
                let magnitude = (0..from).map(magnitude).filter(|m| m.is_finite()).fold(0.0, f64::max);
                let finite = || scores.iter().copied().filter(|score| score.is_finite());
                let range = finite().fold(f64::MIN, f64::max) - finite().fold(f64::MAX, f64::min);
                let off = rounding(depth as f64) * magnitude + exponent_error(tiles, range.max(0.0)) * u;
                // As PyTorch has it: a NaN of infinity - infinity.
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let exps: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let sum: f64 = exps.iter().sum();
                for c in 0..channels {
                    let values = &v[(n * channels + c) * from..][..from];
                    let mean = |size: &dyn Fn(f64) -> f64| {
                        values.iter().zip(&exps).map(|(&v, exp)| size(f64::from(v)) * exp / sum).sum::<f64>()
                    };
                    wanted[(n * of + job.slice.first as usize + c) * to + i] = Some(mean(&|v| v));
                    let size = mean(&f64::abs);
                    if size.is_finite() {
                        error = error.max(((2.0 * off).exp() - 1.0 + 2.0 * rounding(from as f64 + tiles)) * size);
                    }
                }
            }
        }
        (wanted, error)
    }

    /// Runs it on every device, in both types.
    fn agrees(case: &str, job: &Job, change: impl Fn(&mut [Vec<f32>; 3])) {
        for activations in [Dtype::F32, Dtype::F16] {
            let mut inputs = [(1, job.queries), (2, job.keys), (3, job.values)]
                .map(|(seed, dims)| values(seed, dims.elements(), activations));
            change(&mut inputs);
            for context in contexts() {
                for facts in facts(context) {
                    let tiles = tiles_of_keys(&facts, job) as f64;
                    let (values, error) = attended(job, inputs.each_ref().map(Vec::as_slice), tiles);
                    let wanted = Wanted { dtype: activations, values, error };
                    let types = Types { activations, weights: Dtype::F32, words: facts.words() };
                    let step = step(&facts, types, job).unwrap();
                    let ids = [TensorId::XH, TensorId::XL, TensorId::XP];
                    let inputs: Vec<_> =
                        ids.into_iter().zip(&inputs).map(|(id, x)| (id, encode(x, activations))).collect();
                    let case = format!("{case}: {job:?}, {activations}, {}", step.kernel.name());
                    check(&case, context, &step, &inputs, &wanted);
                }
            }
        }
    }

    /// Batch, channels of queries and values, sizes of queries and keys.
    fn job([n, depth, channels]: [u32; 3], queries: [u32; 3], keys: [u32; 3], scale: f32) -> Job {
        let dims = |c, [t, h, w]: [u32; 3]| Dims { n, c, t, h, w };
        let slice = Slice::whole(channels);
        Job { queries: dims(depth, queries), keys: dims(depth, keys), values: dims(channels, keys), scale, slice }
    }

    #[test]
    fn agrees_with_the_definition() {
        for job in [
            job([1, 1, 1], [1, 1, 1], [1, 1, 1], 1.0),
            job([3, 2, 1], [1, 1, 3], [1, 1, 2], 1.0),
            job([1, 7, 5], [1, 3, 5], [1, 3, 5], 0.5),
            job([2, 33, 19], [1, 4, 4], [1, 7, 9], 0.25),
            // More than one tile of keys, the last one full, and with one key alone.
            job([1, 5, 3], [1, 2, 9], [1, 16, 16], 1.0),
            job([1, 3, 2], [1, 5, 5], [3, 11, 7], -2.0),
            job([1, 3, 9], [2, 3, 3], [1, 1, 129], 4.0),
            // More channels than a workgroup makes, and none of the numbers a round one.
            job([1, 4, 515], [1, 1, 5], [1, 3, 3], 1.0),
            job([2, 9, 70], [3, 7, 7], [3, 4, 4], 0.3),
            job([1, 70, 64], [2, 14, 14], [2, 7, 7], 0.125),
        ] {
            agrees("random", &job, |_| ());
        }
    }

    #[test]
    fn writes_a_slice() {
        let job = job([2, 3, 5], [1, 3, 4], [1, 2, 3], 1.0);
        agrees("slice", &Job { slice: Slice { first: 2, of: 9 }, ..job }, |_| ());
    }

    /// The largest score so far grows in every tile, or is the first one; and scores are far apart.
    #[test]
    fn weights_are_relative_to_the_largest_score() {
        let job = job([1, 1, 3], [1, 3, 3], [1, 20, 20], 1.0);
        for sign in [1.0, -1.0] {
            for scale in [0.05, 50.0] {
                agrees("slopes", &Job { scale, ..job }, |[queries, keys, _]| {
                    queries.iter_mut().for_each(|q| *q = q.abs().max(0.25));
                    keys.iter_mut().enumerate().for_each(|(j, k)| *k = sign * j as f32);
                });
            }
        }
    }

    /// One query or key of a few is NaN or infinite. Weights of finite scores are far from 0 here.
    #[test]
    fn scores_that_are_not_finite_are_those_of_pytorch() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for keys in [[1, 1, 7], [1, 3, 100]] {
            let job = job([2, 2, 3], [1, 3, 3], keys, 1.0);
            let from = keys[1] as usize * keys[2] as usize;
            // Keys are positive, so that an infinite query gives scores of one sign.
            let positive = |keys: &mut [f32]| keys.iter_mut().for_each(|k| *k = k.abs().max(0.125));
            for value in [nan, inf, -inf] {
                agrees("query", &job, |[queries, keys, _]| {
                    positive(keys);
                    queries[4] = value;
                    queries[20] = value;
                });
                // -infinity times a negative query is infinity, so there are queries of both kinds.
                for at in [0, from / 2, from - 1] {
                    agrees("key", &job, |[_, keys, _]| keys[at] = value);
                }
                agrees("value", &job, |[_, _, values]| values[from + 1] = value);
            }
            // The first tile has no weights, or none has any.
            for count in [from.min(150), from] {
                agrees("no weights", &job, |[queries, keys, _]| {
                    queries[..9].iter_mut().for_each(|q| *q = q.abs().max(0.125));
                    keys[..count].fill(-inf);
                });
            }
            agrees("infinite values of both signs", &job, |[_, _, values]| (values[2], values[5]) = (inf, -inf));
        }
    }

    #[test]
    fn fills_a_device_at_one_sample() {
        let gpu = DeviceFacts::default();
        let software = DeviceFacts { software: true, ..DeviceFacts::default() };
        let cut = |facts, job: &Job| {
            let Cut { quads, parts, channels } = Cut::new(facts, job);
            [quads, parts, channels]
        };
        let small = job([1, 512, 512], [4, 14, 14], [4, 7, 7], 1.0);
        assert_eq!(cut(&software, &small), [4, 32, 16]);
        assert_eq!(cut(&gpu, &small), [4, 32, 4]);
        let large = job([1, 256, 256], [4, 28, 28], [4, 14, 14], 1.0);
        assert_eq!(cut(&gpu, &large), [4, 32, 8]);
    }
}
