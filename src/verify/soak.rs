//! Makes and drops layers and networks for as long as told, and watches what stays.

use std::time::{Duration, Instant};

use super::case::Case;
#[cfg(feature = "network")]
use super::network::NetworkCase;
use crate::context::Context;
use crate::error::Error;

/// wgpu's objects on a device that are not destroyed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Objects {
    /// Buffers, with those that wgpu makes for itself.
    pub buffers: u64,
    /// Bytes of all buffers. 0 if the backend does not count them.
    pub buffer_bytes: u64,
    /// Bind groups.
    pub bind_groups: u64,
    /// Layouts of bind groups and of pipelines.
    pub layouts: u64,
    /// Compute pipelines.
    pub pipelines: u64,
    /// Shader modules.
    pub shader_modules: u64,
    /// Command encoders. wgpu keeps as many as were ever in use at once, so time decides how many there are.
    pub command_encoders: u64,
    /// Query sets, fences, textures and samplers.
    pub others: u64,
}

impl Objects {
    /// What is on the device.
    pub fn of(device: &wgpu::Device) -> Self {
        let on = device.get_internal_counters().hal;
        let sum = |counts: &[isize]| counts.iter().map(|&count| u64::try_from(count).unwrap_or(0)).sum();
        Self {
            buffers: sum(&[on.buffers.read()]),
            buffer_bytes: sum(&[on.buffer_memory.read()]),
            bind_groups: sum(&[on.bind_groups.read()]),
            layouts: sum(&[on.bind_group_layouts.read(), on.pipeline_layouts.read()]),
            pipelines: sum(&[on.compute_pipelines.read()]),
            shader_modules: sum(&[on.shader_modules.read()]),
            command_encoders: sum(&[on.command_encoders.read()]),
            others: sum(&[on.query_sets.read(), on.fences.read(), on.textures.read(), on.samplers.read()]),
        }
    }

    /// How many there are of each kind but command encoders, by name.
    fn each(&self) -> [(&'static str, u64); 7] {
        let Self { buffers, buffer_bytes, bind_groups, layouts, pipelines, shader_modules, others, .. } = *self;
        [
            ("buffers", buffers),
            ("bytes of buffers", buffer_bytes),
            ("bind groups", bind_groups),
            ("layouts", layouts),
            ("pipelines", pipelines),
            ("shader modules", shader_modules),
            ("other objects", others),
        ]
    }

    /// Number of objects of all kinds but command encoders.
    pub fn count(&self) -> u64 {
        self.each().iter().filter(|(name, _)| *name != "bytes of buffers").map(|(_, count)| count).sum()
    }
}

/// What a round did, and what was there after it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SoakRound {
    /// Layers and networks that ran.
    pub runs: u64,
    /// Pipelines that were compiled for them.
    pub kernels: usize,
    /// wgpu's objects after the round.
    pub objects: Objects,
    /// Resident memory of the process after the round, if it is known.
    pub memory: Option<u64>,
    /// The seeds of layers and networks that were refused or wrong, and why.
    pub failures: Vec<(u64, String)>,
}

/// All rounds.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Soak {
    /// In order.
    pub rounds: Vec<SoakRound>,
}

/// Something that there is more of than at first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} grew from {before} to {after}, and {allowed} are allowed")]
#[non_exhaustive]
pub struct Growth {
    /// What grew.
    pub what: &'static str,
    /// How much of it there was.
    pub before: u64,
    /// How much there is.
    pub after: u64,
    /// The most that there may be.
    pub allowed: u64,
}

impl Soak {
    /// The fewest rounds that tell anything.
    pub const LEAST_ROUNDS: usize = 6;

    /// How many more command encoders there may be: more of them may be in use at once by chance.
    pub const ALLOWED_ENCODERS: u64 = 8;

    /// How many bytes the resident memory may grow.
    pub const ALLOWED_BYTES: u64 = 2 << 20;

    /// Which share of itself the resident memory may grow.
    pub const ALLOWED_SHARE: f64 = 0.01;

