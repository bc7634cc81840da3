// In place of probes/number: two f16.

enable f16;

alias Number = vec2<f16>;

fn number(x: f32) -> Number {
    return Number(f16(x));
}

fn total(v: Number) -> f32 {
    return f32(v.x + v.y);
}
