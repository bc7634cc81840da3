//! A device of one's own, for those who have no engine.

mod cache;
#[expect(clippy::module_inception, reason = "the room is named for what it makes")]
mod context;

pub use cache::Cache;
pub use context::{Context, ContextOptions, Timing, adapters, instance, list_adapters};
pub(crate) use context::{decode, encode};
