// Reads a buffer once from end to end: what memory can deliver at best.
//
//   Y[thread] = the sum of the thread's elements of X
//
// In front stand WORKGROUP and the bindings x (of vec4<f32>) and y. The host guarantees that 8 * rounds elements a thread
// lie inside X, and an element of Y a thread.

struct Shape {
    rounds: u32,
    // All in elements of X.
    workgroup_step: u32,
    thread_step: u32,
    step: u32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var i = id.x * shape.workgroup_step + local * shape.thread_step;
    var sums: array<vec4<f32>, 4>;
    for (var round = 0u; round < shape.rounds; round++) {
        for (var k = 0u; k < 8u; k++) {
            sums[k % 4u] += x[i + k * shape.step];
        }
        i += 8u * shape.step;
    }
    y[id.x * WORKGROUP + local] = dot((sums[0] + sums[1]) + (sums[2] + sums[3]), vec4(1.0));
}
