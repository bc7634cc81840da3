//! The host twins of the shaders: for each kernel its constants, the uniform it reads, and the WGSL it becomes.
//!
//! A [`Kernel`] is a specialisation: everything that changes the source. Two layers with equal kernels share a
//! pipeline. What differs without changing the source (sizes, strides, offsets) is in the uniform `shape`.

pub(crate) mod add;
pub(crate) mod direct;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod upsample;
pub(crate) mod wgsl;

use crate::plan::Dtype;
use crate::spec::Activation;
use wgsl::Source;

/// A specialised kernel, the key under which its pipeline is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kernel {
    Direct(direct::Constants),
    Pointwise(pointwise::Constants),
    Pool(pool::Constants),
    Upsample(upsample::Constants),
    Add(add::Constants),
}

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Kernel {
    /// The whole WGSL source.
    pub(crate) fn source(&self) -> String {
        self.assemble().text()
    }

    /// How each storage buffer is used, in binding order behind the uniform at binding 0.
    pub(crate) fn accesses(&self) -> Vec<Access> {
        self.assemble().accesses()
    }

    /// What labels and reports call it: the family and the numbers that distinguish it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Direct(c) => c.name(),
            Self::Pointwise(c) => c.name(),
            Self::Pool(_) => "pool".into(),
            Self::Upsample(_) => "upsample".into(),
            Self::Add(_) => "add".into(),
        }
    }

    fn assemble(&self) -> Source {
        match self {
            Self::Direct(c) => c.assemble(),
            Self::Pointwise(c) => c.assemble(),
            Self::Pool(c) => c.assemble(),
            Self::Upsample(c) => c.assemble(),
            Self::Add(c) => c.assemble(),
        }
    }
}

/// Threads of a workgroup of the kernels that make one element a thread.
pub(crate) const ELEMENTWISE_WORKGROUP: u32 = 64;

/// The number of an activation in shaders/activate.wgsl.
pub(crate) fn activation_number(activation: Activation) -> u32 {
    match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 2,
        Activation::Silu => 3,
        Activation::HardSwish => 4,
        Activation::LeakyRelu { .. } => 5,
    }
}

/// The slope that goes into the uniform.
pub(crate) fn slope(activation: Activation) -> f32 {
    match activation {
        Activation::LeakyRelu { slope } => slope,
        _ => 0.0,
    }
}

/// The types of a kernel's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Types {
    pub(crate) activations: Dtype,
    pub(crate) weights: Dtype,
}
