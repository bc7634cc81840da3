//! Random cases, out of all specifications and options.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::case::Case;
use super::values::Values;
use crate::context::Context;
use crate::device::DeviceFacts;
use crate::dims::InputSize;
use crate::kernels::job::Slice;
use crate::layer::{Activation, Downsample, Frequency, Rounding, Spec, Split, TimeAxis};
use crate::plan::{Family, Options, Plan, Strategy, Variant};
use crate::precision::{Accuracy, Dtype, Precision};

/// The most multiply-adds of a case, elements of its tensors, and weights: what the reference computes in little time.
const MOST: [u64; 3] = [4_000_000, 400_000, 200_000];

/// How many random layers are tried for a device, or for a family and a tile.
const TRIES: usize = 1000;

impl Case {
    /// A random case that the context's device can run. `seed` determines it, for a given device. If the device cannot run any of
    /// a thousand layers, the last of them, which is an error when it runs.
    pub fn random(context: &Context, seed: u64) -> Self {
        Self::random_on(context.engine().facts(), seed, MOST)
    }

    /// A random case for a device with these facts, with at most so many multiply-adds, elements of its tensors, and weights.
    /// Not part of the public interface.
    #[doc(hidden)]
    pub fn random_on(facts: &DeviceFacts, seed: u64, most: [u64; 3]) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let f16 = facts.features.contains(wgpu::Features::SHADER_F16);
        let mut tries = 0;
        loop {
            let mut case = draw(&mut rng, f16, seed);
            if !case.has_at_most(most) {
                continue;
            }
            tries += 1;
            let candidates = Plan::candidates(&case.spec, case.size, &case.options, facts);
            if candidates.is_empty() {
                if tries == TRIES {
                    return case;
                }
                // The options do not fit, such as a pooled input for a layer that does not pool.
                continue;
            }
            // The other half of the cases run the planner's choice.
            if rng.random() {
                case.options.variant = Some(candidates[rng.random_range(0..candidates.len())].variant());
            }
            return case;
        }
    }

    /// A random case that runs a family of kernels, with this tile of it if one is given, in any strategy. `None` if the
    /// context's device cannot run it, or if a thousand layers do not suit it. `seed` determines the case, for a given
    /// device.
    pub fn random_of(context: &Context, family: Family, tile: Option<&'static str>, seed: u64) -> Option<Self> {
        Self::random_of_on(context.engine().facts(), family, tile, seed, MOST)
    }

    /// The same for a device with these facts, with at most so many multiply-adds, elements of its tensors, and weights. Not
    /// part of the public interface.
    #[doc(hidden)]
    pub fn random_of_on(
        facts: &DeviceFacts,
        family: Family,
        tile: Option<&'static str>,
        seed: u64,
        most: [u64; 3],
    ) -> Option<Self> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let f16 = facts.features.contains(wgpu::Features::SHADER_F16);
        for _ in 0..TRIES {
            let mut case = draw(&mut rng, f16, seed);
            if !case.has_at_most(most) {
                continue;
            }
            let plan = |strategy| {
                let variant = Some(Variant { strategy, family, tile });
                Plan::new(&case.spec, case.size, &Options { variant, ..case.options }, facts).ok()
            };
            let variants: Vec<_> = Strategy::all().filter_map(plan).map(|plan| plan.variant()).collect();
            if !variants.is_empty() {
                case.options.variant = Some(choose(&mut rng, &variants));
                return Some(case);
            }
        }
        None
    }

    /// Up to `count` cases that run the kernels of this one, so that nothing is compiled: with other sizes, batches,
    /// slices and tensors. Fewer if few sizes have the same kernels.
    pub fn alike(&self, context: &Context, count: usize) -> Vec<Self> {
        let plan = |case: &Self| context.engine().plan(&case.spec, case.size, &case.options).ok();
        let Some(own) = plan(self) else { return Vec::new() };
        let kernels = own.sources();
        let mut rng = Pcg64Mcg::seed_from_u64(!self.seed);
        let mut cases = Vec::new();
        for _ in 0..4 * count {
            let mut case = self.clone();
            case.options.variant = Some(own.variant());
            case.size = size(&mut rng, self.spec.time() != TimeAxis::IMAGE);
            case.values = values(&mut rng, &case.options);
            case.seed = rng.random();
            for slice in [&mut case.options.high_slice, &mut case.options.low_slice].into_iter().flatten() {
                let channels = slice.of - slice.first;
                slice.first = rng.random_range(0..=9);
                slice.of = slice.first + channels;
            }
            let same = |plan: Plan| plan.sources().iter().all(|source| kernels.contains(source));
            if case.has_at_most(MOST) && plan(&case).is_some_and(same) {
                cases.push(case);
                if cases.len() == count {
                    break;
                }
            }
        }
        cases
    }

    fn has_at_most(&self, most: [u64; 3]) -> bool {
        let Ok(cost) = self.spec.cost(self.size) else { return false };
        let has = [cost.macs, cost.input_elements + cost.output_elements, cost.params];
        has.iter().zip(most).all(|(&has, most)| has <= most)
    }
}

/// Half of the cases have values of one size. Sums in f16 overflow with the largest values.
fn values(rng: &mut impl Rng, options: &Options) -> Values {
    if rng.random() {
        return Values::Even;
    }
    let kinds: Vec<_> = Values::all().collect();
    match choose(rng, &kinds) {
        Values::Largest if options.precision.sums == Dtype::F16 => Values::Wide,
        values => values,
    }
}

