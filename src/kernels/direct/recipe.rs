//! The kernel as a recipe.

use std::fmt::Write;

use super::tile::{Tile, Tiles};
use crate::kernels::source::{INPUTS, Recipe};
use crate::kernels::types::Types;
use crate::layer::{Activation, Path};
use crate::precision::Dtype;

/// The name of the family whose products have this type.
pub(super) fn family(products: Dtype) -> &'static str {
    if products == Dtype::F16 { "direct-f16" } else { "direct" }
}

/// What distinguishes one path's instance of `shaders/direct/path.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathConstants {
    /// Which of the inputs it reads.
    pub(super) input: usize,
    pub(super) level: u32,
    pub(super) stride: u32,
    /// Rows and columns of taps that share a window.
    pub(super) inner: [u32; 2],
    /// Channels whose windows a thread reads together.
    pub(super) unroll: u32,
    /// Whether two columns are read as one word, and how many columns of the first word lie in front of the window.
    pub(super) paired: bool,
    pub(super) ahead: u32,
    /// Whether `ahead` holds only in every second channel.
    pub(super) alternates: bool,
}

/// What distinguishes the two instances of `shaders/direct/output.wgsl`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OutputConstants {
    pub(super) residual: bool,
    /// Whether sums are stored for another dispatch to add to.
    pub(super) partial: bool,
    /// Whether the means of 2x2 positions are written too.
    pub(super) pooled: bool,
    /// Whether the output is written two columns at a time, and whether the means are.
    pub(super) paired: bool,
    pub(super) pooled_paired: bool,
}

/// What distinguishes a kernel.
#[derive(Clone, Debug)]
pub(super) struct Constants {
    pub(super) types: Types,
    /// The type of products, and of the sum over one iteration.
    pub(super) products: Dtype,
    pub(super) workgroup: u32,
    /// Whether products come output channel by output channel. A software device keeps this order, and has few sums in
    /// use at a time. If not, they come in the order of the weights: a GPU then holds few weights at a time.
    pub(super) channel_by_channel: bool,
    /// Threads that lie side by side along the output channels of a block: a workgroup, or one.
    pub(super) across: u32,
    /// Whether taps can lie in the padding.
    pub(super) masked: bool,
    pub(super) tiles: Tiles,
    /// For each input, whether it is read two columns at a time.
    pub(super) inputs: Vec<bool>,
    /// In the order of [`Path::ALL`].
    pub(super) paths: [Option<PathConstants>; 4],
    /// Whether L->H has a quarter of the positions of Y_H.
    pub(super) replicate_low: bool,
    /// The input that has the sums of L->H, if they are given.
    pub(super) low_sums: Option<usize>,
    /// Whether input channels are cut into slices, each of which makes partial sums.
    pub(super) sliced: bool,
    /// Y_H and Y_L.
    pub(super) outputs: [Option<OutputConstants>; 2],
    pub(super) activation: Activation,
}

/// The instances of a path, and of the tensor that it reads, in the order of [`Path::ALL`].
const PATHS: [[&str; 2]; 4] = [["hh", "hh_source"], ["hl", "hl_source"], ["lh", "lh_source"], ["ll", "ll_source"]];

/// The instances of an output, and the names of its tile's constants.
const HIGH: [&str; 4] = ["high", "HIGH_ROWS", "HIGH_COLS", "HIGH_VECTORS"];
const LOW: [&str; 4] = ["low", "LOW_ROWS", "LOW_COLS", "LOW_VECTORS"];

/// Room for the longest name.
const NAME_LENGTH: usize = 40;

impl Constants {
    /// The family, and the tiles of the outputs that it writes.
    pub(super) fn name(&self) -> String {
        let mut name = String::with_capacity(NAME_LENGTH);
        let family = family(self.products);
        // Writing to a String cannot fail.
        let _ = match self.outputs {
            [Some(_), Some(_)] => write!(name, "{family} {}", self.tiles),
            [None, Some(_)] => write!(name, "{family} {}", self.tiles.low),
            _ => write!(name, "{family} {}", self.tiles.high),
        };
        name
    }

    /// The most products that are added up in f16, one after the other.
    pub(super) fn f16_terms(&self) -> u32 {
        let terms = |path: &PathConstants| path.unroll * path.inner[0] * path.inner[1];
        let most = self.paths.iter().flatten().map(terms).max().unwrap_or(0);
        if self.products == Dtype::F16 { most } else { 0 }
    }

