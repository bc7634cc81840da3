//! The host twins of the shaders: for each kernel its constants, the uniform it reads, and the WGSL it becomes.
//!
//! A [`Kernel`] is a specialisation: everything that changes the source. Two layers with equal kernels share a
//! pipeline. What differs without changing the source (sizes, strides, offsets) is in the uniform `shape`.

pub(crate) mod add;
pub(crate) mod direct;
#[cfg(feature = "network")]
pub(crate) mod excite;
mod family;
#[cfg(feature = "network")]
pub(crate) mod global_pool;
pub(crate) mod job;
#[cfg(feature = "network")]
pub(crate) mod linear;
pub(crate) mod matrix;
pub(crate) mod packing;
pub(crate) mod pointwise;
pub(crate) mod pool;
#[cfg(feature = "context")]
pub(crate) mod probe;
pub(crate) mod reduce;
mod registry;
#[cfg(feature = "network")]
pub(crate) mod scale;
#[cfg(feature = "network")]
pub(crate) mod softmax;
pub(crate) mod staged;
mod step;
#[cfg(all(test, feature = "network", feature = "verify"))]
pub(crate) mod testing;
mod types;
pub(crate) mod upsample;
pub(crate) mod wgsl;
#[cfg(feature = "network")]
pub(crate) mod window_pool;
pub(crate) mod winograd;

pub(crate) use family::{Family, Refusal, Request};
pub(crate) use registry::FAMILIES;
pub(crate) use step::{Grid, Step};
pub(crate) use types::*;
use wgsl::Source;

/// A specialised kernel, the key under which its pipeline is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kernel {
    Direct(direct::Constants),
    Pointwise(pointwise::Constants),
    Staged(staged::Constants),
    Matrix(matrix::Constants),
    WinogradInput(winograd::InputConstants),
    WinogradMultiply(winograd::MultiplyConstants),
    WinogradOutput(winograd::OutputConstants),
    Reduce(reduce::Constants),
    Pool(pool::Constants),
    Upsample(upsample::Constants),
    Add(add::Constants),
    #[cfg(feature = "context")]
    Probe(probe::Constants),
    #[cfg(feature = "network")]
    WindowPool(window_pool::Constants),
    #[cfg(feature = "network")]
    Scale(scale::Constants),
    #[cfg(feature = "network")]
    GlobalPool(global_pool::Constants),
    #[cfg(feature = "network")]
    Excite(excite::Constants),
    #[cfg(feature = "network")]
    Linear(linear::Constants),
    #[cfg(feature = "network")]
    Softmax(softmax::Constants),
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
            Self::Staged(c) => c.name(),
            Self::Matrix(c) => c.name(),
            Self::WinogradInput(c) => c.name(),
            Self::WinogradMultiply(c) => c.name(),
            Self::WinogradOutput(c) => c.name(),
            Self::Reduce(_) => "reduce".into(),
            Self::Pool(_) => "pool".into(),
            Self::Upsample(_) => "upsample".into(),
            Self::Add(_) => "add".into(),
            #[cfg(feature = "context")]
            Self::Probe(c) => c.name(),
            #[cfg(feature = "network")]
            Self::WindowPool(c) => c.name(),
            #[cfg(feature = "network")]
            Self::Scale(c) => c.name(),
            #[cfg(feature = "network")]
            Self::GlobalPool(c) => c.name(),
            #[cfg(feature = "network")]
            Self::Excite(c) => c.name(),
            #[cfg(feature = "network")]
            Self::Linear(c) => c.name(),
            #[cfg(feature = "network")]
            Self::Softmax(_) => "softmax".into(),
        }
    }

    fn assemble(&self) -> Source {
        match self {
            Self::Direct(c) => c.assemble(),
            Self::Pointwise(c) => c.assemble(),
            Self::Staged(c) => c.assemble(),
            Self::Matrix(c) => c.assemble(),
            Self::WinogradInput(c) => c.assemble(),
            Self::WinogradMultiply(c) => c.assemble(),
            Self::WinogradOutput(c) => c.assemble(),
            Self::Reduce(c) => c.assemble(),
            Self::Pool(c) => c.assemble(),
            Self::Upsample(c) => c.assemble(),
            Self::Add(c) => c.assemble(),
            #[cfg(feature = "context")]
            Self::Probe(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::WindowPool(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::Scale(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::GlobalPool(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::Excite(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::Linear(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::Softmax(c) => c.assemble(),
        }
    }
}
