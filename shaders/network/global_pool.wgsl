// Writes the mean of every plane of X into a slice of a vector.
//
//   V[n][y_first + c] = mean of X[n][c] over frames, rows and columns
//
// Mapping. A team of TEAM threads adds up a plane; each thread takes every TEAM-th element. Their sums are then added
// in workgroup memory, one half to the other, until one is left. A workgroup has as many teams as fit. A small plane
// has a team of one thread, which shares nothing; a large plane has a whole workgroup.
//
// Operands: X [n][channels][size]; V [n][y_channels], f32.
//
// The host guarantees: `planes` = n * channels; TEAM and WORKGROUP are powers of two, and TEAM is at most WORKGROUP.

#import tensors/input as x
#import tensors/output as vector

const WORKGROUP: u32 = 64u;
const TEAM: u32 = 1u;

struct Shape {
    planes: u32,
    grid_x: u32,
    size: u32, // t * h * w
    channels: u32,
    y_first: u32, // where X's channels begin in a row of V, and the length of that row
    y_channels: u32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// The sum of each thread.
var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let plane = (id.x + id.y * shape.grid_x) * (WORKGROUP / TEAM) + local / TEAM;
    let member = local % TEAM;
    // Teams beyond the last plane add up nothing, but take part in the barriers.
    let size = select(0u, shape.size, plane < shape.planes);
    var sum = 0.0;
    for (var i = member; i < size; i += TEAM) {
        sum += x_load(plane * shape.size + i);
    }
    if TEAM > 1u {
        partial[local] = sum;
        workgroupBarrier();
        for (var half = TEAM / 2u; half > 0u; half /= 2u) {
            if member < half {
                partial[local] += partial[local + half];
            }
            workgroupBarrier();
        }
        sum = partial[local];
    }
    if member == 0u && plane < shape.planes {
        let at = plane / shape.channels * shape.y_channels + shape.y_first + plane % shape.channels;
        vector_store(at, sum / f32(shape.size));
    }
}
