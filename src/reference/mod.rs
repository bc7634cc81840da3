//! The reference: layers and networks on the CPU, in f64, written to be read.

mod layer;
#[cfg(feature = "network")]
pub mod network;
mod tensor;
mod texture;
#[cfg(feature = "verify")]
mod tile_magnitude;

#[cfg(feature = "verify")]
pub(crate) use layer::magnitude_of_tiles;
pub use layer::{Inputs, Outputs, average_pool, magnitude, octave_conv};
#[cfg(all(feature = "network", feature = "verify"))]
pub(crate) use layer::{Maps, magnitude_f64};
pub use tensor::Tensor;
pub use texture::{texture_input, texture_output};
