//! Turns a checkpoint in any dialect into exactly the tensors that a network needs.

use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, HostTensor};
use super::dialects::{Alias, aliases, is_counter};
use crate::error::Error;
use crate::network::graph::Graph;

impl Checkpoint {
    /// Returns exactly the tensors of `graph`, under this project's names.
    ///
    /// Translates the names of d-li14's code. Drops a leading `module.`, and PyTorch's counters of batches. Adds up the
    /// biases of the convolutions into one output. If the node has no bias but a batch norm, the sum goes into its
    /// running mean.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] with every tensor that is missing, surplus or of another shape.
    pub fn fit(self, graph: &Graph) -> Result<Self, Error> {
        let wanted: BTreeMap<String, Vec<usize>> = graph.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
        let aliases = aliases(graph);
        let mut problems = Vec::new();
        let mut tensors: BTreeMap<String, HostTensor> = BTreeMap::new();
        let mut sources: BTreeMap<String, String> = BTreeMap::new();
        // Biases to add up, by the name of their sum. The graph may lack a tensor of that name.
        let mut summands: BTreeMap<String, Vec<(String, HostTensor)>> = BTreeMap::new();
        for (name, tensor) in self.tensors {
            let bare = name.strip_prefix("module.").filter(|_| !wanted.contains_key(&name)).unwrap_or(&name);
            let target = match aliases.get(bare) {
                _ if wanted.contains_key(bare) => bare,
                Some(Alias::Of(target)) => target,
                Some(Alias::Summand(target)) => {
                    summands.entry(target.clone()).or_default().push((name, tensor));
                    continue;
                }
                None if is_counter(bare) => continue,
                None => {
                    problems.push(format!("{name} is surplus: found {:?}, expected no such tensor", tensor.shape));
                    continue;
                }
            };
            match sources.insert(target.to_string(), name.clone()) {
                Some(other) => problems.push(format!("{name} is surplus: {other} is {target} already")),
                None => drop(tensors.insert(target.into(), tensor)),
            }
        }
        for (target, biases) in summands {
            if tensors.contains_key(&target) {
                problems.extend(biases.iter().map(|(name, _)| format!("{name} is surplus: {target} is there too")));
                continue;
            }
            add_biases(&target, biases, &wanted, &mut tensors, &mut problems);
        }
        let fitted = Self { tensors };
        problems.extend(fitted.problems(&wanted));
        if problems.is_empty() { Ok(fitted) } else { Err(Error::Checkpoint { problems }) }
    }
}

/// Adds up biases into the tensor `target`, or subtracts them from the running mean of the batch norm behind it,
/// because x + b - mean = x - (mean - b).
fn add_biases(
    target: &str,
    biases: Vec<(String, HostTensor)>,
    wanted: &BTreeMap<String, Vec<usize>>,
    tensors: &mut BTreeMap<String, HostTensor>,
    problems: &mut Vec<String>,
) {
    let mean = match target.rsplit_once(".bias_") {
        Some((node, letter)) => format!("{node}.norm_{letter}.mean"),
        None => return,
    };
    let Some(shape) = wanted.get(target).or(wanted.get(&mean)) else {
        let surplus = |(name, tensor): &(String, HostTensor)| {
            format!("{name} is surplus: found {:?}, but its node has neither a bias nor a batch norm", tensor.shape)
        };
        problems.extend(biases.iter().map(surplus));
        return;
    };
    let mut sum = vec![0.0f64; shape.iter().product()];
    for (name, bias) in &biases {
        if bias.shape != *shape || bias.data.len() != sum.len() {
            problems.push(format!("{name} has another shape: found {:?}, expected {shape:?}", bias.shape));
            continue;
        }
        sum.iter_mut().zip(&bias.data).for_each(|(sum, &b)| *sum += f64::from(b));
    }
    if wanted.contains_key(target) {
        let data = sum.into_iter().map(|sum| sum as f32).collect();
        tensors.insert(target.into(), HostTensor { shape: shape.clone(), data });
    } else if let Some(mean) = tensors.get_mut(&mean) {
        mean.data.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = (f64::from(*mean) - sum) as f32);
    }
}
