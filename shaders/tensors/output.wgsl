// A tensor that is written element by element.
//
// All files in place of this one have the same two functions: store(i, value) writes element i; store_2(i, values)
// writes elements i and i + 1, and i must be even. A tensor in pairs can only be written by store_2.

alias Element = f32;

// [elements], of any shape.
@group(0) @binding(1) var<storage, read_write> elements: array<Element>;

fn store(i: u32, value: f32) {
    elements[i] = Element(value);
}

fn store_2(i: u32, values: vec2<f32>) {
    store(i, values.x);
    store(i + 1u, values.y);
}
