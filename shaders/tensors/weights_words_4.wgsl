// In place of tensors/weights: vectors of 4 as two words of 64 bits.

#import common/lanes
#import common/words64

// [elements], as the packing lays them out.
@group(0) @binding(1) var<storage, read> weights: array<vec2<u64>>;

fn weight(i: u32) -> vec4<f32> {
    return wide_4(weights[i]);
}

fn bias(i: u32) -> vec4<f32> {
    return wide_4(weights[i]);
}
