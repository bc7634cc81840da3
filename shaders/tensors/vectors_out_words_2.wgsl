// In place of tensors/vectors_out: vectors of 2 as words of 64 bits.

#import common/words64

alias Vector = vec2<f32>;

// [vectors], of a tensor of any shape.
@group(0) @binding(1) var<storage, read_write> elements: array<u64>;

fn store(i: u32, value: Vector) {
    elements[i] = narrow_2(value);
}
