//! One number of a packed buffer.

use half::f16;

use crate::error::Error;
use crate::precision::Dtype;

/// Refuses a finite value of output channel `channel` of `tensor` that would be infinite in `dtype`. Batch norm can make
/// one out of small weights, and a sum with it would be infinite or NaN.
pub(crate) fn check_range(tensor: &'static str, channel: usize, value: f64, dtype: Dtype) -> Result<(), Error> {
    let fits = match dtype {
        Dtype::F32 => (value as f32).is_finite(),
        Dtype::F16 => f16::from_f64(value).is_finite(),
    };
    if fits || !value.is_finite() {
        return Ok(());
    }
    let most = if dtype == Dtype::F16 { f64::from(f16::MAX) } else { f64::from(f32::MAX) };
    let value = format!("{value} in output channel {channel} after folding");
    Err(Error::argument(tensor, value, format!("must be {most} or less in size, the most that {dtype} holds")))
}

/// Appends the bytes of a value, rounded to `dtype`.
pub(super) fn push(value: f64, dtype: Dtype, out: &mut Vec<u8>) {
    match dtype {
        Dtype::F32 => out.extend((value as f32).to_le_bytes()),
        Dtype::F16 => out.extend(f16::from_f64(value).to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use crate::device::DeviceFacts;
    use crate::dims::InputSize;
    use crate::error::Error;
    use crate::layer::{Spec, Weights};
    use crate::plan::{Options, Plan};
    use crate::precision::{Dtype, Precision};

    #[test]
    fn an_infinite_weight_hides_no_other() {
        let spec = Spec::builder(1, 1).kernel([3, 3]).same_padding().build().unwrap();
        let precision = Precision { weights: Dtype::F16, ..Precision::default() };
        let options = Options { precision, ..Options::default() };
        let plans = Plan::candidates(&spec, InputSize::image(1, 8, 8), &options, &DeviceFacts::default());
        // Without Winograd kernels: all points of such a kernel are NaN.
        assert!(!plans.is_empty());
        for plan in plans {
            for strange in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
                let pack = |large: f32| {
                    let mut weights = [0.0f32; 9];
                    (weights[0], weights[8]) = (strange, large);
                    plan.pack(&Weights { w_hh: Some(&weights), ..Weights::default() })
                };
                assert!(pack(1.0).is_ok(), "{} {strange}", plan.variant());
                let refused = pack(1e6);
                assert!(matches!(refused, Err(Error::Argument { .. })), "{} {strange}", plan.variant());
            }
        }
    }
}
