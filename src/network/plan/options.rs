//! What a caller wants of a network besides its description.

use crate::device::DeviceFacts;
use crate::kernels::Types;
use crate::plan::Options;
use crate::precision::Precision;

/// What a caller wants of a network besides its description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// What is stored and summed in which type. Vectors are f32 in any case.
    pub precision: Precision,
    /// Nodes whose values stay readable to the end, at the price of memory.
    pub keep: Vec<String>,
}

impl NetworkOptions {
    /// What all layers have in common.
    pub(crate) fn layer(&self) -> Options {
        Options { precision: self.precision, ..Options::default() }
    }

    pub(crate) fn types(&self, facts: &DeviceFacts) -> Types {
        Types::new(self.precision, facts)
    }
}
