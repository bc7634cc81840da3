//! Which element of a layer's output an element of the caller's larger tensor is.

use crate::dims::Dims;
use crate::kernels::job::Slice;

/// The index in an output of `own` channels of element `i` of `whole`, the tensor that it is a slice of. `None` outside of
/// the slice.
pub(crate) fn slice_index(whole: Dims, slice: Slice, own: u32, i: usize) -> Option<usize> {
    let plane = (whole.t * whole.h * whole.w) as usize;
    let (at, c, n) = (i % plane, (i / plane) as u32 % whole.c, i / plane / whole.c as usize);
    let c = c.checked_sub(slice.first).filter(|&c| c < own)?;
    Some((n * own as usize + c as usize) * plane + at)
}
