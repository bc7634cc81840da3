//! How a network is to be run, besides its description.

use crate::device::DeviceFacts;
use crate::kernels::Types;
use crate::plan::Options;
use crate::precision::{Accuracy, Precision};

/// How a network is to be run: everything that its description does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// The types in which the network stores and adds. Vectors are always f32.
    pub precision: Precision,
    /// Which kernels the planner may choose.
    pub accuracy: Accuracy,
    /// The names of nodes whose values can be read after an inference. Each needs memory of its own.
    pub keep: Vec<String>,
}

impl NetworkOptions {
    /// The options that all layers share.
    pub(crate) fn layer(&self) -> Options {
        Options { precision: self.precision, accuracy: self.accuracy, ..Options::default() }
    }

    pub(crate) fn types(&self, facts: &DeviceFacts) -> Types {
        Types::new(self.precision, facts)
    }
}
