//! Measuring which variant of a layer is the fastest on the device at hand.
//!
//! The planner only estimates. [`tune_async`] takes the best few of its candidates, runs them on the same random data,
//! compares their outputs, and times them one after another. What it finds goes into a [`Tuned`](crate::Tuned), which
//! planners follow. Times are those of [`Context::time_async`]: on the device if it has timestamp queries, or else on the
//! host.

use super::random_layer::RandomLayer;
use super::referee::{self, Difference};
use crate::context::Context;
use crate::dims::InputSize;
use crate::engine::Layer;
use crate::error::Error;
use crate::layer::Spec;
use crate::plan::{Options, Plan, Strategy};

/// How many candidates [`tune_async`] tries, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The most candidates. The best of each family is tried in addition, even if that makes more.
    pub candidates: usize,
    /// Number of rounds. Each times every candidate once.
    pub rounds: usize,
    /// Microseconds that a sample takes at least. The layer is repeated to fill them.
    pub sample_us: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self { candidates: 8, rounds: 9, sample_us: 1000 }
    }
}

/// A candidate is left out if its estimate is more than this many times the best one, unless there are fewer than
/// [`LEAST_CANDIDATES`] yet or it is the first of its family.
const WORTH_TRYING: f64 = 2.0;
const LEAST_CANDIDATES: usize = 3;

/// After [`ROUNDS_OF_GRACE`] rounds, a candidate this many times slower than the fastest is not timed any further.
const HOPELESS: f64 = 1.5;
const ROUNDS_OF_GRACE: usize = 3;

/// Candidates within this factor of the fastest one's time are timed in twice as many rounds.
const WORTH_CONFIRMING: f64 = 1.1;

/// The planner's choice stays unless another takes at most this part of its time. A smaller difference is noise.
const WORTH_CHANGING: f64 = 0.98;

/// How far [`tune_async`] has come. A step is a candidate that has run, then a round, and last the second race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Finished steps.
    pub done: usize,
    /// All steps.
    pub of: usize,
}

/// Why a candidate has no time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Dropped {
    /// The device refused it.
    Refused(Error),
    /// Its outputs differ from those of the others.
    Wrong(Difference),
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Wrong(difference) => difference.fmt(f),
        }
    }
}

/// A candidate and its times.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trial {
    /// The candidate.
    pub plan: Plan,
    /// Median seconds of one run of the layer, or why there is no time.
    pub seconds: Result<f64, Dropped>,
    /// Seconds of one run of the layer, in each round in which the candidate was timed. Rounds of the second race come
    /// last.
    pub samples: Vec<f64>,
    /// The median, over the rounds, of its time divided by that of the first candidate that runs. Dividing within a
    /// round helps because the machine's speed changes less within a round than between rounds. Infinite if there is no
    /// time.
    pub relative: f64,
}

/// The result of [`tune_async`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TuneOutcome {
    /// All candidates, the planner's choice first.
    pub trials: Vec<Trial>,
    winner: usize,
}

impl TuneOutcome {
    /// The candidate to use: the fastest one. If it is not faster by more than noise than the first candidate that
    /// runs, which usually is the planner's choice, then that one.
    pub fn winner(&self) -> &Trial {
        &self.trials[self.winner]
    }

    /// The planner's choice.
    pub fn planned(&self) -> &Trial {
        &self.trials[0]
    }

    /// How many times faster the winner is than the planner's choice. `None` if that has no time.
    pub fn gain(&self) -> Option<f64> {
        let gain = self.planned().relative / self.winner().relative;
        gain.is_finite().then_some(gain)
    }
}

