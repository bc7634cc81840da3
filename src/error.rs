//! The one error type of the library. Every variant names the argument, its value and what is allowed.

use crate::dims::{Dims, Extent};

/// What went wrong. Only [`Error::Gpu`], [`Error::DeviceLost`], [`Error::OutOfMemory`], [`Error::Tune`] and
/// [`Error::Cache`] can come after work was submitted.
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

    /// The two resolutions of an output disagree, because the padding changes the size too much.
    #[error(
        "the outputs disagree: {high_from} gives {high}, whose low resolution is {expected}, but {low_from} gives \
         {low}; choose a padding of dilation * (kernel - 1) / 2, or a rounding that gives both"
    )]
    Resolutions {
        /// The path that gave the high resolution.
        high_from: &'static str,
        /// Height x width of the high-frequency output.
        high: Extent,
        /// The path that gave the low resolution.
        low_from: &'static str,
        /// Height x width that this path gives.
        low: Extent,
        /// Height x width that the low resolution should have.
        expected: Extent,
    },

    /// Two paths into one output give different sizes.
    #[error("the paths into {output} disagree: {first_from} gives {first}, but {second_from} gives {second}")]
    Paths {
        /// The output that both paths add to.
        output: &'static str,
        /// One path.
        first_from: &'static str,
        /// Height x width that it gives.
        first: Extent,
        /// The other path.
        second_from: &'static str,
        /// Height x width that it gives.
        second: Extent,
    },

    /// A tensor is missing, or was given although the layer does not use it.
    #[error("tensor {tensor} is {presence} it")]
    Presence {
        /// The tensor's name.
        tensor: &'static str,
        /// Whether it is missing, or given but not used.
        presence: Presence,
    },

    /// A tensor on the host has more or fewer elements than its shape says.
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
        problem: BindingProblem,
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
        /// The packing that the plan reads.
        plan: String,
    },

    /// A plan was made for another device, or for another network.
    #[error("the plan does not fit: {problem}; make it with Model::plan or Engine::plan of this device")]
    Plan {
        /// How the plan differs from what the model or the device needs.
        problem: PlanMismatch,
    },

    /// A description of a layer or a network is wrong.
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
        /// What is wrong with it: [`Error::cause`] finds it. It is not the error's source, because the message has it already.
        error: Box<Error>,
    },

    /// A checkpoint does not belong to this network.
    #[error("the checkpoint does not fit the network: {}", summary(misfits))]
    Checkpoint {
        /// Every tensor that is missing, surplus or of another shape. The message has the first alone.
        misfits: Vec<Misfit>,
    },

    /// A file of tensors cannot be read or written.
    #[error("not a usable safetensors file: {problem}")]
    File {
        /// What is wrong, with the tensor's name if it concerns one tensor.
        problem: String,
    },

    /// Tuning found no candidate with a right result.
    #[error("no candidate can be trusted on this device: {problem}")]
    Tune {
        /// What is wrong with the result of the planner's choice.
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

    /// A kernel cannot be written in a shading language.
    #[error("kernel {kernel} cannot be written in {language}: {problem}")]
    Shader {
        /// The kernel's name.
        kernel: String,
        /// The language's name.
        language: &'static str,
        /// What the language lacks, or what the writer said.
        problem: String,
    },

    /// There is no adapter to open.
    #[error("no GPU adapter found; {hint}")]
    NoAdapter {
        /// What to install.
        hint: &'static str,
    },

    /// wgpu refused to create something.
    #[error("{operation} failed: {message}")]
    Gpu {
        /// What was being done.
        operation: String,
        /// What wgpu said.
        message: String,
    },

    /// The device or the host has too little memory. Nothing was made.
    #[error("{operation} failed: out of memory")]
    OutOfMemory {
        /// What was being done, with the bytes if they are known.
        operation: String,
    },

    /// The device is lost, and everything on it. Only a new device helps.
    #[error("{operation} failed: the device is lost: {message}")]
    DeviceLost {
        /// What was being done.
        operation: String,
        /// What wgpu said.
        message: String,
    },
}

/// A tensor of a checkpoint that does not fit a network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} {problem}")]
#[non_exhaustive]
pub struct Misfit {
    /// The node that it belongs to, as far as its name tells.
    pub node: String,
    /// Its name: this project's if it is missing, else the one that the checkpoint has.
    pub name: String,
    /// What is wrong.
    pub problem: MisfitKind,
}

/// Why a tensor of a checkpoint does not fit a network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MisfitKind {
    /// The network needs it.
    #[error("is missing: expected {expected:?}")]
    Missing {
        /// The shape that it must have.
        expected: Vec<usize>,
    },
    /// No name of the network is like it.
    #[error("is surplus: found {found:?}, expected no such tensor")]
    Unknown {
        /// Its shape.
        found: Vec<usize>,
    },
    /// Its name is known, but the network has no place for it.
    #[error("is surplus: {reason}")]
    Surplus {
        /// Why not.
        reason: String,
    },
    /// It has another shape.
    #[error("has another shape: found {found:?}, expected {expected:?}")]
    Shape {
        /// Its shape.
        found: Vec<usize>,
        /// The shape that it must have.
        expected: Vec<usize>,
    },
    /// It has more or fewer elements than its shape says.
    #[error("has {found} elements: expected {expected:?}")]
    Length {
        /// Its elements.
        found: usize,
        /// Its shape.
        expected: Vec<usize>,
    },
}

