//! Embedding: plans, packs, binds and records layers on a device that the caller owns.
//!
//! Nothing here submits, polls, blocks, prints or installs a callback. Everything is `Send + Sync`.

#[expect(clippy::module_inception, reason = "the module is named for what it makes")]
mod engine;
mod layer;
mod marks;
mod pipelines;
mod scope;
mod tensors;
mod textures;

pub use engine::{Engine, EngineOptions};
#[cfg(any(feature = "context", feature = "network"))]
pub(crate) use layer::Dispatch;
#[cfg(feature = "network")]
pub(crate) use layer::record_some;
pub use layer::{Layer, PackedWeights};
#[cfg(feature = "network")]
pub(crate) use marks::Marker;
pub use marks::Marks;
#[cfg(all(feature = "context", not(target_arch = "wasm32")))]
pub(crate) use scope::Scopes;
#[cfg(feature = "context")]
pub(crate) use scope::one_line;
pub use tensors::{TensorBinding, TensorView, Tensors};
pub use textures::{TextureDispatch, TexturePlace};
