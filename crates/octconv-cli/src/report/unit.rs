//! The steps of a report: small, and the most telling ones first.

use octconv::{Dtype, Family, InputSize};

use super::data::{Network, Report, Size};
use super::subjects::{LayerJob, Subjects};
use crate::network_source::Source;

/// A small piece of work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Random layers that run a tile of a family of kernels.
    Verify {
        family: Family,
        tile: &'static str,
        mode: Mode,
        seed: u64,
    },
    /// Random networks.
    VerifyNetworks {
        mode: Mode,
        seed: u64,
    },
    Roofline {
        full: bool,
    },
    /// A layer at its own batch, or at one that fills the device.
    Layer {
        index: usize,
        dtype: Dtype,
        filled: bool,
    },
    Network {
        index: usize,
        dtype: Dtype,
        batch: u32,
        tuned: bool,
    },
    TuneLayer {
        index: usize,
        plain: bool,
        dtype: Dtype,
    },
    /// A layer of the first network.
    TuneNetwork {
        job: usize,
        dtype: Dtype,
    },
}

/// How kernels are made that are compared with the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mode {
    pub checked: bool,
    pub as_gpu: bool,
}

impl Mode {
    /// As every other command runs them.
    const USUAL: Self = Self { checked: false, as_gpu: false };

    /// The arguments of `octconv verify`.
    pub fn flags(self) -> String {
        format!("{}{}", if self.checked { " --checked" } else { "" }, if self.as_gpu { " --as-gpu" } else { "" })
    }
}

/// Layers of the list that tell the most, and those that come next.
const FIRST_LAYERS: usize = 3;
const NEXT_LAYERS: usize = 12;
/// Batches of a network. Each larger one is timed if the one before has made the device busier.
const BATCHES: [u32; 4] = [1, 4, 16, 64];
/// How much more pictures a second a larger batch must bring.
const WORTH_FILLING: f64 = 1.1;
/// Rounds of verification after every tile has had its turn.
const DEEPER: u64 = 8;

/// All steps of a report in their order. Some may turn out to tell nothing: see [`worth`].
pub fn all(subjects: &Subjects) -> Vec<Unit> {
    let first = subjects.dtypes[0];
    let other = subjects.dtypes.get(1).copied();
    let mut units = Vec::new();
    let layers = |range: std::ops::Range<usize>, dtype: Dtype, filled: bool| {
        let count = subjects.layers.len();
        (range.start.min(count)..range.end.min(count)).map(move |index| Unit::Layer { index, dtype, filled })
    };
    let network = |index, dtype| Unit::Network { index, dtype, batch: BATCHES[0], tuned: false };
    let larger =
        |index, dtype| BATCHES[1..].iter().map(move |&batch| Unit::Network { index, dtype, batch, tuned: false });
    let others = 1..subjects.networks.len();
    let is_planned = subjects.unplanned.is_none();
    let tune = |range: std::ops::Range<usize>| {
        let octave_and_plain = |index| [false, true].map(|plain| Unit::TuneLayer { index, plain, dtype: first });
        (range.start..range.end.min(subjects.layers.len())).flat_map(octave_and_plain)
    };
    let modes = modes(subjects.software);

    // What a minute tells.
    units.extend(families(Mode::USUAL, 0));
    units.push(Unit::Roofline { full: false });
    units.extend(layers(0..FIRST_LAYERS, first, false));
    units.push(network(0, first));

    units.push(Unit::VerifyNetworks { mode: Mode::USUAL, seed: 0 });
    modes[1..].iter().for_each(|&mode| units.extend(families(mode, 0)));
    units.extend(other.map(|dtype| network(0, dtype)));
    units.extend(layers(FIRST_LAYERS..NEXT_LAYERS, first, false));
    units.extend(other.into_iter().flat_map(|dtype| layers(0..FIRST_LAYERS, dtype, false)));
    units.extend(larger(0, first));

    units.extend(tiles(Mode::USUAL, 0));
    units.extend(layers(NEXT_LAYERS..usize::MAX, first, false));
    units.push(Unit::Roofline { full: true });
    units.extend(tune(0..FIRST_LAYERS));
    units.extend(others.clone().map(|index| network(index, first)));
    units.extend(other.into_iter().flat_map(|dtype| larger(0, dtype)));

    units.extend(layers(0..NEXT_LAYERS, first, true));
    units.extend(other.into_iter().flat_map(|dtype| layers(FIRST_LAYERS..usize::MAX, dtype, false)));
    modes[1..].iter().for_each(|&mode| units.extend(tiles(mode, 0)));
    units.extend(others.clone().flat_map(|index| other.map(|dtype| network(index, dtype))));
    units.extend(jobs(subjects));
    units.push(Unit::Network { index: 0, dtype: first, batch: BATCHES[0], tuned: true });

    units.extend(layers(NEXT_LAYERS..usize::MAX, first, true));
    units.extend(other.into_iter().flat_map(|dtype| layers(0..usize::MAX, dtype, true)));
    units.extend(others.flat_map(|index| larger(index, first)));
    units.extend(tune(FIRST_LAYERS..usize::MAX));
    for seed in 1..=DEEPER {
        for &mode in &modes {
            units.push(Unit::VerifyNetworks { mode, seed });
            units.extend(tiles(mode, seed));
        }
    }
    // The first tile of each family has had its turn when all tiles have theirs.
    let mut distinct: Vec<Unit> = Vec::with_capacity(units.len());
    for unit in units {
        let lacks_a_plan = matches!(unit, Unit::Network { index: 0, .. }) && !is_planned;
        if !lacks_a_plan && !distinct.contains(&unit) {
            distinct.push(unit);
        }
    }
    distinct
}

