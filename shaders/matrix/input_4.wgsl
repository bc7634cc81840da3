// In place of matrix/input: words of four columns.

enable f16;

// [elements / 4], of a tensor of any shape.
@group(0) @binding(1) var<storage, read> elements: array<vec4<f16>>;

fn load(i: u32) -> array<f16, 4> {
    return array(elements[i][0], elements[i][1], elements[i][2], elements[i][3]);
}

fn load_one(i: u32) -> f16 {
    return elements[i / 4u][i % 4u];
}
