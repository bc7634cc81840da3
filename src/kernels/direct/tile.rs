//! Tiles: the outputs that one thread makes.

use std::fmt;
use std::sync::LazyLock;

use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::kernels::family::TileTable;
use crate::kernels::job::{Job, OutputJob, PathJob};
use crate::layer::{Frequency, Path, Sampling, Spec};

/// The outputs of one thread: positions by vectors of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Whether the threads of a workgroup lie side by side along the channels, and not along the positions.
    pub(super) across: bool,
    pub(super) rows: u32,
    pub(super) cols: u32,
    pub(super) vectors: u32,
    /// Output channels per vector.
    pub(super) lanes: u32,
}

impl Tile {
    /// A tile with threads along the positions, and vectors of 4 channels.
    const fn positions(channels: u32, rows: u32, cols: u32) -> Self {
        Self { across: false, rows, cols, vectors: channels / 4, lanes: 4 }
    }

    /// A tile with threads along the channels, and vectors of 4 channels.
    const fn across(channels: u32, rows: u32, cols: u32) -> Self {
        Self { across: true, rows, cols, vectors: channels / 4, lanes: 4 }
    }

    pub(super) fn channels(self) -> u32 {
        self.vectors * self.lanes
    }

    /// Number of outputs, each of which has a sum.
    pub(super) fn sums(self) -> u32 {
        self.rows * self.cols * self.channels()
    }

    /// The part of L->H below it, at low resolution.
    fn below(self) -> Self {
        Self { rows: self.rows / 2, cols: self.cols / 2, ..self }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.across { "tc" } else { "t" };
        write!(f, "{who}{}c{}h{}w", self.channels(), self.rows, self.cols)
    }
}

/// The tile of Y_H, and the tile of Y_L, or of all outputs that a job makes at low resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiles {
    pub(super) high: Tile,
    pub(super) low: Tile,
}

impl Tiles {
    const fn both(tile: Tile) -> Self {
        Self { high: tile, low: tile }
    }

    /// Output channels per vector, the same for both tiles.
    pub(super) fn lanes(self) -> u32 {
        self.high.lanes
    }

    /// Whether threads lie along the channels.
    pub(super) fn across(self) -> bool {
        self.high.across || self.low.across
    }

    pub(super) fn of(self, frequency: Frequency) -> Tile {
        match frequency {
            Frequency::High => self.high,
            Frequency::Low => self.low,
        }
    }

    /// The tile of a path's sums: L->H has a quarter of the positions if it is replicated.
    pub(super) fn of_path(self, path: Path, replicate_low: bool) -> Tile {
        let tile = self.of(path.output());
        if path == Path::LH && replicate_low { tile.below() } else { tile }
    }
}

impl fmt::Display for Tiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.high)?;
        if self.low == self.high { Ok(()) } else { write!(f, "+{}", self.low) }
    }
}

/// Each tile has four positions or more, which share a loaded weight. More positions suit large maps. More channels
/// suit small maps, and windows that are expensive to load. If threads lie along the channels, the columns are the most
/// that a tile may have.
pub(super) static TILES: LazyLock<TileTable<Tiles>> = LazyLock::new(|| {
    let (positions, across) = (Tile::positions, Tile::across);
    TileTable::new(vec![
        Tiles::both(positions(4, 4, 4)),
        Tiles { high: positions(4, 4, 4), low: positions(8, 2, 2) },
        Tiles::both(positions(8, 4, 4)),
        Tiles { high: positions(8, 4, 4), low: positions(16, 2, 2) },
        Tiles { high: positions(4, 4, 4), low: positions(16, 2, 2) },
        Tiles::both(positions(4, 2, 2)),
        Tiles::both(positions(8, 2, 2)),
        Tiles::both(positions(16, 2, 2)),
        Tiles { high: positions(16, 2, 2), low: across(8, 1, 28) },
        Tiles { high: across(8, 4, 4), low: across(8, 1, 28) },
        Tiles { high: across(8, 2, 14), low: across(8, 1, 28) },
        Tiles { high: across(4, 2, 14), low: across(4, 1, 28) },
        Tiles::both(across(8, 1, 28)),
        Tiles::both(across(4, 1, 28)),
    ])
});

