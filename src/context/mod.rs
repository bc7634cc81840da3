//! Opens and owns a device, for programs that have none.
//!
//! What waits for the device is an `async fn`, whose name ends with `_async`. Natively such a function does not yield: it
//! blocks while it is polled, because nothing else polls the device. So it has a form without the ending that is not
//! async. In browsers that form does not exist, and what is awaited leaves the thread to others.

#[cfg(not(target_arch = "wasm32"))]
mod blocking;
#[cfg(not(target_arch = "wasm32"))]
mod cache;
#[expect(clippy::module_inception, reason = "the module is named for what it makes")]
mod context;

#[cfg(not(target_arch = "wasm32"))]
pub use cache::Cache;
#[cfg(not(target_arch = "wasm32"))]
pub use context::adapters;
pub use context::{Context, ContextOptions, Timing, instance, list_adapters};
pub(crate) use context::{decode, encode};
