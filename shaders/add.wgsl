// Y = activate(A + B + residual), element by element: the last dispatch of the unfused strategy for each output.
//
// The host guarantees: all tensors have `threads` elements.

struct Shape {
    threads: u32,
    grid_x: u32,
    slope: f32,
    unused: u32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    store_y(thread, activate(load_a(thread) + load_b(thread) + load_residual(thread), shape.slope));
}
