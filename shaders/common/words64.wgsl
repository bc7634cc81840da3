// Reads and writes two words of 32 bits as one of 64 bits. A software device would fetch each scalar of a vector by
// itself, and check bounds each time.

fn wide_2(v: u64) -> vec2<f32> {
    return vec2(bitcast<f32>(u32(v)), bitcast<f32>(u32(v >> 32u)));
}

fn wide_4(v: vec2<u64>) -> vec4<f32> {
    return vec4(wide_2(v.x), wide_2(v.y));
}

// Four halves.
fn wide_halves(v: u64) -> vec4<f32> {
    return vec4(unpack2x16float(u32(v)), unpack2x16float(u32(v >> 32u)));
}

fn narrow_2(v: vec2<f32>) -> u64 {
    return u64(bitcast<u32>(v.x)) | (u64(bitcast<u32>(v.y)) << 32u);
}

fn narrow_4(v: vec4<f32>) -> vec2<u64> {
    return vec2(narrow_2(v.xy), narrow_2(v.zw));
}
