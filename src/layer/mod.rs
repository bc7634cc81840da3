//! A layer: its specification, the shapes and the cost that follow from it, and its weights.

mod activation;
mod axes;
mod builder;
mod cost;
#[cfg(feature = "network")]
mod json;
#[cfg(feature = "network")]
mod resample;
mod shapes;
mod spec;
mod split;
mod weights;
#[cfg(feature = "network")]
mod window;

pub use activation::Activation;
pub use axes::{Downsample, Groups, Rounding, TimeAxis};
pub use builder::SpecBuilder;
pub use cost::Cost;
#[cfg(feature = "network")]
pub use json::{LayerDescription, LayerFields, ListedLayer, MapChannels};
#[cfg(feature = "network")]
pub(crate) use json::{Members, NORM_EPS, missing};
#[cfg(feature = "network")]
pub(crate) use resample::{Fraction, Resample};
pub(crate) use shapes::Sampling;
pub use shapes::Shapes;
#[cfg(feature = "network")]
pub(crate) use spec::MAX_AXIS;
pub use spec::Spec;
pub use split::{Frequency, Path, Split};
pub(crate) use weights::check_slice;
pub use weights::{BatchNorm, Weights};
#[cfg(feature = "network")]
pub(crate) use window::{Rows, Window};
