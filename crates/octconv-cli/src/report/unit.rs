//! The steps of a report: small, and the most telling ones first.

use octconv::{Dtype, Family};

use super::data::{Network, Report};
use super::subjects::Subjects;

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

/// All steps of a report in their order. Some may turn out not to be wanted: see [`is_wanted`].
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
    units.extend((0..subjects.jobs().len()).map(|job| Unit::TuneNetwork { job, dtype: first }));
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
        if !distinct.contains(&unit) {
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

/// Whether a step tells anything after those that are done.
pub fn is_wanted(unit: Unit, subjects: &Subjects, report: &Report) -> bool {
    match unit {
        Unit::Network { index, dtype, batch, tuned: false } if batch > BATCHES[0] => {
            let rates = rates(subjects, report, index, dtype);
            // The two batches before.
            match rates.as_slice() {
                [.., (_, less), (before, more)] if 4 * before == batch => more / less >= WORTH_FILLING,
                [(before, _)] => 4 * before == batch,
                _ => false,
            }
        }
        Unit::Network { tuned: true, .. } => !report.tune.is_empty() && !subjects.jobs().is_empty(),
        Unit::Layer { filled: true, .. } => filling_batch(subjects, report).is_some_and(|batch| batch > 1),
        // A tile that runs no layer in one mode will not with other seeds.
        Unit::Verify { family, tile, mode, seed } if seed > 0 => {
            let same = |v: &&super::data::Verified| {
                v.family == family.name()
                    && v.tile.as_deref() == Some(tile)
                    && (v.checked, v.as_gpu) == (mode.checked, mode.as_gpu)
            };
            report.verify.iter().find(same).is_none_or(|verified| verified.cases > 0)
        }
        _ => true,
    }
}

/// Batches of a network that were timed, with the octave network's pictures a second.
fn rates(subjects: &Subjects, report: &Report, index: usize, dtype: Dtype) -> Vec<(u32, f64)> {
    let name = &subjects.networks[index].network.name;
    let same = |row: &&Network| row.network == *name && row.dtype == dtype.to_string() && !row.tuned;
    let mut rates: Vec<_> =
        report.networks.iter().filter(same).map(|row| (row.size.batch, row.pictures_a_second())).collect();
    rates.sort_by_key(|&(batch, _)| batch);
    rates
}

/// The smallest batch of the first network that fills the device: a larger one brings little.
pub fn filling_batch(subjects: &Subjects, report: &Report) -> Option<u32> {
    let rates = rates(subjects, report, 0, subjects.dtypes[0]);
    let full = rates.windows(2).find(|pair| pair[1].1 < WORTH_FILLING * pair[0].1).map(|pair| pair[0].0);
    full.or(rates.last().map(|&(batch, _)| batch))
}

impl Unit {
    /// Its name, by which a report knows that it is done.
    pub fn name(self, subjects: &Subjects) -> String {
        let plain = |plain| if plain { "plain " } else { "" };
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
                format!("tune {}{} {dtype}", plain(is_plain), subjects.layers[index].name)
            }
            Self::TuneNetwork { job, dtype } => format!("tune {} {dtype}", subjects.jobs()[job].0),
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
