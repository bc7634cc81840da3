//! Checks what a device can bind and index, so that every plan that exists can run.

use super::layer::LayerOnDevice;
use super::places::{end_of, scratch_places};
use super::variant::Variant;
use crate::device::check_size;
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::Step;

/// Refuses scratch, weights and bindings that exceed the device's limits. `check_interface` checks the caller's
/// tensors.
pub(super) fn check_limits(
    layer: &LayerOnDevice,
    variant: Variant,
    steps: &[Step],
    scratch: &[Dims],
) -> Result<(), Error> {
    let element = layer.options.precision.activations.bytes();
    for &dims in scratch {
        let bytes = dims.elements().saturating_mul(element);
        check_size(format_args!("a scratch map of {dims}"), dims.elements(), bytes, layer.facts)?;
    }
    let needs = end_of(&scratch_places(scratch, element));
    if let Some(allowed) = layer.options.scratch_limit.filter(|&most| needs > most) {
        let what = format!("scratch of {}, in bytes,", variant.untiled());
        return Err(Error::Limit { what, needs, limit: "scratch_limit", allowed });
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

#[cfg(test)]
mod tests {
    use crate::device::DeviceFacts;
    use crate::dims::InputSize;
    use crate::layer::Spec;
    use crate::plan::{Options, Plan};

    #[test]
    fn no_plan_has_more_scratch_than_its_limit() {
        let spec = Spec::builder(6, 6).alpha(0.5, 0.5).kernel([3, 3]).same_padding().stride(2).build().unwrap();
        let plans = |scratch_limit| {
            let options = Options { scratch_limit, ..Options::default() };
            Plan::candidates(&spec, InputSize::image(1, 10, 14), &options, &DeviceFacts::default())
        };
        let all = plans(None);
        let several: Vec<_> = all.iter().filter(|plan| plan.scratch.len() > 1).collect();
        assert!(!several.is_empty());
        for plan in several {
            let bytes = plan.scratch_bytes();
            assert!(plans(Some(bytes)).iter().any(|other| other.variant() == plan.variant()), "{}", plan.variant());
            assert!(plans(Some(bytes - 1)).iter().all(|other| other.scratch_bytes() < bytes), "{}", plan.variant());
        }
    }
}
