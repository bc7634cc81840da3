//! Runs the table of `cases.rs`, each row against the reference.
//!
//! Kernels take long to compile, so a row has one run: in one family of kernels that takes it, in one strategy, one set
//! of types, one tile, and as one kind of device, the device as it is or a GPU. All of these take turns, except that a
//! row that differs from an earlier one only in its sizes runs again in the kernels that are compiled already. In each theme
//! every family that takes any of its rows has a run, so that over the table every family meets every theme, every
//! strategy, every set of types and both kinds of devices. What a single row does not meet is every combination of
//! them. `octconv verify` draws random combinations, and so does `property.rs`. With `OCTCONV_ALL_ROWS` set every row
//! runs in every family that takes it.
//!
//! Which runs there are depends on the table and on the planner, and not on the device at hand. A device that lacks a
//! feature must refuse the runs that need it, in words, and they are counted as missing.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use octconv::Strategy::{Fused, LowFirst, PoolFirst, Split, SplitK, Transform, Unfused};
use octconv::verify::{Case, Values};
use octconv::{DeviceFacts, Dtype, Error, Family, Options, Plan, Precision, Strategy, Variant, wgpu};

use crate::cases::{self, Row, TYPES, Theme};
use crate::common::{compare, context_as, family, has_f16};

/// How a family runs the table, and what it must find there.
struct Share {
    family: &'static str,
    /// How long its kernels compile, beside those of others: the longer, the fewer rows it runs.
    cost: usize,
    /// The tiles that compile fast, the first twice as often as the second. Others are for the theme `tiles`.
    tiles: &'static [&'static str],
    /// The rows that it takes in all themes but `tiles`, run or not.
    rows: usize,
    /// The strategies that it runs some of them in.
    strategies: &'static [Strategy],
    /// The number of sets of types that it runs some of them in.
    types: usize,
    /// The tiles that no layer has it for: other families share the list.
    no_tiles: &'static [&'static str],
}

const SHARES: [Share; 7] = [
    Share {
        family: "direct",
        cost: 1,
        tiles: &["t4c2h2w", "t8c2h2w"],
        rows: 645,
        strategies: &[Fused, PoolFirst, Split, LowFirst, SplitK, Unfused],
        types: 4,
        no_tiles: &[],
    },
    Share {
        family: "direct-f16",
        cost: 2,
        tiles: &["t4c2h2w", "t8c2h2w"],
        rows: 531,
        strategies: &[Fused, PoolFirst, Split, LowFirst, SplitK, Unfused],
        types: 1,
        no_tiles: &[
            "t8c4h4w",
            "t8c4h4w+t16c2h2w",
            "tc8c4h4w+tc8c1h28w",
            "tc8c2h14w+tc8c1h28w",
            "tc4c2h14w+tc4c1h28w",
            "tc8c1h28w",
            "tc4c1h28w",
        ],
    },
    Share {
        family: "pointwise",
        cost: 1,
        tiles: &["t8c2h2w+t8c1h1w", "t8c2h4w+t8c1h2w"],
        rows: 163,
        strategies: &[Fused, PoolFirst, Split, Unfused],
        types: 4,
        no_tiles: &[],
    },
    Share {
        family: "staged",
        cost: 2,
        tiles: &["g32c32p-t4c4p"],
        rows: 539,
        strategies: &[Fused, PoolFirst, Split, LowFirst, SplitK, Unfused],
        types: 4,
        no_tiles: &[],
    },
    Share {
        family: "staged-f16",
        cost: 3,
        tiles: &["g32c32p-t4c4p"],
        rows: 512,
        strategies: &[Fused, PoolFirst, Split, LowFirst, SplitK, Unfused],
        types: 1,
        no_tiles: &[],
    },
    Share {
        family: "matrix",
        cost: 6,
        tiles: &["g2m4m-s2m2m"],
        rows: 509,
        strategies: &[Fused, PoolFirst, Split, LowFirst, SplitK, Unfused],
        types: 1,
        no_tiles: &[],
    },
    Share {
        family: "winograd",
        cost: 3,
        tiles: &["t16c4f-f4h4w", "tc8c8f-f2h2w", "tc4c16f-f4h4w"],
        rows: 252,
        strategies: &[Transform],
        types: 4,
        no_tiles: &[],
    },
];

