//! What is known about a device: its limits and features, its name, and how long work takes on it.

mod cost_model;
mod facts;
mod identity;
mod rates;

pub(crate) use cost_model::{Part, Work};
pub(crate) use facts::{Abilities, Words, check_size};
pub use facts::{AdapterFacts, DeviceFacts};
pub use identity::DeviceIdentity;
pub use rates::Rates;
