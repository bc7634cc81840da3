// Nearest replication 2x2: a thread makes one element of the larger map.
//
//   Y[plane][y][x] = X[plane][min(y/2, h_in - 1)][min(x/2, w_in - 1)]
//
// Only the unfused strategy, which other kernels are measured against, stores this map.
//
// The host guarantees: `threads` elements of Y; planes of X and Y alike.

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

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let col = min(thread % shape.w / 2u, shape.w_in - 1u);
    let row = min(thread / shape.w % shape.h / 2u, shape.h_in - 1u);
    let plane = thread / (shape.w * shape.h);
    store_y(thread, load_x((plane * shape.h_in + row) * shape.w_in + col));
}
