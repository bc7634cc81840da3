// A tensor of f32 that is written in vectors of 1, 2 or 4.

alias Vector = vec4<f32>;

// [vectors], of a tensor of any shape.
@group(0) @binding(1) var<storage, read_write> elements: array<Vector>;

fn store(i: u32, value: Vector) {
    elements[i] = value;
}
