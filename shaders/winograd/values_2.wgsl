// In place of winograd/values: two numbers.

const PARTS: u32 = 2u;
alias Value = vec2<f32>;

fn part(v: Value, k: u32) -> f32 {
    return v[k];
}

fn value_of(first: f32, last: f32) -> Value {
    return vec2(first, last);
}
