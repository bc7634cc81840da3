//! Compares random layers on a device with the reference.
//!
//! # What is compared
//!
//! Every output of a [`Case`] is compared with [`octave_conv`](crate::reference::octave_conv) element by element.
//! Before the run, outputs are filled with NaN. Every tensor lies between guard bands. Those of an input are NaN, so
//! that a read outside of it shows in the sums. Those of an output are a bit pattern, which must be the same after the
//! run.
//!
//! # The bound
//!
//! Let u = 2^-24, the unit roundoff of f32. Let K be the number of terms in a sum, and S the sum of |w * x|, |bias| and
//! |residual| over the terms ([`magnitude`](crate::reference::magnitude)). A sum in f32 errs by at most K u S in any
//! order. If rounding errors are independent, it errs by at most (8 sqrt(K) + 16) u S, except with a probability of
//! 2 exp(-32) (Higham and Mary, 2019). The 16 includes the folding of batch norm, up to 15 additions of a mean, and the
//! epilogue. This second bound is used, because it notices a wrong tap in sums of thousands of terms.
//!
//! The error of a Winograd convolution is proportional not to S but to W, which `src/winograd.rs` derives. There W
//! takes the place of S, K counts channels alone, and the roundings of the transforms are added to those of the sum.
//!
//! Added to that are:
//! - f16 weights: 2^-11 S, half an ulp of every weight; and 2^-24 per term for weights that are subnormal in f16, or
//!   2^-22 in a Winograd convolution.
//! - sums of n products in f16: (n + 2) 2^-11 S, because each product, each sum and the mean of X_H before them may be
//!   rounded; and 2^-24 per term for subnormals, and 16 times 2^-14 because a device may flush a few of them to zero.
//! - f16 intermediates, if the variant has any or the input is given pooled: 3 * 2^-11 S, for a map that is pooled
//!   twice and a partial sum; and 2^-13 for subnormals.
//! - the activation: its Lipschitz constant times the above, plus the error of the shader's own function, which
//!   `src/layer/activation.rs` gives.
//! - f16 outputs: 2^-10 |y|, because WGSL may round either way; and 2^-14, because subnormals may be flushed to zero.
//! - f32 outputs: 4 u |y|.

mod case;
mod compare;
mod data;
mod draw;
#[cfg(feature = "network")]
mod network;

use crate::context::Context;
use crate::error::Error;
pub use case::{Case, Outcome};
#[cfg(feature = "network")]
pub use network::{NetworkCase, NetworkOutcome, run_networks};

/// Runs one random case per seed, and calls `report(seed, case, outcome)` after each. Stops if `report` returns false.
///
/// The outcome is an error if the library or the device refuses the case.
pub fn run(
    context: &Context,
    seeds: impl IntoIterator<Item = u64>,
    mut report: impl FnMut(u64, &Case, &Result<Outcome, Error>) -> bool,
) {
    for seed in seeds {
        let case = Case::random(context, seed);
        let outcome = case.run(context);
        // Nearly every case compiles kernels of its own. Thousands of cases would keep gigabytes of them.
        context.engine().forget_pipelines();
        if !report(seed, &case, &outcome) {
            return;
        }
    }
}
