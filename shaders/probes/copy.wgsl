// Copies a buffer once from end to end: measures how fast memory can be read and written.
//
//   Y = X
//
// Operands: X, Y [elements] of vec4<f32>.
//
// The host guarantees: the 8 * rounds elements of each thread lie inside X and Y, and no two threads share one.

const WORKGROUP: u32 = 64u;

struct Shape {
    rounds: u32,
    workgroup_distance: u32, // between the first elements of adjacent workgroups, and of adjacent threads
    thread_distance: u32,
    distance: u32, // between the elements of a thread
    mask: u32, // after each round, only these bits of the index of an element are kept
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// [elements]
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var i = id.x * shape.workgroup_distance + local * shape.thread_distance;
    for (var round = 0u; round < shape.rounds; round++) {
        for (var k = 0u; k < 8u; k++) {
            y[i + k * shape.distance] = x[i + k * shape.distance];
        }
        i = (i + 8u * shape.distance) & shape.mask;
    }
}
