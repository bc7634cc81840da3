//! A node whose names are resolved.

use super::value::{Kind, ValueId};
use crate::error::Error;
use crate::layer::{Activation, Resample, Spec, Window};
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
    Upsample { resample: Resample, to: To },
    Norm { affine: bool, activation: Activation },
    Activation { activation: Activation },
    Add { activation: Activation },
    Concat,
    Excite { reduced: u32, activation: Activation },
    Attention { scale: Scale },
    Gate,
    GlobalPool,
    Linear { bias: bool, activation: Activation },
    Softmax,
}

/// The size that an upsampling makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    /// That which the factor makes.
    Factor,
    /// This size. Frames stay if not given.
    Size { t: Option<u32>, h: u32, w: u32 },
    /// That of a map.
    Like(ValueId),
}

/// What the dot products of an attention are multiplied by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale(pub(super) Option<f32>);

impl Scale {
    /// The factor for dot products over this many channels.
    pub(crate) fn of(self, channels: u32) -> f64 {
        self.0.map_or_else(|| 1.0 / f64::from(channels).sqrt(), f64::from)
    }
}

/// An error about the description.
pub(super) fn refuse(problem: impl Into<String>) -> Error {
    Error::Description { problem: problem.into() }
}
