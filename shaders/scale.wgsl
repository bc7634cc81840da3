// Y = activate(X * factor + shift + residual), element by element, from channels of one tensor to channels of another.
//
// affine(n, c) gives (factor, shift). The host writes it in front of this file, in one of three forms: (1, 0), a copy;
// params[c], a batch norm; or (factors[n][factors_first + c], 0), an excitation.
//
// Operands: X [n][x_of][plane] and Y [n][y_of][plane], each with the slice of `channels` from its `first` on; residual
// [n][channels][plane]; params [channels] of (factor, shift); factors [n][factors_of]. Params and factors are f32.
//
// The host guarantees: `threads` elements of the slices; slices within their tensors.

struct Shape {
    threads: u32, // n * channels * plane
    grid_x: u32,
    channels: u32,
    plane: u32, // t * h * w
    x_first: u32,
    x_of: u32,
    y_first: u32,
    y_of: u32,
    factors_first: u32,
    factors_of: u32,
    slope: f32,
    unused: u32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let at = thread % shape.plane;
    let c = thread / shape.plane % shape.channels;
    let n = thread / (shape.plane * shape.channels);
    let x = load_x((n * shape.x_of + shape.x_first + c) * shape.plane + at);
    let scale = affine(n, c);
    let value = activate(x * scale.x + scale.y + load_residual(thread), shape.slope);
    store_y((n * shape.y_of + shape.y_first + c) * shape.plane + at, value);
}
