//! Tiles: the matrices that a workgroup and a subgroup make.

use std::fmt;
use std::sync::LazyLock;

/// The matrices of a workgroup, in rows of pieces; a row always has two pieces. The four phases of a cell are two
/// pieces times two columns of matrices, so `matrix_cols` is even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) piece_rows: u32,
    /// Rows of matrices of a piece, which one subgroup makes.
    pub(super) matrix_rows: u32,
    pub(super) matrix_cols: u32,
}

/// With more matrices, each loaded operand is used more often, but there are fewer workgroups.
pub(super) const TILES: [Tile; 6] =
    [tile(2, [4, 4]), tile(1, [4, 4]), tile(2, [4, 2]), tile(1, [2, 4]), tile(2, [2, 2]), tile(1, [2, 2])];

const fn tile(piece_rows: u32, [matrix_rows, matrix_cols]: [u32; 2]) -> Tile {
    Tile { piece_rows, matrix_rows, matrix_cols }
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
        let Self { piece_rows: _, matrix_rows, matrix_cols } = self;
        write!(f, "g{}m{}m-s{matrix_rows}m{matrix_cols}m", self.rows(), 2 * matrix_cols)
    }
}

impl Tile {
    /// Rows of matrices in a workgroup.
    pub(super) fn rows(self) -> u32 {
        self.piece_rows * self.matrix_rows
    }

    /// Pieces of a workgroup.
    pub(super) fn pieces(self) -> u32 {
        2 * self.piece_rows
    }

    /// Cells of a workgroup, with matrices of this side.
    pub(super) fn cells(self, side: u32) -> u32 {
        self.matrix_cols / 2 * side
    }
}

#[cfg(test)]
mod tests {
    use super::{TILES, named, names};

    #[test]
    fn names_say_what_the_tiles_make() {
        let wanted = ["g8m8m-s4m4m", "g4m8m-s4m4m", "g8m4m-s4m2m", "g2m8m-s2m4m", "g4m4m-s2m2m", "g2m4m-s2m2m"];
        assert_eq!(names(), wanted);
        assert_eq!(wanted.map(|name| named(name).unwrap()), TILES);
        assert_eq!(named("g8m8m"), None);
    }
}
