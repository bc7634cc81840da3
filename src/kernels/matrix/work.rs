//! The work of a dispatch, for the estimate.

use super::slab::{Problem, Slab};
use crate::device::Part;

/// The threads of an output, and what the work of each depends on.
pub(super) struct Threads {
    pub(super) threads: u64,
    /// Iterations over the paths into the output, except over an L->H that is replicated.
    pub(super) iterations: u64,
    /// Iterations over an L->H that is replicated.
    pub(super) replicated: u64,
    /// Outputs are written two columns at a time.
    pub(super) paired: bool,
}

impl Threads {
    /// What each thread does, with words of this many columns.
    pub(super) fn part(self, problem: &Problem, slab: Slab, word: u32) -> Part {
        let Problem { facts, spec, tile, side, workgroup, .. } = *problem;
        let Self { threads, iterations, replicated, paired } = self;
        let [kernel_h, kernel_w] = spec.kernel();
        // Matrix products of an iteration, for each matrix of sums.
        let products = u64::from(slab.depth * if slab.windowed { kernel_h * kernel_w } else { 1 });
        let gathered = u64::from(slab.gathered(side, workgroup));
        let positions = slab.positions.unwrap_or(0) * slab.depth * side;
        let replicated_gathered = u64::from(positions.div_ceil(workgroup));
        // A thread loads its part of a matrix with two wide words.
        let [weights, inputs] = [tile.matrix_rows, tile.matrix_cols].map(|matrices| 2 * products * u64::from(matrices));
        // L->H has half as many matrices of sums. Both subgroups of a row of pieces make all of them.
        let half_iterations = 2 * iterations + replicated;
        let sums = u64::from(tile.matrix_rows * tile.matrix_cols);
        let finished = u64::from(tile.rows() * side * 4 * tile.cells(side) / workgroup) / if paired { 2 } else { 1 };
        Part {
            threads,
            matrix_multiplies: half_iterations * sums * products * u64::from(side.pow(3))
                / u64::from(2 * facts.subgroup_sizes[1].max(1)),
            loads: iterations * (weights + gathered / u64::from(word))
                + replicated * (weights + replicated_gathered)
                + finished,
            shared_loads: half_iterations * inputs / 2,
            stores: iterations * (gathered / 8) + replicated * (replicated_gathered / 8) + finished,
            ..Part::default()
        }
    }
}
