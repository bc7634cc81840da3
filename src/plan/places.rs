//! Places in a buffer: one after the other, each where every device can bind.

use std::ops::Range;

use crate::dims::Dims;

/// The most that a device may want the offset of a binding to be a multiple of: wgpu's default limit, and WebGPU's.
const ALIGNMENT: u64 = 256;

/// Places of these numbers of bytes, at which every device can bind.
pub(crate) fn one_after_the_other(bytes: impl Iterator<Item = u64>) -> Vec<Range<u64>> {
    let mut end = 0u64;
    let place = |bytes: u64| {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start.saturating_add(bytes);
        start..end
    };
    bytes.map(place).collect()
}

/// The places of maps of scratch with elements of so many bytes.
pub(super) fn scratch_places(scratch: &[Dims], element: u64) -> Vec<Range<u64>> {
    one_after_the_other(scratch.iter().map(|&dims| bound_bytes(dims, element)))
}

/// Bytes that a map with elements of so many bytes binds: whole words.
pub(super) fn bound_bytes(dims: Dims, element: u64) -> u64 {
    (dims.elements() * element).next_multiple_of(4)
}

pub(super) fn end_of(places: &[Range<u64>]) -> u64 {
    places.last().map_or(0, |place| place.end)
}
