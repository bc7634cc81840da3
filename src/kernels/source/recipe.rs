//! A specialised kernel as data.

use crate::kernels::access::Access;

/// A specialised kernel: its root file and all that the host chooses. See the module's documentation.
///
/// Two recipes are equal if the same calls made them in the same order.
#[derive(Clone, Debug, Eq, Hash)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "all fields are compared, and all are hashed")]
pub(crate) struct Recipe {
    pub(super) root: &'static str,
    pub(super) values: Vec<Value>,
    /// The name of an instance or of a file, and the file in its place.
    pub(super) files: Vec<(&'static str, &'static str)>,
    /// The name of an instance, and the instance that it is another name of.
    pub(super) same: Vec<(&'static str, &'static str)>,
    pub(super) bindings: Vec<Binding>,
}

impl PartialEq for Recipe {
    /// Compares addresses of names before their letters. Planners compare many recipes, and most of them come from the
    /// same calls, so that their names are the same literals.
    fn eq(&self, other: &Self) -> bool {
        fn same<T>(a: &[T], b: &[T], equal: impl Fn(&T, &T) -> bool) -> bool {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        let name = |a: &'static str, b: &'static str| std::ptr::eq(a, b) || a == b;
        let value = |a: &Value, b: &Value| a.new == b.new && name(a.name, b.name) && name(a.instance, b.instance);
        let pair = |a: &(_, _), b: &(_, _)| name(a.0, b.0) && name(a.1, b.1);
        let Self { root, values, files, same: equal, bindings } = self;
        name(root, other.root)
            && same(values, &other.values, value)
            && same(files, &other.files, pair)
            && same(equal, &other.same, pair)
            && bindings == &other.bindings
    }
}

/// A constant or an alias that the host replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Value {
    /// The instance that declares it; empty if it is in no instance.
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

/// A storage buffer or a texture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Binding {
    /// The instance that declares it; empty if it is in no instance.
    pub(super) instance: &'static str,
    pub(super) name: &'static str,
    pub(super) access: Access,
}

// Inlined, because a recipe is a hundred bytes, and a planner makes tens of thousands of these calls.
impl Recipe {
    /// The recipe of the file with the entry point and all that it imports, unchanged.
    pub(crate) fn new(root: &'static str) -> Self {
        // Room for all values of a convolution, because a recipe is made for each candidate.
        Self {
            root,
            values: Vec::with_capacity(40),
            files: Vec::with_capacity(12),
            same: Vec::with_capacity(6),
            bindings: Vec::with_capacity(12),
        }
    }

    /// Sets a constant of type u32, of the root, of a part of it or of a plain import.
    #[inline]
    pub(crate) fn constant(self, name: &'static str, value: u32) -> Self {
        self.constant_in("", name, value)
    }

    /// Sets a constant of type bool, likewise.
    #[inline]
    pub(crate) fn flag(self, name: &'static str, value: bool) -> Self {
        self.flag_in("", name, value)
    }

    /// Sets an alias, likewise.
    #[inline]
    pub(crate) fn alias(self, name: &'static str, wgsl: &'static str) -> Self {
        self.alias_in("", name, wgsl)
    }

    #[inline]
    pub(crate) fn constant_in(self, instance: &'static str, name: &'static str, value: u32) -> Self {
        self.value(Value { instance, name, new: New::Constant(value) })
    }

    #[inline]
    pub(crate) fn flag_in(self, instance: &'static str, name: &'static str, value: bool) -> Self {
        self.value(Value { instance, name, new: New::Flag(value) })
    }

    #[inline]
    pub(crate) fn alias_in(self, instance: &'static str, name: &'static str, wgsl: &'static str) -> Self {
        self.value(Value { instance, name, new: New::Alias(wgsl) })
    }

    /// Puts another file behind the instance `what`. Or, if `what` is the name of a file, puts another file in its
    /// place wherever it is imported.
    #[inline]
    pub(crate) fn file(mut self, what: &'static str, file: &'static str) -> Self {
        self.files.push((what, file));
        self
    }

    /// Makes `instance` another name of the instance `other`. The file behind `other` is the one that a file imports as
    /// `other`, or that [`Recipe::file`] sets. If there is neither, it is the file that is imported as `instance`.
    #[inline]
    pub(crate) fn same(mut self, instance: &'static str, other: &'static str) -> Self {
        self.same.push((instance, other));
        self
    }

    /// Adds the next storage buffer or texture: a variable of the root, of a part of it or of a plain import.
    #[inline]
    pub(crate) fn binding(self, name: &'static str, access: Access) -> Self {
        self.binding_in("", name, access)
    }

    /// Adds the next storage buffer or texture: a variable of an instance.
    #[inline]
    pub(crate) fn binding_in(mut self, instance: &'static str, name: &'static str, access: Access) -> Self {
        self.bindings.push(Binding { instance, name, access });
        self
    }

    /// Applies `call` if `condition` is true.
    #[inline]
    pub(crate) fn when(self, condition: bool, call: impl FnOnce(Self) -> Self) -> Self {
        if condition { call(self) } else { self }
    }

    /// How each storage buffer and texture is used, in the order of bindings from 1 on.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = Access> {
        self.bindings.iter().map(|binding| binding.access)
    }

    /// The same kernel, with storage buffers that it reads bound as if it wrote them: those for which `shared` is true, counted
    /// from 0.
    pub(crate) fn sharing(&self, shared: impl Fn(usize) -> bool) -> Self {
        let mut recipe = self.clone();
        let read = recipe.bindings.iter_mut().enumerate().filter(|(_, binding)| binding.access == Access::Read);
        read.filter(|&(i, _)| shared(i)).for_each(|(_, binding)| binding.access = Access::Shared);
        recipe
    }

    #[inline]
    fn value(mut self, value: Value) -> Self {
        self.values.push(value);
        self
    }
}
