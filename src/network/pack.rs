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
///
/// # Errors
///
/// Those of folding and of rounding to the type of weights; [`Error::Packing`] for a checkpoint that does not fit, and
/// [`Error::OutOfMemory`].
pub(crate) fn pack(graph: &Graph, checkpoint: &Checkpoint, node: usize, params: &Params) -> Result<Vec<u8>, Error> {
    let bytes = packed(graph, checkpoint, node, params)?;
    // Kernels check no bounds.
    check("weights", bytes.len(), params.bytes(graph, node), "bytes")?;
    Ok(bytes)
}

/// Refuses what has another length than the plan was made for.
fn check(what: &str, found: usize, wanted: u64, unit: &str) -> Result<(), Error> {
    if found as u64 == wanted {
        return Ok(());
    }
    Err(Error::Packing { packed: format!("{found} {unit} of {what}"), plan: format!("{wanted} {unit}") })
}

fn packed(graph: &Graph, checkpoint: &Checkpoint, node: usize, params: &Params) -> Result<Vec<u8>, Error> {
    let (node, eps) = (&graph.nodes[node], graph.network.norm_eps);
    // A tensor of this many rows and columns.
    let tensor = |name: &str, rows: u32, columns: u32| {
        let name = format!("{}.{name}", node.name);
        let data = checkpoint.get(&name).unwrap_or_default();
        check(&name, data.len(), u64::from(rows) * u64::from(columns), "elements").map(|()| data)
    };
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
        (Params::Excite, Task::Excite { reduced, .. }) => {
            let Kind::Map(split) = node.kind else { return Ok(Vec::new()) };
            let affine = |part: &str, rows, columns| {
                let weight = tensor(&format!("{part}.weight"), rows, columns)?;
                Ok::<_, Error>((weight, tensor(&format!("{part}.bias"), rows, 1)?))
            };
            let squeeze = affine("squeeze", *reduced, split.channels())?;
            let excite = [affine("excite_h", split.high, *reduced)?, affine("excite_l", split.low, *reduced)?];
            Ok(excite::pack(squeeze, &excite))
        }
        (Params::Linear(dtype), Task::Linear { bias, .. }) => {
            let Kind::Vector(outputs) = node.kind else { return Ok(Vec::new()) };
            let Kind::Vector(inputs) = graph.kind(node.inputs[0]) else { return Ok(Vec::new()) };
            let weight = tensor("weight", outputs, inputs)?;
            let bias = bias.then(|| tensor("bias", outputs, 1)).transpose()?;
            for (channel, row) in weight.chunks(inputs.max(1) as usize).enumerate() {
                let largest = row.iter().fold(0.0, |most: f32, w| most.max(w.abs()));
                check_range("weight", channel, largest.into(), *dtype)?;
            }
            linear::pack(weight, bias, outputs as usize, inputs as usize, *dtype)
        }
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, NetworkOptions, NetworkPlan};
    use crate::{DeviceFacts, InputSize};

    /// Each kind of weights, whose kernels would read beyond them.
    #[test]
    fn too_few_weights_are_refused() {
        let description = r#"{"name": "n", "input": {"channels": 3}, "output": "f", "nodes": [
            {"name": "a", "op": "conv", "input": "input", "channels": 8, "alpha": 0.5, "bias": true, "norm": true},
            {"name": "b", "op": "norm", "input": "a"},
            {"name": "c", "op": "excite", "input": "b", "reduced": 3},
            {"name": "d", "op": "global_pool", "input": "c"},
            {"name": "e", "op": "linear", "input": "d", "outputs": 5},
            {"name": "f", "op": "linear", "input": "e", "outputs": 5, "bias": false}]}"#;
        let network: Network = serde_json::from_str(description).unwrap();
        let graph = Graph::new(&network).unwrap();
        let (size, facts) = (InputSize::image(1, 8, 8), DeviceFacts::default());
        let plan = NetworkPlan::new(&graph, size, &NetworkOptions::default(), &facts).unwrap();
        let whole = Checkpoint::random(&graph, 1);
        let mut short = whole.clone();
        short.tensors.values_mut().for_each(|tensor| tensor.data.truncate(tensor.data.len() - 1));
        let mut refused = 0;
        for step in &plan.steps {
            let Some(params) = &step.params else { continue };
            let bytes = pack(&graph, &whole, step.params_of, params).unwrap();
            assert_eq!(bytes.len() as u64, params.bytes(&graph, step.params_of), "{params:?}");
            let error = pack(&graph, &short, step.params_of, params).unwrap_err();
            assert!(matches!(error, Error::Length { .. } | Error::Packing { .. }), "{params:?}: {error}");
            refused += 1;
        }
        assert!(refused >= 6, "{refused}");
    }
}
