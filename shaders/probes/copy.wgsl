// Copies a buffer once from end to end: what memory can take and deliver at best.
//
//   Y = X
//
// In front stand WORKGROUP and the bindings x and y, both of vec4<f32>. The host guarantees that 8 * rounds elements a
// thread lie inside X and Y, and that no two threads have one in common.

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
    for (var round = 0u; round < shape.rounds; round++) {
        for (var k = 0u; k < 8u; k++) {
            y[i + k * shape.step] = x[i + k * shape.step];
        }
        i += 8u * shape.step;
    }
}
