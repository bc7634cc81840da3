// In place of tensors/weights: f16, vectors of 4. Halves are read as bits and unpacked, because that needs no feature.

#import common/lanes

// [elements], as the packing lays them out.
@group(0) @binding(1) var<storage, read> weights: array<vec2<u32>>;

fn weight(i: u32) -> vec4<f32> {
    return vec4(unpack2x16float(weights[i].x), unpack2x16float(weights[i].y));
}

fn bias(i: u32) -> vec4<f32> {
    return vec4(bitcast<vec2<f32>>(weights[2u * i]), bitcast<vec2<f32>>(weights[2u * i + 1u]));
}
