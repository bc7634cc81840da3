//! Tiles: the outputs of a workgroup and of a thread.

use std::fmt;
use std::sync::LazyLock;

use crate::kernels::job::{Job, OutputJob};

/// Output channels of a vector.
pub(super) const LANES: u32 = 4;

/// Outputs of a workgroup and of a thread, and input channels of a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) channels: u32,
    pub(super) positions: u32,
    pub(super) thread_channels: u32,
    pub(super) thread_positions: u32,
    pub(super) slab: u32,
}

/// Large tiles use each loaded element for more products. Small tiles give small maps enough workgroups.
pub(super) const TILES: [Tile; 6] = [
    tile([32, 32], [4, 4], 16),
    tile([32, 128], [8, 8], 8),
    tile([64, 64], [8, 4], 16),
    tile([64, 128], [8, 8], 8),
    tile([128, 64], [8, 8], 8),
    tile([128, 128], [8, 8], 8),
];

/// A tile with these channels and positions of a workgroup and of a thread, and this many input channels of a slab.
const fn tile(workgroup: [u32; 2], thread: [u32; 2], slab: u32) -> Tile {
    let ([channels, positions], [thread_channels, thread_positions]) = (workgroup, thread);
    Tile { channels, positions, thread_channels, thread_positions, slab }
}

/// The names of [`TILES`].
pub(super) fn names() -> &'static [&'static str] {
    static NAMES: LazyLock<[&'static str; TILES.len()]> = LazyLock::new(|| TILES.map(|tile| &*tile.to_string().leak()));
    &*NAMES
}

/// The tile with this name.
pub(super) fn named(name: &str) -> Option<Tile> {
    let place = names().iter().position(|other| *other == name)?;
    Some(TILES[place])
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channels, positions, thread_channels, thread_positions, slab: _ } = self;
        write!(f, "g{channels}c{positions}p-t{thread_channels}c{thread_positions}p")
    }
}

impl Tile {
    /// Threads of a workgroup.
    pub(super) fn workgroup(self) -> u32 {
        self.channels / self.thread_channels * (self.positions / self.thread_positions)
    }

    /// Cells of a workgroup.
    pub(super) fn cells(self) -> u32 {
        self.positions / 4
    }

    /// Whether less than half of its channels and less than half of its positions would be idle. The smallest channels
    /// and positions suit every job.
    pub(super) fn suits(self, job: &Job) -> bool {
        let [smallest, ..] = TILES;
        let fits = |size: u32, smallest: u32, widest: Option<u64>| {
            let widest = widest.unwrap_or(0).max(smallest.into());
            u64::from(size) <= widest.next_power_of_two()
        };
        fits(self.channels, smallest.channels, job.outputs().map(|output| output.y.dims.c.into()).max())
            && fits(self.positions, smallest.positions, job.outputs().map(|output| 4 * cells(output)).max())
    }
}

/// Cells of an output, over the batch and all frames.
pub(super) fn cells(output: &OutputJob) -> u64 {
    let dims = output.y.dims;
    u64::from(dims.n) * u64::from(dims.t) * u64::from(dims.h.div_ceil(2)) * u64::from(dims.w.div_ceil(2))
}

#[cfg(test)]
mod tests {
    use super::{TILES, named, names};

    #[test]
    fn names_say_what_the_tiles_make() {
        let wanted =
            ["g32c32p-t4c4p", "g32c128p-t8c8p", "g64c64p-t8c4p", "g64c128p-t8c8p", "g128c64p-t8c8p", "g128c128p-t8c8p"];
        assert_eq!(names(), wanted);
        assert_eq!(wanted.map(|name| named(name).unwrap()), TILES);
        assert_eq!(named("g32c32p"), None);
    }
}
