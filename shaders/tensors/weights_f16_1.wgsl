// In place of tensors/weights: f16, vectors of 1. Halves are read as bits and unpacked, because that needs no feature.

#import common/lanes

// [elements], as the packing lays them out.
@group(0) @binding(1) var<storage, read> weights: array<u32>;

fn weight(i: u32) -> f32 {
    return unpack2x16float(weights[i >> 1u])[i & 1u];
}

fn bias(i: u32) -> f32 {
    return bitcast<f32>(weights[i]);
}