/// The tile of an absent output: the smallest.
const ABSENT: Tile = Tile::positions(4, 2, 2);

impl Tiles {
    /// These tiles, fitted to a job: no wider than a group of channels, with vectors and columns that waste little. Or
    /// the reason why the job cannot use them.
    pub(super) fn fitted(mut self, facts: &DeviceFacts, spec: &Spec, job: &Job) -> Result<Self, &'static str> {
        if job.at_low_resolution {
            self.high = self.low;
        }
        let high = job.high.as_ref().map(|_| self.high.across);
        let low = job.low.as_ref().map(|_| self.low.across);
        match (high, low) {
            (Some(high), Some(low)) if high != low => Err("both tiles of a dispatch need threads along the same axis"),
            _ if high.or(low) == Some(true) => {
                self.check_across(facts, spec, job)?;
                Ok(self.fitted_across(facts, spec, job))
            }
            _ => Ok(self.fitted_along_positions(spec, job)),
        }
    }

    /// Each tile as `fit` makes it if its output is present, else [`ABSENT`].
    fn map(self, job: &Job, lanes: u32, fit: impl Fn(&OutputJob, Tile) -> Tile) -> Self {
        let one = |output: &Option<OutputJob>, tile: Tile| Tile {
            lanes,
            ..output.as_ref().map_or(ABSENT, |output| fit(output, tile))
        };
        Self { high: one(&job.high, self.high), low: one(&job.low, self.low) }
    }

    fn fitted_along_positions(self, spec: &Spec, job: &Job) -> Self {
        let lanes = lanes(spec, job);
        self.map(job, lanes, |output, tile| Tile {
            vectors: tile.vectors.min((output.y.dims.c / output.groups).div_ceil(lanes)),
            ..tile
        })
    }

    /// Checks that threads can lie along the channels for this job; the error says why not.
    fn check_across(self, facts: &DeviceFacts, spec: &Spec, job: &Job) -> Result<(), &'static str> {
        if !facts.software {
            return Err("only software devices use tiles with threads along the channels");
        }
        let mut outputs = [&job.high, &job.low].into_iter().flatten();
        if spec.kernel() != [1, 1] || spec.time().kernel != 1 || outputs.any(|output| output.groups > 1) {
            return Err("tiles with threads along the channels need a kernel of 1x1 and one group");
        }
        if job.paths.iter().flatten().any(|path| path.sampling.level > 0) {
            return Err("tiles with threads along the channels cannot pool on load");
        }
        let upsamples = job.paths.iter().flatten().any(|path| path.sampling.upsample);
        let cells = upsamples || job.low_sums.is_some() || job.high.is_some_and(|output| output.pooled.is_some());
        if cells && !(self.high.rows.is_multiple_of(2) && self.high.cols.is_multiple_of(2)) {
            return Err("a tile of one row has no 2x2 positions to pool or to start from L->H");
        }
        Ok(())
    }

    fn fitted_across(self, facts: &DeviceFacts, spec: &Spec, job: &Job) -> Self {
        let threads = facts.workgroup_for([1]);
        // A block has one vector or more from each thread, side by side. With 8 threads, 48 channels are three vectors
        // of 2 lanes per thread, but one and a half vectors of 4 lanes.
        let vectors = |output: &OutputJob, tile: Tile, lanes: u32| {
            let needed = output.y.dims.c.div_ceil(lanes * threads);
            needed.div_ceil(needed.div_ceil(tile.channels() / lanes))
        };
        let padded = |output: &Option<OutputJob>, tile: Tile, lanes: u32| {
            let block = |output: &OutputJob| vectors(output, tile, lanes) * lanes * threads;
            output.as_ref().map_or(0, |output| output.y.dims.c.next_multiple_of(block(output)))
        };
        let all_padded = |lanes| padded(&job.high, self.high, lanes) + padded(&job.low, self.low, lanes);
        let lanes = if all_padded(2) < all_padded(4) { 2 } else { 4 };
        let flat = is_flat(spec, job, self);
        self.map(job, lanes, |output, tile| {
            let Dims { t, h, w, .. } = output.y.dims;
            let cols = even_cols(if flat { t * h * w } else { w }, tile.cols);
            Tile { vectors: vectors(output, tile, lanes), cols, ..tile }
        })
    }
}

