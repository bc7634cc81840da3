//! Octave convolution as one GPU operator: WGSL compute shaders on wgpu that fuse the four convolutions of an octave
//! layer with its pooling, upsampling and epilogue, and a CPU reference that says what is right.
//!
//! A layer is specified ([`Spec`]), planned ([`Plan`]), packed ([`Engine::pack`]), bound ([`Engine::bind`]) and recorded
//! ([`Layer::record`]) into a compute pass of yours. See [`Engine`] for the whole of it in ten lines.
//!
//! # Features
//!
//! None is on by default. The library then neither picks adapters nor enables backends: those are the embedder's.
//!
//! - `network`: whole networks, from a description and a checkpoint to an answer.
//! - `context`: [`Context`], an adapter, device and queue of one's own, with every native backend of wgpu.
//! - `verify`: random layers against the reference.
//!
//! # Source
//!
//! Chen et al., *Drop an Octave: Reducing Spatial Redundancy in Convolutional Neural Networks with Octave Convolution*,
//! 2019, arXiv 1904.05049, and the official implementations for what the paper leaves open.
#![warn(missing_docs)]

mod checksum;
#[cfg(feature = "context")]
pub mod context;
mod device;
mod dims;
mod engine;
mod error;
#[cfg(feature = "context")]
mod error_bounds;
mod kernels;
mod layer;
#[cfg(feature = "network")]
pub mod network;
mod plan;
mod precision;
pub mod reference;
#[cfg(feature = "context")]
pub mod roofline;
#[cfg(feature = "context")]
pub mod tuning;
#[cfg(feature = "verify")]
pub mod verify;
mod winograd;

#[cfg(feature = "context")]
pub use context::{Cache, Context, ContextOptions, Timing};
pub use device::{AdapterFacts, DeviceFacts, DeviceIdentity};
pub use dims::{Dims, Extent, InputSize};
pub use engine::{CHECKED_VARIABLE, Engine, EngineOptions, Layer, PackedWeights, TensorBinding, Tensors};
pub use error::Error;
pub use kernels::job::Slice;
pub use layer::{
    Activation, BatchNorm, Cost, Downsample, Frequency, Groups, Path, Rounding, Shapes, Spec, SpecBuilder, Split,
    TimeAxis, Weights,
};
pub use plan::{Choices, Family, Options, Plan, PlanTensor, Strategy, Tuned, Variant};
pub use precision::{Dtype, Precision};
pub use wgpu;
