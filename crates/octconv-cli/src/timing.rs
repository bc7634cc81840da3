//! Times the forms of a layer against each other, and sums up what was timed.

use std::time::Instant;

use anyhow::{Context as _, Result};
use octconv::tuning::RandomLayer;
use octconv::{Context, InputSize, Layer, Options, Plan, Spec, Strategy, Variant};

/// The least seconds of a run: a coarse clock may say 0, and times are divided by each other.
pub const TICK: f64 = 1e-9;

/// A layer as octave convolution, as one dispatch per operation, and without octaves.
pub struct LayerTimes {
    /// Octave, unfused, plain.
    pub plans: [Plan; 3],
    /// Seconds of a run of each, round by round.
    pub seconds: [Vec<f64>; 3],
    /// The same for the octave form, on the host's clock.
    pub host: Vec<f64>,
    /// Seconds from each plan to the end of its first run: its kernels are compiled, its weights packed.
    pub ready: [f64; 3],
}

impl LayerTimes {
    /// Times the three forms in turn, `rounds` times. `options` are those of the octave form, `types` those of the others.
    pub fn measure(
        context: &Context,
        spec: &Spec,
        size: InputSize,
        options: &Options,
        types: &Options,
        rounds: u32,
    ) -> Result<Self> {
        let engine = context.engine();
        let plan = engine.plan(spec, size, options)?;
        let plain = engine.plan(&spec.plain(), size, types)?;
        let plans = [plan, unfused(context, spec, size, types).context("no unfused form")?, plain];
        let (mut bound, mut ready) = (Vec::new(), [0.0; 3]);
        let time = |layer: &Layer, repeats: usize| context.time(&vec![layer; repeats]);
        // Enough repetitions per pass for the resolution of the clock. A form has the same number in every round.
        let mut repeats = Vec::new();
        for (plan, ready) in plans.iter().zip(&mut ready) {
            let random = RandomLayer::new(context, plan)?;
            let start = Instant::now();
            let form = random.bind(context, plan)?;
            let once = time(&form, 1)?.device_or_host();
            *ready = start.elapsed().as_secs_f64();
            let again = time(&form, 1)?.device_or_host();
            repeats.push(((0.01 / once.min(again).max(1e-6)) as usize).clamp(1, 64));
            bound.push(form);
        }
        let mut seconds = [const { Vec::new() }; 3];
        let mut host = Vec::new();
        for _ in 0..rounds {
            for (i, form) in bound.iter().enumerate() {
                let timing = time(form, repeats[i])?;
                seconds[i].push(timing.device_or_host().max(TICK) / repeats[i] as f64);
                if i == 0 {
                    host.push(timing.host / repeats[i] as f64);
                }
            }
        }
        Ok(Self { plans, seconds, host, ready })
    }
}

/// The best plan of a layer as one dispatch per operation. `None` if the layer cannot run so.
pub fn unfused(context: &Context, spec: &Spec, size: InputSize, options: &Options) -> Option<Plan> {
    ["pointwise", "direct"].into_iter().find_map(|family| {
        let variant = Some(Variant { strategy: Strategy::Unfused, family: family.parse().ok()?, tile: None });
        context.engine().plan(spec, size, &Options { variant, ..*options }).ok()
    })
}

/// How many times as long the other form took, round by round: the machine's speed drifts less within a round than over
/// the whole run.
pub fn ratios(other: &[f64], form: &[f64]) -> Vec<f64> {
    other.iter().zip(form).map(|(other, form)| other / form).collect()
}

/// The median.
pub fn median(times: &[f64]) -> f64 {
    quartiles(times)[1]
}

/// The lower quartile, the median and the upper quartile. There is at least one number.
pub fn quartiles(times: &[f64]) -> [f64; 3] {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| {
        let place = share * (sorted.len() - 1) as f64;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        below + (above - below) * place.fract()
    })
}

/// The geometric mean. NaN without numbers.
pub fn geometric_mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let logarithms: Vec<f64> = values.into_iter().map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_numbers_around_them() {
        assert_eq!(quartiles(&[3.0]), [3.0; 3]);
        assert_eq!(quartiles(&[4.0, 1.0, 3.0, 2.0]), [1.75, 2.5, 3.25]);
        assert_eq!(quartiles(&[5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(median(&[1.0, 9.0, 4.0]), 4.0);
        assert!((geometric_mean([1.0, 4.0]) - 2.0).abs() < 1e-12);
    }
}
