//! `staged`, `staged-f16`: layers of one group and any kernel size, as a matrix product over tiles in workgroup memory.
//!
//! A workgroup reads each input once for all of its channels, not once per thread. That pays on GPUs if many output
//! channels share the inputs. `shaders/staged/staged.wgsl` says how.

mod lowering;
mod recipe;
mod tile;
mod uniform;
mod work;

use crate::kernels::family::{Family, Refusal, Request};
use crate::kernels::step::Step;
use crate::precision::Dtype;

/// The family `staged`: any layer of one group.
pub(crate) static STAGED: Staged = Staged { products: Dtype::F32 };

/// The family `staged-f16`: the same, with short sums of f16, if [`Precision::sums`](crate::Precision::sums) allows it.
pub(crate) static STAGED_F16: Staged = Staged { products: Dtype::F16 };

pub(crate) struct Staged {
    products: Dtype,
}

impl Family for Staged {
    fn name(&self) -> &'static str {
        recipe::family(self.products)
    }

    fn tiles(&self) -> &'static [&'static str] {
        tile::names()
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

    fn step(&self, request: &Request) -> Result<Step, Refusal> {
        lowering::step(request, self.products)
    }
}
