// In place of tensors/weights: f16, vectors of 4 as words of 64 bits.

#import common/lanes
#import common/words64

// [elements], as the packing lays them out.
@group(0) @binding(1) var<storage, read> weights: array<u64>;

fn weight(i: u32) -> vec4<f32> {
    return wide_halves(weights[i]);
}

fn bias(i: u32) -> vec4<f32> {
    return vec4(wide_2(weights[2u * i]), wide_2(weights[2u * i + 1u]));
}