/// The usual mode first.
fn modes(software: bool) -> Vec<Mode> {
    let of = |as_gpu| [false, true].map(|checked| Mode { checked, as_gpu });
    if software { [of(false), of(true)].concat() } else { of(false).to_vec() }
}

/// A tile of each family.
fn families(mode: Mode, seed: u64) -> impl Iterator<Item = Unit> {
    let first = move |family: Family| Some(Unit::Verify { family, tile: family.tiles().first()?, mode, seed });
    Family::all().filter_map(first)
}

/// Every tile of every family.
fn tiles(mode: Mode, seed: u64) -> impl Iterator<Item = Unit> {
    let each = move |family: Family| family.tiles().iter().map(move |tile| Unit::Verify { family, tile, mode, seed });
    Family::all().flat_map(each)
}

/// Whether a step tells anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Worth {
    Yes,
    No,
    /// Steps before it decide.
    Open,
}

impl Worth {
    fn when(it_does: bool) -> Self {
        if it_does { Self::Yes } else { Self::No }
    }
}

/// Whether a step tells anything after those that have ended.
pub fn worth(unit: Unit, subjects: &Subjects, report: &Report) -> Worth {
    match unit {
        Unit::Network { index, dtype, batch, tuned: false } if batch > BATCHES[0] => {
            match growth(subjects, report, index, dtype) {
                Growth::Next(next) if next < batch => Worth::Open,
                Growth::Next(next) => Worth::when(next == batch),
                Growth::Full(_) => Worth::No,
            }
        }
        Unit::Network { index, tuned: true, .. } => {
            let ended = |unit: Unit| report.has_ended(&unit.name(subjects));
            let network = &subjects.networks[index].network.name;
            match jobs(subjects).all(ended) {
                true => Worth::when(report.tune.iter().any(|row| row.network.as_ref() == Some(network))),
                false => Worth::Open,
            }
        }
        Unit::Layer { filled: true, .. } => match filling_batch(subjects, report) {
            Some(batch) => Worth::when(batch > BATCHES[0]),
            None => Worth::Open,
        },
        // A tile that runs no layer in one mode will not with other seeds.
        Unit::Verify { family, tile, mode, seed } if seed > 0 => {
            let same = |v: &&super::data::Verified| {
                v.family == family.name()
                    && v.tile.as_deref() == Some(tile)
                    && (v.checked, v.as_gpu) == (mode.checked, mode.as_gpu)
            };
            Worth::when(
                report.verify.iter().find(same).is_none_or(|verified| verified.cases > 0 || verified.refused > 0),
            )
        }
        _ => Worth::Yes,
    }
}

/// The steps that tune the layers of the first network.
fn jobs(subjects: &Subjects) -> impl Iterator<Item = Unit> {
    let dtype = subjects.dtypes[0];
    (0..subjects.jobs().len()).map(move |job| Unit::TuneNetwork { job, dtype })
}

/// What the batches of a network tell that were timed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    /// This batch decides next.
    Next(u32),
    /// This batch fills the device: a larger one brings little, or nothing larger can be timed.
    Full(u32),
}

