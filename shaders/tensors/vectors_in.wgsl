// A tensor of f32 that is read in vectors of 1, 2 or 4.

alias Vector = vec4<f32>;

// [vectors], of a tensor of any shape.
@group(0) @binding(1) var<storage, read> elements: array<Vector>;

fn load(i: u32) -> Vector {
    return elements[i];
}
