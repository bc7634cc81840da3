// In place of tensors/output: two f16 at once, in words of 32 bits.

// [elements / 2], of a tensor of any shape.
@group(0) @binding(1) var<storage, read_write> elements: array<u32>;

// Does nothing: one element of a word cannot be written. Callers use store_2.
fn store(i: u32, value: f32) {
}

fn store_2(i: u32, values: vec2<f32>) {
    elements[i >> 1u] = pack2x16float(values);
}
