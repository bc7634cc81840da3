//! Measuring which variant of a layer is the fastest on the device at hand.
//!
//! The planner estimates; [`tune`] takes the few best of its candidates, runs all of them on the same random data,
//! compares what they give, and times them in turn. What it finds goes into a [`Tuned`](crate::Tuned), which planners
//! follow. Times are those of [`Context::time`]: of the device where it has timestamp queries.

use super::random_layer::RandomLayer;
use super::referee::{self, Difference};
use crate::context::Context;
use crate::dims::InputSize;
use crate::engine::Layer;
use crate::error::Error;
use crate::layer::Spec;
use crate::plan::{Options, Plan, Strategy};

/// How much to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The most candidates; of each family there is at least one.
    pub candidates: usize,
    /// Rounds, each of which times every candidate once.
    pub rounds: usize,
    /// Microseconds that a sample takes at least; the layer is repeated to fill them.
    pub sample_us: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self { candidates: 8, rounds: 9, sample_us: 1000 }
    }
}

/// Candidates whose estimate is so many times the best are left out, beyond the first [`LEAST_CANDIDATES`].
const WORTH_TRYING: f64 = 2.0;
const LEAST_CANDIDATES: usize = 3;

/// A candidate so many times slower than the fastest after so many rounds is timed no more.
const HOPELESS: f64 = 1.5;
const ROUNDS_OF_GRACE: usize = 3;

/// Candidates that take so many times the fastest one's time, or less, are timed in twice as many rounds.
const WORTH_CONFIRMING: f64 = 1.1;

/// The planner's choice stays unless another takes less than this part of its time: what is closer is noise.
const WORTH_CHANGING: f64 = 0.98;

/// How far [`tune`] has come: candidates that have run, then rounds, then those of the fastest few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Steps that are done.
    pub done: usize,
    /// Steps in all.
    pub of: usize,
}

/// Why a candidate has no time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Dropped {
    /// The device refused it.
    Refused(Error),
    /// It gave something else than the others.
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

/// A candidate and what became of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trial {
    /// What was tried.
    pub plan: Plan,
    /// Median seconds of the layer once, or why there is no time.
    pub seconds: Result<f64, Dropped>,
    /// Seconds in each round that it took part in, those of the first race in front.
    pub samples: Vec<f64>,
    /// The median of its times over those of the first candidate that runs, round by round: the machine's speed drifts
    /// less within a round than over all of them. Infinite where there is no time.
    pub relative: f64,
}

/// What [`tune`] found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TuneOutcome {
    /// All candidates, the planner's choice first.
    pub trials: Vec<Trial>,
    winner: usize,
}

impl TuneOutcome {
    /// The fastest, or the first that runs, as a rule the planner's choice, where nothing is faster than that by more
    /// than noise.
    pub fn winner(&self) -> &Trial {
        &self.trials[self.winner]
    }

    /// What the planner would have chosen.
    pub fn planned(&self) -> &Trial {
        &self.trials[0]
    }

    /// How many times faster the winner is than what the planner would have chosen; `None` where that has no time.
    pub fn gain(&self) -> Option<f64> {
        let gain = self.planned().relative / self.winner().relative;
        gain.is_finite().then_some(gain)
    }
}

/// Times the best candidates of a layer and reports after each step. `options.variant` is not heeded.
///
/// All run on the same data; what differs from the others by more than `src/verify.rs` allows is dropped. They are then
/// timed one after the other in each of several rounds, so that a machine that slows down slows all of them. Those that
/// come within a tenth of the fastest, and the planner's choice, are then timed in as many rounds again: of many that
/// are alike, noise makes one the fastest once.
///
/// # Errors
///
/// Those of [`Plan::new`]; that of the planner's choice where no candidate runs; [`Error::Tune`] where none gives
/// numbers; [`Error::Gpu`] where the device is lost.
pub fn tune(
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
        let run = |data: &RandomLayer| {
            let layer = data.bind(context, plan)?;
            data.poison(context);
            context.run(&[&layer])?;
            Ok::<_, Error>((layer, data.outputs(context)?))
        };
        match run(&data) {
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
    let mut samples = race(context, &running, effort, |round| progress(Progress { done: plans.len() + round, of }))?;

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
            // The pivot is the first of those that run.
            let finalists: Vec<usize> = all.into_iter().filter(|&i| i == pivot || relative[i] <= close).collect();
            let again: Vec<Option<&Layer>> = finalists.iter().map(|&i| running[i]).collect();
            let again = race(context, &again, effort, |_| {})?;
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

/// One time over another, round by round, as far as both took part.
fn ratios(times: &[f64], pivot: &[f64]) -> Vec<f64> {
    times.iter().zip(pivot).map(|(time, pivot)| time / pivot).collect()
}

/// The median of such ratios; infinite where there are none.
fn ratio(ratios: &[f64]) -> f64 {
    if ratios.is_empty() { f64::INFINITY } else { median(ratios.to_vec()) }
}

/// The median of at least one number.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    (samples[(samples.len() - 1) / 2] + samples[samples.len() / 2]) / 2.0
}

/// The candidates to be tried, the planner's choice first.
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
    // Tiles that are larger than a layer can end up as the same kernels.
    let mut distinct: Vec<Plan> = Vec::new();
    for plan in plans {
        if distinct.iter().all(|other| other.steps != plan.steps) {
            distinct.push(plan);
        }
    }
    let Some(best) = distinct.first().map(|plan| plan.estimate(facts)) else {
        // Says why there is none. A layer that only runs unfused is as tuned as it can be.
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

/// Seconds of each layer in each round; none of one that does not run.
fn race(
    context: &Context,
    layers: &[Option<&Layer>],
    effort: &Effort,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Vec<f64>>, Error> {
    let least = f64::from(effort.sample_us) * 1e-6;
    let mut repeats = Vec::new();
    for layer in layers {
        let once = match layer {
            // They have all run before; what the first timed run still warms up is the clock.
            Some(layer) => context.time(&[layer])?.device_or_host(),
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
            // The first one is what the others are measured by.
            if round < ROUNDS_OF_GRACE || i == pivot || relative[i] <= HOPELESS * least {
                let seconds = context.time(&vec![layer; repeats[i]])?.device_or_host();
                samples[i].push(seconds / repeats[i] as f64);
            }
        }
        progress(round + 1);
    }
    Ok(samples)
}

/// A pass does not grow beyond what a driver takes in without complaint.
const MOST_REPEATS: usize = 256;