impl MisfitKind {
    /// Whether the network has no place for the tensor.
    pub fn is_surplus(&self) -> bool {
        matches!(self, Self::Unknown { .. } | Self::Surplus { .. })
    }
}

/// How many tensors are wrong, and the first of them.
fn summary(misfits: &[Misfit]) -> String {
    let count = |is: fn(&MisfitKind) -> bool| misfits.iter().filter(|misfit| is(&misfit.problem)).count();
    let missing = count(|problem| matches!(problem, MisfitKind::Missing { .. }));
    let surplus = count(MisfitKind::is_surplus);
    let first = misfits.first().map_or_else(String::new, Misfit::to_string);
    match misfits.len() {
        0 | 1 => first,
        all => format!(
            "{missing} tensors are missing, {surplus} are surplus, and {} have another shape; the first: {first}",
            all - missing - surplus
        ),
    }
}

/// Why a tensor's presence or absence is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Presence {
    /// The layer needs it.
    #[error("missing, but the layer needs")]
    Missing,
    /// The layer does not use it.
    #[error("given, but the layer does not use")]
    Unused,
}

/// What is wrong with a tensor's binding.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingProblem {
    /// Shaders cannot use the buffer.
    #[error("its buffer has the usage {0:?}, which must include STORAGE")]
    Usage(wgpu::BufferUsages),
    /// The device cannot bind at this offset.
    #[error("its offset is {offset}, which must be a multiple of {alignment}")]
    Alignment {
        /// Bytes before its first element.
        offset: u64,
        /// The device's `min_storage_buffer_offset_alignment`.
        alignment: u64,
    },
    /// The tensor reaches beyond the end of the buffer.
    #[error("its {needs} bytes from offset {offset} on exceed a buffer of {size}")]
    Size {
        /// Bytes of the tensor.
        needs: u64,
        /// Bytes before its first element.
        offset: u64,
        /// Bytes of the buffer.
        size: u64,
    },
    /// Weights are in the same buffer as something that is written, or bound as written.
    #[error("it shares a buffer with {0}, which is bound as written: weights need another one")]
    Shared(&'static str),
    /// It overlaps another tensor, and something of their buffer is written.
    #[error("it overlaps with {0} in their buffer")]
    Overlap(&'static str),
    /// A dispatch binds bytes as written that it binds as another tensor too. Only browsers refuse that.
    #[error(
        "it has bytes of {0}, and both are bound as written, which browsers forbid: bind other bytes, or do without \
         read_write and one_buffer"
    )]
    Alias(&'static str),
}

/// How a network's plan differs from a model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanMismatch {
    /// It is a plan of another network.
    #[error("its network is {plan}, and the model's {model}")]
    Network {
        /// The name of the plan's network.
        plan: String,
        /// The name of the model's network.
        model: String,
    },
    /// Both networks have this name, but their descriptions differ.
    #[error("its network has the name {0}, as the model's, but another description")]
    Description(String),
    /// It was made for a device with other limits.
    #[error("it was made for a device with other limits")]
    Limits,
    /// It was made for a device with other features.
    #[error("it was made for the features {plan:?}, and the device has {device:?}")]
    Features {
        /// The features that the plan was made for.
        plan: wgpu::Features,
        /// The features of the device.
        device: wgpu::Features,
    },
    /// A layer's plan was made for a device with other facts, which give other dispatches.
    #[error("it was made for a device with other facts, and this device needs other dispatches")]
    Dispatches,
    /// It was made for a device with other matrix units or subgroups, or with a driver that has other known faults.
    #[error("it was made for a device with other matrix units or subgroups, or a driver with other known faults")]
    Units,
    /// One was made for a software device, the other for a GPU.
    #[error("it was made for software being {plan}, and the device's is {device}")]
    Software {
        /// Whether the plan was made for a software device.
        plan: bool,
        /// Whether the device is a software device.
        device: bool,
    },
}

impl Error {
    /// What is wrong, wherever it is: the error inside of [`Error::Node`], or else this one. For a program that acts on
    /// [`Error::OutOfMemory`] or [`Error::DeviceLost`].
    pub fn cause(&self) -> &Self {
        let mut cause = self;
        while let Self::Node { error, .. } = cause {
            cause = error;
        }
        cause
    }

    pub(crate) fn argument(name: &'static str, value: impl ToString, allowed: impl ToString) -> Self {
        Self::Argument { name, value: value.to_string(), allowed: allowed.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_inside_of_nodes() {
        let lost = Error::DeviceLost { operation: "waiting".into(), message: "it was destroyed".into() };
        let within = |error| Error::Node { node: "a".into(), error: Box::new(error) };
        for error in [lost.clone(), within(lost.clone()), within(within(lost.clone()))] {
            assert_eq!(error.cause(), &lost);
        }
    }
}
