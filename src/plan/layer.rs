//! A layer at a size on a device, validated once for all of its variants.

use super::interface::check_interface;
use super::options::{Options, validate_options};
use crate::device::DeviceFacts;
use crate::dims::InputSize;
use crate::error::Error;
use crate::kernels::Types;
use crate::kernels::job::{Operand, TensorId};
use crate::layer::{Shapes, Spec};

/// A layer with everything that its plans depend on, except the variant.
pub(super) struct LayerOnDevice<'a> {
    pub(super) spec: &'a Spec,
    pub(super) size: InputSize,
    pub(super) options: &'a Options,
    pub(super) facts: &'a DeviceFacts,
    pub(super) shapes: Shapes,
    pub(super) types: Types,
}

impl<'a> LayerOnDevice<'a> {
    pub(super) fn new(
        spec: &'a Spec,
        size: InputSize,
        options: &'a Options,
        facts: &'a DeviceFacts,
    ) -> Result<Self, Error> {
        let shapes = spec.shapes(size)?;
        validate_options(spec, &shapes, options, facts)?;
        check_interface(spec, &shapes, options, facts)?;
        let types = Types::new(options.precision, facts);
        Ok(Self { spec, size, options, facts, shapes, types })
    }

    /// pool(X_H), if the caller gives it.
    pub(super) fn given_pool(&self) -> Option<Operand> {
        let dims = self.shapes.x_p.filter(|_| self.options.pooled_input)?;
        Some(Operand { id: TensorId::XP, dims })
    }
}
