//! Times candidates one after another, and finds the fastest.

use super::clock::Clock;
use crate::context::Timing;
use crate::error::Error;

/// How many candidates [`tune_async`](super::tune_async) tries, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// The most candidates. The best of each family is tried in addition, even if that makes more.
    pub candidates: usize,
    /// Number of rounds. Each times every candidate once.
    pub rounds: usize,
    /// Microseconds that a sample takes at least. The layer is repeated to fill them, up to 4096 times. By the host's clock a sample
    /// also takes ten times what that adds to each.
    pub sample_us: u32,
}

impl Default for Effort {
    fn default() -> Self {
        Self { candidates: 8, rounds: 9, sample_us: 1000 }
    }
}

/// After [`ROUNDS_OF_GRACE`] rounds, a candidate this many times slower than the fastest is not timed any further.
const HOPELESS: f64 = 1.5;
const ROUNDS_OF_GRACE: usize = 3;

/// Candidates within this factor of the fastest one's time are timed in twice as many rounds.
const WORTH_CONFIRMING: f64 = 1.1;

/// The planner's choice stays unless another takes at most this part of its time. A smaller difference is noise.
const WORTH_CHANGING: f64 = 0.98;

/// The most repetitions of a layer in a pass, because drivers do not accept passes of any length.
const MOST_REPEATS: usize = 4096;

/// What a race found of each candidate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Raced {
    /// Seconds of one run, in each round in which it was timed.
    pub(super) samples: Vec<Vec<f64>>,
    /// The median of its times divided by those of the first candidate that runs. Infinite if there are none.
    pub(super) relative: Vec<f64>,
    /// The fastest, or the first that runs if no other is faster by more than noise.
    pub(super) winner: usize,
}

/// Times the candidates that run. `time(i, repeats)` times a pass that runs candidate `i` so often. `clocks` are those that may tell
/// its time, the best first. `progress` is told how many rounds of the first race are over.
pub(super) async fn race(
    mut time: impl AsyncFnMut(usize, usize) -> Result<Timing, Error>,
    running: &[bool],
    clocks: &[Clock],
    effort: &Effort,
    mut progress: impl FnMut(usize),
) -> Result<Raced, Error> {
    let all: Vec<usize> = (0..running.len()).filter(|&i| running[i]).collect();
    let pivot = all.first().copied().unwrap_or_default();
    // Of each candidate, one per round: `None` where it was not timed, or the clock did not tell.
    let mut samples: Vec<Vec<Option<f64>>> = vec![Vec::new(); running.len()];
    let mut winner = pivot;
    if let Some((clock, repeats)) = calibrate(&mut time, &all, clocks, effort).await? {
        let mut rounds = async |racing: &[usize], samples: &mut [Vec<Option<f64>>], progress: &mut dyn FnMut(usize)| {
            for round in 0..effort.rounds.max(1) {
                let relative = relative(samples, pivot);
                let least = relative.iter().copied().fold(f64::INFINITY, f64::min);
                for (i, samples) in samples.iter_mut().enumerate() {
                    // The pivot is timed in every round, because the times of the others are divided by its times.
                    let has_a_chance = round < ROUNDS_OF_GRACE || i == pivot || relative[i] <= HOPELESS * least;
                    samples.push(match racing.contains(&i) && has_a_chance {
                        true => clock.told(&time(i, repeats[i]).await?).map(|seconds| seconds / repeats[i] as f64),
                        false => None,
                    });
                }
                progress(round + 1);
            }
            Ok::<_, Error>(())
        };
        rounds(&all, &mut samples, &mut progress).await?;
        let first = relative(&samples, pivot);
        winner = least(&all, &first);
        if first[winner] <= WORTH_CHANGING {
            let close = first[winner] * WORTH_CONFIRMING;
            let finalists: Vec<usize> = all.into_iter().filter(|&i| i == pivot || first[i] <= close).collect();
            rounds(&finalists, &mut samples, &mut |_| {}).await?;
            winner = least(&finalists, &relative(&samples, pivot));
        }
    }
    let relative = relative(&samples, pivot);
    if relative.get(winner).is_none_or(|&relative| relative > WORTH_CHANGING) {
        winner = pivot;
    }
    let samples = samples.into_iter().map(|samples| samples.into_iter().flatten().collect()).collect();
    Ok(Raced { samples, relative, winner })
}

/// The first clock that can tell the times of all these candidates, and how often each runs in a pass for that. `None` if none can.
async fn calibrate(
    time: &mut impl AsyncFnMut(usize, usize) -> Result<Timing, Error>,
    candidates: &[usize],
    clocks: &[Clock],
    effort: &Effort,
) -> Result<Option<(Clock, Vec<usize>)>, Error> {
    let least = f64::from(effort.sample_us) * 1e-6;
    'clocks: for &clock in clocks {
        let mut repeats = vec![1; candidates.last().map_or(0, |last| last + 1)];
        for &i in candidates {
            loop {
                // The shorter of two, because a pass that something held up would seem long enough. A clock that did not move in
                // one of them may only have begun anew.
                let passes = [time(i, repeats[i]).await?, time(i, repeats[i]).await?];
                let more = passes.iter().filter_map(|pass| clock.more(repeats[i], pass, least, MOST_REPEATS));
                match more.min() {
                    Some(more) => repeats[i] = more,
                    None if passes.iter().all(|pass| clock.told(pass).is_some()) => break,
                    None => continue 'clocks,
                }
            }
        }
        return Ok(Some((clock, repeats)));
    }
    Ok(None)
}

