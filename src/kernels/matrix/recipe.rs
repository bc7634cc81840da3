//! What distinguishes the kernels of the family, and the recipe of each.

use super::slab::Slab;
use super::tile::Tile;
use crate::device::Words;
use crate::kernels::access::Access;
use crate::kernels::job::TensorId;
use crate::kernels::source::{Form, INPUTS, Recipe};
use crate::kernels::types::activation_number;
use crate::layer::{Activation, Path};
use crate::precision::Dtype;

/// A path, in an instance of `matrix/path` or `matrix/replicated`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathConstants {
    /// The input that it reads, as its place in [`Constants::inputs`].
    pub(super) input: usize,
    /// Its channels fill whole slabs.
    pub(super) whole: bool,
}

/// An output, in an instance of `common/epilogue`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OutputConstants {
    pub(super) written: bool,
    pub(super) residual: bool,
    /// It is written two columns at a time.
    pub(super) paired: bool,
    /// It is a partial sum, to which another dispatch adds.
    pub(super) partial: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Constants {
    pub(super) side: u32,
    pub(super) tile: Tile,
    pub(super) slab: Slab,
    pub(super) workgroup: u32,
    pub(super) inputs: Vec<TensorId>,
    /// Columns of a word of the inputs.
    pub(super) word: u32,
    /// Words of two columns begin in the second column of a cell.
    pub(super) pairs_straddle: bool,
    /// In the order of [`Path::ALL`].
    pub(super) paths: [Option<PathConstants>; 4],
    /// The sums of L->H are given.
    pub(super) given: bool,
    pub(super) high: OutputConstants,
    pub(super) low: OutputConstants,
    /// Y_P is written.
    pub(super) pooled: bool,
    /// Input channels are cut into slices, each of which makes partial sums.
    pub(super) sliced: bool,
    pub(super) activation: Activation,
}

impl Constants {
    pub(super) fn name(&self) -> String {
        let Self { side, tile, .. } = self;
        let windows = if self.slab.windowed { ", windows" } else { "" };
        format!("matrix {tile}-m{side}c{side}p{windows}")
    }

    pub(super) fn recipe(&self) -> Recipe {
        let recipe = self.matrices(self.tile_constants(Recipe::new("matrix/matrix")));
        let recipe = Path::ALL.into_iter().fold(recipe, |recipe, path| self.path(recipe, path));
        let recipe = self.replicated(recipe);
        // One buffer, bound as two types.
        let recipe = recipe.binding("weights", Access::Read).binding("biases", Access::Read);
        let recipe = (0..self.inputs.len()).fold(recipe, |recipe, input| self.input(recipe, input));
        self.outputs(recipe)
    }

    fn tile_constants(&self, recipe: Recipe) -> Recipe {
        let (tile, slab) = (self.tile, self.slab);
        recipe
            .constant("WORKGROUP", self.workgroup)
            .constant("ACTIVATION", activation_number(self.activation))
            .constant("SIDE", self.side)
            .constant("PIECE_ROWS", tile.piece_rows)
            .constant("MATRIX_ROWS", tile.matrix_rows)
            .constant("MATRIX_COLS", tile.matrix_cols)
            .constant("DEPTH", slab.depth)
            .constant("WINDOW", slab.window)
            .flag("WINDOWED", slab.windowed)
            .constant("WORD", self.word)
            .flag("PAIRS_STRADDLE", self.pairs_straddle)
            .flag("REPLICATES", slab.positions.is_some())
            .flag("HAS_HIGH", self.high.written)
            .flag("HAS_LOW", self.low.written)
            .flag("GIVEN", self.given)
            .flag("POOLED", self.pooled)
            .flag("SLICED", self.sliced)
    }

    /// Sets the types of matrices.
    fn matrices(&self, recipe: Recipe) -> Recipe {
        let [left, right, sum] = match self.side {
            8 => ["coop_mat8x8<f16, A>", "coop_mat8x8<f16, B>", "coop_mat8x8<f32, C>"],
            _ => ["coop_mat16x16<f16, A>", "coop_mat16x16<f16, B>", "coop_mat16x16<f32, C>"],
        };
        recipe.alias("Left", left).alias("Right", right).alias("Sum", sum)
    }

