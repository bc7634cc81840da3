// In place of tensors/weights: vectors of 2 as words of 64 bits.

#import common/lanes
#import common/words64

// [elements], as the packing lays them out.
@group(0) @binding(1) var<storage, read> weights: array<u64>;

fn weight(i: u32) -> vec2<f32> {
    return wide_2(weights[i]);
}

fn bias(i: u32) -> vec2<f32> {
    return wide_2(weights[i]);
}
