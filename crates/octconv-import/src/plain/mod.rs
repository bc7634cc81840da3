//! A network of plain maps: one resolution each, as other frameworks have them. Octave layers are found in it.

mod graph;
mod simplify;

pub(crate) use graph::{Conv, Id, MOST_TERMS, Op, PlainGraph, Pool, Shape, Upsample, Value};
pub(crate) use simplify::simplify;