    pub(super) fn recipe(&self) -> Recipe {
        let [high, low] = self.outputs;
        let mut recipe = Recipe::new("direct/direct")
            .constant("WORKGROUP", self.workgroup)
            .constant("ACTIVATION", self.activation.number())
            .constant("ACROSS", self.across)
            .constant("LOW_SHIFT", u32::from(self.replicate_low))
            .file("hl_tile", "direct/tile_low")
            .file("lh_tile", "direct/tile_from_low")
            .file("ll_tile", "direct/tile_low")
            .file("low_tile", "direct/tile_low")
            .flag("MASKED", self.masked)
            .flag("SLICED", self.sliced)
            .flag("CHANNEL_BY_CHANNEL", self.channel_by_channel)
            .flag("MAKES_HIGH", high.is_some())
            .flag("MAKES_LOW", low.is_some());
        recipe = self.add_weights(recipe);
        for path in Path::ALL {
            recipe = self.add_path(recipe, path);
        }
        for (&name, &paired) in INPUTS.iter().zip(&self.inputs) {
            recipe = recipe.input(name, self.types.form(true, paired));
        }
        self.add_outputs(recipe)
    }

    fn add_weights(&self, recipe: Recipe) -> Recipe {
        let lanes = self.tiles.lanes();
        match self.products {
            Dtype::F32 => recipe.weights(self.types.weights, self.types.words, lanes),
            Dtype::F16 => recipe
                .alias("Factor", "f16")
                .alias("Factors", if lanes == 2 { "vec2<f16>" } else { "vec4<f16>" })
                .when(self.paths.iter().any(Option::is_some), |r| r.file("direct/products", "direct/products_f16"))
                .weights_as_f16(lanes),
        }
    }

    /// Adds the instance of a path: the convolution, sums that are given, or nothing.
    fn add_path(&self, recipe: Recipe, path: Path) -> Recipe {
        let [name, source] = PATHS[path as usize];
        let given = self.low_sums.filter(|_| path == Path::LH);
        match (&self.paths[path as usize], given) {
            (Some(constants), _) => recipe
                .constant_in(name, "INNER_H", constants.inner[0])
                .constant_in(name, "INNER_W", constants.inner[1])
                .constant_in(name, "UNROLL", constants.unroll)
                .constant_in(name, "LEVEL", constants.level)
                .constant_in(name, "STRIDE", constants.stride)
                .flag_in(name, "PAIRED", constants.paired)
                .constant_in(name, "AHEAD", constants.ahead)
                .flag_in(name, "ALTERNATES", constants.alternates)
                .same(source, INPUTS[constants.input]),
            (None, Some(input)) => recipe
                .file(name, "direct/path_given")
                .flag_in(name, "PAIRED", self.inputs[input])
                .same(source, INPUTS[input]),
            (None, None) => recipe.file(name, "direct/path_absent"),
        }
    }

    /// Adds residuals, then outputs, then the pooled output. This is the order of their bindings.
    fn add_outputs(&self, recipe: Recipe) -> Recipe {
        let stored = self.types.of_partial_sums(self.sliced);
        let [writes_high, writes_low] = self.outputs.map(|output| output.is_some());
        let [high, low] = self.outputs.map(Option::unwrap_or_default);
        recipe
            .when(writes_high, |recipe| add_output(recipe, HIGH, self.tiles.high, high))
            .when(writes_low, |recipe| add_output(recipe, LOW, self.tiles.low, low))
            .input("high_residual", self.types.form(high.residual, high.paired))
            .input("low_residual", self.types.form(low.residual, low.paired))
            .output("high_y", stored.form(writes_high, high.paired))
            .output("low_y", stored.form(writes_low, low.paired))
            .output("high_pooled", stored.form(high.pooled, high.pooled_paired))
            .output("low_pooled", stored.form(low.pooled, low.pooled_paired))
    }
}

/// Adds the instance of an output that is present, and the constants of its tile.
fn add_output(
    recipe: Recipe,
    [instance, rows, cols, vectors]: [&'static str; 4],
    tile: Tile,
    constants: OutputConstants,
) -> Recipe {
    let OutputConstants { residual: _, partial, pooled, paired, pooled_paired } = constants;
    recipe
        .constant(rows, tile.rows)
        .constant(cols, tile.cols)
        .constant(vectors, tile.vectors)
        .flag_in(instance, "PARTIAL", partial)
        .flag_in(instance, "PAIRED", paired)
        .flag_in(instance, "POOLED", pooled)
        .flag_in(instance, "POOLED_PAIRED", pooled_paired)
}
