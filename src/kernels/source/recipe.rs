//! What distinguishes a kernel, as data.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use crate::kernels::access::Access;

/// A specialised kernel: its root file and all that the host chooses. See the module's documentation.
///
/// Two recipes are equal if the same calls made them in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    pub(super) root: &'static str,
    pub(super) values: Vec<Value>,
    /// Another file behind an instance, or in place of a file.
    pub(super) files: Vec<(&'static str, &'static str)>,
    /// An instance, and the one that it is.
    pub(super) same: Vec<(&'static str, &'static str)>,
    pub(super) bindings: Vec<Binding>,
}

/// A constant or an alias that the host replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Value {
    /// Empty for the program's own.
    pub(super) instance: &'static str,
    pub(super) name: &'static str,
    pub(super) new: New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum New {
    Constant(u32),
    Flag(bool),
    Alias(&'static str),
}

/// A storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Binding {
    /// Empty for the program's own.
    pub(super) instance: &'static str,
    pub(super) name: &'static str,
    pub(super) access: Access,
}

impl Recipe {
    /// The file with the entry point, and all that it imports, as they are.
    pub(crate) fn new(root: &'static str) -> Self {
        // Room for those of a convolution: a recipe is made for each candidate.
        Self {
            root,
            values: Vec::with_capacity(40),
            files: Vec::with_capacity(12),
            same: Vec::with_capacity(6),
            bindings: Vec::with_capacity(12),
        }
    }

    /// A constant of type u32, of the root, of a part of it or of a plain import.
    pub(crate) fn constant(self, name: &'static str, value: u32) -> Self {
        self.constant_in("", name, value)
    }

    /// A constant of type bool, likewise.
    pub(crate) fn flag(self, name: &'static str, value: bool) -> Self {
        self.flag_in("", name, value)
    }

    /// An alias, likewise.
    pub(crate) fn alias(self, name: &'static str, wgsl: &'static str) -> Self {
        self.alias_in("", name, wgsl)
    }

    pub(crate) fn constant_in(self, instance: &'static str, name: &'static str, value: u32) -> Self {
        self.value(Value { instance, name, new: New::Constant(value) })
    }

    pub(crate) fn flag_in(self, instance: &'static str, name: &'static str, value: bool) -> Self {
        self.value(Value { instance, name, new: New::Flag(value) })
    }

    pub(crate) fn alias_in(self, instance: &'static str, name: &'static str, wgsl: &'static str) -> Self {
        self.value(Value { instance, name, new: New::Alias(wgsl) })
    }

    /// Puts another file behind an instance, or, if `what` is the name of a file, in its place wherever it is imported.
    pub(crate) fn file(mut self, what: &'static str, file: &'static str) -> Self {
        self.files.push((what, file));
        self
    }

    /// Makes `instance` another name of the instance `other`, which a file imports or [`Recipe::file`] gives. If neither
    /// does, `other` is the file that `instance` would be.
    pub(crate) fn same(mut self, instance: &'static str, other: &'static str) -> Self {
        self.same.push((instance, other));
        self
    }

    /// The next storage buffer: a variable of the root, of a part of it or of a plain import.
    pub(crate) fn binding(self, name: &'static str, access: Access) -> Self {
        self.binding_in("", name, access)
    }

    /// The next storage buffer: a variable of an instance.
    pub(crate) fn binding_in(mut self, instance: &'static str, name: &'static str, access: Access) -> Self {
        self.bindings.push(Binding { instance, name, access });
        self
    }

    /// As `call` makes it, if `condition` is true.
    pub(crate) fn when(self, condition: bool, call: impl FnOnce(Self) -> Self) -> Self {
        if condition { call(self) } else { self }
    }

    /// How each storage buffer is used, in the order of bindings from 1 on.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = Access> {
        self.bindings.iter().map(|binding| binding.access)
    }

    fn value(mut self, value: Value) -> Self {
        self.values.push(value);
        self
    }
}

/// A recipe and what is told about it. Only the recipe counts when two are compared.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// What labels and reports call it.
    pub(crate) name: Cow<'static, str>,
    pub(crate) recipe: Recipe,
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.recipe == other.recipe
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.recipe.hash(state);
    }
}
