//! The one error type of the library: every variant names the argument, its value and what is allowed.

use crate::dims::{Dims, Extent};

/// What went wrong, before anything reached the GPU unless the variant is [`Error::Gpu`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is outside of what is allowed.
    #[error("{name} is {value}: {allowed}")]
    Argument {
        /// The argument, as the caller spells it.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would have been accepted.
        allowed: String,
    },

    /// The two resolutions of an output disagree: the padding is not "same", or nearly.
    #[error(
        "the outputs disagree: {high_from} gives {high}, whose low resolution is {expected}, but {low_from} gives \
         {low}; choose a padding of dilation * (kernel - 1) / 2, or a rounding that gives both"
    )]
    Resolutions {
        /// Which path gave the high resolution.
        high_from: &'static str,
        /// Height x width of the high-frequency output.
        high: Extent,
        /// Which path gave the low resolution.
        low_from: &'static str,
        /// Height x width that path gives.
        low: Extent,
        /// Height x width that the low resolution should have.
        expected: Extent,
    },

    /// Two paths into one output give different sizes.
    #[error("the paths into {output} disagree: {first_from} gives {first}, but {second_from} gives {second}")]
    Paths {
        /// The output they would be added into.
        output: &'static str,
        /// One path.
        first_from: &'static str,
        /// Height x width it gives.
        first: Extent,
        /// The other path.
        second_from: &'static str,
        /// Height x width it gives.
        second: Extent,
    },

    /// A tensor is needed and was not given, or was given and is not used.
    #[error("tensor {tensor} is {found}, but the layer {wants} it")]
    Presence {
        /// The tensor's name.
        tensor: &'static str,
        /// "given" or "missing".
        found: &'static str,
        /// "needs" or "does not use".
        wants: &'static str,
    },

    /// A tensor on the host has another number of elements than its shape says.
    #[error("tensor {tensor} has {found} elements, but its shape {shape} has {}", shape.elements())]
    Length {
        /// The tensor's name.
        tensor: &'static str,
        /// Elements given.
        found: u64,
        /// The shape it must have.
        shape: Dims,
    },

    /// A tensor's binding does not fit its buffer, its alignment, or the buffer's usage.
    #[error("tensor {tensor}: {problem}")]
    Binding {
        /// The tensor's name.
        tensor: &'static str,
        /// What is wrong, with the value and what is allowed.
        problem: String,
    },

    /// Something exceeds a limit of this device.
    #[error("{what} needs {needs}, but {limit} is {allowed}")]
    Limit {
        /// What is too large.
        what: String,
        /// How much it needs, with its unit.
        needs: u64,
        /// The limit's name in `wgpu::Limits`, or a limit of this library.
        limit: &'static str,
        /// The limit's value.
        allowed: u64,
    },

    /// The device lacks a feature that the options ask for.
    #[error("{what} needs the device feature {feature}, which this device was created without")]
    Feature {
        /// What asks for it.
        what: &'static str,
        /// The feature's name in `wgpu::Features`.
        feature: &'static str,
    },

    /// The forced variant cannot run this layer.
    #[error("variant {variant} cannot run this layer: {reason}")]
    Variant {
        /// The variant's name.
        variant: String,
        /// Why not, and which layers it can run.
        reason: String,
    },

    /// Weights were packed for another plan.
    #[error("the weights were packed as {packed}, but this plan reads {plan}; pack them again for this plan")]
    Packing {
        /// The packing of the weights.
        packed: String,
        /// The packing that the plan wants.
        plan: String,
    },

    /// A network's plan was made for another network, or for another device.
    #[error("the plan does not fit the model: {problem}; make it with Model::plan")]
    Plan {
        /// In what it differs, with the network's name or the kind of fact.
        problem: String,
    },

    /// A network's description does not hold together.
    #[error("{problem}")]
    Description {
        /// What is wrong, with the name and what is allowed.
        problem: String,
    },

    /// Something is wrong with a node of a network.
    #[error("node {node}: {error}")]
    Node {
        /// The node's name.
        node: String,
        /// What is wrong with it.
        #[source]
        error: Box<Error>,
    },

    /// A checkpoint is not one of this network.
    #[error("the checkpoint does not fit the network: {}", problems.join("; "))]
    Checkpoint {
        /// Every tensor that is missing, surplus or of another shape, with the shapes.
        problems: Vec<String>,
    },

    /// A file of tensors cannot be read or written.
    #[error("not a usable safetensors file: {problem}")]
    File {
        /// What is wrong, with the tensor's name where it is one of them.
        problem: String,
    },

    /// No candidate of a layer that was to be tuned gave a right result.
    #[error("no candidate can be trusted on this device: {problem}")]
    Tune {
        /// What the planner's choice gave.
        problem: String,
    },

    /// A file of the cache cannot be written.
    #[error("writing {path}: {problem}")]
    Cache {
        /// The file.
        path: String,
        /// What the system said.
        problem: String,
    },

    /// There is no adapter to open.
    #[error("no GPU adapter found; {hint}")]
    NoAdapter {
        /// What to install.
        hint: &'static str,
    },

    /// wgpu refused to create something, or the device is lost.
    #[error("{operation} failed: {message}")]
    Gpu {
        /// What was being done.
        operation: String,
        /// What wgpu said.
        message: String,
    },
}

impl Error {
    pub(crate) fn argument(name: &'static str, value: impl ToString, allowed: impl ToString) -> Self {
        Self::Argument { name, value: value.to_string(), allowed: allowed.to_string() }
    }
}
