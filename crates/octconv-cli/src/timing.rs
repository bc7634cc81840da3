//! Times the forms of a layer against each other, and sums up what was timed.

use std::time::Instant;

use anyhow::{Context as _, Result};
use octconv::tuning::RandomLayer;
use octconv::{Context, InputSize, Layer, Options, Plan, Spec, Strategy, Timing, Variant};

/// The least seconds of a run: the host's clock may say 0 too, and times are divided by each other.
const TICK: f64 = 1e-9;

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
        let plans = forms(context, spec, size, options, types)?;
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
        let mut runs = [const { Vec::new() }; 3];
        for _ in 0..rounds {
            for ((form, &repeats), runs) in bound.iter().zip(&repeats).zip(&mut runs) {
                runs.push(Clocks::of(time(form, repeats)?, repeats));
            }
        }
        let host = runs[0].iter().map(|run| run.host).collect();
        let clock = Clock::of(&runs);
        Ok(Self { plans, seconds: runs.map(|runs| clock.seconds(&runs)), host, ready })
    }
}

/// Seconds of a run on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// On the device's, if it has one.
    device: Option<f64>,
    host: f64,
}

impl Clocks {
    /// `repeats`: how many runs were timed together.
    pub fn of(timing: Timing, repeats: usize) -> Self {
        let each = |seconds: f64| seconds / repeats as f64;
        Self { device: timing.device.map(each), host: each(timing.host) }
    }
}

/// The clock of runs that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clock {
    Device,
    Host,
}

impl Clock {
    /// The device's, unless it has none or did not move in one of the runs: then only the host's time is known.
    pub fn of(runs: &[Vec<Clocks>]) -> Self {
        let moves = |run: &Clocks| run.device.is_some_and(|seconds| seconds > 0.0);
        if runs.iter().flatten().all(moves) { Self::Device } else { Self::Host }
    }

    /// The seconds of runs.
    pub fn seconds(self, runs: &[Clocks]) -> Vec<f64> {
        let seconds = |run: &Clocks| match self {
            Self::Device => run.device.unwrap_or(run.host),
            Self::Host => run.host,
        };
        runs.iter().map(|run| seconds(run).max(TICK)).collect()
    }
}

/// The plans of a layer that are timed against each other: octave, unfused, plain. Arguments as in
/// [`LayerTimes::measure`].
pub fn forms(context: &Context, spec: &Spec, size: InputSize, options: &Options, types: &Options) -> Result<[Plan; 3]> {
    let engine = context.engine();
    let plan = engine.plan(spec, size, options)?;
    let plain = engine.plan(&spec.plain(), size, types)?;
    Ok([plan, unfused(context, spec, size, types).context("no unfused form")?, plain])
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
    fn a_clock_that_stands_still_is_not_used() {
        let run = |device, host| Clocks { device, host };
        let runs = |second| [vec![run(Some(2.0), 5.0), run(Some(3.0), 6.0)], vec![run(Some(1.0), 4.0), second]];
        let seconds = |runs: [Vec<Clocks>; 2]| runs.each_ref().map(|each| Clock::of(&runs).seconds(each));
        assert_eq!(seconds(runs(run(Some(4.0), 7.0))), [[2.0, 3.0], [1.0, 4.0]]);
        // All of them are then on the host's, so that they can be compared.
        for still in [Some(0.0), None] {
            assert_eq!(seconds(runs(run(still, 7.0))), [[5.0, 6.0], [4.0, 7.0]]);
        }
        assert_eq!(Clock::Host.seconds(&[run(None, 0.0)]), [TICK]);
    }

    #[test]
    fn quartiles_lie_between_the_numbers_around_them() {
        assert_eq!(quartiles(&[3.0]), [3.0; 3]);
        assert_eq!(quartiles(&[4.0, 1.0, 3.0, 2.0]), [1.75, 2.5, 3.25]);
        assert_eq!(quartiles(&[5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(median(&[1.0, 9.0, 4.0]), 4.0);
        assert!((geometric_mean([1.0, 4.0]) - 2.0).abs() < 1e-12);
    }
}
