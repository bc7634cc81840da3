//! Which maps are the high and the low frequency of one map.
//!
//! Two maps are a pair if a convolution of each goes into one sum across resolutions: conv(high) + repeat(conv(low)), or
//! conv(mean(high)) + conv(low). If two maps are a pair, then so are those that they are made from in the same way.

use std::collections::HashMap;

use super::NoPairs;
use super::sums::{Sum, Uses};
use crate::plain::{Id, MOST_TERMS, Op, PlainGraph};

/// The pairs of a graph. A map belongs to one at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    low_of: HashMap<Id, Id>,
    high_of: HashMap<Id, Id>,
}

impl Pairs {
    pub(super) fn find(graph: &PlainGraph, dropped: &NoPairs) -> Self {
        let uses = Uses::new(graph);
        let mut pairs = Self::default();
        let reached = graph.reached();
        // What is repeated is low for sure. Sums at one resolution may be something else, so they come last.
        for seeds in [doubled_seeds, vector_seeds, pooled_seeds] {
            for &id in &reached {
                for (high, low) in seeds(&uses, id) {
                    pairs.add(&uses, dropped, high, low);
                }
            }
        }
        pairs
    }

    pub(super) fn low_of(&self, high: Id) -> Option<Id> {
        self.low_of.get(&high).copied()
    }

    pub(super) fn high_of(&self, low: Id) -> Option<Id> {
        self.high_of.get(&low).copied()
    }

    /// Adds a pair, and those that follow from it.
    fn add(&mut self, uses: &Uses, dropped: &NoPairs, high: Id, low: Id) {
        let mut open = vec![(high, low)];
        while let Some((high, low)) = open.pop() {
            let taken = [high, low].iter().any(|id| self.low_of.contains_key(id) || self.high_of.contains_key(id));
            if taken || dropped.contains(&(high, low)) || !is_half(uses.graph, high, low) {
                continue;
            }
            self.low_of.insert(high, low);
            self.high_of.insert(low, high);
            open.extend(made_from(uses, self, high, low));
        }
    }
}

/// Whether the low map has half of the rows and columns, rounded in any way.
fn is_half(graph: &PlainGraph, high: Id, low: Id) -> bool {
    let (Some([t, h, w]), Some([low_t, low_h, low_w])) = (graph.shape(high).space(), graph.shape(low).space()) else {
        return false;
    };
    let half = |size: usize, low: usize| low == size / 2 || low == size.div_ceil(2);
    t == low_t && half(h, low_h) && half(w, low_w) && [h, w] != [low_h, low_w]
}

/// conv(high) + repeat(conv(low)). Of several such sums in one, those that stand together.
fn doubled_seeds(uses: &Uses, id: Id) -> Vec<(Id, Id)> {
    if *uses.graph.op(id) != Op::Add {
        return Vec::new();
    }
    let inputs = &uses.graph.values[id].inputs;
    let lows: Vec<Id> =
        inputs.iter().filter_map(|&i| uses.doubled_conv(i)).map(|conv| uses.graph.input(conv)).collect();
    let is_conv = |&&i: &&Id| uses.uses[i] == 1 && matches!(uses.graph.op(i), Op::Conv(_));
    let highs: Vec<Id> = inputs.iter().filter(is_conv).map(|&i| uses.graph.input(i)).collect();
    match (highs.as_slice(), lows.as_slice()) {
        // A residual sum may lie in between: conv(high) + (residual + repeat(conv(low))).
        ([], [low]) => sole_high(uses, id).map(|high| (high, *low)).into_iter().collect(),
        _ => highs.into_iter().zip(lows).collect(),
    }
}

/// The map that the only convolution of a sum reads that is not repeated.
fn sole_high(uses: &Uses, id: Id) -> Option<Id> {
    let mut top = id;
    // The sum that this one is a part of.
    for _ in 0..MOST_TERMS {
        match uses.readers(top) {
            &[above] if uses.uses[top] == 1 && *uses.graph.op(above) == Op::Add => top = above,
            _ => break,
        }
    }
    let Sum { terms, .. } = uses.sum(top)?;
    let sum = Sum { activation: octconv::Activation::None, terms };
    let plain: Vec<Id> = sum.convs().filter(|(_, doubled)| !doubled).map(|(conv, _)| uses.graph.input(conv)).collect();
    if let [high] = plain.as_slice() { Some(*high) } else { None }
}

