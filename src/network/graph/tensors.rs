//! The tensors that a network needs from a checkpoint.

use std::collections::HashMap;

use super::graph::Graph;
use super::node::{Task, refuse};
use super::value::Kind;
use crate::error::Error;
use crate::layer::{Frequency, Path, Split};
use crate::network::description::Op;

/// What a tensor of a checkpoint is used for. Random values depend on it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Role {
    /// The weights of a convolution, or a matrix.
    Weight {
        /// The number of inputs of one output, over all paths into it.
        fan_in: u32,
        /// Whether a residual is added to what the node makes, and the node has no batch norm that scales before.
        residual: bool,
    },
    /// Added to an output.
    Bias,
    /// Batch norm's scale.
    Gamma {
        /// Whether a residual is added to what the node makes: by the node itself, or by an excitation.
        residual: bool,
    },
    /// Batch norm's shift.
    Beta,
    /// Batch norm's running mean.
    Mean,
    /// Batch norm's running variance.
    Var,
}

/// A tensor that a network needs from a checkpoint.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TensorSpec {
    /// Its name, as `docs/networks.md` lists it.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is used for.
    pub role: Role,
}

impl TensorSpec {
    /// Number of elements. It saturates.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |all: u64, &d| all.saturating_mul(d as u64))
    }
}

/// The role of a matrix with `fan_in` columns.
fn matrix(fan_in: u32) -> Role {
    Role::Weight { fan_in, residual: false }
}

impl Graph {
    /// Every tensor that a checkpoint must have, in the order of the nodes.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.owned_tensors().into_iter().map(|(_, tensor)| tensor).collect()
    }

    /// Refuses two nodes that have tensors of one name, such as an excitation `a` and a matrix `a.squeeze`: they may want
    /// different shapes, and only one would get its own.
    pub(super) fn check_tensors(&self) -> Result<(), Error> {
        let mut owners = HashMap::new();
        for (index, TensorSpec { name, .. }) in self.owned_tensors() {
            let node = &self.nodes[index].name;
            if let Some(other) = owners.get(&name) {
                return Err(refuse(format!("nodes {other} and {node} both have a tensor {name}: rename one of them")));
            }
            owners.insert(name, node);
        }
        Ok(())
    }

    /// The tensors, each with the index of its node.
    fn owned_tensors(&self) -> Vec<(usize, TensorSpec)> {
        let mut tensors = Vec::new();
        let sums = self.sums();
        let described = self.network.nodes.iter().map(|node| &node.op);
        for (index, ((node, op), &summed)) in self.nodes.iter().zip(described).zip(&sums).enumerate() {
            let mut add = |name: String, shape: Vec<usize>, role: Role| {
                tensors.push((index, TensorSpec { name: format!("{}.{name}", node.name), shape, role }));
            };
            let mut norm = |split: Split, affine: bool, residual: bool| {
                for (letter, channels) in [("h", split.high), ("l", split.low)] {
                    if channels > 0 {
                        let roles = [Role::Gamma { residual }, Role::Beta, Role::Mean, Role::Var];
                        let tensors = ["gamma", "beta", "mean", "var"].into_iter().zip(roles);
                        for (name, role) in tensors.skip(if affine { 0 } else { 2 }) {
                            add(format!("norm_{letter}.{name}"), vec![channels as usize], role);
                        }
                    }
                }
            };
            match (&node.task, node.kind) {
                (Task::Conv { spec, norm: has_norm }, _) => {
                    if *has_norm {
                        norm(spec.output(), true, summed);
                    }
                    let timed = matches!(op, Op::Conv(conv) if conv.time.is_some());
                    for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
                        let [n, c, kt, kh, kw] = spec.weight_shape(path).map(|d| d as usize);
                        let shape = if timed { vec![n, c, kt, kh, kw] } else { vec![n, c, kh, kw] };
                        let fan_in = Path::ALL
                            .into_iter()
                            .filter(|&other| other.output() == path.output() && spec.has(other))
                            .map(|other| {
                                spec.weight_shape(other)[1..].iter().fold(1, |all: u32, &d| all.saturating_mul(d))
                            })
                            .fold(0, u32::saturating_add);
                        let residual = summed && !has_norm;
                        add(path.weight_name().into(), shape, Role::Weight { fan_in, residual });
                    }
                    for (name, frequency) in [("bias_h", Frequency::High), ("bias_l", Frequency::Low)] {
                        let channels = spec.output().of(frequency);
                        if spec.has_bias() && channels > 0 {
                            add(name.into(), vec![channels as usize], Role::Bias);
                        }
                    }
                }
                (Task::Norm { affine, .. }, Kind::Map(split)) => norm(split, *affine, false),
                (Task::Excite { reduced, .. }, Kind::Map(split)) => {
                    let (c, r) = (split.channels(), *reduced);
                    add("squeeze.weight".into(), vec![r as usize, c as usize], matrix(c));
                    add("squeeze.bias".into(), vec![r as usize], Role::Bias);
                    for (letter, channels) in [("h", split.high), ("l", split.low)] {
                        if channels > 0 {
                            let shape = vec![channels as usize, r as usize];
                            add(format!("excite_{letter}.weight"), shape, matrix(r));
                            add(format!("excite_{letter}.bias"), vec![channels as usize], Role::Bias);
                        }
                    }
                }
                (Task::Linear { bias, .. }, Kind::Vector(outputs)) => {
                    if let Kind::Vector(c) = self.kind(node.inputs[0]) {
                        let shape = vec![outputs as usize, c as usize];
                        add("weight".into(), shape, matrix(c));
                        if *bias {
                            add("bias".into(), vec![outputs as usize], Role::Bias);
                        }
                    }
                }
                _ => {}
            }
        }
        tensors
    }

    /// For each node whether a residual is added to what it makes: by the node itself, or by an excitation that reads it.
    fn sums(&self) -> Vec<bool> {
        let mut sums: Vec<bool> = self.nodes.iter().map(|node| node.residual.is_some()).collect();
        for node in self.nodes.iter().filter(|node| node.residual.is_some()) {
            // Value 0 is the input, and value i + 1 that of node i.
            if let (Task::Excite { .. }, Some(read)) = (&node.task, node.inputs[0].checked_sub(1)) {
                sums[read] = true;
            }
        }
        sums
    }
}
