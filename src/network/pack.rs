//! Packs the weights of a network's nodes.

use super::checkpoint::Checkpoint;
use super::graph::{Graph, Kind, Task};
use super::plan::Params;
use crate::error::Error;
use crate::kernels::packing::check_range;
use crate::kernels::{excite, linear, scale};
use crate::layer::{Path, Weights};
use crate::precision::Dtype;

/// The bytes that the steps of a node read as its weights: folded, and laid out as their kernels want them.
pub(crate) fn pack(graph: &Graph, checkpoint: &Checkpoint, node: usize, params: &Params) -> Result<Vec<u8>, Error> {
    let (node, eps) = (&graph.nodes[node], graph.network.norm_eps);
    match (params, &node.task) {
        (Params::Conv(packing), Task::Conv { spec, .. }) => {
            let weights = checkpoint.conv_weights(&node.name, eps);
            weights.validate(spec)?;
            packing.pack(spec, &weights)
        }
        (Params::Doubled(packing, spec, low), Task::Conv { spec: plain, .. }) => {
            let weights = checkpoint.conv_weights(&node.name, eps);
            let (high, low) = weights.apart(plain, low);
            let weights = Weights { w_hh: spec.has(Path::HH).then_some(&high), w_lh: Some(&low), ..weights };
            weights.validate(spec)?;
            packing.pack(spec, &weights).map_err(|error| match error {
                // What the checkpoint calls it.
                Error::Argument { name: "w_lh", value, allowed } => Error::Argument { name: "w_hh", value, allowed },
                error => error,
            })
        }
        (Params::Norm(frequency), _) => {
            let pairs = checkpoint.factors(&node.name, *frequency, eps)?.unwrap_or_default();
            for (channel, &(factor, shift)) in pairs.iter().enumerate() {
                check_range("factor", channel, factor, Dtype::F32)?;
                check_range("shift", channel, shift, Dtype::F32)?;
            }
            Ok(scale::pack(pairs.into_iter().map(|(factor, shift)| (factor as f32, shift as f32))))
        }
        (Params::Excite, _) => {
            let tensor = |name: &str| checkpoint.get(&format!("{}.{name}", node.name)).unwrap_or_default();
            let affine = |part: &str| (tensor(&format!("{part}.weight")), tensor(&format!("{part}.bias")));
            Ok(excite::pack(affine("squeeze"), &["excite_h", "excite_l"].map(affine)))
        }
        (Params::Linear(dtype), _) => {
            let Kind::Vector(outputs) = node.kind else { return Ok(Vec::new()) };
            let Kind::Vector(inputs) = graph.kind(node.inputs[0]) else { return Ok(Vec::new()) };
            let weight = checkpoint.get(&format!("{}.weight", node.name)).unwrap_or_default();
            let bias = checkpoint.get(&format!("{}.bias", node.name));
            for (channel, row) in weight.chunks(inputs.max(1) as usize).enumerate() {
                let largest = row.iter().fold(0.0, |most: f32, w| most.max(w.abs()));
                check_range("weight", channel, largest.into(), *dtype)?;
            }
            linear::pack(weight, bias, outputs as usize, inputs as usize, *dtype)
        }
        (Params::Conv(_) | Params::Doubled(..), _) => Ok(Vec::new()),
    }
}
