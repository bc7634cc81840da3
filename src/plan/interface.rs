//! The tensors that a caller binds for a layer.

use super::options::Options;
use crate::device::{DeviceFacts, check_size};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Slice, TensorId};
use crate::layer::{Frequency, Path, Shapes, Spec};

/// Refuses tensors that the device cannot bind or the kernels cannot index.
pub(super) fn check_interface(
    spec: &Spec,
    shapes: &Shapes,
    options: &Options,
    facts: &DeviceFacts,
) -> Result<(), Error> {
    for (id, dims, _) in interface(spec, shapes, options) {
        let bytes = dims.elements().saturating_mul(options.precision.activations.bytes());
        check_size(format_args!("tensor {} of {dims}", id.name()), dims.elements(), bytes, facts)?;
    }
    // Packed weights are checked later, and are larger. This check keeps the counts small until then.
    let cost = Path::ALL.into_iter().filter(|&path| spec.has(path)).fold(0u64, |sum, path| {
        let weights = spec.weight_shape(path).iter().fold(1u64, |all, &d| all.saturating_mul(u64::from(d)));
        sum.saturating_add(weights)
    });
    check_size("the weights", cost, cost.saturating_mul(options.precision.weights.bytes()), facts)
}

/// The tensors that a caller binds for a layer with these options: id, shape, and whether the layer writes it.
pub(super) fn interface(spec: &Spec, shapes: &Shapes, options: &Options) -> Vec<(TensorId, Dims, bool)> {
    let full = Path::ALL.into_iter().any(|path| {
        spec.has(path) && path.input() == Frequency::High && (!options.pooled_input || spec.sampling(path).level == 0)
    });
    let read = |frequency| spec.reads(frequency);
    let whole = |dims: Option<Dims>, slice: Option<Slice>| dims.map(|d| d.with_channels(slice.map_or(d.c, |s| s.of)));
    [
        (TensorId::XH, shapes.x_h, full, false),
        (TensorId::XL, shapes.x_l, read(Frequency::Low), false),
        (TensorId::XP, shapes.x_p, options.pooled_input && read(Frequency::High), false),
        (TensorId::ResidualH, shapes.y_h, spec.has_residual(Frequency::High), false),
        (TensorId::ResidualL, shapes.y_l, spec.has_residual(Frequency::Low), false),
        (TensorId::YH, whole(shapes.y_h, options.high_slice), true, true),
        (TensorId::YL, whole(shapes.y_l, options.low_slice), true, true),
        (TensorId::YP, shapes.y_p, options.pooled_output, true),
    ]
    .into_iter()
    .filter(|&(_, _, wanted, _)| wanted)
    .filter_map(|(id, dims, _, written)| Some((id, dims?, written)))
    .collect()
}
