//! The graph of plain maps.

use std::cell::Cell;

use octconv::Activation;
use octconv::network::{Ends, PoolKind};

/// The terms of a sum at which it is taken apart no further. Octave layers have a few; the time grows with their square.
pub(crate) const MOST_TERMS: usize = 64;

/// The index of a value.
pub(crate) type Id = usize;

/// The shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Channels, and frames, rows and columns. An image has one frame.
    Map { c: usize, space: [usize; 3] },
    /// Elements of a vector.
    Vector { c: usize },
}

impl Shape {
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Map { c, .. } | Self::Vector { c } => c,
        }
    }

    pub(crate) fn space(self) -> Option<[usize; 3]> {
        match self {
            Self::Map { space, .. } => Some(space),
            Self::Vector { .. } => None,
        }
    }
}

/// A convolution of one map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conv {
    /// [outputs, inputs / groups, frames, rows, columns]
    pub(crate) weights: Vec<f32>,
    pub(crate) shape: [usize; 5],
    pub(crate) bias: Option<Vec<f64>>,
    pub(crate) stride: [usize; 3],
    pub(crate) padding: [Ends; 3],
    pub(crate) dilation: [usize; 3],
    pub(crate) groups: usize,
    /// What the file calls the weights, if it names them.
    pub(crate) name: Option<String>,
}

impl Conv {
    /// Whether it is a matrix for each position that it reads.
    pub(crate) fn is_matrix(&self) -> bool {
        self.shape[2..] == [1; 3] && self.groups == 1 && self.padding == [Ends::default(); 3]
    }
}

/// A maximum or mean over windows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) padding: [Ends; 3],
    pub(crate) ceil_mode: bool,
    pub(crate) count_include_pad: bool,
}

impl Pool {
    /// Whether it is the mean of 2x2 positions, as octave layers have it.
    pub(crate) fn halves(&self) -> bool {
        self.is_mean_of(2)
    }

    pub(crate) fn is_mean_of(&self, n: usize) -> bool {
        self.is_mean_without_padding() && self.kernel == [1, n, n] && self.kernel == self.stride
    }

    pub(crate) fn is_mean_without_padding(&self) -> bool {
        self.kind == PoolKind::Average && self.padding == [Ends::default(); 3]
    }
}

/// An enlarged map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Upsample {
    /// Element (y, x) is element (rows[y], columns[x]) of the input.
    Nearest {
        rows: Vec<usize>,
        columns: Vec<usize>,
    },
    Bilinear {
        align_corners: bool,
        size: [usize; 2],
    },
}

impl Upsample {
    /// Whether each element is repeated 2x2 times, and the last ones as often as the size wants.
    pub(crate) fn doubles(&self, from: [usize; 3]) -> bool {
        let Self::Nearest { rows, columns } = self else { return false };
        let repeats = |to: &[usize], from: usize| {
            (2 * from - 1..=2 * from + 1).contains(&to.len())
                && to.iter().enumerate().all(|(i, &at)| at == (i / 2).min(from - 1))
        };
        repeats(rows, from[1]) && repeats(columns, from[2])
    }
}

/// What makes a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    /// The network's input.
    Input,
    Conv(Conv),
    Pool(Pool),
    /// The mean of each channel: a vector.
    GlobalPool,
    Upsample(Upsample),
    /// x * scale + shift, for each channel. Made by [`Op::affine`].
    Affine {
        scale: Vec<f64>,
        shift: Vec<f64>,
        /// The two numbers, if they are the same for all channels. All readers ask for them, so they are kept.
        same: Option<[f64; 2]>,
    },
    Activation(Activation),
    /// The sum of its inputs.
    Add,
    /// The product of two maps or two vectors of one shape.
    Multiply,
    /// Each channel of a map times an element of a vector.
    Scale,
    /// The channels of its inputs, one after another.
    Concat,
    /// These channels of a map, or elements of a vector.
    Select(Vec<usize>),
    /// Zeros around a map.
    Pad([Ends; 3]),
    /// A vector with the elements of a map, channel by channel.
    Flatten,
    /// A matrix [outputs, inputs] times a vector, plus a bias.
    Linear {
        weights: Vec<f32>,
        outputs: usize,
        bias: Option<Vec<f64>>,
        name: Option<String>,
    },
    Softmax,
    /// erf(x), a part of GELU.
    Erf,
    /// The value of another one.
    Same,
    /// What could not be read. Its problem is reported where it was read.
    Unknown,
}

