// A tensor that is read element by element.
//
// All files in place of this one have the same three functions: load(i) returns element i; load_2(i) returns elements i
// and i + 1, and i must be even; load_word(i) returns elements 2 * i and 2 * i + 1.

alias Element = f32;

// [elements], of any shape.
@group(0) @binding(1) var<storage, read> elements: array<Element>;

fn load(i: u32) -> f32 {
    return f32(elements[i]);
}

fn load_2(i: u32) -> vec2<f32> {
    return vec2(load(i), load(i + 1u));
}

fn load_word(i: u32) -> vec2<f32> {
    return load_2(2u * i);
}
