//! Weights from files of any kind, and what is told if they do not fit a network.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use octconv::network::{Checkpoint, Graph, TensorSpec};
use octconv::{Error, Misfit, MisfitKind};
use octconv_import::tensors::{self, Tensors};

use crate::limits::{Holds, Limits};
use crate::output::{shown, shown_path};

/// The tensors of a file.
pub fn read(path: &Path, limits: Limits) -> Result<Tensors> {
    let bytes = limits.read(path, Holds::Tensors)?;
    tensors::read(&bytes, limits.of_tensors()).with_context(|| format!("reading {}", shown_path(path)))
}

/// Exactly the tensors that a network wants. `eps`: what the network of `path` adds to variances, if it is known.
pub fn fit(path: &Path, checkpoint: Checkpoint, graph: &Graph, eps: Option<f64>) -> Result<Checkpoint> {
    let fitted = match eps {
        Some(eps) => checkpoint.fit_with_eps(graph, eps),
        None => checkpoint.fit(graph),
    };
    let told = |error| match error {
        Error::Checkpoint { misfits } => Misfits { network: graph.network().name.clone(), misfits }.into(),
        error => anyhow::Error::from(error),
    };
    fitted.map_err(told).with_context(|| shown_path(path))
}

/// Random weights for a network.
pub fn random(graph: &Graph, seed: u64, limits: Limits) -> Result<Checkpoint> {
    check_random_of(graph, limits)?;
    Ok(Checkpoint::try_random(graph, seed)?)
}

/// Refuses a network whose random weights would take more than allowed.
pub fn check_random_of(graph: &Graph, limits: Limits) -> Result<()> {
    let elements = graph.tensors().iter().map(TensorSpec::elements).fold(0, u64::saturating_add);
    check_random(&graph.network().name, elements, limits)
}

/// Refuses so many numbers as random weights.
pub fn check_random(name: &str, elements: u64, limits: Limits) -> Result<()> {
    let bytes = elements.saturating_mul(size_of::<f32>() as u64);
    limits.check(&format!("random weights of {} take", shown(name)), bytes, Holds::Tensors)
}

/// Tensors that do not fit a network.
#[derive(Debug)]
pub struct Misfits {
    network: String,
    misfits: Vec<Misfit>,
}

impl std::error::Error for Misfits {}

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |is: fn(&MisfitKind) -> bool| self.misfits.iter().filter(|misfit| is(&misfit.problem)).count();
        let missing = count(|problem| matches!(problem, MisfitKind::Missing { .. }));
        let surplus = count(MisfitKind::is_surplus);
        let other = self.misfits.len() - missing - surplus;
        let network = &self.network;
        write!(f, "it does not fit {network}: {missing} tensors missing, {surplus} surplus, {other} of another shape")
    }
}

/// Nodes that are told, and tensors of each.
const NODES: usize = 10;
const TENSORS: usize = 3;

impl Misfits {
    /// A line for each of the first nodes: those that tell the most first, and those of unknown names last.
    pub fn lines(&self) -> Vec<String> {
        let mut nodes: BTreeMap<(u8, &str), Vec<&Misfit>> = BTreeMap::new();
        for misfit in &self.misfits {
            let place = match misfit.problem {
                MisfitKind::Surplus { .. } => 0,
                MisfitKind::Unknown { .. } => 2,
                _ => 1,
            };
            nodes.entry((place, &misfit.node)).or_default().push(misfit);
        }
        let mut lines: Vec<String> =
            nodes.iter().take(NODES).map(|((_, node), misfits)| self.line(node, misfits)).collect();
        if nodes.len() > NODES {
            lines.push(format!("and {} nodes more", nodes.len() - NODES));
        }
        let is_shape =
            |misfit: &Misfit| !misfit.problem.is_surplus() && !matches!(misfit.problem, MisfitKind::Missing { .. });
        if self.misfits.iter().any(is_shape) {
            lines.push("weights of a plain network need \"--alpha 0\": a built-in network has 0.5 by default".into());
        }
        lines.push("\"octconv cost NETWORK --tensors\" lists what is wanted; convert has --rename and --ignore".into());
        lines
    }

