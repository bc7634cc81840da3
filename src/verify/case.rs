//! One layer to be compared, and what a comparison found.

use crate::dims::InputSize;
use crate::layer::Spec;
use crate::plan::{Options, Variant};

/// One layer to be compared: what it computes, how it is run, and the seed of its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it computes.
    pub spec: Spec,
    /// At which size.
    pub size: InputSize,
    /// How it is run.
    pub options: Options,
    /// Whether batch norm is folded into the weights.
    pub batch_norm: bool,
    /// The seed of weights and inputs.
    pub seed: u64,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The plan's variant.
    pub variant: Variant,
    /// The plan's kernels.
    pub kernels: Vec<String>,
    /// The largest error over its bound: at most 1 where all is well.
    pub worst: f64,
    /// What is wrong, if anything is.
    pub failure: Option<String>,
}
