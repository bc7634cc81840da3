//! The kernel as a recipe.

use super::tile::{LANES, Tile};
use crate::kernels::source::Recipe;
use crate::kernels::types::Types;
use crate::layer::{Activation, Path};

/// What distinguishes a kernel.
#[derive(Clone, Debug)]
pub(super) struct Constants {
    pub(super) types: Types,
    pub(super) workgroup: u32,
    pub(super) tile: Tile,
    /// Which paths are present, in the order of [`Path::ALL`].
    pub(super) paths: [bool; 4],
    /// Channels of X_H, and of X_L, whose inputs a thread holds at once.
    pub(super) unroll: [u32; 2],
    /// Number of 2x2 means between X_H and the map that is convolved, and the stride over these means.
    pub(super) high_level: u32,
    pub(super) high_stride: u32,
    /// X_L has the resolution of Y_H.
    pub(super) low_is_fine: bool,
    /// The layer strides instead of pooling.
    pub(super) strided: bool,
    pub(super) residual_high: bool,
    pub(super) residual_low: bool,
    pub(super) writes_high: bool,
    pub(super) writes_low: bool,
    pub(super) writes_pooled: bool,
    pub(super) activation: Activation,
    pub(super) paired: Paired,
}

/// Which tensors are moved two columns at a time. A residual is moved like its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paired {
    pub(super) x_h: bool,
    pub(super) x_l: bool,
    pub(super) y_h: bool,
    pub(super) y_l: bool,
    pub(super) y_p: bool,
}

impl Constants {
    /// The family, and the tile of the outputs that it writes.
    pub(super) fn name(&self) -> String {
        let [high, low] = self.tile.outputs();
        match (self.writes_high, self.writes_low) {
            (true, true) => format!("pointwise {high}+{low}"),
            (false, true) => format!("pointwise {low}"),
            _ => format!("pointwise {high}"),
        }
    }

    pub(super) fn recipe(&self) -> Recipe {
        let recipe = Recipe::new("pointwise/pointwise")
            .constant("WORKGROUP", self.workgroup)
            .constant("ACTIVATION", self.activation.number())
            .constant("CELL_ROWS", self.tile.rows)
            .constant("CELL_COLS", self.tile.cols)
            .constant("HIGH_VECTORS", self.tile.high_vectors)
            .constant("LOW_VECTORS", self.tile.low_vectors)
            .file("hl_tile", "pointwise/tile_low")
            .file("lh_tile", "pointwise/tile_from_low")
            .file("ll_tile", "pointwise/tile_low")
            .constant_in("hh", "UNROLL", self.unroll[0])
            .constant_in("hl", "UNROLL", self.unroll[0])
            .constant_in("lh", "UNROLL", self.unroll[1])
            .constant_in("ll", "UNROLL", self.unroll[1])
            .constant("HIGH_LEVEL", self.high_level)
            .constant("HIGH_STRIDE", self.high_stride)
            .flag("LOW_IS_FINE", self.low_is_fine)
            .flag("STRIDED", self.strided);
        self.add_tensors(self.add_paths(recipe))
    }

    /// Says which paths and inputs are present.
    fn add_paths(&self, recipe: Recipe) -> Recipe {
        let [hh, hl, lh, ll] = self.paths;
        recipe
            .flag("HAS_HH", hh)
            .flag("HAS_HL", hl)
            .flag("HAS_LH", lh)
            .flag("HAS_LL", ll)
            .flag("HAS_X_H", hh || hl)
            .flag("HAS_X_L", lh || ll)
    }

    /// Adds weights, inputs, residuals, then outputs. This is the order of their bindings.
    fn add_tensors(&self, recipe: Recipe) -> Recipe {
        let Paired { x_h, x_l, y_h, y_l, y_p } = self.paired;
        let reads = |[a, b]: [Path; 2]| self.paths[a as usize] || self.paths[b as usize];
        let (types, form) = (self.types, |present, paired| self.types.form(present, paired));
        recipe
            .flag("X_H_PAIRED", x_h)
            .flag("X_L_PAIRED", x_l)
            .flag_in("high", "PAIRED", y_h)
            .flag_in("low", "PAIRED", y_l)
            .flag("WRITES_Y_P", self.writes_pooled)
            .flag("Y_P_PAIRED", y_p)
            .weights(types.weights, types.words, LANES)
            .input("x_h", form(reads([Path::HH, Path::HL]), x_h))
            .input("x_l", form(reads([Path::LH, Path::LL]), x_l))
            .input("high_residual", form(self.residual_high, y_h))
            .input("low_residual", form(self.residual_low, y_l))
            .output("high_y", form(self.writes_high, y_h))
            .output("low_y", form(self.writes_low, y_l))
            .output("y_p", form(self.writes_pooled, y_p))
    }
}
