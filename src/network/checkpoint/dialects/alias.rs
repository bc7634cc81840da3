//! What a tensor's name in another dialect stands for.

use std::ops::Range;

/// What a tensor's name in another dialect stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Alias {
    /// The tensor of this name. It may have further axes of one element there, as the matrix of a 1x1 convolution has.
    Of(String),
    /// One of the biases whose sum is the tensor of this name.
    Summand(String),
    /// Some columns of the matrix of this name. The parts stand in the order of their numbers.
    Columns(String, usize),
    /// The scales or shifts of a batch norm that has none here. Each of them must be this number.
    Constant(f32),
    /// One weight for all paths of a convolution.
    Whole(Whole),
}

/// A weight `[c_out, c_in, ...]` whose blocks are the weights of the paths.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whole {
    pub(crate) shape: Vec<usize>,
    pub(crate) blocks: Vec<Block>,
}

/// The part of a weight that belongs to one path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    /// The tensor here.
    pub(crate) name: String,
    /// Output channels.
    pub(crate) rows: Range<usize>,
    /// Input channels.
    pub(crate) columns: Range<usize>,
}
