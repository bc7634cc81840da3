//! Opens and owns a device, for programs that have none.

mod cache;
#[expect(clippy::module_inception, reason = "the module is named for what it makes")]
mod context;

pub use cache::Cache;
pub use context::{Context, ContextOptions, Timing, adapters, instance, list_adapters};
pub(crate) use context::{decode, encode};
