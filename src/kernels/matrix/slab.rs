//! What an iteration takes: a slab of channels, and one tap or a window of all taps.

use super::tile::Tile;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Job, OutputJob, PathJob};
use crate::kernels::step::within;
use crate::layer::{Path, Spec};

/// The most elements that a thread gathers for an iteration of one tap, and for an iteration of all taps. It keeps them
/// in registers until it puts them into workgroup memory.
const MAX_GATHERED: u32 = 16;
const MAX_GATHERED_OF_WINDOW: u32 = 32;

/// A job, in one of the tiles, on a device with matrix units.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) facts: &'a DeviceFacts,
    pub(super) spec: &'a Spec,
    pub(super) job: &'a Job,
    pub(super) tile: Tile,
    /// Rows and columns of a matrix.
    pub(super) side: u32,
    /// Threads of a workgroup.
    pub(super) workgroup: u32,
}

/// What an iteration takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slab {
    /// Matrices along its channels.
    pub(super) depth: u32,
    /// Cells in workgroup memory.
    pub(super) window: u32,
    /// Whether these cells serve all taps of a frame. If not, an iteration takes one tap.
    pub(super) windowed: bool,
    /// Positions of X_L in workgroup memory, if L->H is replicated.
    pub(super) positions: Option<u32>,
}

impl Slab {
    /// Elements that a thread gathers.
    pub(super) fn gathered(self, side: u32, workgroup: u32) -> u32 {
        self.elements(side).div_ceil(workgroup)
    }

    /// Elements in workgroup memory; u32::MAX if there are more.
    fn elements(self, side: u32) -> u32 {
        self.window.saturating_mul(4 * self.depth * side)
    }

    /// Bytes of workgroup memory: inputs of two slabs, or of one slab if windowed, and a matrix of sums of each piece.
    fn storage(self, side: u32, pieces: u32) -> u32 {
        let kept = if self.windowed { 1 } else { 2 };
        self.elements(side).saturating_mul(2 * kept).saturating_add(4 * pieces * side * side)
    }
}

