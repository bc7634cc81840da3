//! Bundles: a layer or a network as files that a program without Rust can run on any graphics API.
//!
//! A [`Bundle`] has every kernel in the language of that API, packed weights, uniforms, and a [`Manifest`] that says which
//! buffers to make, what to write into them, and which dispatches to run. Who runs it needs to know nothing about octave
//! convolution. `docs/bundle.md` has the format. Nothing here needs a device.
//!
//! ```no_run
//! # #[cfg(feature = "network")]
//! # fn export(network: &octconv::network::Network, weights: octconv::network::Checkpoint) -> Result<(), octconv::Error> {
//! use octconv::export::{Bundle, BundleOptions, ShaderLanguage};
//! use octconv::network::{Graph, NetworkOptions, NetworkPlan};
//! use octconv::{DeviceFacts, InputSize};
//!
//! // Of a device with WebGPU's default limits, and without features.
//! let facts = DeviceFacts::default();
//! let plan = NetworkPlan::new(&Graph::new(network)?, InputSize::image(1, 224, 224), &NetworkOptions::default(), &facts)?;
//! let options = BundleOptions { language: ShaderLanguage::Spirv, ..BundleOptions::default() };
//! let bundle = Bundle::of_network(&plan, &weights, options)?;
//! for (path, bytes) in bundle.files() {
//!     // Write the file.
//! }
//! # Ok(())
//! # }
//! ```

mod builder;
mod bundle;
#[cfg(test)]
mod documentation;
mod language;
mod layer;
mod manifest;
#[cfg(feature = "network")]
mod network;
mod shader;

pub use bundle::{Bundle, BundleOptions};
pub use language::ShaderLanguage;
pub use manifest::*;
