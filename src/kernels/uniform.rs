//! Uniforms as host structs that know their layout, so that tests can compare it with that of the shader.
//!
//! ```ignore
//! uniform! {
//!     #[derive(Default)]
//!     struct PathShape {
//!         channels: u32,
//!         unused: u32,
//!         ...
//!     }
//! }
//! uniform! {
//!     struct Shape {
//!         hh: PathShape,               // fields "hh.channels", "hh.unused"
//!         products: [Product; 3],      // fields "products[0].depth", ...
//!     }
//! }
//! #[test]
//! fn the_uniform_is_the_shaders() {
//!     uniform::check::<Shape>(&recipe(...));
//! }
//! ```
//!
//! Names, offsets and types are compared in order. All fields, padding too, must have the same names on both sides.

/// Declares a struct that goes into a uniform byte by byte, with `repr(C)`. In tests it knows its layout.
macro_rules! uniform {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $type,)*
        }

        #[cfg(test)]
        impl $crate::kernels::uniform::layout::Uniform for $name {
            fn add_fields(name: &str, offset: usize, fields: &mut Vec<$crate::kernels::uniform::layout::Field>) {
                $(<$type as $crate::kernels::uniform::layout::Uniform>::add_fields(
                    &$crate::kernels::uniform::layout::joined(name, stringify!($field)),
                    offset + std::mem::offset_of!($name, $field),
                    fields,
                );)*
            }
        }
    };
}
pub(crate) use uniform;

#[cfg(test)]
pub(crate) use layout::check;

/// The layout of a uniform, on the host and in the shader.
#[cfg(test)]
pub(crate) mod layout {
    use crate::kernels::source::{Recipe, assemble};

    /// A number of a uniform.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Field {
        /// The whole name, with the structs and arrays around it: `hh.channels`, `products[0].depth`.
        pub(crate) name: String,
        /// In bytes, from the beginning of the uniform.
        pub(crate) offset: usize,
        /// In bytes.
        pub(crate) size: usize,
        /// Its type in WGSL.
        pub(crate) scalar: &'static str,
    }

    /// The fields of a uniform, in order, and its size in bytes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Layout {
        pub(crate) fields: Vec<Field>,
        pub(crate) size: usize,
    }

    /// What can be part of a uniform.
    pub(crate) trait Uniform: bytemuck::Pod {
        /// Adds the numbers of a value that is called `name` and lies at `offset`.
        fn add_fields(name: &str, offset: usize, fields: &mut Vec<Field>);

        fn layout() -> Layout {
            let mut fields = Vec::new();
            Self::add_fields("", 0, &mut fields);
            Layout { fields, size: size_of::<Self>() }
        }
    }

    macro_rules! scalars {
        ($($scalar:ident)*) => {$(
            impl Uniform for $scalar {
                fn add_fields(name: &str, offset: usize, fields: &mut Vec<Field>) {
                    fields.push(Field { name: name.into(), offset, size: size_of::<Self>(), scalar: stringify!($scalar) });
                }
            }
        )*};
    }
    scalars! { u32 i32 f32 }

    impl<T: Uniform, const N: usize> Uniform for [T; N]
    where
        [T; N]: bytemuck::Pod,
    {
        fn add_fields(name: &str, offset: usize, fields: &mut Vec<Field>) {
            for i in 0..N {
                T::add_fields(&format!("{name}[{i}]"), offset + i * size_of::<T>(), fields);
            }
        }
    }

    /// The whole name of a field of `outer`; `outer` is empty for the uniform itself.
    pub(crate) fn joined(outer: &str, field: &str) -> String {
        if outer.is_empty() { field.into() } else { format!("{outer}.{field}") }
    }

    /// Compares a host struct with the uniform of a recipe's source, as naga sees it.
    pub(crate) fn check<T: Uniform>(recipe: &Recipe) {
        let source = assemble(recipe).unwrap_or_else(|error| panic!("{error}"));
        let module = naga::front::wgsl::parse_str(&source);
        let module = module.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(&source)));
        let mut uniforms = module.global_variables.iter().filter(|(_, v)| v.space == naga::AddressSpace::Uniform);
        let (_, shape) = uniforms.next().unwrap_or_else(|| panic!("no uniform in\n{source}"));
        let mut fields = Vec::new();
        add_reflected(&module, shape.ty, "", 0, &mut fields);
        let size = module.types[shape.ty].inner.size(module.to_ctx()) as usize;
        let (host, shader) = (T::layout(), Layout { fields, size });
        for (host, shader) in host.fields.iter().zip(&shader.fields) {
            assert_eq!(host, shader, "the host's field, and the shader's, of {recipe:?}");
        }
        assert_eq!(host, shader, "{recipe:?}");
        assert!(host.size.is_multiple_of(16), "{recipe:?}");
    }

    fn add_reflected(
        module: &naga::Module,
        ty: naga::Handle<naga::Type>,
        name: &str,
        offset: u32,
        fields: &mut Vec<Field>,
    ) {
        use naga::{ArraySize, Scalar, ScalarKind, TypeInner};
        let number = |Scalar { kind, width }: Scalar, name: String, offset: u32| {
            let scalar = match kind {
                ScalarKind::Uint => "u32",
                ScalarKind::Sint => "i32",
                _ => "f32",
            };
            Field { name, offset: offset as usize, size: width.into(), scalar }
        };
        match module.types[ty].inner {
            TypeInner::Scalar(scalar) => fields.push(number(scalar, name.into(), offset)),
            TypeInner::Vector { size, scalar } => {
                let part = |i: u32| number(scalar, format!("{name}[{i}]"), offset + i * u32::from(scalar.width));
                fields.extend((0..size as u32).map(part));
            }
            TypeInner::Array { base, size: ArraySize::Constant(size), stride } => {
                for i in 0..size.get() {
                    add_reflected(module, base, &format!("{name}[{i}]"), offset + i * stride, fields);
                }
            }
            TypeInner::Struct { ref members, .. } => {
                for member in members {
                    let name = joined(name, member.name.as_deref().unwrap_or_default());
                    add_reflected(module, member.ty, &name, offset + member.offset, fields);
                }
            }
            ref other => panic!("{name} is {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::layout::{Layout, Uniform};

    uniform! {
        struct Inner {
            a: u32,
            b: [f32; 3],
        }
    }

    uniform! {
        struct Outer {
            one: Inner,
            two: [Inner; 2],
            c: i32,
            unused: [u32; 3],
        }
    }

    #[test]
    fn flattens_what_is_nested() {
        let Layout { fields, size } = Outer::layout();
        let found: Vec<_> = fields.iter().map(|f| (f.name.as_str(), f.offset, f.scalar)).collect();
        assert_eq!(
            found[..5],
            [
                ("one.a", 0, "u32"),
                ("one.b[0]", 4, "f32"),
                ("one.b[1]", 8, "f32"),
                ("one.b[2]", 12, "f32"),
                ("two[0].a", 16, "u32")
            ]
        );
        assert_eq!(
            found[12..],
            [("c", 48, "i32"), ("unused[0]", 52, "u32"), ("unused[1]", 56, "u32"), ("unused[2]", 60, "u32")]
        );
        assert_eq!(size, 64);
    }
}
