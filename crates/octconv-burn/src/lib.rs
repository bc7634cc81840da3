#![doc = include_str!("../README.md")]

mod accelerator;
mod composed;
mod conv;
mod maps;
#[cfg(feature = "networks")]
mod network;
mod op;
mod packed;

pub use accelerator::{Error, accelerate, accelerate_with, decelerate, init};
pub use conv::{NotAccelerated, OctConv2d, OctConv2dConfig};
pub use maps::OctTensor;
#[cfg(feature = "networks")]
pub use network::{NetworkError, OctNetwork, Value};
pub use octconv;
