//! Measuring which variant of a layer is the fastest on the device at hand.
//!
//! The planner only estimates. [`tune_async`] takes the best few of its candidates, runs them on the same random data,
//! compares their outputs, and times them one after another. What it finds goes into a [`Tuned`](crate::Tuned), which
//! planners follow. Times are those of [`Context::time_async`]: all on the device if it has timestamp queries and its clock moves, or
//! else all on the host.

use super::clock::Clock;
use super::race::{Effort, Raced, median, race};
use super::random_layer::RandomLayer;
use super::referee::{self, Dropped};
use crate::context::Context;
use crate::dims::InputSize;
use crate::engine::Layer;
use crate::error::Error;
use crate::layer::Spec;
use crate::plan::{Options, Plan, Strategy};

/// A candidate is left out if its estimate is more than this many times the best one, unless there are fewer than
/// [`LEAST_CANDIDATES`] yet or it is the first of its family.
const WORTH_TRYING: f64 = 2.0;
const LEAST_CANDIDATES: usize = 3;

/// How far [`tune_async`] has come. A step is a candidate that has run, then a round, and last the second race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Finished steps.
    pub done: usize,
    /// All steps.
    pub of: usize,
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
/// All candidates run on the same random data. If the outputs of two differ by more than rounding can explain
/// (`src/error_bounds.rs`), the reference says which is wrong, and that one is dropped. The rest are timed one after
/// another in each of several rounds, so that a machine that slows down slows all of them. If one is then faster than the
/// planner's choice, a second race follows: the planner's choice and all candidates within a tenth of the fastest are
/// timed in as many rounds again. Without it, noise alone would often decide between many candidates of about the same
/// speed. The planner's choice stays if no clock can tell the times of all candidates from noise.
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
    let mut layers: Vec<Option<Layer>> = plans.iter().map(|_| None).collect();
    let mut done = vec![false; plans.len()];
    let run = async |i: usize| {
        let ran = async {
            let layer = match &mut layers[i] {
                Some(layer) => layer,
                none => {
                    let bound = data.bind(context, &plans[i]);
                    context.engine().settled().await?;
                    none.insert(bound?)
                }
            };
            data.poison(context)?;
            context.run_async(&[&*layer]).await?;
            data.outputs(context).await
        };
        let ran = ran.await;
        if !std::mem::replace(&mut done[i], true) {
            progress(Progress { done: done.iter().filter(|&&done| done).count(), of });
        }
        ran
    };
    let dropped = referee::judge(&plans, &data, run).await?;
    for (layer, dropped) in layers.iter_mut().zip(&dropped) {
        layer.take_if(|_| dropped.is_some());
    }
    let running: Vec<bool> = layers.iter().map(Option::is_some).collect();
    let time = async |i: usize, repeats: usize| match &layers[i] {
        Some(layer) => context.time_async(&vec![layer; repeats]).await,
        None => context.time_async(&[]).await,
    };
    let clocks = Clock::all(context).await?;
    let Raced { samples, relative, winner } =
        race(time, &running, &clocks, effort, |round| progress(Progress { done: plans.len() + round, of })).await?;
    progress(Progress { done: of, of });
    let mut trials = Vec::new();
    for (((plan, dropped), samples), relative) in plans.into_iter().zip(dropped).zip(samples).zip(relative) {
        let seconds = dropped.map_or_else(|| median(samples.clone()).ok_or(Dropped::Untimed), Err);
        trials.push(Trial { plan, seconds, samples, relative });
    }
    match &trials[winner].seconds {
        Ok(_) | Err(Dropped::Untimed) => Ok(TuneOutcome { trials, winner }),
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
