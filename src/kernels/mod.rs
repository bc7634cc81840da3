//! The host twins of the shaders: for each kernel its constants, the uniform it reads, and the WGSL it becomes.
//!
//! A [`Kernel`] is a specialisation: everything that changes the source. Two layers with equal kernels share a
//! pipeline. What differs without changing the source (sizes, strides, offsets) is in the uniform `shape`.

pub(crate) mod add;
pub(crate) mod direct;
#[cfg(feature = "network")]
pub(crate) mod excite;
#[cfg(feature = "network")]
pub(crate) mod global_pool;
#[cfg(feature = "network")]
pub(crate) mod linear;
pub(crate) mod matrix;
pub(crate) mod pointwise;
pub(crate) mod pool;
#[cfg(feature = "context")]
pub(crate) mod probe;
pub(crate) mod reduce;
#[cfg(feature = "network")]
pub(crate) mod scale;
#[cfg(feature = "network")]
pub(crate) mod softmax;
// Until all kernels are recipes.
#[allow(dead_code, unused_imports)]
pub(crate) mod source;
pub(crate) mod staged;
#[cfg(all(test, feature = "network", feature = "context"))]
pub(crate) mod testing;
pub(crate) mod uniform;
pub(crate) mod upsample;
pub(crate) mod wgsl;
#[cfg(feature = "network")]
pub(crate) mod window_pool;
pub(crate) mod winograd;

use std::borrow::Cow;

#[cfg(feature = "network")]
use crate::plan::DeviceFacts;
use crate::plan::Dtype;
use crate::spec::{Activation, Dims};
use wgsl::Source;