    /// Adds the instance of a path.
    fn path(&self, recipe: Recipe, path: Path) -> Recipe {
        let (instance, source) = match path {
            Path::HH => ("hh", "hh_source"),
            Path::HL => ("hl", "hl_source"),
            Path::LH => ("lh", "lh_source"),
            Path::LL => ("ll", "ll_source"),
        };
        let replicated = path == Path::LH && self.slab.positions.is_some();
        match self.paths[path as usize] {
            Some(PathConstants { input, whole }) if !replicated => {
                recipe.same(source, INPUTS[input]).flag_in(instance, "WHOLE", whole)
            }
            _ => recipe.file(instance, "matrix/path_absent"),
        }
    }

    /// Adds the instance that makes L->H, if it is replicated.
    fn replicated(&self, recipe: Recipe) -> Recipe {
        match (self.paths[Path::LH as usize], self.slab.positions) {
            (Some(PathConstants { input, whole }), Some(positions)) => recipe
                .same("replicated_source", INPUTS[input])
                .flag_in("replicated", "WHOLE", whole)
                .constant_in("replicated", "POSITIONS", positions),
            _ => recipe.file("replicated", "matrix/replicated_absent"),
        }
    }

    fn input(&self, recipe: Recipe, input: usize) -> Recipe {
        let file = match self.word {
            1 => "matrix/input",
            2 => "matrix/input_2",
            _ => "matrix/input_4",
        };
        recipe.file(INPUTS[input], file).binding_in(INPUTS[input], "elements", Access::Read)
    }

    fn outputs(&self, recipe: Recipe) -> Recipe {
        let form = |dtype, present: bool, paired: bool| match (present, paired) {
            (false, _) => Form::Absent,
            (true, false) => Form::Elements(dtype),
            (true, true) => Form::Pairs(dtype, Words::Vectors),
        };
        let stored = if self.sliced { Dtype::F32 } else { Dtype::F16 };
        let Self { high, low, .. } = *self;
        recipe
            .input("given", form(Dtype::F16, self.given, false))
            .flag_in("high", "PARTIAL", high.partial)
            .flag_in("high", "PAIRED", high.paired)
            .flag_in("low", "PARTIAL", low.partial)
            .flag_in("low", "PAIRED", low.paired)
            .input("high_residual", form(Dtype::F16, high.residual, high.paired))
            .input("low_residual", form(Dtype::F16, low.residual, low.paired))
            .output("high_y", form(stored, high.written, high.paired))
            .output("low_y", form(stored, low.written, low.paired))
            .output("pooled", form(stored, self.pooled, false))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tile::TILES;
    use super::super::uniform::Shape;
    use super::*;
    use crate::kernels::uniform;

    /// A layer with all paths. L->H is given if `given`, else replicated.
    fn constants(side: u32, word: u32, windowed: bool, given: bool) -> Constants {
        let tile = TILES[5];
        let slab = Slab { depth: 1, window: 4 * side, windowed, positions: (!given).then_some(4 * side) };
        let path = PathConstants { input: 0, whole: false };
        let output = OutputConstants { written: true, residual: !given, paired: word > 1, partial: given };
        Constants {
            side,
            tile,
            slab,
            workgroup: 64,
            inputs: vec![TensorId::XH, TensorId::XL],
            word,
            pairs_straddle: windowed && word == 2,
            paths: [
                Some(path),
                Some(path),
                (!given).then_some(PathConstants { input: 1, ..path }),
                Some(PathConstants { input: 1, whole: true }),
            ],
            given,
            high: output,
            low: output,
            pooled: !given,
            sliced: given,
            activation: Activation::Relu,
        }
    }

    #[test]
    fn the_uniform_is_the_shaders() {
        for side in [8, 16] {
            for (word, windowed) in [(1, false), (1, true), (2, false), (2, true), (4, false)] {
                for given in [false, true] {
                    uniform::check::<Shape>(&constants(side, word, windowed, given).recipe());
                }
            }
        }
    }

    #[test]
    fn names_say_the_tile_and_the_matrices() {
        assert_eq!(constants(16, 1, true, false).name(), "matrix g2m4m-s2m2m-m16c16p, windows");
        assert_eq!(constants(8, 4, false, false).name(), "matrix g2m4m-s2m2m-m8c8p");
    }
}
