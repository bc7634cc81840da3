//! A specialised kernel.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use super::access::Access;
use super::source::{Recipe, assemble};

/// A specialised kernel. It is the key under which its pipeline is shared. Two kernels are equal if their recipes are.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    name: Cow<'static, str>,
    recipe: Recipe,
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.recipe == other.recipe
    }
}

impl Eq for Kernel {}

impl Hash for Kernel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.recipe.hash(state);
    }
}

impl Kernel {
    pub(crate) fn recipe(name: impl Into<Cow<'static, str>>, recipe: Recipe) -> Self {
        Self { name: name.into(), recipe }
    }

    /// The whole WGSL source.
    pub(crate) fn source(&self) -> String {
        let source = assemble(&self.recipe);
        debug_assert!(source.is_ok(), "{source:?}");
        // Tests assemble every recipe. If one is wrong after all, the device refuses this text and quotes it.
        source.unwrap_or_else(|error| format!("error: {error}"))
    }

    /// The same kernel for buffers that hold both what it reads and what it writes: those for which `shared` is true, counted
    /// from 0, are bound as if it wrote them. WebGPU tracks whole buffers, and refuses one that a dispatch binds in both
    /// ways.
    pub(crate) fn sharing(&self, shared: impl Fn(usize) -> bool) -> Self {
        Self { name: self.name.clone(), recipe: self.recipe.sharing(shared) }
    }

    /// How each storage buffer and texture is used, in binding order, starting at binding 1. Binding 0 is the uniform.
    pub(crate) fn accesses(&self) -> Vec<Access> {
        self.recipe.accesses().collect()
    }

    #[cfg(test)]
    pub(crate) fn data(&self) -> &Recipe {
        &self.recipe
    }

    /// Its name in labels and reports: the family and the numbers that distinguish it.
    pub(crate) fn name(&self) -> String {
        self.name.to_string()
    }
}
