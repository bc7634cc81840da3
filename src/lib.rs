#![doc = include_str!("../README.md")]
#![cfg_attr(
    target_arch = "wasm32",
    allow(clippy::arc_with_non_send_sync, reason = "in browsers, everything stays on the thread that made it")
)]

mod checksum;
#[cfg(feature = "context")]
pub mod context;
mod device;
mod dims;
mod engine;
mod error;
#[cfg(feature = "context")]
mod error_bounds;
#[cfg(feature = "export")]
pub mod export;
mod kernels;
mod layer;
mod memory;
#[cfg(feature = "network")]
pub mod network;
#[cfg(any(feature = "network", feature = "context"))]
mod noise;
mod plan;
mod precision;
pub mod reference;
#[cfg(feature = "context")]
pub mod roofline;
mod texture;
#[cfg(feature = "context")]
pub mod tuning;
#[cfg(feature = "verify")]
pub mod verify;
mod winograd;

#[cfg(all(feature = "context", not(target_arch = "wasm32")))]
pub use context::Cache;
#[cfg(feature = "context")]
pub use context::{Context, ContextOptions, Timing};
pub use device::{AdapterFacts, DeviceFacts, DeviceIdentity, Rates};
pub use dims::{Dims, Extent, InputSize};
pub use engine::{
    Engine, EngineOptions, Layer, Marks, PackedWeights, TensorBinding, TensorView, Tensors, TextureDispatch,
    TexturePlace,
};
pub use error::{BindingProblem, Error, Misfit, MisfitKind, PlanMismatch, Presence};
pub use kernels::job::Slice;
pub use layer::{
    Activation, BatchNorm, Cost, Downsample, Frequency, Groups, Path, Rounding, Shapes, Spec, SpecBuilder, Split,
    TimeAxis, Weights,
};
#[cfg(feature = "network")]
pub use layer::{LayerDescription, LayerFields, ListedLayer, MapChannels};
pub use plan::{Alternative, Choices, Family, Options, Plan, PlanTensor, Strategy, Tuned, Tuning, Variant};
pub use precision::{Accuracy, Dtype, Precision};
pub use texture::{Region, TextureInput, TextureOutput};
pub use wgpu;

/// What `examples/shaders.rs` and tests need. Not part of the public interface.
#[doc(hidden)]
pub mod shaders {
    pub use crate::kernels::source::{Alone, Place, Wrong};

    /// A source as Direct3D gets it.
    pub fn without_aliases(source: &str) -> String {
        crate::kernels::source::without_aliases(source)
    }

    /// The sources of all kernels between textures and tensors.
    pub fn textures() -> Vec<String> {
        let kernels = crate::kernels::texture_input::kernels().chain(crate::kernels::texture_output::kernels());
        kernels.map(|kernel| kernel.source()).collect()
    }
}
