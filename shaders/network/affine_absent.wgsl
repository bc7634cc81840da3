// In place of network/affine: no factors. The map is copied.

fn affine(c: u32, at: u32) -> vec2<f32> {
    return vec2(1.0, 0.0);
}