/// A small size, of a clip or of images.
fn size(rng: &mut impl Rng, clip: bool) -> InputSize {
    let side = |rng: &mut _| match choose(rng, &[0, 1, 1, 2]) {
        0 => RngExt::random_range(rng, 1..=4),
        1 => RngExt::random_range(rng, 3..=14),
        _ => RngExt::random_range(rng, 8..=33),
    };
    let frames = if clip { rng.random_range(1..=6) } else { choose(rng, &[1, 1, 1, 2]) };
    InputSize::video(choose(rng, &[1, 1, 2, 3]), frames, side(rng), side(rng))
}

fn choose<T: Clone>(rng: &mut impl Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

/// Sometimes a slice for an output that may have one.
fn slice(rng: &mut impl Rng, spec: &Spec, frequency: Frequency) -> Option<Slice> {
    let channels = spec.output().of(frequency);
    let (first, behind) = (RngExt::random_range(rng, 0..=5), RngExt::random_range(rng, 0..=3));
    let sliced = RngExt::random_bool(rng, 0.15) && channels > 0 && !spec.has_residual(frequency);
    sliced.then_some(Slice { first, of: first + channels + behind })
}

/// One case. Draws again until the specification is valid.
fn draw(rng: &mut impl Rng, f16: bool, seed: u64) -> Case {
    loop {
        let groups = choose(rng, &[1, 1, 1, 1, 2, 3, 4, 8]);
        let split = |rng: &mut _| {
            let most = if groups == 1 { choose(rng, &[4, 9, 40]) } else { 4 };
            let part = |rng: &mut _| match choose(rng, &[0, 1, 1, 1]) {
                0 => 0,
                _ => groups * RngExt::random_range(rng, 1..=most),
            };
            Split { high: part(rng), low: part(rng) }
        };
        let (input, mut output) = (split(rng), split(rng));
        let depthwise = rng.random_bool(0.12);
        if depthwise {
            let multiple = choose(rng, &[1, 1, 2, 3]);
            output = Split { high: multiple * input.high, low: multiple * input.low };
        }
        let axis = |rng: &mut _| choose(rng, &[1, 1, 1, 3, 3, 3, 5, 7, 2]);
        let square = axis(rng);
        let kernel = if rng.random_bool(0.75) { [square; 2] } else { [axis(rng), axis(rng)] };
        let dilation = choose(rng, &[[1, 1], [1, 1], [1, 1], [2, 2], [1, 2], [3, 1]]);
        let same = [0, 1].map(|axis: usize| dilation[axis] * (kernel[axis] - 1) / 2);
        let padding = if rng.random_bool(0.8) { same } else { choose(rng, &[[0, 0], [1, 1], [2, 0], [3, 4]]) };
        let time = match rng.random_bool(0.25) {
            false => TimeAxis::IMAGE,
            true => TimeAxis {
                kernel: choose(rng, &[1, 2, 3, 3]),
                stride: choose(rng, &[1, 1, 2, 3]),
                padding: choose(rng, &[0, 1, 1, 2]),
                dilation: choose(rng, &[1, 1, 2]),
            },
        };
        let size = size(rng, time != TimeAxis::IMAGE);
        let mut builder = Spec::builder(input.channels(), output.channels())
            .split(input, output)
            .kernel(kernel)
            .stride(choose(rng, &[1, 1, 1, 2]))
            .padding(padding)
            .dilation(dilation)
            .time(time)
            .groups(groups)
            .high_to_low(rng.random_bool(0.9))
            .low_to_high(rng.random_bool(0.9))
            .downsample(choose(rng, &[Downsample::AveragePool, Downsample::AveragePool, Downsample::StridedConv]))
            .rounding(choose(rng, &[Rounding::Ceil, Rounding::Ceil, Rounding::Floor]))
            .bias(rng.random())
            .activation(choose(rng, &Activation::all().collect::<Vec<_>>()))
            .residual(rng.random_bool(0.3), rng.random_bool(0.3));
        if depthwise {
            builder = builder.depthwise();
        }
        let Ok(spec) = builder.build() else { continue };
        let dtype = |rng: &mut _| if f16 && RngExt::random_bool(rng, 0.4) { Dtype::F16 } else { Dtype::F32 };
        let activations = dtype(rng);
        let weights = if rng.random_bool(0.3) { Dtype::F16 } else { Dtype::F32 };
        let f16 = (activations, weights) == (Dtype::F16, Dtype::F16);
        let options = Options {
            precision: Precision {
                activations,
                weights,
                sums: if f16 && rng.random_bool(0.7) { Dtype::F16 } else { Dtype::F32 },
            },
            accuracy: choose(rng, &[Accuracy::Exact, Accuracy::Fast]),
            pooled_input: rng.random_bool(0.25),
            pooled_output: rng.random_bool(0.3),
            high_slice: slice(rng, &spec, Frequency::High),
            low_slice: slice(rng, &spec, Frequency::Low),
            scratch_limit: None,
            variant: None,
        };
        let values = values(rng, &options);
        // Not drawn, so that a seed has the layer that it had without this.
        let one_buffer = seed % 8 == 3;
        return Case { spec, size, options, batch_norm: rng.random_bool(0.3), one_buffer, values, seed };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_can_run_nothing_gets_a_case_that_it_refuses() {
        let facts = DeviceFacts { limits: wgpu::Limits::downlevel_webgl2_defaults(), ..DeviceFacts::default() };
        for seed in [0, 3] {
            let case = Case::random_on(&facts, seed, MOST);
            let refused = Plan::new(&case.spec, case.size, &case.options, &facts);
            assert!(refused.is_err(), "{refused:?}");
        }
        let case = Case::random_on(&DeviceFacts::default(), 0, MOST);
        assert!(Plan::new(&case.spec, case.size, &case.options, &DeviceFacts::default()).is_ok());
    }
}