/// The fastest of some candidates.
fn least(of: &[usize], relative: &[f64]) -> usize {
    of.iter().copied().min_by(|&a, &b| relative[a].total_cmp(&relative[b])).unwrap_or_default()
}

/// The median of each candidate's times divided by those of the pivot, over the rounds that have both. Infinite if there are none.
fn relative(samples: &[Vec<Option<f64>>], pivot: usize) -> Vec<f64> {
    let of = |times: &Vec<Option<f64>>| {
        let both = times.iter().zip(&samples[pivot]).filter_map(|(time, pivot)| Some(time.as_ref()? / pivot.as_ref()?));
        median(both.collect()).unwrap_or(f64::INFINITY)
    };
    samples.iter().map(of).collect()
}

/// The median, if there is a number.
pub(super) fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len().checked_sub(1)? / 2;
    Some((samples[middle] + samples[samples.len() / 2]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;
    use std::cell::Cell;

    const EFFORT: Effort = Effort { candidates: 8, rounds: 9, sample_us: 20_000 };

    /// A device whose candidates take so many seconds each, and its clocks.
    struct Device {
        seconds: &'static [f64],
        /// The steps of its clock; `None` if it has none.
        step: Option<f64>,
        way: f64,
        /// The most by which the way varies.
        jitter: f64,
    }

    impl Device {
        /// The race, and the longest pass. `seed` decides all noise. Each 50th reading of the device's clock is 0.
        fn race(&self, seed: u64) -> (Raced, usize) {
            let (passes, longest) = (Cell::new(0), Cell::new(0));
            let random = || {
                passes.set(passes.get() + 1);
                (Noise::new("clock", seed).number(passes.get()) + 1.0) / 2.0
            };
            let time = async |i: usize, repeats: usize| {
                longest.set(longest.get().max(repeats));
                let seconds = self.seconds[i] * repeats as f64;
                let host = self.way + seconds + self.jitter * random();
                let device = self.step.map(|step| {
                    let started = random();
                    if passes.get() % 50 == 0 { 0.0 } else { (started + seconds / step).floor() * step }
                });
                Ok(Timing { device, host })
            };
            let host = Clock::Host { way: self.way };
            let clocks = if self.step.is_some() { vec![Clock::Device, host] } else { vec![host] };
            let running = vec![true; self.seconds.len()];
            let raced = pollster::block_on(race(time, &running, &clocks, &EFFORT, |_| ())).unwrap();
            (raced, longest.get())
        }
    }

    /// A device's clock with steps longer than a candidate, and a host's whose noise is longer.
    #[test]
    fn noise_does_not_choose() {
        let coarse = Device { seconds: &[45e-6, 30e-6, 60e-6, 40e-6], step: Some(1e-4), way: 4e-3, jitter: 1e-3 };
        let without = Device { step: None, ..coarse };
        let slow = Device { step: None, way: 0.02, jitter: 4e-3, ..coarse };
        for (device, least) in [(coarse, 400), (without, 1000), (slow, 4000)] {
            for seed in 0..50 {
                let (raced, longest) = device.race(seed);
                assert_eq!(raced.winner, 1, "{seed}: {raced:?}");
                assert!(longest >= least, "{longest}");
                // By one clock: a way there and back is far longer than any time.
                assert!(raced.samples.iter().flatten().all(|&seconds| seconds < 1e-4), "{raced:?}");
            }
        }
    }

    #[test]
    fn the_first_stays_among_equals() {
        let device = Device { seconds: &[30e-6; 6], step: None, way: 4e-3, jitter: 1e-3 };
        let changed = (0..50).filter(|&seed| device.race(seed).0.winner != 0).count();
        assert!(changed <= 1, "{changed}");
    }

    #[test]
    fn what_no_clock_can_tell_stays_as_it_is() {
        // Too short for the way, even as often as a pass may run it; and a way that no pass may exceed ten times.
        for (seconds, way) in [(&[1e-6, 1e-7], 0.05), (&[1e-3, 1e-4], 1.0)] {
            let (raced, longest) = Device { seconds, step: None, way, jitter: way / 2.0 }.race(1);
            assert_eq!((raced.winner, raced.samples), (0, vec![vec![]; 2]));
            assert!(longest <= MOST_REPEATS);
        }
    }

    /// A device's clock that stands still: the host's takes its place, and no pass lasts for ever.
    #[test]
    fn a_clock_that_stands_still_is_none() {
        let device = Device { seconds: &[0.02, 0.01], step: Some(1e9), way: 1e-4, jitter: 1e-5 };
        let (raced, longest) = device.race(2);
        assert_eq!(raced.winner, 1);
        // Seconds of a pass of the faster one.
        assert!(longest as f64 * 0.01 <= 1.3, "{longest}");
        assert!(raced.samples.iter().flatten().all(|&seconds| seconds < 0.1), "{raced:?}");
    }

    #[test]
    fn who_does_not_run_has_no_time() {
        let time = async |i: usize, repeats: usize| {
            let seconds = [9.0, 2e-3, 1e-3][i] * repeats as f64;
            Ok(Timing { device: Some(seconds), host: seconds })
        };
        let running = [false, true, true];
        let raced = pollster::block_on(race(time, &running, &[Clock::Device], &EFFORT, |_| ())).unwrap();
        assert_eq!((raced.winner, raced.relative), (2, vec![f64::INFINITY, 1.0, 0.5]));
        assert!(raced.samples[0].is_empty());
        let none = race(time, &[false; 3], &[Clock::Device], &EFFORT, |_| ());
        assert_eq!(pollster::block_on(none).unwrap().winner, 0);
    }
}
