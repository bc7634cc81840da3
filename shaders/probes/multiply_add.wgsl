// Chains of multiply-adds that do not wait for each other, and nothing else: what arithmetic can reach at best.
//
//   sum_k = sum_k * factor + offset, 32 * rounds times; Y[thread] = the total of all sums
//
// In front stand WORKGROUP, CHAINS, the binding y, `alias Number` (what is multiplied at once: f32, or a vector of two
// f16), `number(f32) -> Number` and `total(Number) -> f32`. The host guarantees an element of Y a thread.

struct Shape {
    rounds: u32,
    start: f32,
    factor: f32, // below 1, so that sums neither grow nor become too small: they approach offset / (1 - factor)
    offset: f32,
}

alias Sums = array<Number, CHAINS>;

fn step(sums: ptr<function, Sums>, factor: Number, offset: Number) {
    for (var k = 0u; k < CHAINS; k++) {
        (*sums)[k] = (*sums)[k] * factor + offset;
    }
}

fn four_steps(sums: ptr<function, Sums>, factor: Number, offset: Number) {
    step(sums, factor, offset);
    step(sums, factor, offset);
    step(sums, factor, offset);
    step(sums, factor, offset);
}

// Calls rather than a loop, which drivers may keep: its counter and its branch are to vanish among the multiply-adds.
fn sixteen_steps(sums: ptr<function, Sums>, factor: Number, offset: Number) {
    four_steps(sums, factor, offset);
    four_steps(sums, factor, offset);
    four_steps(sums, factor, offset);
    four_steps(sums, factor, offset);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var sums: Sums;
    for (var k = 0u; k < CHAINS; k++) {
        sums[k] = number(shape.start * f32(1u + ((id.x + k) & 3u)));
    }
    // From thread to thread they differ: some instruction sets cannot take two operands that a wave shares.
    let factor = number(shape.factor / f32(1u + (id.x & 1u)));
    let offset = number(shape.offset / f32(1u + (id.x & 1u)));
    for (var round = 0u; round < shape.rounds; round++) {
        sixteen_steps(&sums, factor, offset);
        sixteen_steps(&sums, factor, offset);
    }
    var sum = 0.0;
    for (var k = 0u; k < CHAINS; k++) {
        sum += total(sums[k]);
    }
    y[id.x] = sum;
}