/// The share of a family.
fn share(family: Family) -> &'static Share {
    let found = SHARES.iter().find(|share| share.family == family.name());
    found.unwrap_or_else(|| panic!("add the family {family} to SHARES"))
}

/// One run of a row.
struct Run {
    theme: &'static str,
    family: Family,
    way: Way,
    tile: &'static str,
    plan: Plan,
    case: Case,
}

/// What takes turns: the strategy, the types, and whether the device is a GPU.
type Way = (Strategy, Precision, bool);

impl Run {
    /// The kernels that it compiles, each on its device.
    fn sources(&self) -> impl Iterator<Item = (bool, String)> {
        self.plan.sources().into_iter().map(|source| (self.way.2, source))
    }
}

/// A software device, or a GPU, with all that the kernels have a use for.
fn able(software: bool) -> DeviceFacts {
    let features = wgpu::Features::SHADER_F16
        | wgpu::Features::SHADER_INT64
        | wgpu::Features::SUBGROUP
        | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 16, ..wgpu::Limits::default() };
    DeviceFacts { limits, features, software, matrix: Some(8), subgroup_sizes: [8; 2], ..DeviceFacts::default() }
}

/// How often each of what takes turns in a family had one.
#[derive(Default)]
struct Turns {
    strategies: HashMap<Strategy, u32>,
    types: HashMap<Precision, u32>,
    devices: HashMap<bool, u32>,
    tiles: HashMap<&'static str, u32>,
    together: HashMap<Way, u32>,
    /// All kernels so far.
    sources: HashSet<(bool, String)>,
}

impl Turns {
    /// Those with the least of this come next. The more kernels a strategy compiles, the fewer turns it has.
    fn had(&self, way: Way) -> u32 {
        let (strategy, precision, as_a_gpu) = way;
        let of = |count: Option<&u32>| count.copied().unwrap_or(0);
        let weight = match strategy {
            Unfused => 8,
            Fused | Transform => 1,
            _ => 2,
        };
        let alone = [self.types.get(&precision), self.devices.get(&as_a_gpu)].map(of);
        weight * of(self.strategies.get(&strategy)) + alone.iter().sum::<u32>() + 4 * of(self.together.get(&way))
    }

    fn take(&mut self, run: &Run) {
        let (strategy, precision, as_a_gpu) = run.way;
        *self.strategies.entry(strategy).or_default() += 1;
        *self.types.entry(precision).or_default() += 1;
        *self.devices.entry(as_a_gpu).or_default() += 1;
        *self.tiles.entry(run.tile).or_default() += 1;
        *self.together.entry(run.way).or_default() += 1;
        self.sources.extend(run.sources());
    }
}

/// All that a row of a theme may be run in.
fn alternatives(theme: &Theme, row: &Row) -> Vec<Way> {
    let types = if theme.typed { vec![row.options.precision] } else { TYPES.to_vec() };
    let strategies =
        Strategy::all().filter(|strategy| theme.strategies.is_empty() || theme.strategies.contains(strategy));
    let typed = |strategy| types.iter().map(move |&precision| (strategy, precision));
    let of_devices = |(strategy, precision)| [false, true].map(|as_a_gpu| (strategy, precision, as_a_gpu));
    strategies.flat_map(typed).flat_map(of_devices).collect()
}

/// The run of a row in one way with one tile, if the planner has it.
fn run_in(theme: &Theme, row: &Row, family: Family, way: Way, tile: &'static str) -> Option<Run> {
    static ABLE: OnceLock<[DeviceFacts; 2]> = OnceLock::new();
    let able = ABLE.get_or_init(|| [able(true), able(false)]);
    let (strategy, precision, as_a_gpu) = way;
    let options = Options { variant: Some(Variant { strategy, family, tile: Some(tile) }), precision, ..row.options };
    let plan = Plan::new(&row.spec, row.size, &options, &able[usize::from(as_a_gpu)]).ok()?;
    let case = Case {
        spec: row.spec.clone(),
        size: row.size,
        options,
        batch_norm: row.batch_norm,
        one_buffer: false,
        values: Values::Even,
        seed: 1,
    };
    Some(Run { theme: theme.name, family, way, tile, plan, case })
}