fn growth(subjects: &Subjects, report: &Report, index: usize, dtype: Dtype) -> Growth {
    if index == 0 && subjects.unplanned.is_some() {
        return Growth::Full(BATCHES[0]);
    }
    let Source { network, size } = &subjects.networks[index];
    let row = |batch| {
        let wanted = Size::from(InputSize { n: batch, ..*size });
        let same = |row: &&Network| {
            (&row.network, row.size, row.tuned) == (&network.name, wanted, false) && row.dtype == dtype.to_string()
        };
        report.networks.iter().find(same)
    };
    let mut before: Option<&Network> = None;
    for batch in BATCHES {
        let Some(row) = row(batch) else {
            let step = Unit::Network { index, dtype, batch, tuned: false }.name(subjects);
            let full = before.map_or(BATCHES[0], |row| row.size.batch);
            return if report.has_ended(&step) { Growth::Full(full) } else { Growth::Next(batch) };
        };
        if let Some(less) = before
            && row.pictures_a_second() < WORTH_FILLING * less.pictures_a_second()
        {
            return Growth::Full(less.size.batch);
        }
        before = Some(row);
    }
    Growth::Full(BATCHES[BATCHES.len() - 1])
}

/// The smallest batch of the first network that fills the device. `None` until it is known.
pub fn filling_batch(subjects: &Subjects, report: &Report) -> Option<u32> {
    match growth(subjects, report, 0, subjects.dtypes[0]) {
        Growth::Full(batch) => Some(batch),
        Growth::Next(_) => None,
    }
}

impl Unit {
    /// Its name, by which a report knows that it is done.
    pub fn name(self, subjects: &Subjects) -> String {
        let plain = |plain| if plain { ", plain" } else { "" };
        match self {
            Self::Verify { family, tile, mode, seed } => {
                format!("verify {family}/{tile}{} --seed {seed}", mode.flags())
            }
            Self::VerifyNetworks { mode, seed } => format!("verify networks{} --seed {seed}", mode.flags()),
            Self::Roofline { full } => format!("roofline{}", if full { ", full" } else { "" }),
            Self::Layer { index, dtype, filled } => {
                let batch = if filled { ", filling batch" } else { "" };
                format!("layer {} {dtype}{batch}", subjects.layers[index].name)
            }
            Self::Network { index, dtype, batch, tuned } => {
                let tuned = if tuned { ", tuned" } else { "" };
                format!("network {} {dtype}, batch {batch}{tuned}", subjects.networks[index].network.name)
            }
            Self::TuneLayer { index, plain: is_plain, dtype } => {
                format!("tune layer {} {dtype}{}", subjects.layers[index].name, plain(is_plain))
            }
            Self::TuneNetwork { job, dtype } => {
                let LayerJob { job, plain: is_plain } = &subjects.jobs()[job];
                let network = &subjects.networks[0].network.name;
                // No other job has a layer of this name.
                let first = job.names.first().map_or("", String::as_str);
                format!("tune network {network} {dtype}{}: {first}", plain(*is_plain))
            }
        }
    }

    /// Seconds that it will take: those of the last step like it, or a guess.
    pub fn estimate(self, subjects: &Subjects, report: &Report) -> f64 {
        let like = match self {
            Self::Network { index, batch, .. } => {
                let start = format!("network {} ", subjects.networks[index].network.name);
                let before = report.done.iter().rev().find(|done| done.step.starts_with(&start));
                // A larger batch takes longer, but kernels are compiled.
                return before
                    .map_or(self.guess(subjects.software), |done| done.seconds * if batch > 1 { 2.0 } else { 1.0 });
            }
            Self::Verify { .. } | Self::VerifyNetworks { .. } => "verify ",
            Self::Roofline { .. } => "roofline,",
            Self::Layer { .. } => "layer ",
            Self::TuneLayer { .. } | Self::TuneNetwork { .. } => "tune ",
        };
        // The longest of the last few: layers differ.
        let before =
            report.done.iter().rev().filter(|done| done.step.starts_with(like)).take(5).map(|done| done.seconds);
        before.reduce(f64::max).unwrap_or(self.guess(subjects.software))
    }

