//! The direct family: convolutions without workgroup memory, in one dispatch. It does any layer: every kernel size,
//! stride and dilation, dense, grouped or depthwise. `shaders/direct/direct.wgsl` says how.
//!
//! A thread holds the sums of a tile of outputs in registers, reads a window of inputs once per channel, and uses it
//! for all its output channels and all taps of the inner kernel.

mod lowering;
mod recipe;
mod tile;
mod uniform;
mod window;
mod work;

use super::family::{Family, Refusal, Request};
use super::step::Step;
use crate::precision::Dtype;
use tile::{TILES, Tiles};

/// Any layer.
pub(crate) static DIRECT: Direct = Direct { products: Dtype::F32 };

/// Layers whose groups have two channels or more, with short sums of f16, if
/// [`Precision::sums`](crate::Precision::sums) allows it. Devices with packed f16 add to two sums per instruction.
pub(crate) static DIRECT_F16: Direct = Direct { products: Dtype::F16 };

/// The family `direct` or `direct-f16`, by the type of products.
pub(crate) struct Direct {
    products: Dtype,
}

/// The most f16 sums of a thread.
const MAX_SUMS_OF_F16: u32 = 64;

impl Family for Direct {
    fn name(&self) -> &'static str {
        recipe::family(self.products)
    }

    fn tiles(&self) -> &'static [&'static str] {
        TILES.names()
    }

    fn products(&self) -> Dtype {
        self.products
    }

    fn adds_given_sums(&self) -> bool {
        true
    }

    fn slices_input_channels(&self) -> bool {
        true
    }

    fn makes_bands(&self) -> bool {
        true
    }

    fn step(&self, request: &Request) -> Result<Step, Refusal> {
        let tiles = TILES.find(request.tile).ok_or("it has no such tile")?;
        let tiles = tiles.fitted(request.facts, request.spec, request.job)?;
        match refusal(self.products, tiles) {
            Some(reason) => Err(reason.into()),
            None => Ok(lowering::step(request, tiles, self.products)?),
        }
    }
}

/// Why the kernel cannot make products of this type with these tiles, or nothing.
fn refusal(products: Dtype, tiles: Tiles) -> Option<&'static str> {
    match products {
        Dtype::F32 => None,
        Dtype::F16 if tiles.lanes() == 1 => Some("products of f16 need two output channels or more per group"),
        Dtype::F16 if tiles.across() => Some("products of f16 need a tile with threads along the positions"),
        // A thread has sums of f16 and of f32. Without packed f16, both take as many registers.
        Dtype::F16 => [tiles.high, tiles.low]
            .iter()
            .any(|tile| tile.sums() > MAX_SUMS_OF_F16)
            .then_some("the tile has too many sums per thread for f16"),
    }
}

#[cfg(test)]
mod tests {
    use super::recipe::{Constants, OutputConstants, PathConstants};
    use super::tile::TILES;
    use super::uniform::Shape;
    use crate::device::Words;
    use crate::kernels::types::Types;
    use crate::kernels::uniform;
    use crate::layer::Activation;
    use crate::precision::Dtype;

    /// A kernel with all paths; or, if `given`, one with H->H, to which the sums of L->H are given.
    fn constants(activations: Dtype, products: Dtype, given: bool) -> Constants {
        let path = PathConstants {
            input: 0,
            level: 0,
            stride: 1,
            inner: [3, 3],
            unroll: 2,
            paired: false,
            ahead: 1,
            alternates: false,
        };
        let output = OutputConstants { residual: true, pooled: true, ..OutputConstants::default() };
        let lh = PathConstants { input: 1, ..path };
        Constants {
            types: Types { activations, weights: activations, words: Words::Vectors },
            products,
            workgroup: 64,
            channel_by_channel: false,
            across: 1,
            masked: true,
            tiles: TILES.find("t4c4h4w+t8c2h2w").unwrap(),
            inputs: vec![false, false],
            paths: if given { [Some(path), None, None, None] } else { [Some(path), Some(path), Some(lh), Some(lh)] },
            replicate_low: true,
            low_sums: given.then_some(1),
            sliced: false,
            outputs: [Some(output), (!given).then_some(OutputConstants { pooled: false, ..output })],
            activation: Activation::Relu,
        }
    }

    #[test]
    fn the_uniform_is_the_shaders() {
        for given in [false, true] {
            for (activations, products) in
                [(Dtype::F32, Dtype::F32), (Dtype::F16, Dtype::F32), (Dtype::F16, Dtype::F16)]
            {
                uniform::check::<Shape>(&constants(activations, products, given).recipe());
            }
        }
    }
}