/// The run of a row whose turn it is, if the family takes the row with one of these tiles.
fn pick(theme: &Theme, row: &Row, family: Family, tiles: &[&'static str], turns: &Turns) -> Option<Run> {
    let mut alternatives = alternatives(theme, row);
    alternatives.sort_by_key(|&way| turns.had(way));
    let mut places: Vec<_> = tiles.iter().enumerate().collect();
    places.sort_by_key(|&(place, &tile)| turns.tiles.get(&tile).copied().unwrap_or(0) << place);
    let mut all = alternatives.iter().flat_map(|&way| places.iter().map(move |&(_, &tile)| (way, tile)));
    all.find_map(|(way, tile)| run_in(theme, row, family, way, tile))
}

/// The run of a row as an earlier row of the theme ran, if this compiles nothing: the rows differ in their sizes.
fn again(theme: &Theme, row: &Row, family: Family, runs: &[Run], turns: &Turns) -> Option<Run> {
    let earlier = runs.iter().filter(|run| run.theme == theme.name && run.family == family);
    let mut same = earlier.filter(|run| run.case.spec == row.spec && run.case.batch_norm == row.batch_norm);
    same.find_map(|run| {
        let again = run_in(theme, row, family, run.way, run.tile)?;
        let same_options = again.case.options == run.case.options;
        (same_options && again.sources().all(|source| turns.sources.contains(&source))).then_some(again)
    })
}

/// All runs of the table, and how many rows each family takes.
struct Runs {
    runs: Vec<Run>,
    rows: HashMap<Family, usize>,
}

fn runs() -> &'static Runs {
    static RUNS: OnceLock<Runs> = OnceLock::new();
    RUNS.get_or_init(|| {
        let all_rows = std::env::var_os("OCTCONV_ALL_ROWS").is_some();
        let families: Vec<_> = Family::all().map(|family| (family, share(family))).collect();
        let mut turns: Vec<_> = families.iter().map(|_| Turns::default()).collect();
        let (mut runs, mut rows) = (Vec::<Run>::new(), HashMap::new());
        for theme in cases::themes() {
            if theme.every_tile {
                for (&(family, _), turns) in families.iter().zip(&mut turns) {
                    // A tile after the other starts at the next row.
                    for (i, &tile) in family.tiles().iter().enumerate() {
                        let mut rows = theme.rows.iter().cycle().skip(i).take(theme.rows.len());
                        let run = rows.find_map(|row| pick(&theme, row, family, &[tile], turns));
                        runs.extend(run.inspect(|run| turns.take(run)));
                    }
                }
                continue;
            }
            let mut met = HashSet::new();
            for row in &theme.rows {
                // Who takes the row, the one first whose runs so far have compiled the least.
                let mut takers: Vec<_> = (0..families.len())
                    .filter(|&i| theme.is_for(families[i].0))
                    .filter_map(|i| Some((i, pick(&theme, row, families[i].0, families[i].1.tiles, &turns[i])?)))
                    .collect();
                takers.sort_by_key(|&(i, _)| turns[i].sources.len() * families[i].1.cost);
                let mut has_run = false;
                for &(i, _) in &takers {
                    *rows.entry(families[i].0).or_default() += 1;
                    let free = again(&theme, row, families[i].0, &runs, &turns[i]);
                    has_run |= free.is_some();
                    runs.extend(free);
                }
                for (i, run) in takers {
                    let is_first = met.insert(i);
                    if !has_run || is_first || all_rows {
                        has_run = true;
                        turns[i].take(&run);
                        runs.push(run);
                    }
                }
            }
        }
        Runs { runs, rows }
    })
}

/// Runs what a family has of a theme.
fn run(family: Family, theme: &str) {
    for run in runs().runs.iter().filter(|run| run.family == family && run.theme == theme) {
        check(run);
    }
}

