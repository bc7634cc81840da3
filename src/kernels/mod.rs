//! The host twins of the shaders: for each kernel its constants, the uniform it reads, and the WGSL it becomes.
//!
//! A [`Kernel`] is a specialisation: everything that changes the source. Two layers with equal kernels share a
//! pipeline. What differs without changing the source (sizes, strides, offsets) is in the uniform `shape`.

mod access;
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
// Until all kernels are recipes.
#[allow(dead_code, unused_imports)]
pub(crate) mod source;
pub(crate) mod staged;
mod step;
#[cfg(all(test, feature = "network", feature = "context"))]
pub(crate) mod testing;
mod types;
pub(crate) mod uniform;
pub(crate) mod upsample;
pub(crate) mod wgsl;
#[cfg(feature = "network")]
pub(crate) mod window_pool;
pub(crate) mod winograd;

use std::borrow::Cow;

pub(crate) use access::Access;
pub(crate) use family::{Family, Refusal, Request};
pub(crate) use registry::FAMILIES;
pub(crate) use step::{Grid, Step};
pub(crate) use types::*;
use wgsl::Source;

/// A specialised kernel, the key under which its pipeline is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kernel {
    Staged(staged::Constants),
    Matrix(matrix::Constants),
    WinogradInput(winograd::InputConstants),
    WinogradMultiply(winograd::MultiplyConstants),
    WinogradOutput(winograd::OutputConstants),
    Recipe(source::Named),
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

impl Kernel {
    pub(crate) fn recipe(name: impl Into<Cow<'static, str>>, recipe: source::Recipe) -> Self {
        Self::Recipe(source::Named { name: name.into(), recipe })
    }

    /// The whole WGSL source.
    pub(crate) fn source(&self) -> String {
        let Self::Recipe(named) = self else { return self.assemble().text() };
        let source = source::assemble(&named.recipe);
        debug_assert!(source.is_ok(), "{source:?}");
        // Tests assemble every recipe. Were one wrong, the device would refuse this and quote it.
        source.unwrap_or_else(|error| format!("error: {error}"))
    }

    /// How each storage buffer is used, in binding order behind the uniform at binding 0.
    pub(crate) fn accesses(&self) -> Vec<Access> {
        match self {
            Self::Recipe(named) => named.recipe.accesses().collect(),
            _ => self.assemble().accesses(),
        }
    }

    /// What labels and reports call it: the family and the numbers that distinguish it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Staged(c) => c.name(),
            Self::Matrix(c) => c.name(),
            Self::WinogradInput(c) => c.name(),
            Self::WinogradMultiply(c) => c.name(),
            Self::WinogradOutput(c) => c.name(),
            Self::Recipe(named) => named.name.to_string(),
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

    /// What is not a recipe yet.
    fn assemble(&self) -> Source {
        match self {
            Self::Staged(c) => c.assemble(),
            Self::Matrix(c) => c.assemble(),
            Self::WinogradInput(c) => c.assemble(),
            Self::WinogradMultiply(c) => c.assemble(),
            Self::WinogradOutput(c) => c.assemble(),
            Self::Recipe(_) => Source::new(crate::precision::Dtype::F32, ELEMENTWISE_WORKGROUP),
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
