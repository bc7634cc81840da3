//! The choice of kernels for a layer: a pure function from specification, size, options and device facts to a [`Plan`].

mod interface;
mod layer;
mod limits;
mod options;
mod places;
#[expect(clippy::module_inception, reason = "the module is named for what it makes")]
mod plan;
mod strategies;
mod tuned;
mod tuning;
mod variant;

pub use options::Options;
pub(crate) use places::one_after_the_other;
pub use plan::{Alternative, Plan, PlanTensor};
pub use tuned::{Choices, Tuned};
pub use tuning::Tuning;
pub use variant::{Family, Strategy, Variant};
