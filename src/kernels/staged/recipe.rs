//! What distinguishes one kernel of the family from another, and the recipe that it makes.

use super::tile::{LANES, Tile};
use crate::kernels::job::TensorId;
use crate::kernels::source::{Form, INPUTS, Recipe};
use crate::kernels::types::{Types, activation_number};
use crate::layer::{Activation, Path};
use crate::precision::Dtype;

/// Channels of a slab whose weights and inputs a thread holds at once.
const UNROLL: u32 = 4;

/// A tensor that paths read, or that has the sums of L->H.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub(super) id: TensorId,
    /// It is read two columns at a time.
    pub(super) paired: bool,
}

/// A path, in an instance of `staged/path`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathConstants {
    /// The place among [`Constants::inputs`] of what it reads.
    pub(super) input: usize,
    pub(super) level: u32,
    pub(super) stride: u32,
    /// Its channels are no multiple of a slab's.
    pub(super) ragged: bool,
    /// It is done at low resolution, and starts the sums of cells.
    pub(super) replicated: bool,
}

/// An output, in an instance of `staged/output`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OutputConstants {
    /// Tiles reach beyond it.
    pub(super) edges: bool,
    /// It is a partial sum, to be added to elsewhere.
    pub(super) partial: bool,
    pub(super) residual: bool,
    /// It is written two columns at a time.
    pub(super) paired: bool,
    pub(super) written: bool,
    pub(super) pooled: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Constants {
    pub(super) types: Types,
    /// The type of products, and of the sum of a slab.
    pub(super) products: Dtype,
    pub(super) tile: Tile,
    pub(super) inputs: Vec<Input>,
    /// In the order of [`Path::ALL`].
    pub(super) paths: [Option<PathConstants>; 4],
    /// The place among `inputs` of the sums of L->H, if they are given.
    pub(super) given: Option<usize>,
    /// Of Y_H and of Y_L.
    pub(super) outputs: [OutputConstants; 2],
    pub(super) padded: bool,
    /// Input channels are cut into slices, each of which makes partial sums.
    pub(super) sliced: bool,
    pub(super) activation: Activation,
}

/// The name of the family with such products.
pub(super) fn family(products: Dtype) -> &'static str {
    match products {
        Dtype::F32 => "staged",
        Dtype::F16 => "staged-f16",
    }
}

impl Constants {
    pub(super) fn name(&self) -> String {
        format!("{} {}", family(self.products), self.tile)
    }

    /// The most products that are added up in f16, one after the other.
    pub(super) fn f16_terms(&self) -> u32 {
        match self.products {
            Dtype::F32 => 0,
            Dtype::F16 => self.tile.slab,
        }
    }

    pub(super) fn recipe(&self) -> Recipe {
        let recipe = self.tile_constants(Recipe::new("staged/staged"));
        let recipe = Path::ALL.into_iter().fold(recipe, |recipe, path| self.path(recipe, path));
        let recipe = self.weights(recipe);
        let recipe = INPUTS
            .into_iter()
            .zip(&self.inputs)
            .fold(recipe, |recipe, (name, input)| recipe.input(name, self.types.form(true, input.paired)));
        self.outputs(recipe)
    }

    fn tile_constants(&self, recipe: Recipe) -> Recipe {
        let tile = self.tile;
        recipe
            .constant("WORKGROUP", tile.workgroup())
            .constant("ACTIVATION", activation_number(self.activation))
            .constant("TILE_VECTORS", tile.channels / LANES)
            .constant("TILE_CELLS", tile.cells())
            .constant("VECTORS", tile.thread_channels / LANES)
            .constant("CELLS", tile.thread_positions / 4)
            .constant("SLAB", tile.slab)
            .constant("UNROLL", UNROLL)
            .flag("PADDED", self.padded)
            .flag("SLICED", self.sliced)
    }

    fn weights(&self, recipe: Recipe) -> Recipe {
        match self.products {
            Dtype::F32 => recipe.weights(self.types.weights, self.types.words, LANES),
            Dtype::F16 => {
                let recipe = recipe.alias("Factor", "f16").alias("Factors", "vec4<f16>").weights_as_f16(LANES);
                // A replicated path has its own.
                let multiplies = self.paths.iter().flatten().any(|path| !path.replicated);
                if multiplies { recipe.file("staged/products", "staged/products_f16") } else { recipe }
            }
        }
    }

