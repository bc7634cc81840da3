// In place of tensors/vectors_in: vectors of 4 as two words of 64 bits.

#import common/words64

alias Vector = vec4<f32>;

// [vectors], of a tensor of any shape.
@group(0) @binding(1) var<storage, read> elements: array<vec2<u64>>;

fn load(i: u32) -> Vector {
    return wide_4(elements[i]);
}