/// A specialised kernel, the key under which its pipeline is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kernel {
    Direct(direct::Constants),
    Pointwise(pointwise::Constants),
    Staged(staged::Constants),
    Matrix(matrix::Constants),
    WinogradInput(winograd::InputConstants),
    WinogradMultiply(winograd::MultiplyConstants),
    WinogradOutput(winograd::OutputConstants),
    Reduce(reduce::Constants),
    Pool(pool::Constants),
    Recipe(source::Named),
    #[cfg(feature = "context")]
    Probe(probe::Constants),
    #[cfg(feature = "network")]
    WindowPool(window_pool::Constants),
    #[cfg(feature = "network")]
    Scale(scale::Constants),
    #[cfg(feature = "network")]
    GlobalPool(global_pool::Constants),
    #[cfg(feature = "network")]
    Excite(excite::Constants),
    #[cfg(feature = "network")]
    Linear(linear::Constants),
    #[cfg(feature = "network")]
    Softmax(softmax::Constants),
}

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Kernel {
    pub(crate) fn recipe(name: impl Into<Cow<'static, str>>, recipe: source::Recipe) -> Self {
        Self::recipe_in_f16(name, recipe, 0)
    }

    /// A kernel that adds up as many as `f16_terms` products in f16, one after the other.
    pub(crate) fn recipe_in_f16(name: impl Into<Cow<'static, str>>, recipe: source::Recipe, f16_terms: u32) -> Self {
        Self::Recipe(source::Named { name: name.into(), recipe, f16_terms })
    }

    /// The whole WGSL source.
    pub(crate) fn source(&self) -> String {
        let Self::Recipe(named) = self else { return self.assemble().text() };
        let source = source::assemble(&named.recipe);
        debug_assert!(source.is_ok(), "{source:?}");
        // Tests assemble every recipe. Were one wrong, the device would refuse this and quote it.
        source.unwrap_or_else(|error| format!("error: {error}"))
    }

    /// How each storage buffer is used, in binding order behind the uniform at binding 0.
    pub(crate) fn accesses(&self) -> Vec<Access> {
        match self {
            Self::Recipe(named) => named.recipe.accesses().collect(),
            _ => self.assemble().accesses(),
        }
    }

    /// What labels and reports call it: the family and the numbers that distinguish it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Direct(c) => c.name(),
            Self::Pointwise(c) => c.name(),
            Self::Staged(c) => c.name(),
            Self::Matrix(c) => c.name(),
            Self::WinogradInput(c) => c.name(),
            Self::WinogradMultiply(c) => c.name(),
            Self::WinogradOutput(c) => c.name(),
            Self::Reduce(_) => "reduce".into(),
            Self::Pool(_) => "pool".into(),
            Self::Recipe(named) => named.name.to_string(),
            #[cfg(feature = "context")]
            Self::Probe(c) => c.name(),
            #[cfg(feature = "network")]
            Self::WindowPool(c) => c.name(),
            #[cfg(feature = "network")]
            Self::Scale(c) => c.name(),
            #[cfg(feature = "network")]
            Self::GlobalPool(c) => c.name(),
            #[cfg(feature = "network")]
            Self::Excite(c) => c.name(),
            #[cfg(feature = "network")]
            Self::Linear(c) => c.name(),
            #[cfg(feature = "network")]
            Self::Softmax(_) => "softmax".into(),
        }
    }

    /// What is not a recipe yet.
    fn assemble(&self) -> Source {
        match self {
            Self::Direct(c) => c.assemble(),
            Self::Pointwise(c) => c.assemble(),
            Self::Staged(c) => c.assemble(),
            Self::Matrix(c) => c.assemble(),
            Self::WinogradInput(c) => c.assemble(),
            Self::WinogradMultiply(c) => c.assemble(),
            Self::WinogradOutput(c) => c.assemble(),
            Self::Reduce(c) => c.assemble(),
            Self::Pool(c) => c.assemble(),
            Self::Recipe(_) => Source::new(Dtype::F32, ELEMENTWISE_WORKGROUP),
            #[cfg(feature = "context")]
            Self::Probe(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::WindowPool(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::Scale(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::GlobalPool(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::Excite(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::Linear(c) => c.assemble(),
            #[cfg(feature = "network")]
            Self::Softmax(c) => c.assemble(),
        }
    }
}

/// Threads of a workgroup of the kernels that make one element a thread.
pub(crate) const ELEMENTWISE_WORKGROUP: u32 = 64;

/// Threads of a workgroup that adds up in workgroup memory, with so many bytes a thread: a power of two, `wanted` where
/// the device allows it.
#[cfg(feature = "network")]
pub(crate) fn reduction_workgroup(facts: &DeviceFacts, wanted: u32, bytes: u32) -> u32 {
    let limits = &facts.limits;
    let threads = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    let allowed = threads.min(limits.max_compute_workgroup_storage_size / bytes).max(1);
    1 << wanted.min(allowed).ilog2()
}

/// The number of an activation in shaders/activate.wgsl.
pub(crate) fn activation_number(activation: Activation) -> u32 {
    match activation {
        Activation::None => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 2,
        Activation::Silu => 3,
        Activation::HardSwish => 4,
        Activation::LeakyRelu { .. } => 5,
    }
}

/// The slope that goes into the uniform.
pub(crate) fn slope(activation: Activation) -> f32 {
    match activation {
        Activation::LeakyRelu { slope } => slope,
        _ => 0.0,
    }
}

/// The types of a kernel's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Types {
    pub(crate) activations: Dtype,
    pub(crate) weights: Dtype,
    pub(crate) words: Words,
}

/// What a device reads and writes at once, beside single elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Words {
    /// Nothing: a vector's elements one by one.
    Elements,
    /// Integers of 64 bits, or of 32 bits for two halves, which need `SHADER_INT64`: a software device fetches every scalar
    /// on its own, and checks its bounds, whatever vector it belongs to.
    Integers,
    /// WGSL's vectors.
    #[default]
    Vectors,
}

impl Types {
    /// Whether two elements of a row of activations, the first at an even column, are one word: rows of even length are
    /// whole numbers of them.
    pub(crate) fn paired(self, dims: Dims) -> bool {
        self.pairs() && dims.w.is_multiple_of(2)
    }

    /// Whether two adjacent elements of activations, the first at an even index, can be one word.
    pub(crate) fn pairs(self) -> bool {
        self.words != Words::Elements
    }

    /// Elements that cost one load or store: two of a word, but for a GPU's vectors of f32, of which its cache gives as many
    /// bytes a cycle as of single elements.
    pub(crate) fn elements_a_load(self, paired: bool) -> u64 {
        if paired && (self.words, self.activations) != (Words::Vectors, Dtype::F32) { 2 } else { 1 }
    }

    /// These, with outputs that are partial sums of slices: f32.
    pub(crate) fn of_partial_sums(self, sliced: bool) -> Self {
        if sliced { Self { activations: Dtype::F32, ..self } } else { self }
    }

    /// Weights that a load of a software device brings, of vectors of so many.
    pub(crate) fn weights_a_load(self, lanes: u32) -> u64 {
        if self.words == Words::Integers && lanes > 1 { 2 } else { 1 }
    }
}
