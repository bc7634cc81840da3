// Where the elements of an axis of Y lie on an axis of X of another size. Places are fractions of whole numbers, so that they
// are exact.
//
// The host guarantees, for each axis of Y: size * step + start fits in 32 bits, and `whole` is not 0.

// The place of element i of an axis of Y, in elements of X: (max(i * step + start, back) - back) / whole.
struct Axis {
    step: u32,
    start: u32,
    back: u32,
    whole: u32,
}

// Two adjacent elements of an axis of X, and the weight of each.
struct Around {
    first: u32,
    second: u32,
    weights: vec2<f32>,
}

// The place of element i, times `whole`.
fn place(axis: Axis, i: u32) -> u32 {
    return max(i * axis.step + axis.start, axis.back) - axis.back;
}

// The element of X at the place of element i, rounded down, among the `size` that exist.
fn nearest(axis: Axis, i: u32, size: u32) -> u32 {
    return min(place(axis, i) / axis.whole, size - 1u);
}

// The elements of X before and behind the place of element i. At the edge, the last one is both.
fn around(axis: Axis, i: u32, size: u32) -> Around {
    let at = place(axis, i);
    let rest = at % axis.whole;
    let first = min(at / axis.whole, size - 1u);
    // Each weight has whole numbers of its own: 1 - rest / whole would lose digits of a small one.
    let weights = vec2(f32(axis.whole - rest), f32(rest)) / f32(axis.whole);
    return Around(first, min(first + 1u, size - 1u), weights);
}