    /// What grew from round to round.
    ///
    /// Objects must not be more after the last round than after the first, except for
    /// [`ALLOWED_ENCODERS`](Soak::ALLOWED_ENCODERS). Memory is less exact: allocators fragment, and
    /// drivers keep caches. The first third of the rounds is for that. Of the other two thirds the medians are compared:
    /// that of the last may be [`Soak::ALLOWED_BYTES`] or [`Soak::ALLOWED_SHARE`] larger than that of the middle,
    /// whichever is more. This does not depend on the number of rounds: the longer the run, the smaller the leak that it
    /// finds.
    pub fn growth(&self) -> Vec<Growth> {
        let mut grown = Vec::new();
        if let (Some(first), Some(last)) = (self.rounds.first(), self.rounds.last()) {
            for ((what, before), (_, after)) in first.objects.each().into_iter().zip(last.objects.each()) {
                grown.push(Growth { what, before, after, allowed: before });
            }
            let [before, after] = [first, last].map(|round| round.objects.command_encoders);
            let allowed = before + Self::ALLOWED_ENCODERS;
            grown.push(Growth { what: "command encoders", before, after, allowed });
        }
        let third = self.rounds.len() / 3;
        let [middle, last] = [third..self.rounds.len() - third, self.rounds.len() - third..self.rounds.len()]
            .map(|range| median(self.rounds[range].iter().filter_map(|round| round.memory).collect()));
        if let (Some(before), Some(after)) = (middle, last) {
            let allowed = before + Self::ALLOWED_BYTES.max((before as f64 * Self::ALLOWED_SHARE) as u64);
            grown.push(Growth { what: "bytes of resident memory", before, after, allowed });
        }
        grown.retain(|growth| growth.after > growth.allowed);
        grown
    }
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

/// Runs rounds until `duration` is over, at least [`Soak::LEAST_ROUNDS`], and calls `report` after each. Stops if
/// `report` returns false.
///
/// A round draws layers and networks, plans, packs, binds, runs, compares and drops them, and then the context's engine
/// forgets its pipelines, also those that it had before. The first round runs seeds from `seed` on for an eighth of `duration`, the others the same seeds. So each
/// must leave the device and the process as the one before has left them: [`Soak::growth`]. `memory` says how much
/// resident memory the process has.
///
/// # Errors
///
/// [`Error::DeviceLost`]. All else that fails is in [`SoakRound::failures`].
pub fn soak(
    context: &Context,
    seed: u64,
    duration: Duration,
    memory: impl Fn() -> Option<u64>,
    mut report: impl FnMut(&SoakRound) -> bool,
) -> Result<Soak, Error> {
    const ROUNDS: u32 = 8;
    let (start, mut soak, mut draws) = (Instant::now(), Soak::default(), None);
    while soak.rounds.len() < Soak::LEAST_ROUNDS || start.elapsed() < duration {
        let enough = |drawn: u64| match draws {
            None => drawn >= NETWORK_EVERY && start.elapsed() >= duration / ROUNDS,
            Some(draws) => drawn >= draws,
        };
        let (drawn, round) = round(context, seed, enough, &memory)?;
        draws = Some(drawn);
        let goes_on = report(&round);
        soak.rounds.push(round);
        if !goes_on {
            break;
        }
    }
    Ok(soak)
}

/// A round has a network after so many layers.
const NETWORK_EVERY: u64 = 4;

/// Draws layers and networks until there are enough. Returns the number of draws too.
fn round(
    context: &Context,
    seed: u64,
    enough: impl Fn(u64) -> bool,
    memory: impl Fn() -> Option<u64>,
) -> Result<(u64, SoakRound), Error> {
    let (mut drawn, mut runs, mut failures) = (0, 0, Vec::new());
    while !enough(drawn) {
        let seed = seed.wrapping_add(drawn);
        drawn += 1;
        let layer = Case::random(context, seed).run(context).map(|outcome| outcome.failure);
        let network = drawn.is_multiple_of(NETWORK_EVERY).then(|| run_network(context, seed));
        for outcome in [Some(layer), network].into_iter().flatten() {
            runs += 1;
            match outcome {
                Ok(None) => {}
                Ok(Some(failure)) => failures.push((seed, failure)),
                Err(error @ Error::DeviceLost { .. }) => return Err(error),
                Err(error) => failures.push((seed, error.to_string())),
            }
        }
    }
    let kernels = context.engine().pipelines();
    context.engine().forget_pipelines();
    // wgpu destroys what was dropped when a submission is done.
    context.run(&[])?;
    let round = SoakRound { runs, kernels, objects: Objects::of(context.device()), memory: memory(), failures };
    Ok((drawn, round))
}

#[cfg(feature = "network")]
fn run_network(context: &Context, seed: u64) -> Result<Option<String>, Error> {
    NetworkCase::random(seed).run(context).map(|outcome| outcome.failure)
}

/// Without networks nothing runs.
#[cfg(not(feature = "network"))]
fn run_network(_: &Context, _: u64) -> Result<Option<String>, Error> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soak_of(memory: impl IntoIterator<Item = Option<u64>>) -> Soak {
        let round = |memory| SoakRound {
            runs: 1,
            kernels: 1,
            objects: Objects { buffers: 3, bind_groups: 2, ..Objects::default() },
            memory,
            failures: Vec::new(),
        };
        Soak { rounds: memory.into_iter().map(round).collect() }
    }

    #[test]
    fn objects_may_not_grow() {
        let mut soak = soak_of([None; 6]);
        assert_eq!(soak.growth(), []);
        soak.rounds[3].objects.buffers = 9;
        soak.rounds[5].objects.bind_groups = 1;
        assert_eq!(soak.growth(), []);
        soak.rounds[5].objects.buffers = 4;
        let [growth] = soak.growth().try_into().unwrap();
        assert_eq!(growth.to_string(), "buffers grew from 3 to 4, and 3 are allowed");
        soak.rounds[5].objects = Objects { command_encoders: 8, ..soak.rounds[0].objects };
        assert_eq!(soak.growth(), []);
        soak.rounds[5].objects.command_encoders = 9;
        let [growth] = soak.growth().try_into().unwrap();
        assert_eq!(growth.to_string(), "command encoders grew from 0 to 9, and 8 are allowed");
    }

    #[test]
    fn memory_may_not_grow_after_the_start() {
        const MIB: u64 = 1 << 20;
        let grows = |memory: &[u64]| soak_of(memory.iter().map(|mib| Some(mib * MIB))).growth().len();
        // Growing at first, jumping about, and returning.
        assert_eq!(grows(&[50, 200, 230, 229, 231, 230, 236, 229, 230]), 0);
        assert_eq!(grows(&[50, 100, 100, 100, 100, 400, 100, 100, 400]), 0);
        // Steadily: by more than 2 MiB, by less than 1 %, and by more.
        assert_eq!(grows(&[100, 103, 106, 109, 112, 115, 118, 121, 124]), 1);
        assert_eq!(grows(&[1000, 1003, 1006, 1009, 1012, 1015, 1018, 1021, 1024]), 0);
        assert_eq!(grows(&[1000, 1012, 1024, 1036, 1048, 1060, 1072, 1084, 1096]), 1);
        assert_eq!(soak_of([]).growth(), []);
    }
}
