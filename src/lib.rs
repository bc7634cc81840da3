//! Octave convolution as one GPU operator: WGSL compute shaders on wgpu that fuse the four convolutions of an octave
//! layer with its pooling, upsampling and epilogue, and a CPU reference that says what is right.
//!
//! A layer is specified ([`Spec`]), planned ([`Plan`]), packed ([`Octconv::pack`]), bound ([`Octconv::bind`]) and
//! recorded ([`Layer::record`]) into a compute pass of yours. See [`Octconv`] for the whole of it in ten lines, and
//! `docs/architecture.md` for the rooms. Whole networks are in the module `network`.
//!
//! # Features
//!
//! - `context`: `Context`, an adapter, device and queue of one's own, with every native backend of wgpu.
//! - `network`: whole networks, from a description and a checkpoint to an answer.
//! - `verify`: random layers against the reference.
//! - `cli`, the default: the `octconv` command, and all of the above.
//!
//! Without any, the library neither picks adapters nor enables backends: those are the embedder's.
//!
//! # Source
//!
//! Chen et al., *Drop an Octave: Reducing Spatial Redundancy in Convolutional Neural Networks with Octave Convolution*,
//! 2019, arXiv 1904.05049, and the official implementations for what the paper leaves open.
#![warn(missing_docs)]

#[cfg(feature = "context")]
mod bounds;
#[cfg(feature = "context")]
mod cache;
#[cfg(feature = "context")]
pub mod context;
mod error;
mod estimate;
mod gpu;
mod kernels;
#[cfg(feature = "network")]
pub mod network;
mod packing;
mod plan;
pub mod reference;
#[cfg(feature = "context")]
pub mod roofline;
mod sealed;
mod spec;
#[cfg(feature = "context")]
pub mod tune;
mod tuned;
#[cfg(feature = "verify")]
pub mod verify;
mod weights;
mod winograd;

#[cfg(feature = "context")]
pub use cache::Cache;
#[cfg(feature = "context")]
pub use context::{Context, ContextOptions, Timing};
pub use error::{Error, Extent};
pub use gpu::{AdapterFacts, CHECKED_VARIABLE, EngineOptions, Layer, Octconv, PackedWeights, TensorBinding, Tensors};
pub use plan::{DeviceFacts, Dtype, Family, Options, Plan, PlanTensor, Slice, Strategy, Variant};
pub use spec::*;
pub use tuned::{Choices, DeviceIdentity, Tuned};
pub use weights::{BatchNorm, Weights};
pub use wgpu;
