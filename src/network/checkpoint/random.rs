//! Random tensors, which depend on a seed and their names alone. `docs/networks.md` has the contract, so that other
//! languages can make the same.

use rayon::prelude::*;

use super::checkpoint::{Checkpoint, HostTensor};
use crate::network::description::INPUT;
use crate::network::graph::{Graph, Role};
use crate::noise::Noise;

impl Checkpoint {
    /// Random values for every tensor of `graph`. They depend on `seed` and the tensor's name, as `docs/networks.md`
    /// says.
    pub fn random(graph: &Graph, seed: u64) -> Self {
        let tensors = graph.tensors().into_iter().map(|spec| {
            let value = |v: f64| match spec.role {
                Role::Weight { fan_in, residual } => {
                    let scale = if residual { 0.25 } else { 1.0 };
                    scale * v * (6.0 / f64::from(fan_in)).sqrt()
                }
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

/// A random input for comparisons with other implementations: `elements` numbers in [-1, 1), in NCTHW order.
///
/// They depend on `seed` as `docs/networks.md` says.
pub fn random_input(elements: usize, seed: u64) -> Vec<f32> {
    random(INPUT, seed, elements, |v| v)
}

/// `value` of each of `elements` numbers in [-1, 1), which depend on name and seed.
fn random(name: &str, seed: u64, elements: usize, value: impl Fn(f64) -> f64 + Sync) -> Vec<f32> {
    const CHUNK: usize = 1 << 14;
    let noise = Noise::new(name, seed);
    let mut data = vec![0.0; elements];
    data.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, data)| {
        // A loop over indices, because builds for debugging do not inline iterators, and networks have many weights.
        let mut i = 0;
        while i < data.len() {
            data[i] = value(noise.number((chunk * CHUNK + i) as u64)) as f32;
            i += 1;
        }
    });
    data
}
