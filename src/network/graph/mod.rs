//! A network whose names are resolved: its values, the tensors that it needs, shapes at a size, and cost.

mod cost;
#[expect(clippy::module_inception, reason = "the module is named for what it makes")]
mod graph;
mod node;
mod resolve;
mod tensors;
mod value;

pub use cost::NetworkCost;
pub use graph::Graph;
pub(crate) use node::{GraphNode, Scale, Task};
pub use tensors::{Role, TensorSpec};
pub use value::ValueShape;
pub(crate) use value::{INPUT_ID, Kind, ValueId};
