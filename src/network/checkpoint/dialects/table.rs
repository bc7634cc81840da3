//! Dialects as tables, and the names that a table gives to the tensors of a graph.

use std::collections::{BTreeMap, HashMap};

use super::alias::{Alias, Block, Whole};
use super::template::{Fields, capture, fill};
use crate::layer::{Frequency, Groups, Path, Spec, Split};
use crate::network::checkpoint::checkpoint::letter;
use crate::network::graph::{Graph, GraphNode, Task};

/// How another project names the tensors of a network.
#[derive(Debug)]
pub(super) struct Dialect {
    /// What its networks add to the variance of a batch norm, if that is not the network's own `norm_eps`.
    pub(super) eps: Option<f64>,
    /// The dialect is for networks that have a node of this name, or for all.
    pub(super) only_with: Option<&'static str>,
    pub(super) rows: &'static [Row],
}

/// Nodes, and the names of their tensors.
#[derive(Debug)]
pub(super) struct Row {
    /// The pattern of a node's name here.
    pub(super) node: &'static str,
    /// What the names there start with, with the fields of `node`.
    pub(super) theirs: &'static str,
    /// Whether the row is for convolutions that have the path H->H alone.
    pub(super) plain: bool,
    pub(super) tensors: &'static [&'static [Entry]],
}

/// A row for any node of that name.
pub(super) const fn row(node: &'static str, theirs: &'static str, tensors: &'static [&'static [Entry]]) -> Row {
    Row { node, theirs, plain: false, tensors }
}

/// A row for convolutions that have the path H->H alone.
pub(super) const fn plain(node: &'static str, theirs: &'static str, tensors: &'static [&'static [Entry]]) -> Row {
    Row { node, theirs, plain: true, tensors }
}

/// A tensor here, what its name there ends with, and how the two belong together.
///
/// A name there with `{p}` (h2h) or `{P}` (HH) stands for one name per path, and one with `{f}` (h) for one per
/// frequency. Here a path is `{own}` (hh), and the output of a path `{to}` (h).
pub(super) type Entry = (&'static str, &'static str, How);

/// How a tensor there belongs to one here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum How {
    /// It is that tensor.
    Same,
    /// It is one of the biases whose sum is that tensor.
    Summand,
    /// It is a part of that matrix's columns.
    Columns(usize),
    /// It has the weights of all paths: first the outputs of high frequency, and of each first the inputs of high
    /// frequency.
    Whole,
}

/// A name there: what it stands for, and what its network adds to variances, if that is known.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) alias: Alias,
    pub(crate) eps: Option<f64>,
}

/// The tensors that a graph wants, and their shapes.
type Wanted = BTreeMap<String, Vec<usize>>;

impl Dialect {
    /// Adds all names that this dialect could give to the tensors of `graph`. What another dialect has named stays.
    pub(super) fn add_names(&self, graph: &Graph, wanted: &Wanted, names: &mut HashMap<String, Known>) {
        let suits = |name: &str| graph.nodes.iter().any(|node| node.name == name);
        if self.only_with.is_some_and(|name| !suits(name)) {
            return;
        }
        for node in &graph.nodes {
            for row in self.rows {
                if row.plain && !spec_of(node).is_some_and(is_plain) {
                    continue;
                }
                let Some(fields) = capture(row.node, &node.name) else { continue };
                for &(ours, theirs, how) in row.tensors.iter().copied().flatten() {
                    for fields in variants(node, &fields, ours, theirs) {
                        let Some(ours) = fill(ours, &fields) else { continue };
                        let Some(theirs) = fill(row.theirs, &fields).zip(fill(theirs, &fields)) else { continue };
                        let Some(alias) = alias(node, format!("{}.{ours}", node.name), how, wanted) else { continue };
                        names.entry(theirs.0 + &theirs.1).or_insert(Known { alias, eps: self.eps });
                    }
                }
            }
        }
    }
}

/// The fields of each path or frequency that a name speaks of.
fn variants(node: &GraphNode, fields: &Fields, ours: &str, theirs: &str) -> Vec<Fields> {
    let with = |more: &[(&'static str, String)]| fields.iter().cloned().chain(more.iter().cloned()).collect();
    if theirs.contains("{p}") || theirs.contains("{P}") {
        let Some(spec) = spec_of(node) else { return Vec::new() };
        let paths = Path::ALL.into_iter().filter(|&path| spec.has(path));
        return paths
            .map(|path| {
                let [from, to] = [path.input(), path.output()].map(letter);
                let own = format!("{from}{to}");
                with(&[("p", format!("{from}2{to}")), ("P", own.to_uppercase()), ("own", own), ("to", to.to_string())])
            })
            .collect();
    }
    if ours.contains("{f}") {
        let frequencies = [Frequency::High, Frequency::Low].map(letter);
        return frequencies.map(|f| with(&[("f", f.to_string())])).into();
    }
    vec![fields.clone()]
}

/// What a name stands for. `None` if the graph has no place for it.
fn alias(node: &GraphNode, ours: String, how: How, wanted: &Wanted) -> Option<Alias> {
    match how {
        How::Same if wanted.contains_key(&ours) => Some(Alias::Of(ours)),
        How::Same => constant(&ours, wanted).map(Alias::Constant),
        // The graph may have a batch norm instead, which takes the sum.
        How::Summand => spec_of(node).map(|_| Alias::Summand(ours)),
        How::Columns(part) => wanted.contains_key(&ours).then_some(Alias::Columns(ours, part)),
        How::Whole => whole(node, wanted).map(Alias::Whole),
    }
}

/// What each element of a tensor must be if `ours` is of a batch norm without scale and shift.
fn constant(ours: &str, wanted: &Wanted) -> Option<f32> {
    let (norm, part) = ours.rsplit_once('.')?;
    let value = match part {
        "gamma" => 1.0,
        "beta" => 0.0,
        _ => return None,
    };
    wanted.contains_key(&format!("{norm}.mean")).then_some(value)
}

fn whole(node: &GraphNode, wanted: &Wanted) -> Option<Whole> {
    let spec = spec_of(node).filter(|spec| spec.groups() == Groups::Count(1))?;
    let (inputs, outputs) = (spec.input(), spec.output());
    // The channels of a frequency. Those of high frequency stand first.
    let range = |split: Split, frequency| match frequency {
        Frequency::High => 0..split.high as usize,
        Frequency::Low => split.high as usize..split.channels() as usize,
    };
    let block = |path: Path| Block {
        name: format!("{}.{}", node.name, path.weight_name()),
        rows: range(outputs, path.output()),
        columns: range(inputs, path.input()),
    };
    let blocks: Vec<Block> = Path::ALL.into_iter().filter(|&path| spec.has(path)).map(block).collect();
    let (rows, columns) = (outputs.channels() as usize, inputs.channels() as usize);
    // Without a path that is switched off, a part of the weight would be lost.
    let covered: usize = blocks.iter().map(|block| block.rows.len() * block.columns.len()).sum();
    let kernel = wanted.get(&blocks.first()?.name)?.get(2..)?;
    (covered == rows * columns).then(|| Whole { shape: [&[rows, columns], kernel].concat(), blocks })
}

fn spec_of(node: &GraphNode) -> Option<&Spec> {
    match &node.task {
        Task::Conv { spec, .. } => Some(spec),
        _ => None,
    }
}

fn is_plain(spec: &Spec) -> bool {
    Path::ALL.into_iter().filter(|&path| spec.has(path)).eq([Path::HH])
}
