//! Times of passes, by the GPU's clock if the browser has it, or else by its own.

use octconv::{Context, Error, Timing};

/// What a pass that is timed takes at least: clocks of browsers have steps of a tenth of a millisecond, some of a whole one.
const LEAST_SECONDS: f64 = 0.02;

/// How many times the way there and back a pass takes at least, if the browser's clock times it.
const LEAST_WAYS: f64 = 10.0;

/// The most of that: systems take a GPU away from who keeps it for some seconds.
const MOST_SECONDS: f64 = 1.0;

/// How many times as often a pass runs something than the pass before.
const MOST_TIMES: f64 = 16.0;

/// What is known about the clocks of a device.
pub struct Clock {
    /// Seconds from submitting a pass to hearing that it is done, which the browser's clock adds to each.
    way: f64,
}

impl Clock {
    /// Times the way there and back.
    pub async fn new(context: &Context) -> Result<Self, Error> {
        Ok(Self { way: context.way_async().await? })
    }

    /// Seconds of both passes by one clock, and whether it is the GPU's. `None` if the clock did not move.
    pub fn seconds<const N: usize>(&self, passes: &[Timing; N]) -> Option<([f64; N], bool)> {
        let by = |clock: &dyn Fn(&Timing) -> f64| {
            let seconds = passes.each_ref().map(clock);
            seconds.iter().all(|seconds| *seconds > 0.0).then_some(seconds)
        };
        let device = by(&|timing| timing.device.unwrap_or(0.0)).map(|seconds| (seconds, true));
        device.or_else(|| by(&|timing| timing.host - self.way).map(|seconds| (seconds, false)))
    }

    /// How often to run in a pass what was run `count` times: `found` are the seconds of those passes. `None` if they are long
    /// enough. At most `most` times. It grows in steps, because a pass that seems to take no time may take some.
    pub fn more<const N: usize>(&self, count: usize, found: &Option<([f64; N], bool)>, most: usize) -> Option<usize> {
        let least = match found {
            Some((_, true)) => LEAST_SECONDS,
            _ => (LEAST_WAYS * self.way).clamp(LEAST_SECONDS, MOST_SECONDS),
        };
        let seconds = found.as_ref().map_or([0.0; N], |(seconds, _)| *seconds);
        let shortest = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let longest = seconds.iter().copied().fold(0.0, f64::max);
        // Half of the wanted time is enough, so that noise does not cause more passes.
        if shortest >= least / 2.0 || longest >= MOST_SECONDS / 2.0 || count >= most {
            return None;
        }
        let times = (least / shortest).min(MOST_SECONDS / longest).min(MOST_TIMES);
        Some(((count as f64 * times).ceil() as usize).clamp(count + 1, most))
    }
}
