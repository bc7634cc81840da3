//! One layer to compare with the reference, and the result.

use super::values::Values;
use crate::dims::InputSize;
use crate::layer::Spec;
use crate::plan::{Options, Variant};

/// One layer to compare with the reference: what it computes, how it is run, and the seed of its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it computes.
    pub spec: Spec,
    /// The size of its input.
    pub size: InputSize,
    /// How it is run.
    pub options: Options,
    /// Whether batch norm is folded into the weights.
    pub batch_norm: bool,
    /// Whether all its tensors and scratch lie in one buffer.
    pub one_buffer: bool,
    /// What its inputs are like.
    pub values: Values,
    /// The seed of weights and inputs.
    pub seed: u64,
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The variant that ran.
    pub variant: Variant,
    /// The kernels that ran, in order.
    pub kernels: Vec<String>,
    /// The largest ratio of an error to its bound. At most 1 if the values are right.
    pub worst: f64,
    /// What is wrong, or `None` if all is right.
    pub failure: Option<String>,
}
