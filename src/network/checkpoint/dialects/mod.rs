//! How other projects name the tensors of a network. Each dialect is a table in a file here and an entry of [`DIALECTS`].

mod alias;
mod chainer;
mod d_li14;
mod gluon;
mod gluon_mobile;
mod lxt_gh;
mod piston_y;
mod prefixes;
mod pytorchcv;
mod symbol;
mod table;
mod template;

use std::collections::{BTreeMap, HashMap};

pub(super) use alias::{Alias, Block, Whole};
pub(super) use prefixes::{common_prefix, without_prefix};
use table::Dialect;
pub(super) use table::Known;

use crate::network::graph::Graph;

const DIALECTS: [&Dialect; 9] = [
    &d_li14::DIALECT,
    &lxt_gh::DIALECT,
    &pytorchcv::DIALECT,
    &chainer::DIALECT,
    &symbol::DIALECT,
    &gluon::DIALECT,
    &gluon_mobile::V2,
    &gluon_mobile::V1,
    &piston_y::DIALECT,
];

/// All names that any dialect could give to the tensors of `graph`, which are `wanted`.
pub(super) fn names(graph: &Graph, wanted: &BTreeMap<String, Vec<usize>>) -> HashMap<String, Known> {
    let mut names = HashMap::new();
    DIALECTS.iter().for_each(|dialect| dialect.add_names(graph, wanted, &mut names));
    names
}

/// Whether a tensor is the counter of batches that PyTorch and Chainer keep in every batch norm.
pub(super) fn is_counter(name: &str) -> bool {
    name == "num_batches_tracked" || name.ends_with(".num_batches_tracked") || name.ends_with("/N")
}

/// Whether a tensor is of the norm behind all residual blocks, which the official pre-activation networks have.
pub(super) fn is_tail(name: &str) -> bool {
    name.starts_with("tail_bn") || name.starts_with("tail.0.")
}
