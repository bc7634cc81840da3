//! The clocks that may time candidates. Times by different clocks are not compared.

use crate::context::{Context, Timing};
use crate::error::Error;

/// A clock for all passes that are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Clock {
    /// The device's. That of a browser has steps of a tenth of a millisecond.
    Device,
    /// The host's, which adds the way there and back to each pass. In a browser it may be a tenth of a second.
    Host { way: f64 },
}

/// How many ways there and back a pass takes at least, so that their noise is small. With half of that, candidates are still told
/// apart.
const WAYS: f64 = 10.0;

/// The most seconds of that: systems take a GPU away from who keeps it for some seconds.
const MOST_SECONDS: f64 = 0.8;

/// How many times as often a pass runs a layer than the pass before. Little is known of what is shorter than the clock's steps.
const MOST_TIMES: f64 = 16.0;

/// How much longer than needed the next pass should be, so that noise does not ask for another one.
const AIM: f64 = 1.25;

impl Clock {
    /// The clocks of a device, the better one first.
    pub(super) async fn all(context: &Context) -> Result<Vec<Self>, Error> {
        let host = Self::Host { way: context.way_async().await? };
        Ok(match context.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            true => vec![Self::Device, host],
            false => vec![host],
        })
    }

    /// Seconds of a pass. 0 if the clock did not move: its steps are longer than the pass, or its counter began anew.
    fn seconds(self, timing: &Timing) -> f64 {
        match self {
            Self::Device => timing.device.unwrap_or(0.0),
            Self::Host { way } => (timing.host - way).max(0.0),
        }
    }

    /// Seconds of a pass. `None` if the clock cannot tell.
    pub(super) fn told(self, timing: &Timing) -> Option<f64> {
        let least = match self {
            Self::Device => 0.0,
            Self::Host { way } => WAYS / 2.0 * way,
        };
        Some(self.seconds(timing)).filter(|&seconds| seconds > 0.0 && seconds >= least)
    }

    /// How often to run in a pass what took so long when it ran `count` times, for passes of at least `least` seconds. `None` if they
    /// are long enough, or cannot be longer.
    pub(super) fn more(self, count: usize, timing: &Timing, least: f64, most: usize) -> Option<usize> {
        let wanted = match self {
            Self::Device => least,
            Self::Host { way } => (WAYS * way).min(MOST_SECONDS).max(least),
        };
        let seconds = self.seconds(timing);
        // A clock that stands still says nothing, so the other one says when it has been long enough.
        let stands_still = seconds <= 0.0 && timing.host >= MOST_SECONDS.max(least);
        if seconds >= wanted || stands_still || count >= most {
            return None;
        }
        // What seems short by this clock may be long by the host's.
        let longest = (AIM * MOST_SECONDS.max(least) / timing.host).max(1.0);
        let times = (AIM * wanted / seconds).min(MOST_TIMES).min(longest);
        Some(((count as f64 * times).ceil() as usize).clamp(count + 1, most))
    }
}
