//! How other projects name the tensors of a network. Each dialect is a file here and an entry of [`DIALECTS`].

mod alias;
mod d_li14;

use std::collections::{HashMap, HashSet};

pub(super) use alias::Alias;

use crate::network::graph::Graph;

/// Adds all names that a dialect could give to the tensors of a network.
type Dialect = fn(&Graph, &mut HashMap<String, Alias>);

const DIALECTS: &[Dialect] = &[d_li14::aliases];

/// All names that any dialect could give to the tensors of `graph`, and what they stand for.
pub(super) fn aliases(graph: &Graph) -> HashMap<String, Alias> {
    let mut aliases = HashMap::new();
    DIALECTS.iter().for_each(|dialect| dialect(graph, &mut aliases));
    // Drops the names of tensors that the graph lacks, such as those of an absent frequency.
    let wanted: HashSet<String> = graph.tensors().into_iter().map(|tensor| tensor.name).collect();
    aliases.retain(|_, alias| !matches!(alias, Alias::Of(target) if !wanted.contains(target)));
    aliases
}

/// Whether a tensor is the counter of batches that PyTorch keeps in every batch norm.
pub(super) fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}
