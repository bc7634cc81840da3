//! What an iteration takes: a slab of channels, and one tap or a window of all taps.

use super::limits::within;
use super::tile::Tile;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Job, OutputJob, PathJob};
use crate::layer::{Path, Spec};

/// The most elements that a thread gathers for an iteration of one tap, and for one of all taps. It keeps them in
/// registers meanwhile.
const MAX_GATHERED: u32 = 16;
const MAX_GATHERED_OF_WINDOW: u32 = 32;

/// A job, in one of the tiles, on a device with matrix units.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) facts: &'a DeviceFacts,
    pub(super) spec: &'a Spec,
    pub(super) job: &'a Job,
    pub(super) tile: Tile,
    /// Of a matrix.
    pub(super) side: u32,
    /// Threads of a workgroup.
    pub(super) workgroup: u32,
}

/// What an iteration takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slab {
    /// Matrices side by side that its channels fill.
    pub(super) depth: u32,
    /// Cells in workgroup memory.
    pub(super) window: u32,
    /// Whether these serve all taps of a frame. If not, an iteration has one tap.
    pub(super) windowed: bool,
    /// Positions of X_L in workgroup memory, if L->H is replicated.
    pub(super) positions: Option<u32>,
}

impl Slab {
    /// Elements that a thread gathers.
    pub(super) fn gathered(self, side: u32, workgroup: u32) -> u32 {
        self.elements(side).div_ceil(workgroup)
    }

    /// Elements in workgroup memory; u32::MAX stands for more than that.
    fn elements(self, side: u32) -> u32 {
        self.window.saturating_mul(4 * self.depth * side)
    }

    /// Bytes of workgroup memory: the inputs of two slabs, or of one if they are a window, and a matrix of each piece.
    fn storage(self, side: u32, pieces: u32) -> u32 {
        let kept = if self.windowed { 1 } else { 2 };
        self.elements(side).saturating_mul(2 * kept).saturating_add(4 * pieces * side * side)
    }
}

