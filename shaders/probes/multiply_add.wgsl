// Chains of multiply-adds that do not wait for each other, and nothing else: measures how fast arithmetic units can be.
//
//   sum_k = sum_k * factor + offset, 32 * rounds times; Y[thread] = the total of all sums
//
// Operands: Y [threads] of f32.

#import probes/number

const WORKGROUP: u32 = 64u;
const CHAINS: u32 = 10u;

struct Shape {
    rounds: u32,
    start: f32,
    factor: f32, // below 1, so that sums neither grow nor become too small: they approach offset / (1 - factor)
    offset: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// [threads]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

alias Sums = array<Number, CHAINS>;

fn once(sums: ptr<function, Sums>, factor: Number, offset: Number) {
    for (var k = 0u; k < CHAINS; k++) {
        (*sums)[k] = (*sums)[k] * factor + offset;
    }
}

fn four_times(sums: ptr<function, Sums>, factor: Number, offset: Number) {
    once(sums, factor, offset);
    once(sums, factor, offset);
    once(sums, factor, offset);
    once(sums, factor, offset);
}

// Calls in place of a loop: drivers may not unroll a loop, and its counter and branch would take time of their own.
fn sixteen_times(sums: ptr<function, Sums>, factor: Number, offset: Number) {
    four_times(sums, factor, offset);
    four_times(sums, factor, offset);
    four_times(sums, factor, offset);
    four_times(sums, factor, offset);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var sums: Sums;
    for (var k = 0u; k < CHAINS; k++) {
        sums[k] = number(shape.start * f32(1u + ((id.x + k) & 3u)));
    }
    // These differ between threads, because some instruction sets cannot take two operands that a subgroup shares.
    let factor = number(shape.factor / f32(1u + (id.x & 1u)));
    let offset = number(shape.offset / f32(1u + (id.x & 1u)));
    for (var round = 0u; round < shape.rounds; round++) {
        sixteen_times(&sums, factor, offset);
        sixteen_times(&sums, factor, offset);
    }
    var sum = 0.0;
    for (var k = 0u; k < CHAINS; k++) {
        sum += total(sums[k]);
    }
    y[id.x] = sum;
}