fn check(run: &Run) {
    let context = context_as(run.way.2, run.way.1.activations);
    let engine = context.engine();
    let planned = |case: &Case| engine.plan(&case.spec, case.size, &case.options);
    if run.way.1.activations == Dtype::F16 && !has_f16(context) {
        assert_eq!(planned(&run.case), Err(Error::Feature { what: "f16 activations", feature: "SHADER_F16" }));
        crate::report::missing("SHADER_F16");
        return;
    }
    if run.family == family("matrix") && engine.facts().matrix.is_none() {
        let refused = planned(&run.case);
        assert!(matches!(refused, Err(Error::Variant { .. })), "{refused:?}");
        crate::report::missing("matrix units");
        return;
    }
    let mut case = run.case.clone();
    if planned(&case).is_err() {
        // The device has limits of its own, and perhaps another tile that they allow.
        crate::report::missing("limits of the device for a tile");
        case.options.variant = case.options.variant.map(Variant::untiled);
    }
    compare(context, &case);
}

/// A test of each theme, for a family.
macro_rules! themes {
    ($($family:ident $name:literal)*) => {
        $(mod $family {
            themes!(@of $name
                alpha sizes stride_two one_pixel one_sided channels groups depthwise dilation kernels padding clips
                batches activations residuals batch_norm pooled_input pooled_output strided exchange types slices pairs
                tiles split_k pools adds upsamples);
        })*
        const TESTED: &[(&str, &[&str])] = &[$(($name, $family::THEMES)),*];
    };
    (@of $name:literal $($theme:ident)*) => {
        pub const THEMES: &[&str] = &[$(stringify!($theme)),*];
        $(#[test]
        fn $theme() {
            super::run(crate::common::family($name), stringify!($theme));
        })*
    };
}

themes! {
    direct "direct"
    direct_f16 "direct-f16"
    pointwise "pointwise"
    staged "staged"
    staged_f16 "staged-f16"
    matrix "matrix"
    winograd "winograd"
}

/// Every family has a test of every theme.
#[test]
fn every_theme_is_a_test() {
    let families: Vec<_> = TESTED.iter().map(|&(name, _)| name).collect();
    assert_eq!(families, Family::all().map(Family::name).collect::<Vec<_>>(), "add the family to themes! above");
    for (family, themes) in TESTED {
        let all: Vec<_> = cases::themes().iter().map(|theme| theme.name).collect();
        assert_eq!(*themes, all, "add the theme to themes! above, for {family}");
    }
}

#[test]
fn no_theme_has_a_row_twice() {
    for theme in cases::themes() {
        for (i, row) in theme.rows.iter().enumerate() {
            assert!(!theme.rows[..i].contains(row), "{} has this twice: {row:?}", theme.name);
        }
    }
}

/// What the table covers, by plans alone. A family that stops to take layers shows here, and so does a table that has
/// no rows for a strategy any more.
#[test]
fn every_family_meets_everything() {
    for family in Family::all() {
        let share = share(family);
        let all: Vec<&Run> = runs().runs.iter().filter(|run| run.family == family).collect();
        let strategies: Vec<_> = Strategy::all().filter(|&one| all.iter().any(|run| run.way.0 == one)).collect();
        let types: HashSet<_> = all.iter().map(|run| run.way.1).collect();
        let tiles: HashSet<_> = all.iter().map(|run| run.tile).collect();
        let unmet: Vec<_> = family.tiles().iter().copied().filter(|tile| !tiles.contains(tile)).collect();
        let found = (runs().rows[&family], strategies.as_slice(), types.len(), unmet.as_slice());
        let expected = (share.rows, share.strategies, share.types, share.no_tiles);
        assert_eq!(
            found, expected,
            "{family} takes so many rows in these strategies and types, without these tiles. If the table or the \
             family has changed and this is what you want, change SHARES"
        );
        let gpus = all.iter().filter(|run| run.way.2).count();
        assert!(
            3 * gpus >= all.len() && 3 * gpus <= 2 * all.len(),
            "{gpus} of {} runs of {family} as a GPU",
            all.len()
        );
        println!("{family}: {} runs, {gpus} of them as a GPU", all.len());
    }
}