/// Columns of a tile, at most `most`, in an output of this many columns. All tiles get about as many, because columns
/// beyond the last one are wasted.
fn even_cols(columns: u32, most: u32) -> u32 {
    columns.div_ceil(columns.div_ceil(most)).next_multiple_of(2)
}

/// Output channels that a vector holds: 4, or fewer if the groups are narrower.
fn lanes(spec: &Spec, job: &Job) -> u32 {
    let width = |path: &PathJob| spec.weight_shape(path.weights)[0] / spec.path_groups(path.weights);
    match job.paths.iter().flatten().map(width).max() {
        Some(1) => 1,
        Some(2) => 2,
        _ => 4,
    }
}

/// The most columns of a map: `shaders/direct/places.wgsl` adds to them, multiplies them, and computes with signs.
const MOST_COLUMNS: u64 = 1 << 29;

/// Whether maps can be passed as one row, because each output reads only the inputs at its own position. Tiles of one
/// row then waste little.
pub(super) fn is_flat(spec: &Spec, job: &Job, tiles: Tiles) -> bool {
    let time = spec.time();
    let in_one_row = |frequency: Frequency| {
        let output = if frequency == Frequency::High { job.high } else { job.low };
        let mut paths = Path::ALL.into_iter().filter(|path| path.output() == frequency).filter_map(|p| job.path(p));
        output.is_none_or(|o| {
            let same = |p: &PathJob| {
                p.sampling == Sampling { level: 0, step: 1, upsample: false }
                    && p.source.dims.extent() == o.y.dims.extent()
            };
            tiles.of(frequency).rows == 1 && o.pooled.is_none() && o.first_row == 0 && paths.all(same)
        })
    };
    let countable = |output: &OutputJob| {
        let Dims { t, h, w, .. } = output.y.dims;
        u64::from(t) * u64::from(h) * u64::from(w) <= MOST_COLUMNS
    };
    spec.kernel() == [1, 1]
        && job.outputs().all(countable)
        && spec.padding() == [0, 0]
        && (time.kernel, time.stride, time.padding) == (1, 1, 0)
        && job.low_sums.is_none()
        && in_one_row(Frequency::High)
        && in_one_row(Frequency::Low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_vocabulary() {
        let wanted = [
            "t4c4h4w",
            "t4c4h4w+t8c2h2w",
            "t8c4h4w",
            "t8c4h4w+t16c2h2w",
            "t4c4h4w+t16c2h2w",
            "t4c2h2w",
            "t8c2h2w",
            "t16c2h2w",
            "t16c2h2w+tc8c1h28w",
            "tc8c4h4w+tc8c1h28w",
            "tc8c2h14w+tc8c1h28w",
            "tc4c2h14w+tc4c1h28w",
            "tc8c1h28w",
            "tc4c1h28w",
        ];
        assert_eq!(TILES.names(), wanted);
    }

    #[test]
    fn columns_are_cut_evenly() {
        assert_eq!([1, 7, 28, 29, 49, 56, 60].map(|columns| even_cols(columns, 28)), [2, 8, 28, 16, 26, 28, 20]);
    }

    #[test]
    fn maps_of_too_many_positions_are_no_row() {
        use crate::kernels::job::{Operand, Slice, TensorId};
        let spec = Spec::builder(1, 1).kernel([1, 1]).build().unwrap();
        let flat = |h: u32| {
            let dims = Dims { n: 1, c: 1, t: 1, h, w: 1 << 15 };
            let sampling = Sampling { level: 0, step: 1, upsample: false };
            let source = Operand { id: TensorId::XH, dims };
            let path = PathJob { source, sampling, weights: Path::HH };
            let y = Operand { id: TensorId::YH, dims };
            let slice = Slice::whole(1);
            let high = OutputJob { y, groups: 1, slice, first_row: 0, bias: None, residual: None, pooled: None };
            let job = Job { paths: [Some(path), None, None, None], high: Some(high), ..Job::default() };
            is_flat(&spec, &job, Tiles::both(Tile::across(8, 1, 28)))
        };
        assert!(flat(1 << 14));
        assert!(!flat((1 << 14) + 1));
    }
}
