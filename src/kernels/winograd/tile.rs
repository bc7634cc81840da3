//! Tiles: how the products are cut into workgroups and threads.

use std::fmt;
use std::sync::LazyLock;

use crate::device::DeviceFacts;
use crate::kernels::family::TileTable;

/// How the products are cut into workgroups and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Outputs of a Winograd tile along an axis: 2 or 4.
    pub(super) outputs: u32,
    /// Whether the rows of a product are channels and its columns are Winograd tiles, or the other way round. Each
    /// thread of a workgroup has columns of its own; all have the same rows.
    pub(super) rows_are_channels: bool,
    /// Columns of a thread: 2, or a multiple of 4.
    pub(super) columns: u32,
    /// Rows of a thread: a multiple of 4.
    pub(super) rows: u32,
}

/// Tiles with more Winograd tiles suit large maps, tiles with more channels suit small maps.
pub(super) static TILES: LazyLock<TileTable<Tile>> = LazyLock::new(|| {
    let cuts =
        [(true, 4, 16), (true, 8, 8), (false, 8, 8), (false, 4, 16), (true, 2, 32), (true, 8, 16), (false, 8, 16)];
    let of =
        |outputs| cuts.map(|(rows_are_channels, columns, rows)| Tile { outputs, rows_are_channels, columns, rows });
    TileTable::new([of(4), of(2)].concat())
});

/// Input channels that a thread of the products takes at a time. The channels of each path are padded to a multiple.
pub(super) const UNROLL: u32 = 4;

/// The most sums of a thread on a GPU, because they must fit into registers.
const MAX_SUMS_OF_GPU: u32 = 64;
/// The fewest columns of a thread on a GPU, because with two, a quarter of the loop would be scalar loads.
const MIN_COLUMNS_OF_GPU: u32 = 4;

impl Tile {
    /// Whether it suits a device.
    pub(super) fn suits(self, facts: &DeviceFacts) -> bool {
        facts.software || (self.rows * self.columns <= MAX_SUMS_OF_GPU && self.columns >= MIN_COLUMNS_OF_GPU)
    }

    /// Columns that lie in one vector.
    pub(super) fn lanes(self) -> u32 {
        self.columns.min(4)
    }

    /// Inputs under a Winograd tile along an axis.
    pub(super) fn window(self) -> u32 {
        self.outputs + 2
    }

    /// Points of a Winograd tile.
    pub(super) fn points(self) -> u32 {
        self.window() * self.window()
    }

    pub(super) fn channels(self) -> u32 {
        if self.rows_are_channels { self.rows } else { self.columns }
    }

    /// Winograd tiles that a thread or a workgroup takes, of this many in all. If they are columns, a thread takes as
    /// many as the tile says. If they are rows, all workgroups take about as many, to waste little in the last one.
    pub(super) fn tiles_at_once(self, tiles: u64) -> u32 {
        if self.rows_are_channels {
            return self.columns;
        }
        let blocks = tiles.div_ceil(u64::from(self.rows)).max(1);
        tiles.div_ceil(blocks).next_multiple_of(4).max(4) as u32
    }

    /// This tile, changed to take the number of Winograd tiles that [`Tile::tiles_at_once`] gives.
    pub(super) fn taking(self, tiles: u32) -> Self {
        if self.rows_are_channels { self } else { Self { rows: tiles, ..self } }
    }

    /// The part of the name that says what a thread of the products makes.
    pub(super) fn of_products(self) -> String {
        match self.rows_are_channels {
            true => format!("t{}c{}f", self.rows, self.columns),
            false => format!("tc{}c{}f", self.columns, self.rows),
        }
    }

    /// The part of the name that says what a transform makes.
    pub(super) fn of_transform(self) -> &'static str {
        if self.outputs == 2 { "f2h2w" } else { "f4h4w" }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.of_products(), self.of_transform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_tiles_are() {
        let names = [
            "t16c4f-f4h4w",
            "t8c8f-f4h4w",
            "tc8c8f-f4h4w",
            "tc4c16f-f4h4w",
            "t32c2f-f4h4w",
            "t16c8f-f4h4w",
            "tc8c16f-f4h4w",
            "t16c4f-f2h2w",
            "t8c8f-f2h2w",
            "tc8c8f-f2h2w",
            "tc4c16f-f2h2w",
            "t32c2f-f2h2w",
            "t16c8f-f2h2w",
            "tc8c16f-f2h2w",
        ];
        assert_eq!(TILES.names(), names);
        let tile = Tile { outputs: 4, rows_are_channels: false, columns: 4, rows: 16 };
        assert_eq!(TILES.find("tc4c16f-f4h4w"), Some(tile));
        assert_eq!(TILES.find("t16c8f-f2h2w").map(Tile::channels), Some(16));
    }

    #[test]
    fn workgroups_share_the_tiles_of_a_map_evenly() {
        let tile = TILES.find("tc4c16f-f4h4w").unwrap();
        assert_eq!([1, 16, 17, 100].map(|tiles| tile.tiles_at_once(tiles)), [4, 16, 12, 16]);
        assert_eq!(tile.taking(12).to_string(), "tc4c12f-f4h4w");
    }
}
