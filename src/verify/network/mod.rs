//! Compares random networks on a device with the reference.
//!
//! # What is compared
//!
//! A [`NetworkCase`] runs in f32. It keeps the values of some nodes, or of all, or of none. Every kept value, and the
//! answer, is compared element by element. Before the run, all memory of activations is NaN, so that an element shows which is read before it
//! is written. Then the network runs again, in the memory that the first run has left: the answer must have the same bits.
//!
//! # The bound
//!
//! The reference goes from node to node. For each it has the value, and a bound on how far the device's may be from it.
//! After a node that is kept, it goes on with the device's own value, and the bound is 0. So errors add up only from one
//! kept node to the next, and a network that keeps everything is compared node by node.
//!
//! With the notation of [`crate::verify`]: let e be the bounds of the inputs x. A node is computed on x + e' with |e'| <= e,
//! and rounds. The bound of its value y is the sum of
//! - e, taken through the node: |W| e for a convolution or a matrix, the largest e for a maximum, the mean of e for a mean or
//!   for bilinear upsampling, the sum of e for an addition,
//!   |f| e_x + (|x| + e_x) e_f for a product of x and a factor f, y (exp(2 e) - 1) for a softmax;
//!   for attention, see below;
//! - the rounding of the node, with S taken from |x| + e: the bound of a layer for a convolution (with W in place of S for
//!   a Winograd one), and (8 sqrt(K) + 16) u S for all other sums of K terms;
//! - both times the Lipschitz constant of the activation, plus the error of the shader's own function;
//! - 4 u |y|.
//!
//! Attention is y = sum of p v over the keys, with p = exp(s) over the sum of all exp(s). Let E be how far a score s may be
//! off, for the largest of a query's: what its dot product brings from the errors of queries and keys, plus the bound of a
//! sum of products. To that comes how far the exponentials are off, as a distance of s: `kernels::attention` derives it.
//! Scores that are off by E change a weight exp(s) and their sum by a factor of at most exp(E) each, and p by exp(2 E). So
//! the bound is (exp(2 E) - 1) sum(p |v|), plus exp(2 E) sum(p e_v), plus the rounding of both sums. But no mean is beyond
//! the largest of its values.
//!
//! In some cases the input has infinities and NaNs. What the reference makes of them, an infinity or a NaN, the device must
//! make too. Where the reference has a number, as a sigmoid of an infinity has, and no bound can be said, the device's must
//! be within 10^-3 (1 + |y|).

mod bounds;
mod compare;
mod draw;

use crate::context::Context;
use crate::dims::InputSize;
use crate::error::Error;
use crate::network::Network;

/// One network to compare with the reference: what it computes, how it is run, and the seed of its weights and input.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkCase {
    /// What it computes.
    pub network: Network,
    /// The size of its input.
    pub size: InputSize,
    /// The names of the nodes whose values are compared, besides the answer.
    pub keep: Vec<String>,
    /// Whether each layer runs one of its legal variants by chance, as if that had been tuned. If not, the planner
    /// chooses.
    pub any_variant: bool,
    /// Whether all maps and vectors lie in one buffer. Browsers refuse that of a network with a node that reads one map twice.
    pub one_buffer: bool,
    /// Whether the input has a few infinities and NaNs. [`NetworkCase::random`] then keeps every node. No layer runs a Winograd variant,
    /// which would spread them.
    pub strange: bool,
    /// The seed of weights, input and variants.
    pub seed: u64,
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkOutcome {
    /// The dispatches that ran, in order: the node and the kernel of each.
    pub dispatches: Vec<(String, String)>,
    /// The largest ratio of an error to its bound. At most 1 if the values are right.
    pub worst: f64,
    /// What is wrong, or `None` if all is right.
    pub failure: Option<String>,
}

/// Runs one random network per seed, and calls `report(seed, case, outcome)` after each. Stops if `report` returns false.
///
/// The outcome is an error if the library or the device refuses the case. After each network the context's engine forgets its
/// pipelines ([`Engine::forget_pipelines`](crate::Engine::forget_pipelines)), which would take gigabytes.
pub async fn run_networks_async(
    context: &Context,
    seeds: impl IntoIterator<Item = u64>,
    mut report: impl FnMut(u64, &NetworkCase, &Result<NetworkOutcome, Error>) -> bool,
) {
    for seed in seeds {
        let case = NetworkCase::random(seed);
        let outcome = case.run_async(context).await;
        context.engine().forget_pipelines();
        if !report(seed, &case, &outcome) {
            return;
        }
    }
}

/// [`run_networks_async`], which it blocks on. The context's engine forgets its pipelines.
#[cfg(not(target_arch = "wasm32"))]
pub fn run_networks(
    context: &Context,
    seeds: impl IntoIterator<Item = u64>,
    report: impl FnMut(u64, &NetworkCase, &Result<NetworkOutcome, Error>) -> bool,
) {
    pollster::block_on(run_networks_async(context, seeds, report));
}
