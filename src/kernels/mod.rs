//! The host code of the shaders: for each kernel its constants, the uniform that it reads, and its recipe.
//!
//! A [`Kernel`] has everything that changes the WGSL. Layers with equal kernels share a pipeline. Values that do not
//! change the WGSL (sizes, strides, offsets) are in the uniform `shape`.

mod access;
pub(crate) mod add;
#[cfg(feature = "network")]
pub(crate) mod attention;
mod axis;
pub(crate) mod direct;
#[cfg(feature = "network")]
pub(crate) mod excite;
mod family;
#[cfg(feature = "network")]
pub(crate) mod global_pool;
pub(crate) mod job;
mod kernel;
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
pub(crate) mod resample;
#[cfg(feature = "network")]
pub(crate) mod scale;
#[cfg(feature = "network")]
pub(crate) mod softmax;
pub(crate) mod source;
pub(crate) mod staged;
mod step;
#[cfg(all(test, feature = "network", feature = "context"))]
pub(crate) mod testing;
pub(crate) mod texture_input;
pub(crate) mod texture_output;
mod types;
pub(crate) mod uniform;
pub(crate) mod upsample;
#[cfg(feature = "network")]
pub(crate) mod window_pool;
pub(crate) mod winograd;

pub(crate) use access::{Access, TexelFormat};
pub(crate) use family::{Family, Refusal, Request};
pub(crate) use kernel::Kernel;
pub(crate) use registry::FAMILIES;
pub(crate) use step::{Grid, Step};
pub(crate) use types::*;
