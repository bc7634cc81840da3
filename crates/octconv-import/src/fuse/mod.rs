//! Finds the octave layers of a graph of plain maps, and writes a description.
//!
//! Two maps of a graph are a *pair* if they are the high and the low frequency of one map of an octave network. `pairs`
//! finds out which are, from how they are read. `sums` takes a value apart into the convolutions that are added up for
//! it. `layers` turns values and pairs into nodes of the description. If a pair turns out to be none, it is dropped, and
//! the work begins again.

mod layers;
mod names;
mod pairs;
mod sums;
mod write;

use std::collections::HashSet;

use crate::plain::{Id, Op, PlainGraph, Value};
use crate::{ImportError, ImportOptions, Imported};
use pairs::Pairs;

/// Two maps that are no pair, whatever it looks like.
pub(crate) type NoPairs = HashSet<(Id, Id)>;

/// So many pairs that are none, and a network has none at all: each takes as long as all that was done before.
const MOST_DROPPED: usize = 512;

/// Makes a description of a simplified graph.
pub(crate) fn fuse(mut graph: PlainGraph, options: &ImportOptions) -> Result<Imported, ImportError> {
    while let Some(low) = lone_low(&graph) {
        concat_of_one(&mut graph, low);
    }
    let mut dropped = NoPairs::new();
    let mut not_fused = Vec::new();
    loop {
        let pairs = match dropped.len() {
            ..MOST_DROPPED => Pairs::find(&graph, &dropped),
            _ => Pairs::default(),
        };
        match write::write(&graph, &pairs, options) {
            Ok(mut imported) => {
                imported.report.not_fused = not_fused;
                return Ok(imported);
            }
            Err(write::Failed::Pair { high, low, reason }) => {
                let [a, b] = [high, low].map(|id| graph.values[id].name.clone());
                not_fused.push(format!("{a} and {b}: {reason}"));
                // Each round drops one more, so this ends.
                if !dropped.insert((high, low)) {
                    return Err(ImportError::File { reason: format!("{a} and {b} cannot be told apart") });
                }
            }
            Err(write::Failed::Large) => {
                let reason = format!("it makes more than {} nodes: a network has no more", write::MOST_NODES);
                return Err(ImportError::File { reason });
            }
            Err(write::Failed::Nodes { problems }) => return Err(ImportError::Nodes { problems }),
        }
    }
}

/// The low one of a pair whose high one is concatenated, while it is not: the first maps had no low frequency.
fn lone_low(graph: &PlainGraph) -> Option<Id> {
    let pairs = Pairs::find(graph, &NoPairs::new());
    let uses = graph.uses();
    graph.reached().into_iter().find_map(|high| {
        let low = pairs.low_of(high)?;
        let last = *graph.values[high].inputs.last()?;
        let lone = *graph.op(high) == Op::Concat && *graph.op(low) != Op::Concat && uses[last] == 1;
        lone.then_some(low)
    })
}

/// What reads a value reads a concatenation of it alone, so that both maps of a pair are made in the same way.
fn concat_of_one(graph: &mut PlainGraph, id: Id) {
    let at = id + 1;
    graph.insert(at, Value { op: Op::Concat, inputs: vec![id], ..graph.values[id].clone() });
    for value in &mut graph.values[at + 1..] {
        value.inputs.iter_mut().filter(|input| **input == id).for_each(|input| *input = at);
    }
}