    fn line(&self, node: &str, misfits: &[&Misfit]) -> String {
        let told = misfits.iter().take(TENSORS).map(|misfit| {
            let part = misfit.name.strip_prefix(node).and_then(|rest| rest.strip_prefix('.')).unwrap_or(&misfit.name);
            let near = self.nearest(misfit).map_or_else(String::new, |near| format!(" (near: {near})"));
            format!("{part} {}{near}", misfit.problem)
        });
        let mut told: Vec<String> = told.collect();
        if misfits.len() > TENSORS {
            told.push(format!("and {} more", misfits.len() - TENSORS));
        }
        format!("{node}: {}", told.join("; "))
    }

    /// The tensor of unknown name that is the most like a missing one, or the other way round.
    fn nearest(&self, misfit: &Misfit) -> Option<&str> {
        /// Names that are less alike have nothing in common.
        const LEAST: f64 = 0.4;
        /// Longer names are not compared.
        const LONGEST: usize = 200;
        let is_other = |other: &&Misfit| match misfit.problem {
            MisfitKind::Missing { .. } => matches!(other.problem, MisfitKind::Unknown { .. }),
            MisfitKind::Unknown { .. } => matches!(other.problem, MisfitKind::Missing { .. }),
            _ => false,
        };
        let short = |name: &str| name.len() <= LONGEST;
        let others = self.misfits.iter().filter(is_other).filter(|other| short(&other.name) && short(&misfit.name));
        let likeness = |other: &Misfit| strsim::normalized_levenshtein(&misfit.name, &other.name);
        let (likeness, nearest) = others.map(|other| (likeness(other), other)).max_by(|a, b| a.0.total_cmp(&b.0))?;
        (likeness >= LEAST).then_some(nearest.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use octconv::network::zoo::{self, Settings};

    use super::*;

    /// The misfits of a network whose tensors are renamed.
    fn misfits(change: impl Fn(String) -> String) -> Misfits {
        let graph = Graph::new(&zoo::build("cifar-resnet20", &Settings::default()).unwrap()).unwrap();
        let mut checkpoint = Checkpoint::random(&graph, 1);
        checkpoint.tensors = checkpoint.tensors.into_iter().map(|(name, tensor)| (change(name), tensor)).collect();
        fit(Path::new("x"), checkpoint, &graph, None).unwrap_err().downcast().unwrap()
    }

    #[test]
    fn the_first_nodes_are_told_with_the_nearest_names() {
        let misfits = misfits(|name| name.replace("layer", "stage"));
        let lines = misfits.lines();
        assert_eq!(lines.len(), NODES + 2, "{lines:#?}");
        let wanted = "layer1.0.conv1: norm_h.beta is missing: expected [16] (near: stage1.0.conv1.norm_h.beta); ";
        assert!(lines[0].starts_with(wanted) && lines[0].ends_with("; and 2 more"), "{}", lines[0]);
        assert!(lines[NODES].starts_with("and ") && lines[NODES].ends_with(" nodes more"), "{}", lines[NODES]);
        assert!(lines.iter().all(|line| line.len() < 400), "{lines:#?}");
        let told = misfits.to_string();
        assert!(told.starts_with("it does not fit cifar-resnet20: ") && told.len() < 120, "{told}");
    }

    #[test]
    fn one_name_is_told_from_both_sides() {
        let misfits = misfits(|name| name.replace("fc.bias", "fc.bios"));
        assert_eq!(
            misfits.to_string(),
            "it does not fit cifar-resnet20: 1 tensors missing, 1 surplus, 0 of another shape"
        );
        let lines = misfits.lines();
        assert_eq!(lines[0], "fc: bias is missing: expected [10] (near: fc.bios)");
        assert_eq!(lines[1], "fc: bios is surplus: found [10], expected no such tensor (near: fc.bias)");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn weights_of_a_plain_network_are_told() {
        let graph = |alpha| {
            let settings = Settings { alpha, ..Settings::default() };
            Graph::new(&zoo::build("cifar-resnet20", &settings).unwrap()).unwrap()
        };
        let plain = Checkpoint::random(&graph(0.0), 1);
        let error = fit(Path::new("x"), plain, &graph(0.5), None).unwrap_err();
        let lines = error.downcast_ref::<Misfits>().unwrap().lines();
        assert!(lines[lines.len() - 2].contains("need \"--alpha 0\""), "{lines:#?}");
    }
}