/// Times the best candidates of a layer, and calls `progress` after each step. Ignores `options.variant`.
///
/// All candidates run on the same random data. A candidate is dropped if its outputs differ from those of the others by
/// more than rounding can explain (`src/error_bounds.rs`). The rest are timed one after another in each of several
/// rounds, so that a machine that slows down slows all of them. If one is then faster than the planner's choice, a
/// second race follows: the planner's choice and all candidates within a tenth of the fastest are timed in as many
/// rounds again. Without it, noise alone would often decide between many candidates of about the same speed.
///
/// # Errors
///
/// - Those of [`Plan::new`].
/// - The error of the planner's choice, if the device refuses every candidate.
/// - [`Error::Tune`] if no candidate gives usable numbers.
/// - [`Error::DeviceLost`].
pub async fn tune_async(
    context: &Context,
    spec: &Spec,
    size: InputSize,
    options: &Options,
    effort: &Effort,
    mut progress: impl FnMut(Progress),
) -> Result<TuneOutcome, Error> {
    let plans = contenders(context, spec, size, options, effort)?;
    let of = plans.len() + effort.rounds.max(1) + 1;
    let data = RandomLayer::new(context, &plans[0])?;
    let mut layers = Vec::new();
    let mut outputs = Vec::new();
    for (i, plan) in plans.iter().enumerate() {
        let run = async |data: &RandomLayer| {
            let bound = data.bind(context, plan);
            context.engine().settled().await?;
            let layer = bound?;
            data.poison(context)?;
            context.run_async(&[&layer]).await?;
            Ok::<_, Error>((layer, data.outputs(context).await?))
        };
        match run(&data).await {
            Ok((layer, found)) => {
                layers.push(Ok(layer));
                outputs.push(Some(found));
            }
            Err(error) => {
                layers.push(Err(Dropped::Refused(error)));
                outputs.push(None);
            }
        }
        progress(Progress { done: i + 1, of });
    }
    for (layer, difference) in layers.iter_mut().zip(referee::judge(&plans, &data, &outputs)) {
        if let Some(difference) = difference {
            *layer = Err(Dropped::Wrong(difference));
        }
    }
    drop(outputs);
    let running: Vec<Option<&Layer>> = layers.iter().map(|layer| layer.as_ref().ok()).collect();
    let mut samples =
        race(context, &running, effort, |round| progress(Progress { done: plans.len() + round, of })).await?;

    let pivot = running.iter().position(Option::is_some);
    let mut ratios: Vec<Vec<f64>> = samples.iter().map(|t| ratios(t, pivot.map_or(&[], |i| &samples[i]))).collect();
    let mut relative: Vec<f64> = ratios.iter().map(|ratios| ratio(ratios)).collect();
    let least = |of: &[usize], relative: &[f64]| {
        of.iter().copied().min_by(|&a, &b| relative[a].total_cmp(&relative[b])).unwrap_or_default()
    };
    let all: Vec<usize> = (0..plans.len()).collect();
    let mut winner = least(&all, &relative);
    if let Some(pivot) = pivot {
        if relative[winner] <= WORTH_CHANGING {
            let close = relative[winner] * WORTH_CONFIRMING;
            // The pivot is the first candidate that runs, so it is also the first finalist.
            let finalists: Vec<usize> = all.into_iter().filter(|&i| i == pivot || relative[i] <= close).collect();
            let again: Vec<Option<&Layer>> = finalists.iter().map(|&i| running[i]).collect();
            let again = race(context, &again, effort, |_| {}).await?;
            let first = again[0].clone();
            for (&i, times) in finalists.iter().zip(again) {
                ratios[i].extend(self::ratios(&times, &first));
                relative[i] = ratio(&ratios[i]);
                samples[i].extend(times);
            }
            winner = least(&finalists, &relative);
        }
        if relative[winner] > WORTH_CHANGING {
            winner = pivot;
        }
    }
    progress(Progress { done: of, of });
    let mut trials = Vec::new();
    for (((plan, layer), samples), relative) in plans.into_iter().zip(layers).zip(samples).zip(relative) {
        trials.push(Trial { plan, seconds: layer.map(|_| median(samples.clone())), samples, relative });
    }
    match &trials[winner].seconds {
        Ok(_) => Ok(TuneOutcome { trials, winner }),
        Err(Dropped::Refused(error)) => Err(error.clone()),
        Err(Dropped::Wrong(difference)) => Err(Error::Tune { problem: difference.to_string() }),
    }
}

