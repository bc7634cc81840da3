//! How types lie in slots and in bytes.

use naga::{ArraySize, Handle, Module, Scalar, ScalarKind, Type, TypeInner};

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    U32,
    I32,
    U64,
    F32,
    F16,
}

impl Kind {
    pub fn of(scalar: Scalar) -> Self {
        match (scalar.kind, scalar.width) {
            (ScalarKind::Bool, _) => Self::Bool,
            (ScalarKind::Uint, 4) => Self::U32,
            (ScalarKind::Uint, 8) => Self::U64,
            (ScalarKind::Sint, 4) => Self::I32,
            (ScalarKind::Float, 4) => Self::F32,
            (ScalarKind::Float, 2) => Self::F16,
            _ => panic!("{scalar:?} is not known"),
        }
    }

    /// Bytes in a buffer.
    pub fn width(self) -> u32 {
        match self {
            Self::F16 => 2,
            Self::U64 => 8,
            Self::Bool | Self::U32 | Self::I32 | Self::F32 => 4,
        }
    }
}

/// The types of a module. Every scalar takes a slot, wherever it lies, and nothing lies between them. A thread of a subgroup
/// has its share of a matrix.
#[derive(Clone, Copy)]
pub struct Types<'a> {
    pub module: &'a Module,
    /// Threads of a subgroup.
    pub subgroup: u32,
}

impl Types<'_> {
    pub fn inner(&self, ty: Handle<Type>) -> &TypeInner {
        &self.module.types[ty].inner
    }

    pub fn slots_of(&self, ty: Handle<Type>) -> u32 {
        self.slots(self.inner(ty))
    }

    pub fn slots(&self, inner: &TypeInner) -> u32 {
        match *inner {
            TypeInner::Scalar(_) | TypeInner::Atomic(_) | TypeInner::Pointer { .. } => 1,
            TypeInner::ValuePointer { .. } => 1,
            TypeInner::Vector { size, .. } => size as u32,
            TypeInner::CooperativeMatrix { columns, rows, .. } => columns as u32 * rows as u32 / self.subgroup,
            TypeInner::Array { base, size: ArraySize::Constant(count), .. } => count.get() * self.slots_of(base),
            TypeInner::Struct { ref members, .. } => members.iter().map(|member| self.slots_of(member.ty)).sum(),
            ref other => panic!("{other:?} is no type of a value that is known"),
        }
    }

    /// The kind of the scalars of a scalar, vector or matrix.
    pub fn kind(&self, inner: &TypeInner) -> Kind {
        match *inner {
            TypeInner::Scalar(scalar) | TypeInner::Vector { scalar, .. } => Kind::of(scalar),
            TypeInner::CooperativeMatrix { scalar, .. } => Kind::of(scalar),
            ref other => panic!("{other:?} has no scalars of one kind"),
        }
    }

    /// What an index steps over, in slots and in bytes, with the number of elements: `None` for an array without a length.
    pub fn element(&self, inner: &TypeInner) -> (TypeInner, [u32; 2], Option<u32>) {
        match *inner {
            TypeInner::Vector { size, scalar } => {
                (TypeInner::Scalar(scalar), [1, scalar.width.into()], Some(size as u32))
            }
            TypeInner::Array { base, size, stride } => {
                let length = match size {
                    ArraySize::Constant(count) => Some(count.get()),
                    ArraySize::Dynamic => None,
                    ArraySize::Pending(_) => panic!("overrides are not known"),
                };
                (self.inner(base).clone(), [self.slots_of(base), stride], length)
            }
            ref other => panic!("{other:?} has no elements"),
        }
    }

    /// Where a part begins, in slots and in bytes, and its type.
    pub fn part(&self, inner: &TypeInner, index: u32) -> (TypeInner, [u32; 2]) {
        if let TypeInner::Struct { ref members, .. } = *inner {
            let before = members[..index as usize].iter().map(|member| self.slots_of(member.ty)).sum();
            let member = &members[index as usize];
            return (self.inner(member.ty).clone(), [before, member.offset]);
        }
        let (element, steps, _) = self.element(inner);
        (element, steps.map(|step| index * step))
    }

    /// Each scalar of a type in a buffer, with its first byte.
    pub fn scalars(&self, inner: &TypeInner) -> Vec<(u32, Kind)> {
        match *inner {
            TypeInner::Scalar(scalar) => vec![(0, Kind::of(scalar))],
            TypeInner::Vector { size, scalar } => {
                (0..size as u32).map(|i| (i * u32::from(scalar.width), Kind::of(scalar))).collect()
            }
            TypeInner::Array { base, size: ArraySize::Constant(count), stride } => {
                let element = self.scalars(self.inner(base));
                let of = |i| element.iter().map(move |&(offset, kind)| (i * stride + offset, kind));
                (0..count.get()).flat_map(of).collect()
            }
            TypeInner::Struct { ref members, .. } => {
                let of = |member: &naga::StructMember| {
                    let scalars = self.scalars(self.inner(member.ty)).into_iter();
                    scalars.map(|(offset, kind)| (member.offset + offset, kind)).collect::<Vec<_>>()
                };
                members.iter().flat_map(of).collect()
            }
            ref other => panic!("{other:?} does not lie in buffers"),
        }
    }
}
