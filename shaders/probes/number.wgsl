// The Number that probes/multiply_add multiplies: one f32. In its place, probes/number_f16 has two f16.

alias Number = f32;

fn number(x: f32) -> Number {
    return x;
}

fn total(v: Number) -> f32 {
    return v;
}