    fn outputs(&self, recipe: Recipe) -> Recipe {
        let types = self.types;
        let stored = types.of_partial_sums(self.sliced);
        let [high, low] = self.outputs;
        let recipe = match self.given {
            Some(input) => recipe.same("high_given", INPUTS[input]),
            None => recipe.input("high_given", Form::Absent),
        };
        recipe
            .input("low_given", Form::Absent)
            .flag_in("high", "GIVEN", self.given.is_some())
            .flag_in("high", "EDGES", high.edges)
            .flag_in("high", "PARTIAL", high.partial)
            .flag_in("high", "PAIRED", high.paired)
            .flag_in("high", "POOLED", high.pooled)
            .flag_in("low", "EDGES", low.edges)
            .flag_in("low", "PARTIAL", low.partial)
            .flag_in("low", "PAIRED", low.paired)
            .input("high_residual", types.form(high.residual, high.paired))
            .input("low_residual", types.form(low.residual, low.paired))
            .output("high_y", stored.form(high.written, high.paired))
            .output("low_y", stored.form(low.written, low.paired))
            .output("high_pooled", stored.form(high.pooled, false))
            .output("low_pooled", Form::Absent)
    }

    /// The instance of a path.
    fn path(&self, recipe: Recipe, path: Path) -> Recipe {
        let (instance, source) = match path {
            Path::HH => ("hh", "hh_source"),
            Path::HL => ("hl", "hl_source"),
            Path::LH => ("lh", "lh_source"),
            Path::LL => ("ll", "ll_source"),
        };
        let Some(PathConstants { input, level, stride, ragged, replicated }) = self.paths[path as usize] else {
            return recipe.file(instance, "staged/path_absent");
        };
        let recipe = recipe.same(source, INPUTS[input]).flag_in(instance, "RAGGED", ragged);
        if replicated {
            return recipe.file(instance, "staged/replicated");
        }
        recipe.constant_in(instance, "LEVEL", level).constant_in(instance, "STRIDE", stride).flag_in(
            instance,
            "PAIRED",
            self.inputs[input].paired,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tile::TILES;
    use super::super::uniform::Shape;
    use super::*;
    use crate::device::Words;
    use crate::kernels::{Kernel, uniform};

    /// A layer with all paths; L->H is replicated, or given.
    fn constants(products: Dtype, activations: Dtype, words: Words, sliced: bool, given: bool) -> Constants {
        let paired = words != Words::Elements;
        let input = |id| Input { id, paired };
        let path = PathConstants { input: 0, level: 0, stride: 1, ragged: true, replicated: false };
        let replicated = PathConstants { input: 1, replicated: true, ..path };
        let output =
            OutputConstants { edges: true, partial: sliced, residual: !sliced, paired, written: true, pooled: !sliced };
        Constants {
            types: Types { activations, weights: products, words },
            products,
            tile: TILES[0],
            inputs: vec![input(TensorId::XH), Input { paired: false, ..input(TensorId::XL) }],
            paths: [
                Some(path),
                Some(PathConstants { level: 1, ..path }),
                (!given).then_some(replicated),
                Some(PathConstants { input: 1, ..path }),
            ],
            given: given.then_some(1),
            outputs: [output, OutputConstants { pooled: false, ..output }],
            padded: true,
            sliced,
            activation: Activation::Relu,
        }
    }

    #[test]
    fn the_uniform_is_the_shaders() {
        for (products, activations) in [(Dtype::F32, Dtype::F32), (Dtype::F32, Dtype::F16), (Dtype::F16, Dtype::F16)] {
            for words in [Words::Elements, Words::Integers, Words::Vectors] {
                for (sliced, given) in [(false, false), (false, true), (true, false)] {
                    uniform::check::<Shape>(&constants(products, activations, words, sliced, given).recipe());
                }
            }
        }
    }

    /// Of a layer without X_H: L->H alone, replicated, in every type of products.
    #[test]
    fn a_replicated_path_alone_is_a_kernel() {
        for products in [Dtype::F32, Dtype::F16] {
            let all = constants(products, products, Words::Vectors, false, false);
            let input = Input { paired: false, ..all.inputs[1] };
            let replicated = PathConstants { input: 0, ..all.paths[Path::LH as usize].unwrap() };
            let alone = Constants { inputs: vec![input], paths: [None, None, Some(replicated), None], ..all };
            assert!(!Kernel::recipe(alone.name(), alone.recipe()).source().starts_with("error"));
        }
    }

    #[test]
    fn names_say_the_family_and_the_tile() {
        let name = |products| constants(products, Dtype::F16, Words::Elements, false, false).name();
        assert_eq!(name(Dtype::F32), "staged g32c32p-t4c4p");
        assert_eq!(name(Dtype::F16), "staged-f16 g32c32p-t4c4p");
    }
}
