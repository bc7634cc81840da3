// In place of matrix/input: words of two columns.

enable f16;

// [elements / 2], of a tensor of any shape.
@group(0) @binding(1) var<storage, read> elements: array<vec2<f16>>;

fn load(i: u32) -> array<f16, 2> {
    return array(elements[i][0], elements[i][1]);
}

fn load_one(i: u32) -> f16 {
    return elements[i / 2u][i % 2u];
}
