//! A network cut into dispatches and buffers, for a size and a device.

mod doubled;
mod lifetimes;
mod lower;
mod memory;
mod options;
mod place;
#[expect(clippy::module_inception, reason = "the module is named for what it makes")]
mod plan;
mod pooled;
mod roles;
mod stem;
mod step;
mod together;

pub use options::NetworkOptions;
pub use plan::{NetworkLayer, NetworkPlan, Stage};
pub(crate) use step::{Params, Part, PlannedStep};
