// In place of tensors/input: two elements at once, in vectors.

alias Pair = vec2<f32>;

// [elements / 2], of a tensor of any shape.
@group(0) @binding(1) var<storage, read> elements: array<Pair>;

fn load_word(i: u32) -> vec2<f32> {
    return vec2<f32>(elements[i]);
}

fn load_2(i: u32) -> vec2<f32> {
    return load_word(i >> 1u);
}

fn load(i: u32) -> f32 {
    let pair = load_2(i);
    return select(pair.x, pair.y, (i & 1u) != 0u);
}
