//! Tiles: the cells of one thread, and its channels of each output.

use std::fmt;
use std::sync::LazyLock;

use crate::kernels::family::TileTable;
use crate::kernels::job::{Job, OutputJob};

/// Output channels per vector.
pub(super) const LANES: u32 = 4;

/// The cells of one thread, and its vectors of [`LANES`] channels of each output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) rows: u32,
    pub(super) cols: u32,
    pub(super) high_vectors: u32,
    pub(super) low_vectors: u32,
}

/// The most that a thread takes. Wider tiles are slower on lavapipe, and spill registers on AMD GPUs.
pub(super) static TILES: LazyLock<TileTable<Tile>> = LazyLock::new(|| {
    let tile = |channels: u32, rows: u32, cols: u32| {
        let vectors = channels / LANES;
        Tile { rows, cols, high_vectors: vectors, low_vectors: vectors }
    };
    TileTable::new(vec![tile(16, 1, 1), tile(8, 1, 1), tile(8, 1, 2)])
});

impl Tile {
    /// This tile, with no more vectors than the outputs of a job have, and with about as many blocks of both outputs.
    pub(super) fn fitted(self, job: &Job) -> Self {
        let channels = |output: &Option<OutputJob>| output.as_ref().map_or(0, |output| output.y.dims.c);
        let [high_vectors, low_vectors] = balance(channels(&job.high), channels(&job.low), self.high_vectors);
        Self { high_vectors, low_vectors, ..self }
    }

    /// Number of cells.
    pub(super) fn cells(self) -> u32 {
        self.rows * self.cols
    }

    /// The part of Y_H, and of Y_L, that a thread makes.
    pub(super) fn outputs(self) -> [Output; 2] {
        let Self { rows, cols, high_vectors, low_vectors } = self;
        [Output { vectors: high_vectors, rows: 2 * rows, cols: 2 * cols }, Output { vectors: low_vectors, rows, cols }]
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low] = self.outputs();
        write!(f, "{high}+{low}")
    }
}

/// A thread's part of one output.
pub(super) struct Output {
    vectors: u32,
    rows: u32,
    cols: u32,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}c{}h{}w", self.vectors * LANES, self.rows, self.cols)
    }
}

/// Vectors of Y_H and of Y_L, at most `most` of each, so that both outputs have about as many blocks of channels.
fn balance(high_out: u32, low_out: u32, most: u32) -> [u32; 2] {
    let vectors = |c: u32| c.div_ceil(LANES);
    let (high, low) = (vectors(high_out), vectors(low_out));
    if low == 0 {
        return [high.min(most), 0];
    }
    if high == 0 {
        return [0, low.min(most)];
    }
    // The pair with the least work over all blocks, if a vector of Y_H is as much work as four of Y_L. Among equal
    // pairs the largest, which reads the input least often.
    (1..=most)
        .flat_map(|h| (1..=most).map(move |l| [h, l]))
        .min_by_key(|&[h, l]| (high.div_ceil(h).max(low.div_ceil(l)) * (4 * h + l), 2 * most - h - l))
        .unwrap_or([1, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_vocabulary() {
        assert_eq!(TILES.names(), ["t16c2h2w+t16c1h1w", "t8c2h2w+t8c1h1w", "t8c2h4w+t8c1h2w"]);
    }

    #[test]
    fn both_outputs_have_as_many_blocks() {
        assert_eq!(balance(32, 32, 4), [4, 4]);
        assert_eq!(balance(48, 16, 4), [3, 1]);
        assert_eq!(balance(64, 0, 2), [2, 0]);
        assert_eq!(balance(0, 4, 2), [0, 1]);
    }
}
