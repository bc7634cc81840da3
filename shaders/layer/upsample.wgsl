// Nearest replication 2x2: a thread makes one element of the larger map.
//
//   Y[plane][y][x] = X[plane][min(y/2, h_in - 1)][min(x/2, w_in - 1)]
//
// Only the unfused strategy stores this map. Other kernels are compared with that strategy.
//
// Operands: X [planes][h_in][w_in], Y [planes][h][w].
//
// The host guarantees: `threads` elements of Y; X and Y have the same planes.

#import tensors/input as x
#import tensors/output as y

const WORKGROUP: u32 = 64u;

struct Shape {
    threads: u32, // planes * h * w
    grid_x: u32,
    h: u32,
    w: u32,
    h_in: u32,
    w_in: u32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let col = min(thread % shape.w / 2u, shape.w_in - 1u);
    let row = min(thread / shape.w % shape.h / 2u, shape.h_in - 1u);
    let plane = thread / (shape.w * shape.h);
    y_store(thread, x_load((plane * shape.h_in + row) * shape.w_in + col));
}
