//! A network's tensors by name: read, made from a seed, translated from other namings, checked against the network.

#[expect(clippy::module_inception, reason = "the room is named for what it makes")]
mod checkpoint;
mod dialects;
mod fit;
mod random;
mod safetensors;

pub use checkpoint::{Checkpoint, HostTensor};
pub use random::random_input;
pub use safetensors::check_safetensors;
