// In place of tensors/output: two f32 at once, in words of 64 bits.

#import common/words64

// [elements / 2], of a tensor of any shape.
@group(0) @binding(1) var<storage, read_write> elements: array<u64>;

// Does nothing: one element of a word cannot be written. Callers use store_2.
fn store(i: u32, value: f32) {
}

fn store_2(i: u32, values: vec2<f32>) {
    elements[i >> 1u] = narrow_2(values);
}