impl Op {
    /// x * scale + shift, for each channel.
    pub(crate) fn affine(scale: Vec<f64>, shift: Vec<f64>) -> Self {
        let same = |values: &[f64]| values.first().copied().filter(|first| values.iter().all(|v| v == first));
        let same = same(&scale).zip(same(&shift)).map(<[f64; 2]>::from);
        Self::Affine { scale, shift, same }
    }
}

/// A value, and what makes it.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) op: Op,
    pub(crate) inputs: Vec<Id>,
    pub(crate) shape: Shape,
    /// What the file calls it.
    pub(crate) name: String,
    /// The node of the file, and its operator, for reports.
    pub(crate) node: String,
    pub(crate) operator: String,
}

/// A network of plain maps. Every value comes after those that it is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlainGraph {
    pub(crate) values: Vec<Value>,
    pub(crate) output: Id,
    /// Whether maps have frames.
    pub(crate) video: bool,
    /// How many nodes the file has that compute something while the network runs.
    pub(crate) nodes: usize,
    /// Nodes that hold the network to the size at which the file is read, each with the reason.
    pub(crate) fixed: Vec<String>,
    /// How many numbers may still be taken for weights and indices: what a file says must not decide how much memory
    /// and time it takes.
    pub(crate) left: Cell<usize>,
}

impl PlainGraph {
    /// Takes so many numbers. Returns whether there are so many left.
    pub(crate) fn take(&self, count: usize) -> bool {
        let left = self.left.get().checked_sub(count);
        left.inspect(|&left| self.left.set(left)).is_some()
    }

    pub(crate) fn op(&self, id: Id) -> &Op {
        &self.values[id].op
    }

    pub(crate) fn shape(&self, id: Id) -> Shape {
        self.values[id].shape
    }

    /// The only input of a value.
    pub(crate) fn input(&self, id: Id) -> Id {
        self.values[id].inputs[0]
    }

    /// How often each value is read. The output counts as read.
    pub(crate) fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.values.len()];
        for id in self.reached() {
            self.values[id].inputs.iter().for_each(|&input| uses[input] += 1);
        }
        uses[self.output] += 1;
        uses
    }

    /// The values that the output depends on, in order.
    pub(crate) fn reached(&self) -> Vec<Id> {
        let mut reached = vec![false; self.values.len()];
        reached[self.output] = true;
        for id in (0..self.values.len()).rev() {
            if reached[id] {
                self.values[id].inputs.iter().for_each(|&input| reached[input] = true);
            }
        }
        (0..self.values.len()).filter(|&id| reached[id]).collect()
    }

    /// Inserts a value in front of value `at`.
    pub(crate) fn insert(&mut self, at: Id, value: Value) {
        for other in &mut self.values {
            other.inputs.iter_mut().for_each(|input| *input += usize::from(*input >= at));
        }
        self.output += usize::from(self.output >= at);
        self.values.insert(at, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_all_channels_have_are_kept() {
        for (scale, shift, wanted) in [
            ([2.0, 2.0], [-0.0, 0.0], Some([2.0, 0.0])),
            ([2.0, 1.0], [0.0, 0.0], None),
            ([2.0, 2.0], [0.0, 1.0], None),
            ([f64::NAN, f64::NAN], [0.0, 0.0], None),
        ] {
            let Op::Affine { same, .. } = Op::affine(scale.into(), shift.into()) else { panic!("it is an affine") };
            assert_eq!(same, wanted);
        }
    }
}
