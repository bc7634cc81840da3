//! The three kernels as recipes.

use super::tile::{Tile, UNROLL};
use crate::device::Words;
use crate::kernels::source::{Form, INPUTS, Recipe};
use crate::kernels::types::{ELEMENTWISE_WORKGROUP, Types, activation_number};
use crate::layer::{Activation, Path};
use crate::precision::Dtype;

/// The feed of a path in the first dispatch.
#[derive(Clone, Copy, Debug)]
pub(super) struct FeedConstants {
    /// Which of the inputs it reads.
    pub(super) input: usize,
    /// Number of 2x2 means that it takes on load.
    pub(super) level: u32,
}

/// What distinguishes the first dispatch.
pub(super) struct InputConstants {
    pub(super) types: Types,
    pub(super) tile: Tile,
    /// For each input, whether it is read two columns at a time.
    pub(super) paired: Vec<bool>,
    /// Whether windows begin at odd columns.
    pub(super) odd: bool,
    /// In the order of [`Path::ALL`]. `None` for a path that is absent, or that shares another path's feed.
    pub(super) feeds: [Option<FeedConstants>; 4],
}

/// The instances of each path in the first dispatch, in the order of [`Path::ALL`]: its feed, the window of the feed,
/// and the tensor of the window.
const FEEDS: [[&str; 3]; 4] = [
    ["hh", "hh_window", "hh_window_source"],
    ["hl", "hl_window", "hl_window_source"],
    ["lh", "lh_window", "lh_window_source"],
    ["ll", "ll_window", "ll_window_source"],
];

/// Winograd tiles of a thread of the first dispatch. They lie side by side in V. A software device stores two as one
/// word, which is possible because rows of V have even length.
pub(super) fn tiles_per_thread(words: Words) -> u32 {
    if words == Words::Integers { 2 } else { 1 }
}

/// Channels of a thread of the last dispatch. If channels lie side by side in M, their padded number is even, and a
/// software device loads two as one word.
pub(super) fn channels_per_thread(words: Words, tile: Tile) -> u32 {
    if words == Words::Integers && !tile.rows_are_channels { 2 } else { 1 }
}

/// Columns of the first word that lie in front of a window, if an input is read two columns at a time. If the window
/// has means, there are none, because each mean is of whole words.
pub(super) fn ahead(level: u32, odd: bool) -> u32 {
    u32::from(level == 0 && odd)
}

/// Adds the transforms of Winograd tiles of this size, with Values of 1 or 2 numbers.
fn transforms(recipe: Recipe, tile: Tile, numbers: u32) -> Recipe {
    recipe
        .when(tile.outputs == 2, |r| r.file("winograd/transform_4", "winograd/transform_2"))
        .when(numbers == 2, |r| r.file("winograd/values", "winograd/values_2"))
}

impl InputConstants {
    pub(super) fn name(&self) -> &'static str {
        if self.tile.outputs == 2 { "winograd input f2h2w" } else { "winograd input f4h4w" }
    }

    pub(super) fn recipe(&self) -> Recipe {
        let tiles = tiles_per_thread(self.types.words);
        let recipe = Recipe::new("winograd/input").constant("WORKGROUP", ELEMENTWISE_WORKGROUP);
        let mut recipe = transforms(recipe, self.tile, tiles);
        for path in Path::ALL {
            recipe = self.add_feed(recipe, path);
        }
        for (&name, &paired) in INPUTS.iter().zip(&self.paired) {
            recipe = recipe.input(name, self.types.form(true, paired));
        }
        match tiles {
            1 => recipe.output("v", Form::Elements(Dtype::F32)),
            _ => recipe.output_vectors("v", self.types.words, tiles),
        }
    }

    fn add_feed(&self, recipe: Recipe, path: Path) -> Recipe {
        let [feed, window, source] = FEEDS[path as usize];
        let Some(FeedConstants { input, level }) = self.feeds[path as usize] else {
            return recipe.file(feed, "winograd/feed_absent");
        };
        recipe.same(source, INPUTS[input]).constant_in(window, "LEVEL", level).when(self.paired[input], |r| {
            r.file(window, "winograd/window_paired").constant_in(window, "AHEAD", ahead(level, self.odd))
        })
    }
}

/// What distinguishes the dispatch of the products.
pub(super) struct MultiplyConstants {
    pub(super) types: Types,
    pub(super) tile: Tile,
    pub(super) workgroup: u32,
}

impl MultiplyConstants {
    pub(super) fn name(&self) -> String {
        format!("winograd multiply {}", self.tile.of_products())
    }

    pub(super) fn recipe(&self) -> Recipe {
        let Self { types: Types { weights, words, .. }, tile, workgroup } = *self;
        let lanes = tile.lanes();
        Recipe::new("winograd/multiply")
            .constant("WORKGROUP", workgroup)
            .constant("COLUMN_VECTORS", tile.columns / lanes)
            .constant("ROW_VECTORS", tile.rows / 4)
            .constant("UNROLL", UNROLL)
            .when(!tile.rows_are_channels, |r| r.file("winograd/columns_of_tiles", "winograd/columns_of_channels"))
            .weights(weights, words, 4)
            .input_vectors("v", words, if tile.rows_are_channels { lanes } else { 4 })
            .output_vectors("m", words, lanes)
    }
}

