// Slices of the input channels. Each slice makes partial sums of an output, which another dispatch adds up.

const SLICED: bool = false;

// The slabs of a slice: the first one, and the one after the last. The sizes of two slices differ by one slab at most.
//
// If the loop over slabs has barriers, `slice` must be the same for the whole workgroup, and compilers must see that it
// is: do not keep it in a struct with values that differ between threads.
fn slabs_of(slabs: u32, slice: u32, slices: u32) -> vec2<u32> {
    if SLICED {
        return slabs * vec2(slice, slice + 1u) / slices;
    }
    return vec2(0u, slabs);
}