/// A vector of the means of the high and then of the low channels.
fn vector_seeds(uses: &Uses, id: Id) -> Vec<(Id, Id)> {
    let (Op::Concat, [a, b]) = (uses.graph.op(id), uses.graph.values[id].inputs.as_slice()) else { return Vec::new() };
    let map = |id: Id| (*uses.graph.op(id) == Op::GlobalPool).then(|| uses.graph.input(id));
    map(*a).zip(map(*b)).into_iter().collect()
}

/// conv(mean(high)) + conv(low), and conv(mean(mean(high))) + conv(mean(low)).
fn pooled_seeds(uses: &Uses, id: Id) -> Vec<(Id, Id)> {
    let inputs = &uses.graph.values[id].inputs;
    let is_conv = |&i: &Id| uses.uses[i] == 1 && matches!(uses.graph.op(i), Op::Conv(_));
    let (Op::Add, [a, b], true) = (uses.graph.op(id), inputs.as_slice(), inputs.iter().all(is_conv)) else {
        return Vec::new();
    };
    let [a, b] = [*a, *b].map(|conv| uses.graph.input(conv));
    let mut seeds = Vec::new();
    for (x, y) in [(a, b), (b, a)] {
        let Some(high) = uses.halved(x) else { continue };
        match (uses.halved(high), uses.halved(y)) {
            (Some(higher), Some(low)) => seeds.extend([(high, y), (higher, low)]),
            (None, Some(_)) => {}
            (_, None) => seeds.push((high, y)),
        }
    }
    seeds
}

/// The pairs that a pair is made from.
fn made_from(uses: &Uses, known: &Pairs, high: Id, low: Id) -> Vec<(Id, Id)> {
    let graph = uses.graph;
    if let (Some(h), Some(l)) = (uses.sum(high), uses.sum(low)) {
        let mut pairs = Vec::new();
        let [residuals_h, residuals_l] = [h.values(), l.values()];
        if residuals_h.len() == residuals_l.len() {
            pairs.extend(residuals_h.into_iter().zip(residuals_l));
        }
        let [reads_h, reads_l] = [&h, &l].map(|sum| sum.convs().map(|(conv, _)| graph.input(conv)).collect::<Vec<_>>());
        // Without an exchange, each frequency is convolved by itself.
        if let ([x], [y]) = (reads_h.as_slice(), reads_l.as_slice()) {
            match (uses.halved(*x), uses.halved(*y)) {
                (_, Some(of)) if of == *x || Some(of) == uses.halved(*x) && uses.halved(of).is_none() => {}
                (Some(x), Some(y)) if uses.halved(y) != Some(x) => pairs.push((x, y)),
                (None, None) => pairs.push((*x, *y)),
                _ => {}
            }
        }
        return pairs;
    }
    match (graph.op(high), graph.op(low)) {
        (Op::Concat, Op::Concat) => concatenated(graph, known, high, low),
        (Op::Pool(a), Op::Pool(b)) if a == b => vec![(graph.input(high), graph.input(low))],
        (Op::Activation(a), Op::Activation(b)) if a == b => vec![(graph.input(high), graph.input(low))],
        (Op::Affine { .. }, Op::Affine { .. }) | (Op::Scale, Op::Scale) => vec![(graph.input(high), graph.input(low))],
        (Op::Add, Op::Add) => {
            let [a, b] = [high, low].map(|id| graph.values[id].inputs.clone());
            if a.len() == b.len() { a.into_iter().zip(b).collect() } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

/// The parts of concatenated maps. The first ones may have no low frequency.
fn concatenated(graph: &PlainGraph, known: &Pairs, high: Id, low: Id) -> Vec<(Id, Id)> {
    let [highs, lows] = [high, low].map(|id| &graph.values[id].inputs);
    let fit = |&(high, low): &(Id, Id)| known.low_of(high).is_none_or(|known| known == low);
    highs.iter().rev().copied().zip(lows.iter().rev().copied()).filter(fit).collect()
}
