//! A node whose names are resolved.

use super::value::{Kind, ValueId};
use crate::error::Error;
use crate::layer::{Activation, Spec, Window};
use crate::network::description::PoolKind;

/// A node, as far as it does not depend on the size.
#[derive(Clone, Debug)]
pub(crate) struct GraphNode {
    pub(crate) name: String,
    /// The values that it reads, without the residual.
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) residual: Option<ValueId>,
    pub(crate) task: Task,
    pub(crate) kind: Kind,
}

/// What a node does. The channels of its input are known.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Conv { spec: Spec, norm: bool },
    Pool { kind: PoolKind, window: Window },
    Norm { activation: Activation },
    Concat,
    Excite { reduced: u32, activation: Activation },
    GlobalPool,
    Linear { bias: bool },
    Softmax,
}

/// An error about the description.
pub(super) fn refuse(problem: impl Into<String>) -> Error {
    Error::Description { problem: problem.into() }
}
