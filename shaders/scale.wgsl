// Y = activate(X * factor + shift + residual), element by element, from channels of one tensor to channels of another.
//
// affine(n, c) gives (factor, shift). The host writes it in front of this file, in one of three forms: (1, 0), a copy;
// params[c], a batch norm; or (factors[n][factors_first + c], 0), an excitation.
//
// Mapping. A thread takes ELEMENTS elements of one plane, pairs of them where PAIRED, and finds channel and factor once for
// all of them. They lie `stride` apart: threads side by side take elements side by side.
//
// Operands: X [n][x_of][plane] and Y [n][y_of][plane], each with the slice of `channels` from its `first` on; residual
// [n][channels][plane]; params [channels] of (factor, shift); factors [n][factors_of]. Params and factors are f32.
//
// The host guarantees: stride = plane / ELEMENTS, or half of that for pairs, rounded up; slices within their tensors; planes of
// an even size where PAIRED.

struct Shape {
    threads: u32, // n * channels * stride
    grid_x: u32,
    channels: u32,
    plane: u32, // t * h * w
    stride: u32,
    x_first: u32,
    x_of: u32,
    y_first: u32,
    y_of: u32,
    factors_first: u32,
    factors_of: u32,
    slope: f32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let first = thread % shape.stride;
    let c = thread / shape.stride % shape.channels;
    let n = thread / (shape.stride * shape.channels);
    let scale = affine(n, c);
    let x = (n * shape.x_of + shape.x_first + c) * shape.plane;
    let y = (n * shape.y_of + shape.y_first + c) * shape.plane;
    let residual = (n * shape.channels + c) * shape.plane;
    for (var k = 0u; k < ELEMENTS; k++) {
        let at = (first + k * shape.stride) * select(1u, 2u, PAIRED);
        if at >= shape.plane {
            continue;
        }
        if PAIRED {
            let values = load_x_2(x + at) * scale.x + scale.y + load_residual_2(residual + at);
            store_y_2(y + at, vec2(activate(values.x, shape.slope), activate(values.y, shape.slope)));
        } else {
            let value = load_x(x + at) * scale.x + scale.y + load_residual(residual + at);
            store_y(y + at, activate(value, shape.slope));
        }
    }
}
