//! `matrix`: layers of one group and any kernel size, in f16, on devices with matrix units.
//!
//! Factors are f16, sums are f32. An earlier dispatch pools maps, because loads that average would cost more than
//! products. `shaders/matrix/matrix.wgsl` says what the kernel does.

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
