// In place of tensors/output: no tensor. Stores do nothing.

fn store(i: u32, value: f32) {
}

fn store_2(i: u32, values: vec2<f32>) {
}
