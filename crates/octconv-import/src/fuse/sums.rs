//! Takes a value apart into the convolutions that are added up for it.

use octconv::Activation;

use crate::plain::{Conv, Id, MOST_TERMS, Op, PlainGraph, Upsample};

/// A graph, how often each value is read, and by which values that the output depends on.
pub(super) struct Uses<'a> {
    pub(super) graph: &'a PlainGraph,
    pub(super) uses: Vec<usize>,
    readers: Vec<Vec<Id>>,
}

/// One term of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// A convolution. `doubled`: each of its elements is repeated 2x2 times.
    Conv { conv: Id, doubled: bool },
    /// Any other value.
    Value(Id),
}

/// activation(sum of the terms).
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub(super) activation: Activation,
    pub(super) terms: Vec<Term>,
}

impl<'a> Uses<'a> {
    pub(super) fn new(graph: &'a PlainGraph) -> Self {
        let mut readers = vec![Vec::new(); graph.values.len()];
        for id in graph.reached() {
            graph.values[id].inputs.iter().for_each(|&input| readers[input].push(id));
        }
        Self { graph, uses: graph.uses(), readers }
    }

    /// The values that read this one, in order.
    pub(super) fn readers(&self, id: Id) -> &[Id] {
        &self.readers[id]
    }

    /// The value as a sum, if it has a convolution.
    pub(super) fn sum(&self, id: Id) -> Option<Sum> {
        let (activation, root) = match *self.graph.op(id) {
            Op::Activation(activation) if self.uses[self.graph.input(id)] == 1 => (activation, self.graph.input(id)),
            _ => (Activation::None, id),
        };
        let mut terms = Vec::new();
        let mut open = vec![root];
        while let Some(at) = open.pop() {
            let inner = at == root || self.uses[at] == 1;
            let inputs = &self.graph.values[at].inputs;
            match self.graph.op(at) {
                Op::Add if inner && terms.len() + open.len() + inputs.len() <= MOST_TERMS => {
                    open.extend(inputs.iter().rev());
                }
                Op::Conv(_) if inner => terms.push(Term::Conv { conv: at, doubled: false }),
                Op::Upsample(_) if inner && self.doubled_conv(at).is_some() => {
                    let conv = self.graph.input(at);
                    terms.push(Term::Conv { conv, doubled: true });
                }
                _ => terms.push(Term::Value(at)),
            }
        }
        let has_conv = terms.iter().any(|term| matches!(term, Term::Conv { .. }));
        has_conv.then_some(Sum { activation, terms })
    }

    /// The convolution that is repeated 2x2 times, if nothing else reads it.
    pub(super) fn doubled_conv(&self, id: Id) -> Option<Id> {
        let Op::Upsample(upsample) = self.graph.op(id) else { return None };
        let conv = self.graph.input(id);
        let from = self.graph.shape(conv).space()?;
        let alone = self.uses[conv] == 1 && matches!(self.graph.op(conv), Op::Conv(_));
        (alone && matches!(upsample, Upsample::Nearest { .. }) && upsample.doubles(from)).then_some(conv)
    }

    pub(super) fn conv(&self, id: Id) -> Option<&'a Conv> {
        match self.graph.op(id) {
            Op::Conv(conv) => Some(conv),
            _ => None,
        }
    }

    /// The map whose means of 2x2 positions this is.
    pub(super) fn halved(&self, id: Id) -> Option<Id> {
        match self.graph.op(id) {
            Op::Pool(pool) if pool.halves() => Some(self.graph.input(id)),
            _ => None,
        }
    }
}

impl Sum {
    pub(super) fn convs(&self) -> impl Iterator<Item = (Id, bool)> {
        self.terms.iter().filter_map(|term| match *term {
            Term::Conv { conv, doubled } => Some((conv, doubled)),
            Term::Value(_) => None,
        })
    }

    pub(super) fn values(&self) -> Vec<Id> {
        let value = |term: &Term| if let Term::Value(id) = *term { Some(id) } else { None };
        self.terms.iter().filter_map(value).collect()
    }
}
