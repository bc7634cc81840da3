// Loads that each wait for the one before: measures how long a load takes.
//
//   i = X[i], 16 * rounds times, from 0 on; Y[thread] = i
//
// Operands: X [elements] of u32; Y [threads] of u32.
//
// The host guarantees: each element of X is below their number.

const WORKGROUP: u32 = 64u;

struct Rounds {
    rounds: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> shape: Rounds;
// [elements]
@group(0) @binding(1) var<storage, read> x: array<u32>;
// [threads]
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var i = 0u;
    for (var round = 0u; round < shape.rounds; round++) {
        for (var k = 0u; k < 16u; k++) {
            i = x[i];
        }
    }
    y[id.x * WORKGROUP + local] = i;
}
