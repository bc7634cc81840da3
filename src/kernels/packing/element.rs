//! One number of a packed buffer.

use half::f16;

use crate::precision::Dtype;

/// Appends the bytes of a value, rounded to `dtype`.
pub(super) fn push(value: f64, dtype: Dtype, out: &mut Vec<u8>) {
    match dtype {
        Dtype::F32 => out.extend((value as f32).to_le_bytes()),
        Dtype::F16 => out.extend(f16::from_f64(value).to_le_bytes()),
    }
}
