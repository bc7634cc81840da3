// Y = activate(A + B + residual), element by element: the last dispatch of the unfused strategy for each output.
//
// Operands: A, B, residual and Y, of any shape. B and the residual may be absent.
//
// The host guarantees: all tensors have `threads` elements.

#import common/epilogue as sum
#import tensors/input as a
#import tensors/input as b

const WORKGROUP: u32 = 64u;

struct Shape {
    threads: u32,
    grid_x: u32,
    slope: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    _ = sum_finish(a_load(thread) + b_load(thread), thread, shape.slope);
}