impl Problem<'_> {
    /// What an iteration takes, as far as workgroup memory allows it.
    pub(super) fn slab(&self) -> Result<Slab, Error> {
        if let Some(slab) = self.windowed_slab() {
            return Ok(slab);
        }
        // Slabs of two matrices halve the iterations, and their barriers.
        let mut paths = self.job.paths.iter().flatten();
        let channels = |path: &PathJob| self.spec.weight_shape(path.weights)[1];
        let even = paths.all(|path| channels(path).div_ceil(self.side).is_multiple_of(2));
        // The planner cuts channels into slices of no fewer than a slab of one matrix.
        let wide = self.slab_of_one_tap(2);
        if even && self.job.slices.is_none() && self.fits(wide, MAX_GATHERED) {
            return Ok(wide);
        }
        let slab = self.slab_of_one_tap(1);
        let (needs, allowed) = (self.storage(slab), self.facts.limits.max_compute_workgroup_storage_size);
        within("the matrix kernel, in bytes,", needs, "max_compute_workgroup_storage_size", allowed)?;
        Ok(slab)
    }

    /// One tap, and a slab of `depth` matrices.
    fn slab_of_one_tap(&self, depth: u32) -> Slab {
        let cells = self.tile.cells(self.side);
        // Something for every thread to gather.
        let window = cells.max(self.workgroup.div_ceil(4 * depth * self.side).next_power_of_two());
        Slab { depth, window, windowed: false, positions: self.positions(depth, cells.into()) }
    }

    /// All taps of a frame from one window, if the layer allows it and it pays.
    fn windowed_slab(&self) -> Option<Slab> {
        if !self.has_windows() {
            return None;
        }
        let outputs = || self.job.outputs().map(|output| output.y.dims);
        let widest = outputs().map(|y| counted(self.spec, y, true)[1]).max().unwrap_or(0);
        // Cells from the first that a workgroup's first one reads to the last that its last one reads.
        let farthest = |down: u32, right: u32| {
            u64::from(self.tile.cells(self.side)) + u64::from(down) * u64::from(widest) + u64::from(right)
        };
        let [down, right] = reach(self.spec);
        // One to spare, for pairs that straddle cells.
        let window = (farthest(down.div_ceil(2), right.div_ceil(2)) + 1).next_power_of_two();
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        let slab = Slab { depth: 1, window, windowed: true, positions: self.positions(1, farthest(down, right)) };

        // Cells beyond the output are multiplied in vain. In small maps that costs more than a window saves.
        let workgroups = |windowed| {
            let workgroups = outputs().map(|y| self.workgroups_across(y, windowed));
            workgroups.fold(0, u64::saturating_add)
        };
        let few_in_vain = workgroups(true).saturating_mul(2) <= workgroups(false).saturating_mul(3);
        let positions_fit = slab.positions.is_none_or(|positions| positions <= window.saturating_mul(4));
        (few_in_vain && self.fits(slab, MAX_GATHERED_OF_WINDOW) && positions_fit).then_some(slab)
    }

    fn fits(&self, slab: Slab, most: u32) -> bool {
        self.storage(slab) <= self.facts.limits.max_compute_workgroup_storage_size
            && slab.gathered(self.side, self.workgroup) <= most
    }

    fn storage(&self, slab: Slab) -> u32 {
        slab.storage(self.side, self.tile.pieces())
    }

    /// Positions of X_L in workgroup memory, if L->H is replicated: those that an iteration reads, and enough for all
    /// threads to share their channels.
    fn positions(&self, depth: u32, read: u64) -> Option<u32> {
        upsampled(self.job)?;
        let positions = read.max(u64::from(self.workgroup.div_ceil(depth * self.side))).next_power_of_two();
        Some(u32::try_from(positions).unwrap_or(u32::MAX))
    }

    /// Workgroups of an output over all positions, for a block of its channels.
    pub(super) fn workgroups_across(&self, output: Dims, windowed: bool) -> u64 {
        let [rows, cols] = counted(self.spec, output, windowed).map(u64::from);
        let [last_row, last_col] = [output.h, output.w].map(|size| u64::from(size.div_ceil(2)) - 1);
        let frames = u64::from(output.n) * u64::from(output.t);
        // Up to the last cell that has a position of the output.
        let cells = ((frames - 1) * rows + last_row).saturating_mul(cols).saturating_add(last_col + 1);
        cells.div_ceil(self.tile.cells(self.side).into())
    }

    /// Whether one window can serve all taps: there are more than one, at stride 1. And maps with their padding must be
    /// as wide as the cells that are counted, because pairs of columns may straddle cells.
    fn has_windows(&self) -> bool {
        let (spec, reach) = (self.spec, reach(self.spec));
        let fits = |(_, path, output): (Path, &PathJob, &OutputJob)| {
            if !path.sampling.upsample {
                return path.sampling.step == 1 && is_convolved_into(spec, path.source.dims, output.y.dims);
            }
            // The padding between the rows of X_L, and between its frames, stands for that on either side of them.
            let counted = counted(spec, output.y.dims, true);
            let sizes = [path.source.dims.h, path.source.dims.w];
            let padding = |axis: usize| spec.padding()[axis].max(reach[axis].saturating_sub(spec.padding()[axis]));
            (0..2).all(|axis| counted[axis] >= sizes[axis] + padding(axis))
        };
        let mut paths = self.job.paths_into_outputs().peekable();
        reach != [0; 2] && paths.peek().is_some() && paths.all(fits)
    }

    /// Columns of a word of the inputs: 4, 2 or 1.
    pub(super) fn word(&self, slab: Slab) -> u32 {
        let (spec, job) = (self.spec, self.job);
        // Rows are whole words, and every thread has one to gather. X_L may be read by itself, one column at a time.
        let whole = |word: u32| {
            let words = 4 * slab.window / word;
            let aligned = |path: &PathJob| path.sampling.step == 1 && path.source.dims.w.is_multiple_of(word);
            slab.depth * self.side * words >= self.workgroup && job.paths.iter().flatten().all(aligned)
        };
        let one_tap = spec.kernel()[1] == 1 && spec.padding()[1] == 0;
        match (slab.windowed, one_tap) {
            (false, true) if whole(4) => 4,
            (false, false) => 1,
            _ if whole(2) => 2,
            _ => 1,
        }
    }
}

/// Cells that are counted in a frame of an output's map, rows by columns: those of the output, or of the padded map.
pub(super) fn counted(spec: &Spec, output: Dims, windowed: bool) -> [u32; 2] {
    let reach = if windowed { reach(spec) } else { [0; 2] };
    [(output.h + reach[0]).div_ceil(2), (output.w + reach[1]).div_ceil(2)]
}

/// Rows and columns from the first tap to the last.
fn reach(spec: &Spec) -> [u32; 2] {
    let (kernel, dilation) = (spec.kernel(), spec.dilation());
    [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis])
}

/// X_L and what its convolution makes, if L->H is replicated. Odd sizes are rounded up.
pub(super) fn upsampled(job: &Job) -> Option<[Dims; 2]> {
    let path = job.path(Path::LH).filter(|path| path.sampling.upsample)?;
    let y = job.high?.y.dims;
    Some([path.source.dims, Dims { h: y.h.div_ceil(2), w: y.w.div_ceil(2), ..y }])
}

/// Whether an output is as large as padding and kernel make it of a source.
pub(super) fn is_convolved_into(spec: &Spec, source: Dims, output: Dims) -> bool {
    let (padding, reach) = (spec.padding(), reach(spec));
    source.h + 2 * padding[0] == output.h + reach[0] && source.w + 2 * padding[1] == output.w + reach[1]
}
