//! Measuring which variant of a layer is the fastest on the device at hand. What it finds goes into a
//! [`Tuned`](crate::Tuned), which planners follow.

mod clock;
mod measure;
mod race;
mod random_layer;
mod referee;

#[cfg(not(target_arch = "wasm32"))]
pub use measure::tune;
pub use measure::{Progress, Trial, TuneOutcome, tune_async};
pub use race::Effort;
pub use random_layer::RandomLayer;
pub use referee::{Difference, Dropped};
