//! The tensors of a network by name: read from files, made from a seed, translated from other dialects, and checked.

#[expect(clippy::module_inception, reason = "the module is named for what it makes")]
mod checkpoint;
mod dialects;
mod fit;
mod groups;
mod random;
mod safetensors;

pub use checkpoint::{Checkpoint, HostTensor};
pub use random::random_input;
pub use safetensors::check_safetensors;
