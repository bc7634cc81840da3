//! The tensors of a network by name.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, Misfit, MisfitKind};
use crate::layer::{BatchNorm, Frequency, Weights};
use crate::network::graph::Graph;

/// A tensor on the host.
#[derive(Clone, Default, PartialEq)]
pub struct HostTensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, contiguous, with the last axis fastest.
    pub data: Vec<f32>,
}

/// Without the elements, which may be millions.
impl fmt::Debug for HostTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, data } = self;
        f.debug_struct("HostTensor").field("shape", shape).field("elements", &data.len()).finish_non_exhaustive()
    }
}

/// The number of elements of a tensor. It saturates.
pub(super) fn elements(shape: &[usize]) -> u64 {
    shape.iter().fold(1, |all: u64, &size| all.saturating_mul(size as u64))
}

/// The tensors of a network by name. `docs/networks.md` lists the names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The tensors.
    pub tensors: BTreeMap<String, HostTensor>,
}

impl Checkpoint {
    /// The elements of a tensor. `None` if there is no tensor of this name.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|tensor| tensor.data.as_slice())
    }

    /// Checks that every tensor of `graph` is there and has its shape.
    pub(crate) fn check(&self, graph: &Graph) -> Result<(), Error> {
        let wanted = graph.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        let misfits = self.misfits(&wanted);
        if misfits.is_empty() { Ok(()) } else { Err(Error::Checkpoint { misfits }) }
    }

    /// The tensors that are missing or have another shape.
    pub(super) fn misfits(&self, wanted: &BTreeMap<String, Vec<usize>>) -> Vec<Misfit> {
        let misfit = |(name, shape): (&String, &Vec<usize>)| {
            let expected = shape.clone();
            let problem = match self.tensors.get(name) {
                None => MisfitKind::Missing { expected },
                Some(found) if found.shape != *shape => MisfitKind::Shape { found: found.shape.clone(), expected },
                Some(found) if found.data.len() as u64 != elements(shape) => {
                    MisfitKind::Length { found: found.data.len(), expected }
                }
                Some(_) => return None,
            };
            Some(Misfit { node: node_of(name).into(), name: name.clone(), problem })
        };
        wanted.iter().filter_map(misfit).collect()
    }

    /// The weights of a conv node that are there.
    pub(crate) fn conv_weights(&self, node: &str, eps: f32) -> Weights<'_> {
        let get = |name: &str| self.get(&format!("{node}.{name}"));
        Weights {
            w_hh: get("w_hh"),
            w_hl: get("w_hl"),
            w_lh: get("w_lh"),
            w_ll: get("w_ll"),
            bias_h: get("bias_h"),
            bias_l: get("bias_l"),
            norm_h: self.norm(node, Frequency::High, eps),
            norm_l: self.norm(node, Frequency::Low, eps),
        }
    }

    /// The batch norm of one frequency of a `conv` node, if it has one.
    fn norm(&self, node: &str, frequency: Frequency, eps: f32) -> Option<BatchNorm<'_>> {
        let get = |name: &str| self.get(&format!("{node}.norm_{}.{name}", letter(frequency)));
        Some(BatchNorm { gamma: get("gamma")?, beta: get("beta")?, mean: get("mean")?, var: get("var")?, eps })
    }

    /// The factors and shifts of one frequency of a `norm` node, if the node has that frequency. A node without a scale and
    /// a shift has the scale 1 and the shift 0.
    pub(crate) fn factors(&self, node: &str, frequency: Frequency, eps: f32) -> Result<Option<Vec<(f64, f64)>>, Error> {
        let get = |name: &str| self.get(&format!("{node}.norm_{}.{name}", letter(frequency)));
        let Some((mean, var)) = get("mean").zip(get("var")) else { return Ok(None) };
        let (ones, zeros) = (vec![1.0; mean.len()], vec![0.0; mean.len()]);
        let (gamma, beta) = (get("gamma").unwrap_or(&ones), get("beta").unwrap_or(&zeros));
        let norm = BatchNorm { gamma, beta, mean, var, eps };
        norm.check_variance("var")?;
        Ok(Some((0..mean.len()).map(|c| norm.affine(c, 0.0)).collect()))
    }
}

/// The node of one of this project's tensors, such as `N` of `N.w_hh` and of `N.norm_h.gamma`.
fn node_of(name: &str) -> &str {
    let (node, part) = name.rsplit_once('.').unwrap_or((name, ""));
    let parts = ["norm_h", "norm_l", "squeeze", "excite_h", "excite_l"];
    match node.rsplit_once('.') {
        Some((node, last)) if !part.is_empty() && parts.contains(&last) => node,
        _ => node,
    }
}

/// The letter for a frequency in names of tensors.
pub(super) fn letter(frequency: Frequency) -> char {
    match frequency {
        Frequency::High => 'h',
        Frequency::Low => 'l',
    }
}
