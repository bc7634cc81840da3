//! Compares random layers on a device with the reference.
//!
//! # What is compared
//!
//! Every output of a [`Case`] is compared with [`octave_conv`](crate::reference::octave_conv) element by element.
//! Before the run, outputs are filled with NaN. Every tensor lies between guard bands. Those of an input are NaN, so
//! that a read outside of it shows in the sums. Those of an output are a bit pattern, which must be the same after the
//! run.
//!
//! Half of the cases have inputs between -1 and 1. The others have what [`Values`] lists: sizes far apart, infinities
//! and NaNs, zeros of both signs, subnormals, and the largest values of f16. An output that is infinite or NaN in the
//! reference must be the same on the device, but for Winograd convolutions, which spread them over a Winograd tile.
//!
//! # The bound
//!
//! Let u = 2^-24, the unit roundoff of f32. Let K be the number of terms in a sum, those of
//! both paths that end in the output, and S the sum of |w * x|, |bias| and
//! |residual| over the terms ([`magnitude`](crate::reference::magnitude)). A sum in f32 errs by at most K u S in any
//! order. If rounding errors are independent, it errs by at most (8 sqrt(K) + 16) u S, except with a probability of
//! 2 exp(-32) (Higham and Mary, 2019). The 16 includes the folding of batch norm, up to 15 additions of a mean, and the
//! epilogue. This second bound is used, because it notices a wrong tap in sums of thousands of terms.
//!
//! The terms are those of the tensors that the plan's dispatches bind. If X_H and pool(X_H) are both given, some kernels
//! read pool(X_H), and some pool X_H themselves. For these, S counts |w * x| / 4 over the four elements of each mean. The
//! elements may cancel, so that |w * mean| is far smaller than the rounding errors of what is added up.
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
#[cfg(not(target_arch = "wasm32"))]
mod soak;
mod values;

use std::collections::HashSet;

use crate::context::Context;
use crate::error::Error;
pub use case::{Case, Outcome};
#[cfg(all(feature = "network", not(target_arch = "wasm32")))]
pub use network::run_networks;
#[cfg(feature = "network")]
pub use network::{NetworkCase, NetworkOutcome, run_networks_async};
#[cfg(not(target_arch = "wasm32"))]
pub use soak::{Growth, Objects, Soak, SoakRound, soak};
pub use values::Values;

/// A case that ran.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ran<'a> {
    /// The seed of its layer.
    pub seed: u64,
    /// Its number among the cases of that layer, from 0.
    pub index: usize,
    /// What ran.
    pub case: &'a Case,
    /// The comparison, or why the library or the device refuses the case.
    pub outcome: &'a Result<Outcome, Error>,
    /// Number of distinct kernels that have run so far.
    pub kernels: usize,
}

/// Runs a random layer per seed: a random case of it, and up to `alike` more that run the same kernels, because it is
/// compiling that takes long. Calls `report` after each case, and stops if it returns false.
///
/// After each layer the context's engine forgets its pipelines ([`Engine::forget_pipelines`](crate::Engine::forget_pipelines)):
/// nearly every layer has kernels of its own, and thousands of layers would keep gigabytes of them.
pub async fn run_async(
    context: &Context,
    seeds: impl IntoIterator<Item = u64>,
    alike: usize,
    report: impl FnMut(&Ran<'_>) -> bool,
) {
    let cases = seeds.into_iter().map(|seed| Case::random(context, seed));
    run_cases_async(context, cases, alike, report).await;
}

/// [`run_async`], which it blocks on. The context's engine forgets its pipelines.
#[cfg(not(target_arch = "wasm32"))]
pub fn run(
    context: &Context,
    seeds: impl IntoIterator<Item = u64>,
    alike: usize,
    report: impl FnMut(&Ran<'_>) -> bool,
) {
    pollster::block_on(run_async(context, seeds, alike, report));
}

/// [`run_cases_async`], which it blocks on. The context's engine forgets its pipelines.
#[cfg(not(target_arch = "wasm32"))]
pub fn run_cases(
    context: &Context,
    cases: impl IntoIterator<Item = Case>,
    alike: usize,
    report: impl FnMut(&Ran<'_>) -> bool,
) {
    pollster::block_on(run_cases_async(context, cases, alike, report));
}

/// As [`run_async`], with the first case of each layer from the caller. [`Case::random_of`] draws one for a family of
/// kernels. The context's engine forgets its pipelines after each.
pub async fn run_cases_async(
    context: &Context,
    cases: impl IntoIterator<Item = Case>,
    alike: usize,
    mut report: impl FnMut(&Ran<'_>) -> bool,
) {
    let mut kernels = HashSet::new();
    for first in cases {
        let seed = first.seed;
        let plan = context.engine().plan(&first.spec, first.size, &first.options);
        kernels.extend(plan.iter().flat_map(|plan| plan.sources()).map(|source| crc32fast::hash(source.as_bytes())));
        let others = first.alike(context, alike);
        for (index, case) in [first].iter().chain(&others).enumerate() {
            let outcome = case.run_async(context).await;
            if !report(&Ran { seed, index, case, outcome: &outcome, kernels: kernels.len() }) {
                return;
            }
        }
        context.engine().forget_pipelines();
    }
}
