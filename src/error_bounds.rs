//! How far a plan's outputs may be from the exact ones. `src/verify/mod.rs` derives the figures.

use crate::layer::{Activation, Frequency, Path};
use crate::plan::Plan;
use crate::precision::Dtype;
use crate::winograd::Transform;

/// The largest errors of a plan's outputs of one frequency.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The error of a sum is at most `relative` times the sum of its terms' magnitudes, plus `absolute`.
    relative: f64,
    absolute: f64,
    /// Whether the error depends on inputs that the output does not see.
    by_tiles: bool,
    /// Whether maps or partial sums are stored in f16 between dispatches.
    f16_between: bool,
    activation: Activation,
    stored: Dtype,
}

impl Bounds {
    /// For the outputs of `frequency`, and inputs of which no finite one is larger than `largest`. Those of pool(Y_H) are those of Y_H.
    pub(crate) fn new(plan: &Plan, frequency: Frequency, largest: f64) -> Self {
        let (spec, options) = (plan.spec(), plan.options());
        let terms: u32 = Path::ALL
            .into_iter()
            .filter(|&path| path.output() == frequency && spec.has(path))
            .map(|path| spec.weight_shape(path)[1..].iter().product::<u32>())
            .sum();
        let by_tiles = plan.variant().transformed_outputs().is_some();
        // In the transformed domain a sum is over channels alone, not over the nine taps.
        let sum = if by_tiles { terms / 9 } else { terms };
        let mut relative = (8.0 * f64::from(sum).sqrt() + 16.0) * unit(24);
        if by_tiles {
            relative += Transform::ROUNDINGS * unit(24);
        }
        // A device may take inputs, products and sums below 2^-126 for zero. Weights are at most about 2.
        let mut absolute = 4.0 * f64::from(terms) * unit(126);
        if options.precision.weights == Dtype::F16 {
            relative += unit(11);
            // In a Winograd tile of 2x2 outputs a weight meets the sum of four inputs.
            absolute += largest * f64::from(terms) * unit(if by_tiles { 22 } else { 24 });
        }
        let f16_terms = plan.f16_terms();
        if f16_terms > 0 {
            // Each product and each sum of f16 is rounded to nearest, and so is a mean of X_H before them. Halves below
            // 2^-14 lose bits, or are flushed to zero on some devices; only a few of random terms are that small.
            relative += f64::from(f16_terms + 2) * unit(11);
            absolute += largest * f64::from(terms) * unit(24) + 16.0 * unit(14);
        }
        // Scratch of a Winograd convolution is f32, except for the maps that are pooled for stride 2.
        let f16_between = plan.scratch_bytes() > 0 && (!by_tiles || spec.stride() == 2);
        let f16_between = options.precision.activations == Dtype::F16 && (f16_between || options.pooled_input);
        if f16_between {
            relative += 3.0 * unit(11);
            absolute += unit(13);
        }
        let (activation, stored) = (spec.activation(), options.precision.activations);
        Self { relative, absolute, by_tiles, f16_between, activation, stored }
    }

    /// The bound for an output `y` before it is stored. `magnitude` is the sum of the magnitudes of its terms.
    ///
    /// It is infinite where nothing can be promised: of a Winograd tile that has an infinity or a NaN, and of a map
    /// between dispatches that f16 may not hold.
    pub(crate) fn of_output(&self, y: f64, magnitude: f64) -> f64 {
        if !magnitude.is_finite() {
            if self.by_tiles {
                return f64::INFINITY;
            }
            // An infinite sum is exact, and so is a NaN. An activation may make a number of an infinity.
            return if y.is_finite() { self.activation.own_error(1.0, y) + unit(126) } else { 0.0 };
        }
        if self.f16_between && magnitude > 65504.0 {
            return f64::INFINITY;
        }
        let bound = self.activation.lipschitz() * (self.relative * magnitude + self.absolute);
        bound + self.activation.own_error(magnitude, y)
    }

    /// The bound for a stored `y` whose error before storing is at most `bound`.
    pub(crate) fn stored(&self, y: f64, bound: f64) -> f64 {
        // It must stay what it is: an infinite bound would allow anything.
        if !y.is_finite() {
            return bound;
        }
        match self.stored {
            Dtype::F16 => bound + unit(10) * y.abs() + unit(14),
            Dtype::F32 => bound + 4.0 * unit(24) * y.abs(),
        }
    }
}

fn unit(bits: i32) -> f64 {
    2f64.powi(-bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceFacts;
    use crate::dims::InputSize;
    use crate::layer::Spec;
    use crate::plan::Options;

    #[test]
    fn only_the_paths_of_an_output_count() {
        let bound = |spec: &Spec, frequency| {
            let variant = Some("fused/direct/t4c2h2w".parse().unwrap());
            let options = Options { variant, ..Options::default() };
            let plan = Plan::new(spec, InputSize::image(1, 8, 8), &options, &DeviceFacts::default()).unwrap();
            Bounds::new(&plan, frequency, 1.0).of_output(1.0, 1.0)
        };
        let [low, high] = [0.0, 1.0];
        let whole = Spec::builder(16, 16).alpha(0.5, 0.5).build().unwrap();
        let to_high = Spec::builder(16, 8).alpha(0.5, low).build().unwrap();
        let to_low = Spec::builder(16, 8).alpha(0.5, high).build().unwrap();
        assert_eq!(bound(&whole, Frequency::High), bound(&to_high, Frequency::High));
        assert_eq!(bound(&whole, Frequency::Low), bound(&to_low, Frequency::Low));
        // A sum of 16 terms.
        let [sum, absolute] = [(8.0 * 4.0 + 16.0) * unit(24), 4.0 * 16.0 * unit(126)];
        assert_eq!(bound(&whole, Frequency::High), sum + absolute);
    }
}