impl Problem<'_> {
    /// Chooses what an iteration takes.
    ///
    /// # Errors
    ///
    /// Not even the smallest slab fits into workgroup memory.
    pub(super) fn slab(&self) -> Result<Slab, Error> {
        if let Some(slab) = self.windowed_slab() {
            return Ok(slab);
        }
        // Slabs of two matrices halve the number of iterations and barriers.
        let mut paths = self.job.paths.iter().flatten();
        let channels = |path: &PathJob| self.spec.weight_shape(path.weights)[1];
        let even = paths.all(|path| channels(path).div_ceil(self.side).is_multiple_of(2));
        // With slices, a slab is one matrix: the planner may make slices that small.
        let wide = self.slab_of_one_tap(2);
        if even && self.job.slices.is_none() && self.fits(wide, MAX_GATHERED) {
            return Ok(wide);
        }
        let slab = self.slab_of_one_tap(1);
        let (needs, allowed) = (self.storage(slab), self.facts.limits.max_compute_workgroup_storage_size);
        within("the matrix kernel, in bytes,", needs, "max_compute_workgroup_storage_size", allowed)?;
        Ok(slab)
    }

    /// Iterations of one tap, with a slab of `depth` matrices.
    fn slab_of_one_tap(&self, depth: u32) -> Slab {
        let cells = self.tile.cells(self.side);
        // Large enough that every thread has something to gather.
        let window = cells.max(self.workgroup.div_ceil(4 * depth * self.side).next_power_of_two());
        Slab { depth, window, windowed: false, positions: self.positions(depth, cells.into()) }
    }

    /// Iterations of all taps of a frame, which share a window, if the layer allows that and if it pays.
    fn windowed_slab(&self) -> Option<Slab> {
        if !self.has_windows() {
            return None;
        }
        let outputs = || self.job.outputs().map(|output| output.y.dims);
        let widest = outputs().map(|y| counted(self.spec, y, true)[1]).max().unwrap_or(0);
        // Cells from the first one that a workgroup reads to the last one, if taps reach this far.
        let farthest = |down: u32, right: u32| {
            u64::from(self.tile.cells(self.side)) + u64::from(down) * u64::from(widest) + u64::from(right)
        };
        let [down, right] = reach(self.spec);
        // One cell more, for pairs that straddle cells.
        let window = (farthest(down.div_ceil(2), right.div_ceil(2)) + 1).next_power_of_two();
        let window = u32::try_from(window).unwrap_or(u32::MAX);
        let slab = Slab { depth: 1, window, windowed: true, positions: self.positions(1, farthest(down, right)) };

        // Products of counted cells beyond the output are wasted. In small maps that costs more than a window saves.
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

    /// Positions of X_L in workgroup memory, if L->H is replicated: the `read` ones that an iteration reads, or more,
    /// so that every thread has something to gather.
    fn positions(&self, depth: u32, read: u64) -> Option<u32> {
        upsampled(self.job)?;
        let positions = read.max(u64::from(self.workgroup.div_ceil(depth * self.side))).next_power_of_two();
        Some(u32::try_from(positions).unwrap_or(u32::MAX))
    }

    /// Workgroups of an output for all positions of a block of channels.
    pub(super) fn workgroups_across(&self, output: Dims, windowed: bool) -> u64 {
        let [rows, cols] = counted(self.spec, output, windowed).map(u64::from);
        let [last_row, last_col] = [output.h, output.w].map(|size| u64::from(size.div_ceil(2)) - 1);
        let frames = u64::from(output.n) * u64::from(output.t);
        // Counted cells, up to the last one that has a position of the output.
        let cells = ((frames - 1) * rows + last_row).saturating_mul(cols).saturating_add(last_col + 1);
        cells.div_ceil(self.tile.cells(self.side).into())
    }

    /// Whether one window can serve all taps: there is more than one tap in a frame, and the stride is 1. Also, padded
    /// maps must be exactly as large as what outputs read, because pairs of columns may straddle cells.
    fn has_windows(&self) -> bool {
        let (spec, reach) = (self.spec, reach(self.spec));
        let fits = |(_, path, output): (Path, &PathJob, &OutputJob)| {
            if !path.sampling.upsample {
                return path.sampling.step == 1 && is_convolved_into(spec, path.source.dims, output.y.dims);
            }
            // Padding between the rows of X_L, and between its frames, serves as the padding on both sides of them.
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
        // Rows must be whole words, and every thread must have a word to gather. matrix/replicated reads X_L element by
        // element.
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

/// Rows and columns of the cells that are counted in a frame: those of the output, or, if windowed, of the padded map.
pub(super) fn counted(spec: &Spec, output: Dims, windowed: bool) -> [u32; 2] {
    let reach = if windowed { reach(spec) } else { [0; 2] };
    [(output.h + reach[0]).div_ceil(2), (output.w + reach[1]).div_ceil(2)]
}

/// Distance from the first tap to the last, in rows and in columns.
fn reach(spec: &Spec) -> [u32; 2] {
    let (kernel, dilation) = (spec.kernel(), spec.dilation());
    [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis])
}

/// The dims of X_L, and those that its convolution must make for Y_H, if L->H is replicated. Odd sizes are rounded up.
pub(super) fn upsampled(job: &Job) -> Option<[Dims; 2]> {
    let path = job.path(Path::LH).filter(|path| path.sampling.upsample)?;
    let y = job.high?.y.dims;
    Some([path.source.dims, Dims { h: y.h.div_ceil(2), w: y.w.div_ceil(2), ..y }])
}

/// Whether a convolution of stride 1 makes an output of this size from a source of this size.
pub(super) fn is_convolved_into(spec: &Spec, source: Dims, output: Dims) -> bool {
    let (padding, reach) = (spec.padding(), reach(spec));
    source.h + 2 * padding[0] == output.h + reach[0] && source.w + 2 * padding[1] == output.w + reach[1]
}
