//! Whole octave networks. A description ([`Network`]) is resolved into a [`Graph`]. With weights and a device it is a
//! [`Model`]. A [`NetworkPlan`] is for a size and a device. Compiled, it is an [`Inference`] with its own buffers,
//! which is recorded like a layer. `docs/networks.md` has the description's fields, the names of tensors, and the
//! built-in networks.

mod checkpoint;
mod description;
mod graph;
mod model;
mod pack;
mod picture;
mod plan;
#[cfg(feature = "context")]
mod run;
mod scale;
pub mod zoo;

pub use crate::engine::TensorView;
pub use checkpoint::{Checkpoint, HostTensor, check_safetensors, random_input};
pub use description::*;
#[cfg(feature = "verify")]
pub(crate) use graph::Scale;
pub use graph::{Graph, NetworkCost, Role, TensorSpec, ValueShape};
pub(crate) use graph::{GraphNode, Task, ValueId};
pub use model::{Inference, Model, Progress, ValueView};
#[cfg(feature = "export")]
pub(crate) use pack::pack;
pub use plan::{NetworkLayer, NetworkOptions, NetworkPlan, Stage};
#[cfg(feature = "export")]
pub(crate) use plan::{Params, Part};
