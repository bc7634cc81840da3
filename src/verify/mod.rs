//! Random layers on this machine's adapter, against the reference.
//!
//! # What is compared
//!
//! Every output of a [`Case`] is compared with [`octave_conv`](crate::reference::octave_conv) element by element.
//! Before the run outputs are filled with NaN; every tensor lies between guard bands: NaN around inputs, so that a read
//! outside shows in the sums, and a bit pattern around outputs, which must be as it was afterwards.
//!
//! # The bound
//!
//! With u = 2^-24 (the unit roundoff of f32), K terms in a sum and S = sum of |w * x|, |bias| and |residual| over them
//! ([`magnitude`](crate::reference::magnitude)), a sum in f32 errs by at most K u S whatever the order, and by (8
//! sqrt(K) + 16) u S but for a chance of 2 exp(-32) where rounding errors are independent (Higham and Mary, 2019): the
//! 16 holds the folding of batch norm, up to 15 additions of a mean, and the epilogue. The tighter one is used: it
//! notices a wrong tap in sums of thousands of terms. A Winograd convolution errs in proportion not to S but to W,
//! which src/winograd.rs derives: there W stands for S, and the roundings of its transforms come on top of those of the
//! sum. Besides come
//! - f16 weights: 2^-11 S, half an ulp of every weight;
//! - sums of n products in f16: (n + 2) 2^-11 S, since each product, each sum and a mean of X_H before may be
//!   rounded, and 2^-24 a term for those that are subnormal, or 16 of 2^-14 where a device flushes those few to zero;
//! - f16 intermediates, where a variant or a pooled input has any: 3 * 2^-11 S, for a map that is pooled twice and a
//!   partial sum;
//! - the activation: its Lipschitz constant times the above; for SiLU also exp's error, (3 + 2 |x|) ulp in WGSL;
//! - f16 outputs: 2^-10 |y|, since WGSL may round either way, and 2^-14, since subnormals may be flushed to zero.

mod case;
mod compare;
mod data;
mod draw;

use crate::context::Context;
use crate::error::Error;
pub use case::{Case, Outcome};

/// Runs `cases` random cases from `seed` on, and says what ran after each: `report(seed, case, outcome)`. Stops where
/// `report` returns false.
pub fn run(
    context: &Context,
    seeds: impl IntoIterator<Item = u64>,
    mut report: impl FnMut(u64, &Case, &Result<Outcome, Error>) -> bool,
) {
    for seed in seeds {
        let case = Case::random(context, seed);
        let outcome = case.run(context);
        // Nearly every case compiles kernels of its own; thousands of cases would keep gigabytes of them.
        context.engine().forget_pipelines();
        if !report(seed, &case, &outcome) {
            return;
        }
    }
}
