//! Measuring which variant of a layer is the fastest on the device at hand. What it finds goes into a
//! [`Tuned`](crate::Tuned), which planners follow.

mod measure;
mod random_layer;
mod referee;

pub use measure::{Dropped, Effort, Progress, Trial, TuneOutcome, tune};
pub use random_layer::RandomLayer;
pub use referee::Difference;
