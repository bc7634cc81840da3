//! `matrix`: layers of one group and any kernel size, in f16, on devices with matrix units.
//!
//! Factors are f16 and sums f32. Maps are pooled first, because a load that averages would cost more than the products.
//! `shaders/matrix/matrix.wgsl` says what the kernel does.

mod limits;
mod lowering;
mod recipe;
mod slab;
mod tile;
mod uniform;
mod work;

use crate::kernels::family::{Family, Refusal, Request};
use crate::kernels::step::Step;

pub(crate) struct Matrix;

impl Family for Matrix {
    fn name(&self) -> &'static str {
        "matrix"
    }

    fn tiles(&self) -> &'static [&'static str] {
        tile::names()
    }

    fn adds_given_sums(&self) -> bool {
        true
    }

    fn slices_input_channels(&self) -> bool {
        true
    }

    fn step(&self, request: &Request) -> Result<Step, Refusal> {
        lowering::step(request)
    }
}
