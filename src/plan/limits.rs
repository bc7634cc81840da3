//! Checks what a device can bind and index, so that every plan that exists can run.

use super::layer::LayerOnDevice;
use super::variant::Variant;
use crate::device::check_size;
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::Step;

/// Bytes of scratch.
pub(super) fn scratch_bytes(scratch: &[Dims], element: u64) -> u64 {
    scratch.iter().map(|dims| dims.elements().saturating_mul(element)).fold(0, u64::saturating_add)
}

/// Refuses scratch, weights and bindings that exceed the device's limits. `check_interface` checks the caller's
/// tensors.
pub(super) fn check_limits(
    layer: &LayerOnDevice,
    variant: Variant,
    steps: &[Step],
    scratch: &[Dims],
) -> Result<(), Error> {
    let element = layer.options.precision.activations.bytes();
    let needs = scratch_bytes(scratch, element);
    if let Some(allowed) = layer.options.scratch_limit.filter(|&most| needs > most) {
        let what = format!("scratch of {}, in bytes,", variant.untiled());
        return Err(Error::Limit { what, needs, limit: "scratch_limit", allowed });
    }
    for &dims in scratch {
        let bytes = dims.elements().saturating_mul(element);
        check_size(format_args!("a scratch map of {dims}"), dims.elements(), bytes, layer.facts)?;
    }
    for step in steps {
        if let Some(packing) = &step.packing {
            let bytes = packing.offsets(layer.spec).bytes;
            check_size("the packed weights", bytes / packing.dtype.bytes(), bytes, layer.facts)?;
        }
        let needs = step.tensors.len() as u64;
        let allowed = u64::from(layer.facts.limits.max_storage_buffers_per_shader_stage);
        if needs > allowed {
            let what = format!("a dispatch of {} with its storage buffers", variant.untiled());
            let limit = "max_storage_buffers_per_shader_stage";
            return Err(Error::Limit { what, needs, limit, allowed });
        }
    }
    Ok(())
}
