//! How a layer is to be run, besides its specification.

use super::variant::Variant;
use crate::device::DeviceFacts;
use crate::error::Error;
use crate::kernels::job::Slice;
use crate::layer::{Downsample, Frequency, Shapes, Spec};
use crate::precision::{Accuracy, Dtype, Precision};

/// How a layer is to be run: everything that its specification does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The types in which the layer stores and adds.
    pub precision: Precision,
    /// Which kernels the planner may choose. A variant that `variant` names runs in any case.
    pub accuracy: Accuracy,
    /// Whether the caller also gives pool(X_H), so that the layer need not pool. At stride 2 the layer then does not
    /// read X_H at all. An error if the layer does not pool X_H.
    pub pooled_input: bool,
    /// Whether the layer also writes pool(Y_H).
    pub pooled_output: bool,
    /// If given, Y_H is written as these channels of a larger tensor, which saves the copy of a concatenation. An error
    /// together with a residual of Y_H or `pooled_output`.
    pub high_slice: Option<Slice>,
    /// If given, Y_L is written as these channels of a larger tensor. An error together with a residual of Y_L.
    pub low_slice: Option<Slice>,
    /// The most bytes of scratch. Variants that need more are refused.
    pub scratch_limit: Option<u64>,
    /// If given, the layer runs this variant, or planning fails. `None` leaves the choice to the planner.
    pub variant: Option<Variant>,
}

pub(super) fn validate_options(
    spec: &Spec,
    shapes: &Shapes,
    options: &Options,
    facts: &DeviceFacts,
) -> Result<(), Error> {
    let precision = options.precision;
    if precision.activations == Dtype::F16 && !facts.features.contains(wgpu::Features::SHADER_F16) {
        return Err(Error::Feature { what: "f16 activations", feature: "SHADER_F16" });
    }
    if precision.sums == Dtype::F16 && (precision.activations, precision.weights) != (Dtype::F16, Dtype::F16) {
        return Err(Error::argument("sums", "f16", "must be f32 unless activations and weights are f16"));
    }
    if options.pooled_input {
        if spec.downsample() == Downsample::StridedConv {
            let allowed = "must be off where the layer strides instead of pooling";
            return Err(Error::argument("pooled_input", "on", allowed));
        }
        if shapes.x_p.is_none() {
            return Err(Error::argument("pooled_input", "on", "must be off where the layer does not pool X_H"));
        }
    }
    for (name, slice, dims, frequency) in [
        ("high_slice", options.high_slice, shapes.y_h, Frequency::High),
        ("low_slice", options.low_slice, shapes.y_l, Frequency::Low),
    ] {
        let Some(Slice { first, of }) = slice else { continue };
        let value = format!("{first}.. of {of}");
        let channels = dims.map_or(0, |dims| dims.c);
        if channels == 0 || first.checked_add(channels).is_none_or(|end| end > of) {
            let allowed = format!("must hold the {channels} channels of the output");
            return Err(Error::argument(name, value, allowed));
        }
        if spec.has_residual(frequency) || (options.pooled_output && frequency == Frequency::High) {
            return Err(Error::argument(name, value, "must be absent where a residual is read or pool(Y_H) written"));
        }
    }
    if options.pooled_output && shapes.y_p.is_none() {
        return Err(Error::argument("pooled_output", "on", "must be off where the layer has no Y_H to pool"));
    }
    Ok(())
}
