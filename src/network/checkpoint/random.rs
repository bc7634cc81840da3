//! Random tensors, which depend on a seed and their names alone. `docs/networks.md` has the contract, so that other
//! languages can make the same.

use rayon::prelude::*;

use super::checkpoint::{Checkpoint, HostTensor};
use crate::error::Error;
use crate::memory::with_room;
use crate::network::description::INPUT;
use crate::network::graph::{Graph, Role, TensorSpec};
use crate::noise::Noise;

impl Checkpoint {
    /// Random values for every tensor of `graph`. They depend on `seed` and the tensor's name, as `docs/networks.md`
    /// says. [`Checkpoint::try_random`] is for graphs from others.
    ///
    /// # Panics
    ///
    /// If a tensor is larger than any memory. The program ends if there is no memory for one.
    pub fn random(graph: &Graph, seed: u64) -> Self {
        let tensors = graph.tensors().into_iter().map(|spec| {
            let data = filled(&spec, seed, vec![0.0; spec.elements() as usize]);
            (spec.name, HostTensor { shape: spec.shape, data })
        });
        Self { tensors: tensors.collect() }
    }

    /// As [`Checkpoint::random`].
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if there is no memory for a tensor.
    pub fn try_random(graph: &Graph, seed: u64) -> Result<Self, Error> {
        let tensors = graph.tensors().into_iter().map(|spec| {
            let mut data = with_room(spec.elements(), &format!("making {}", spec.name))?;
            data.resize(spec.elements() as usize, 0.0);
            let data = filled(&spec, seed, data);
            Ok((spec.name, HostTensor { shape: spec.shape, data }))
        });
        Ok(Self { tensors: tensors.collect::<Result<_, Error>>()? })
    }
}

/// `data`, as long as the tensor, with random values for it.
fn filled(spec: &TensorSpec, seed: u64, mut data: Vec<f32>) -> Vec<f32> {
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
    fill(&mut data, &spec.name, seed, value);
    data
}

/// A random input for comparisons with other implementations: `elements` numbers in [-1, 1), in NCTHW order.
///
/// They depend on `seed` as `docs/networks.md` says.
pub fn random_input(elements: usize, seed: u64) -> Vec<f32> {
    let mut data = vec![0.0; elements];
    fill(&mut data, INPUT, seed, |v| v);
    data
}

/// Makes each element `value` of a number in [-1, 1). The numbers depend on name and seed.
fn fill(data: &mut [f32], name: &str, seed: u64, value: impl Fn(f64) -> f64 + Sync) {
    const CHUNK: usize = 1 << 14;
    let noise = Noise::new(name, seed);
    data.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, data)| {
        // A loop over indices, because builds for debugging do not inline iterators, and networks have many weights.
        let mut i = 0;
        while i < data.len() {
            data[i] = value(noise.number((chunk * CHUNK + i) as u64)) as f32;
            i += 1;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, zoo};

    #[test]
    fn too_little_memory_is_an_error() {
        let small = Graph::new(&zoo::build("cifar-resnet20", &zoo::Settings::default()).unwrap()).unwrap();
        assert_eq!(Checkpoint::try_random(&small, 7).unwrap(), Checkpoint::random(&small, 7));
        // More weights than a usize counts, and 2^52, for which nobody has memory.
        for (kernel, bytes) in [(4096, u64::MAX), (64, 1 << 54)] {
            let network = format!(
                r#"{{"name": "n", "input": {{"channels": 1048576}}, "output": "conv", "nodes": [{{"name": "conv",
                    "op": "conv", "input": "input", "channels": 1048576, "kernel": [{kernel}, {kernel}]}}]}}"#
            );
            let network: Network = serde_json::from_str(&network).unwrap();
            let error = Checkpoint::try_random(&Graph::new(&network).unwrap(), 1).unwrap_err();
            assert_eq!(error.to_string(), format!("making conv.w_hh of {bytes} bytes failed: out of memory"));
        }
    }
}