/// [`tune_async`], which it blocks on.
#[cfg(not(target_arch = "wasm32"))]
pub fn tune(
    context: &Context,
    spec: &Spec,
    size: InputSize,
    options: &Options,
    effort: &Effort,
    progress: impl FnMut(Progress),
) -> Result<TuneOutcome, Error> {
    pollster::block_on(tune_async(context, spec, size, options, effort, progress))
}

/// `times` divided by those of the pivot, round by round, for the rounds that both have.
fn ratios(times: &[f64], pivot: &[f64]) -> Vec<f64> {
    times.iter().zip(pivot).map(|(time, pivot)| time / pivot).collect()
}

/// The median of ratios. Infinite if there are none.
fn ratio(ratios: &[f64]) -> f64 {
    if ratios.is_empty() { f64::INFINITY } else { median(ratios.to_vec()) }
}

/// The median. There is at least one number.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    (samples[(samples.len() - 1) / 2] + samples[samples.len() / 2]) / 2.0
}

/// The candidates to try, the planner's choice first.
fn contenders(
    context: &Context,
    spec: &Spec,
    size: InputSize,
    options: &Options,
    effort: &Effort,
) -> Result<Vec<Plan>, Error> {
    let facts = context.engine().facts();
    let options = Options { variant: None, ..*options };
    let mut plans = Plan::candidates(spec, size, &options, facts);
    plans.retain(|plan| plan.variant().strategy != Strategy::Unfused);
    // If a layer is smaller than several tiles, they make the same kernels.
    let mut distinct: Vec<Plan> = Vec::new();
    for plan in plans {
        if distinct.iter().all(|other| other.steps != plan.steps) {
            distinct.push(plan);
        }
    }
    let Some(best) = distinct.first().map(|plan| plan.estimate(facts)) else {
        // The plan of a layer that only runs unfused, or the reason why there is no plan.
        return Ok(vec![Plan::new(spec, size, &options, facts)?]);
    };
    let mut families = Vec::new();
    let mut chosen = Vec::new();
    for plan in distinct {
        let worth = plan.estimate(facts) <= WORTH_TRYING * best || chosen.len() < LEAST_CANDIDATES;
        let family = plan.variant().family;
        if !families.contains(&family) || (worth && chosen.len() < effort.candidates.max(1)) {
            families.push(family);
            chosen.push(plan);
        }
    }
    Ok(chosen)
}

/// Seconds of each layer in each round. Empty for a layer that does not run.
async fn race(
    context: &Context,
    layers: &[Option<&Layer>],
    effort: &Effort,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Vec<f64>>, Error> {
    let least = f64::from(effort.sample_us) * 1e-6;
    let way = match context.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
        true => 0.0,
        false => context.way_async().await?,
    };
    let mut repeats = Vec::new();
    for layer in layers {
        let once = match layer {
            // All layers have run before, so kernels are compiled. This run only raises the clock.
            Some(layer) => context.time_async(&[layer]).await?.without_way(way),
            None => least,
        };
        repeats.push(((least / once.max(1e-9)).ceil() as usize).clamp(1, MOST_REPEATS));
    }
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); layers.len()];
    let Some(pivot) = layers.iter().position(Option::is_some) else { return Ok(samples) };
    for round in 0..effort.rounds.max(1) {
        let relative: Vec<f64> = samples.iter().map(|times| ratio(&ratios(times, &samples[pivot]))).collect();
        let least = relative.iter().copied().fold(f64::INFINITY, f64::min);
        for (i, layer) in layers.iter().enumerate() {
            let &Some(layer) = layer else { continue };
            // The pivot is timed in every round, because the times of the others are divided by its times.
            if round < ROUNDS_OF_GRACE || i == pivot || relative[i] <= HOPELESS * least {
                let seconds = context.time_async(&vec![layer; repeats[i]]).await?.without_way(way);
                samples[i].push(seconds / repeats[i] as f64);
            }
        }
        progress(round + 1);
    }
    Ok(samples)
}

/// The most repetitions of a layer in a pass, because drivers do not accept passes of any length.
const MOST_REPEATS: usize = 256;
