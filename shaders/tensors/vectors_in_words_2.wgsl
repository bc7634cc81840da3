// In place of tensors/vectors_in: vectors of 2 as words of 64 bits.

#import common/words64

alias Vector = vec2<f32>;

// [vectors], of a tensor of any shape.
@group(0) @binding(1) var<storage, read> elements: array<u64>;

fn load(i: u32) -> Vector {
    return wide_2(elements[i]);
}
