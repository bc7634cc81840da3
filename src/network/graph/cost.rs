//! What a network costs, independent of the implementation.

use super::graph::Graph;
use super::node::Task;
use super::tensors::{Role, TensorSpec};
use super::value::{Kind, ValueShape};
use crate::dims::{Dims, InputSize};
use crate::error::Error;

/// What a network costs at a size, independent of the implementation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkCost {
    /// Multiply-adds of convolutions and matrices, and those of attention: queries times keys, and weights times values. No
    /// other operation counts, not bilinear upsampling either.
    pub macs: u64,
    /// Weights, biases, and the scales and shifts of batch norms.
    pub params: u64,
}

impl Graph {
    /// Multiply-adds of each node, for an input of `size`.
    ///
    /// # Errors
    ///
    /// Those of [`Graph::shapes`].
    pub fn macs(&self, size: InputSize) -> Result<Vec<u64>, Error> {
        let shapes = self.shapes(size)?;
        let macs = self.nodes.iter().map(|node| match (&node.task, node.kind, shapes[node.inputs[0]]) {
            (Task::Conv { spec, .. }, _, ValueShape::Map { size, .. }) => Ok(spec.cost(size)?.macs),
            (Task::Linear { .. }, Kind::Vector(outputs), ValueShape::Vector { n, c }) => {
                Ok(saturating_product([n, c, outputs]))
            }
            (Task::Excite { reduced, .. }, Kind::Map(split), ValueShape::Map { size, .. }) => {
                Ok(saturating_product([2, size.n, split.channels(), *reduced]))
            }
            (Task::Attention { .. }, ..) => Ok(attention(node.inputs.iter().map(|&id| shapes[id].parts()))),
            _ => Ok(0),
        });
        macs.collect()
    }

    /// The bytes that each node must move in any implementation: its inputs, its output and its weights once.
    ///
    /// Batch norms, activations, gates, concatenations and excitations count 0, because their neighbours can do their work. An
    /// addition counts all inputs but one, because the node that makes that one can add the others. `activation`
    /// and `weight` are bytes per element (4 or 2). Counts saturate.
    ///
    /// # Errors
    ///
    /// Those of [`Graph::shapes`].
    pub fn min_bytes(&self, size: InputSize, activation: u64, weight: u64) -> Result<Vec<u64>, Error> {
        let shapes = self.shapes(size)?;
        let bytes = self.nodes.iter().zip(1..).map(|(node, id)| {
            let (input, output) = (shapes[node.inputs[0]], shapes[id]);
            let elements = input.elements().saturating_add(output.elements());
            match (&node.task, input, output) {
                (Task::Conv { spec, .. }, ValueShape::Map { size, .. }, _) => {
                    Ok(spec.cost(size)?.min_bytes(activation, weight))
                }
                (Task::Pool { .. } | Task::GlobalPool | Task::Upsample { .. }, ..) => {
                    Ok(elements.saturating_mul(activation))
                }
                (Task::Attention { .. }, ..) => {
                    let mut read = node.inputs.clone();
                    read.sort_unstable();
                    read.dedup();
                    let values = read.into_iter().chain([id]).map(|id| shapes[id].elements());
                    Ok(values.fold(0, u64::saturating_add).saturating_mul(activation))
                }
                (Task::Add { .. }, ..) => {
                    let others = node.inputs.len() as u64 - 1;
                    Ok(output.elements().saturating_mul(others).saturating_mul(activation))
                }
                (
                    Task::Linear { .. } | Task::Softmax,
                    ValueShape::Vector { c, .. },
                    ValueShape::Vector { c: outputs, .. },
                ) => {
                    let weights = matches!(node.task, Task::Linear { .. });
                    let weights = if weights { saturating_product([c, outputs]).saturating_mul(weight) } else { 0 };
                    // Vectors are always f32.
                    Ok(elements.saturating_mul(4).saturating_add(weights))
                }
                _ => Ok(0),
            }
        });
        bytes.collect()
    }

    /// Multiply-adds and parameters, for an input of `size`.
    ///
    /// # Errors
    ///
    /// Those of [`Graph::shapes`].
    pub fn cost(&self, size: InputSize) -> Result<NetworkCost, Error> {
        let macs = self.macs(size)?.into_iter().fold(0, u64::saturating_add);
        let trained = |spec: &TensorSpec| !matches!(spec.role, Role::Mean | Role::Var);
        let tensors = self.tensors();
        let elements = tensors.iter().filter(|spec| trained(spec)).map(TensorSpec::elements);
        let params = elements.fold(0, u64::saturating_add);
        Ok(NetworkCost { macs, params })
    }
}

/// The multiply-adds of attention, whose queries, keys and values have these frequencies.
fn attention(maps: impl Iterator<Item = [Option<Dims>; 2]>) -> u64 {
    let maps: Vec<_> = maps.collect();
    let of_frequency = |part: usize| {
        let dims: Vec<Dims> = maps.iter().filter_map(|map| map[part]).collect();
        let [queries, keys, values] = dims.as_slice() else { return 0 };
        let channels = u64::from(keys.c) + u64::from(values.c);
        queries.with_channels(1).elements().saturating_mul(keys.positions()).saturating_mul(channels)
    };
    of_frequency(0).saturating_add(of_frequency(1))
}

fn saturating_product<const N: usize>(factors: [u32; N]) -> u64 {
    factors.into_iter().fold(1, |all: u64, factor| all.saturating_mul(u64::from(factor)))
}