    fn guess(self, software: bool) -> f64 {
        let (software_device, gpu) = match self {
            Self::Verify { .. } | Self::VerifyNetworks { .. } => (3.0, 1.0),
            Self::Roofline { full: false } => (3.0, 3.0),
            Self::Roofline { full: true } => (20.0, 10.0),
            Self::Layer { .. } => (5.0, 1.0),
            Self::Network { .. } => (45.0, 10.0),
            Self::TuneLayer { .. } | Self::TuneNetwork { .. } => (10.0, 2.0),
        };
        if software { software_device } else { gpu }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use octconv::DeviceFacts;

    use super::*;
    use crate::report::data::{Problem, Tuned};
    use crate::report::subjects::testing::subjects;

    /// A report in which nothing was done.
    fn nothing() -> Report {
        let mut report = Report::example();
        report.networks.clear();
        report.tune.clear();
        report.done.clear();
        report
    }

    fn fail(report: &mut Report, step: String) {
        report.problems.push(Problem { step, problem: "it broke".into() });
    }

    /// The first network, of so many pictures a second.
    fn timed(subjects: &Subjects, batch: u32, rate: f64) -> Network {
        let Source { network, size } = &subjects.networks[0];
        let mut row = Report::example().networks[0].clone();
        row.network = network.name.clone();
        row.size = InputSize { n: batch, ..*size }.into();
        row.octave.ms.median = 1e3 * f64::from(batch) / rate;
        row
    }

    #[test]
    fn no_two_steps_have_one_name() {
        let hostile = ["a", "plain a", "a, plain", "a f32", "a f32, plain", "n: a", "n f32: a", "network n f32"];
        let subjects = subjects(&hostile, &["n", "a", "a f32, batch 1"], &DeviceFacts::default()).unwrap();
        let units = all(&subjects);
        let names: HashSet<_> = units.iter().map(|unit| unit.name(&subjects)).collect();
        assert_eq!(names.len(), units.len());
    }

    #[test]
    fn a_batch_fills_the_device_if_a_larger_one_was_tried() {
        let subjects = subjects(&["a"], &["n"], &DeviceFacts::default()).unwrap();
        let network = |batch| Unit::Network { index: 0, dtype: Dtype::F32, batch, tuned: false };
        let filled = Unit::Layer { index: 0, dtype: Dtype::F32, filled: true };
        let mut report = nothing();
        let worth = |report: &Report| [network(4), network(16), filled].map(|unit| worth(unit, &subjects, report));
        use Worth::{No, Open, Yes};
        assert_eq!(worth(&report), [Open, Open, Open]);
        report.networks.push(timed(&subjects, 1, 100.0));
        assert_eq!(worth(&report), [Yes, Open, Open]);
        // As tuned, and of any batch that a file names, it says nothing about batches.
        report.networks.push(Network { tuned: true, ..timed(&subjects, 4, 100.0) });
        report.networks.push(timed(&subjects, u32::MAX, 100.0));
        assert_eq!(worth(&report), [Yes, Open, Open]);

        let mut full = report.clone();
        full.networks.push(timed(&subjects, 4, 105.0));
        assert_eq!((worth(&full), filling_batch(&subjects, &full)), ([No, No, No], Some(1)));
        report.networks.push(timed(&subjects, 4, 200.0));
        assert_eq!((worth(&report), filling_batch(&subjects, &report)), ([No, Yes, Open], None));
        // There is no room for more.
        fail(&mut report, network(16).name(&subjects));
        assert_eq!((worth(&report), filling_batch(&subjects, &report)), ([No, No, Yes], Some(4)));
        // Nothing is known of a network that does not run.
        let mut report = nothing();
        fail(&mut report, network(1).name(&subjects));
        assert_eq!((worth(&report), filling_batch(&subjects, &report)), ([No, No, No], Some(1)));
    }

    #[test]
    fn a_network_is_tuned_when_its_layers_were() {
        let subjects = subjects(&["a"], &["n"], &DeviceFacts::default()).unwrap();
        let tuned = Unit::Network { index: 0, dtype: Dtype::F32, batch: 1, tuned: true };
        let row = |network: Option<&str>| {
            let row = Report::example().tune[0].clone();
            Tuned { network: network.map(str::to_owned), ..row }
        };
        let mut report = nothing();
        // That is a layer of the list.
        report.tune.push(row(None));
        assert_eq!(worth(tuned, &subjects, &report), Worth::Open);
        assert!(jobs(&subjects).count() > 1);
        for job in jobs(&subjects) {
            assert_eq!(worth(tuned, &subjects, &report), Worth::Open);
            fail(&mut report, job.name(&subjects));
        }
        assert_eq!(worth(tuned, &subjects, &report), Worth::No);
        report.tune.push(row(Some("n")));
        assert_eq!(worth(tuned, &subjects, &report), Worth::Yes);
    }

    #[test]
    fn a_device_without_room_for_the_network_has_other_steps() {
        let facts = DeviceFacts {
            limits: octconv::wgpu::Limits { max_storage_buffer_binding_size: 1000, ..Default::default() },
            ..DeviceFacts::default()
        };
        let subjects = subjects(&["a"], &["n", "m"], &facts).unwrap();
        let why = subjects.unplanned.as_ref().unwrap();
        assert!(why.contains("max_storage_buffer_binding_size is 1000"), "{why}");
        let units = all(&subjects);
        assert!(!units.iter().any(|unit| matches!(unit, Unit::Network { index: 0, .. } | Unit::TuneNetwork { .. })));
        for wanted in ["layer a f32", "network m f32, batch 1"] {
            assert!(units.iter().any(|unit| unit.name(&subjects) == wanted), "{wanted}");
        }
        assert_eq!(filling_batch(&subjects, &nothing()), Some(1));
    }
}
