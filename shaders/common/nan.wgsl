// Functions that keep a NaN, as the reference and PyTorch do. WGSL lets max, clamp and exp drop a NaN, and lets a driver
// assume that there are no NaNs and no infinities. So these functions look at the bits.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// The larger of x and `least`, or x if it is a NaN.
fn at_least(x: f32, least: f32) -> f32 {
    return select(max(x, least), x, is_nan(x));
}

// x between `least` and `most`, or x if it is a NaN.
fn between(x: f32, least: f32, most: f32) -> f32 {
    return select(clamp(x, least, most), x, is_nan(x));
}

// exp(x): a NaN of a NaN, and 0 of -infinity.
fn exp_or_nan(x: f32) -> f32 {
    return select(select(exp(x), x, is_nan(x)), 0.0, bitcast<u32>(x) == 0xff800000u);
}
