//! Tensors between guard bands: a read outside shows in the sums, a write outside in the bands.

use std::ops::Range;

/// What an output is filled with before it is written: all ones are a NaN in either type.
pub(crate) const UNWRITTEN: u8 = 0xff;

/// What lies around outputs. Inputs lie between NaN.
const AROUND_OUTPUTS: u8 = 0xa5;

/// The contents of a tensor, between bands of at least `guard` bytes; whole words in all.
pub(crate) fn guarded(contents: &[u8], written: bool, guard: usize) -> Vec<u8> {
    let around = if written { AROUND_OUTPUTS } else { UNWRITTEN };
    let mut bytes = vec![around; guard];
    bytes.extend_from_slice(contents);
    bytes.resize((bytes.len() + guard).next_multiple_of(4), around);
    bytes
}

/// The first byte outside of `body` that has changed, counted from its begin.
pub(crate) fn strayed(before: &[u8], after: &[u8], body: &Range<usize>) -> Option<i64> {
    let at = (0..after.len()).find(|i| !body.contains(i) && after[*i] != before[*i])?;
    Some(at as i64 - body.start as i64)
}
