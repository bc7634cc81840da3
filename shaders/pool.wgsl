// pool(X): the mean of every 2x2 block of every plane; a thread makes one mean.
//
//   P[plane][y][x] = mean of X[plane][2y..2y+2][2x..2x+2], of the elements that exist at an odd edge
//
// The host guarantees: `threads` elements of P; pooled sizes of half the sizes of X, rounded up or down.

struct Shape {
    threads: u32, // planes * pooled_h * pooled_w
    grid_x: u32,
    h: u32,
    w: u32,
    pooled_h: u32,
    pooled_w: u32,
    unused_a: u32,
    unused_b: u32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let col = 2u * (thread % shape.pooled_w);
    let row = 2u * (thread / shape.pooled_w % shape.pooled_h);
    let plane = thread / (shape.pooled_w * shape.pooled_h) * shape.h;
    let top = (plane + row) * shape.w;
    let bottom = (plane + min(row + 1u, shape.h - 1u)) * shape.w;
    let right = min(col + 1u, shape.w - 1u);
    store_y(thread, 0.25 * (load_x(top + col) + load_x(top + right) + load_x(bottom + col) + load_x(bottom + right)));
}