/// An output of the last dispatch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OutputTensor {
    pub(super) residual: bool,
    /// Whether it is written, and its residual read, two columns at a time.
    pub(super) paired: bool,
}

/// What distinguishes the last dispatch.
pub(super) struct OutputConstants {
    pub(super) types: Types,
    pub(super) tile: Tile,
    /// Y_H and Y_L, if they are made.
    pub(super) high: Option<OutputTensor>,
    pub(super) low: Option<OutputTensor>,
    /// Whether Y_H has sums at high resolution, and sums of L->H at low resolution.
    pub(super) high_sums: bool,
    pub(super) low_sums: bool,
    /// If Y_P is written: whether it is written two columns at a time.
    pub(super) pooled: Option<bool>,
    pub(super) activation: Activation,
}

impl OutputConstants {
    pub(super) fn name(&self) -> &'static str {
        if self.tile.outputs == 2 { "winograd output f2h2w" } else { "winograd output f4h4w" }
    }

    pub(super) fn recipe(&self) -> Recipe {
        let Self { types, high, low, .. } = *self;
        let channels = channels_per_thread(types.words, self.tile);
        let recipe = Recipe::new("winograd/output")
            .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
            .constant("ACTIVATION", activation_number(self.activation))
            .flag("HAS_HIGH", high.is_some())
            .flag("HAS_LOW", low.is_some())
            .flag("HAS_HIGH_SUMS", self.high_sums)
            .flag("HAS_LOW_SUMS", self.low_sums)
            .flag("WRITES_Y_P", self.pooled.is_some())
            .flag("PAIRED_P", self.pooled == Some(true))
            .flag_in("high", "PAIRED", high.is_some_and(|y| y.paired))
            .flag_in("low", "PAIRED", low.is_some_and(|y| y.paired))
            .input("biases", Form::Elements(Dtype::F32));
        let recipe = match channels {
            1 => recipe.input("m", Form::Elements(Dtype::F32)),
            _ => recipe.input_vectors("m", types.words, channels),
        };
        let residual = |y: Option<OutputTensor>| y.map_or(Form::Absent, |y| types.form(y.residual, y.paired));
        let written = |y: Option<OutputTensor>| y.map_or(Form::Absent, |y| types.form(true, y.paired));
        transforms(recipe, self.tile, channels)
            .input("high_residual", residual(high))
            .input("low_residual", residual(low))
            .output("high_y", written(high))
            .output("low_y", written(low))
            .output("y_p", self.pooled.map_or(Form::Absent, |paired| types.form(true, paired)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tile::TILES;
    use super::super::uniform::{InputShape, MultiplyShape, OutputShape};
    use super::*;
    use crate::kernels::uniform::check;

    fn types() -> impl Iterator<Item = Types> {
        [Dtype::F32, Dtype::F16].into_iter().flat_map(|dtype| {
            let of = |words| Types { activations: dtype, weights: dtype, words };
            [Words::Elements, Words::Vectors, Words::Integers].map(of)
        })
    }

    fn tiles() -> impl Iterator<Item = Tile> {
        TILES.names().iter().filter_map(|name| TILES.find(name))
    }

    #[test]
    fn the_uniform_of_the_inputs_is_the_shaders() {
        for types in types() {
            for tile in tiles().filter(|tile| tile.columns == 8) {
                for (pairs, odd) in [(false, false), (true, false), (true, true)] {
                    let feed = |input, level| Some(FeedConstants { input, level });
                    let feeds = [feed(0, 0), feed(0, 1), None, feed(1, 0)];
                    let constants = InputConstants { types, tile, paired: vec![pairs, false], odd, feeds };
                    check::<InputShape>(&constants.recipe());
                }
            }
        }
    }

    #[test]
    fn the_uniform_of_the_products_is_the_shaders() {
        for types in types() {
            for tile in tiles() {
                check::<MultiplyShape>(&MultiplyConstants { types, tile, workgroup: 32 }.recipe());
            }
        }
    }

    #[test]
    fn the_uniform_of_the_outputs_is_the_shaders() {
        for types in types() {
            for tile in tiles().filter(|tile| tile.columns == 8) {
                for (high, low) in [(true, true), (true, false), (false, true)] {
                    for paired in [false, types.pairs()] {
                        let tensor = |made: bool| made.then_some(OutputTensor { residual: paired, paired });
                        let constants = OutputConstants {
                            types,
                            tile,
                            high: tensor(high),
                            low: tensor(low),
                            high_sums: high,
                            low_sums: high && low,
                            pooled: high.then_some(paired && tile.outputs == 4),
                            activation: Activation::Relu,
                        };
                        check::<OutputShape>(&constants.recipe());
                    }
                }
            }
        }
    }
}
