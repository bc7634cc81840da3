// What a map is scaled by: a factor and a shift per channel, as in a batch norm.
//
// All files in place of this one have the same function: affine(c, at) returns (factor, shift) of channel c. If there
// are factors per sample, element `at` of them is the one of this sample and channel.

// [channels] of (factor, shift).
@group(0) @binding(1) var<storage, read> params: array<vec2<f32>>;

fn affine(c: u32, at: u32) -> vec2<f32> {
    return params[c];
}
