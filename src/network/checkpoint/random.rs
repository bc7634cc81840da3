//! Tensors made from a seed and their names, the same in every language: `docs/networks.md` has the contract.

use rayon::prelude::*;

use super::checkpoint::{Checkpoint, HostTensor};
use crate::network::description::INPUT;
use crate::network::graph::{Graph, Role};

impl Checkpoint {
    /// Every tensor that `graph` wants, made from a seed and its name as `docs/networks.md` says.
    pub fn random(graph: &Graph, seed: u64) -> Self {
        let tensors = graph.tensors().into_iter().map(|spec| {
            let value = |v: f64| match spec.role {
                Role::Weight { fan_in } => v * (6.0 / f64::from(fan_in)).sqrt(),
                Role::Bias | Role::Beta | Role::Mean => v / 8.0,
                Role::Gamma { residual: false } => 1.0 + v / 8.0,
                Role::Gamma { residual: true } => 0.25 * (1.0 + v / 8.0),
                Role::Var => 1.0 + v / 2.0,
            };
            let data = random(&spec.name, seed, spec.shape.iter().product(), value);
            (spec.name, HostTensor { shape: spec.shape, data })
        });
        Self { tensors: tensors.collect() }
    }
}

/// The input for comparisons with other implementations: `elements` numbers in [-1, 1), from a seed, in NCTHW order.
pub fn random_input(elements: usize, seed: u64) -> Vec<f32> {
    random(INPUT, seed, elements, |v| v)
}

/// `value` of as many numbers in [-1, 1), which depend on the name and the seed.
fn random(name: &str, seed: u64, elements: usize, value: impl Fn(f64) -> f64 + Sync) -> Vec<f32> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let fnv1a = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
    let start = name.bytes().fold(0xCBF2_9CE4_8422_2325, fnv1a) ^ seed.wrapping_mul(GOLDEN);
    let element = |i: usize| {
        let z = start.wrapping_add((i as u64 + 1).wrapping_mul(GOLDEN));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = z ^ (z >> 31);
        value((z >> 40) as f64 / f64::from(1 << 23) - 1.0) as f32
    };
    (0..elements).into_par_iter().with_min_len(1 << 14).map(element).collect()
}
