// Y = activate(X * factor + shift + residual), element by element, from channels of one tensor to channels of another; and,
// where WRITES_Y_P, pool(Y) beside it.
//
// affine(n, c) gives (factor, shift). The host writes it in front of this file, in one of three forms: (1, 0), a copy;
// params[c], a batch norm; or (factors[n][factors_first + c], 0), an excitation.
//
// Mapping. A thread finds channel and factor once for all that it does.
//   - Without pool(Y) it takes ELEMENTS elements of one plane of all frames, pairs of them where PAIRED. They lie `stride`
//     apart: threads side by side take elements side by side.
//   - With it, it takes BLOCKS 2x2 blocks side by side in a frame, of `stride` such in a row, and does so in ROWS pairs of
//     rows, `row_stride` apart.
//
// Operands: X [n][x_of][t][h][w] and Y [n][y_of][t][h][w], each with the slice of `channels` from its `first` on; residual
// [n][channels][t][h][w]; Y_P [n][channels][t][pooled_h][pooled_w]; params [channels] of (factor, shift); factors
// [n][factors_of]. Params and factors are f32.
//
// The host guarantees: slices within their tensors; without pool(Y), stride = plane / ELEMENTS, or half of that for pairs,
// rounded up, and planes of an even size where PAIRED; with it, stride = w / 2 / BLOCKS, rounded up at each division, w even
// where PAIRED, and pooled_w even where POOLED_PAIRED.

struct Shape {
    threads: u32, // n * channels * stride, with pool(Y) times t * row_stride
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
    t: u32,
    h: u32,
    w: u32,
    pooled_h: u32,
    pooled_w: u32,
    row_stride: u32, // pairs of rows / ROWS, rounded up
    unused_a: u32,
    unused_b: u32,
}

// Where a thread's channel lies in the tensors.
struct Plane {
    x: u32,
    y: u32,
    residual: u32,
    scale: vec2<f32>,
}

fn plane_of(n: u32, c: u32) -> Plane {
    var plane: Plane;
    plane.x = (n * shape.x_of + shape.x_first + c) * shape.plane;
    plane.y = (n * shape.y_of + shape.y_first + c) * shape.plane;
    plane.residual = (n * shape.channels + c) * shape.plane;
    plane.scale = affine(n, c);
    return plane;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let first = thread % shape.stride;
    if WRITES_Y_P {
        let row = thread / shape.stride % shape.row_stride;
        let frame = thread / (shape.stride * shape.row_stride);
        let c = frame / shape.t % shape.channels;
        let plane = plane_of(frame / (shape.t * shape.channels), c);
        for (var k = 0u; k < ROWS; k++) {
            blocks(plane, frame, 2u * (row + k * shape.row_stride), first * BLOCKS);
        }
        return;
    }
    let c = thread / shape.stride % shape.channels;
    let plane = plane_of(thread / (shape.stride * shape.channels), c);
    for (var k = 0u; k < ELEMENTS; k++) {
        let at = (first + k * shape.stride) * select(1u, 2u, PAIRED);
        if at < shape.plane {
            _ = make(plane, at, true);
        }
    }
}

// Two elements side by side where PAIRED. Else one, and the next one where it is `wanted` and there are such pairs: with
// pool(Y); what it gives in its place is the first.
fn make(plane: Plane, at: u32, wanted: bool) -> vec2<f32> {
    if PAIRED {
        let sums = load_x_2(plane.x + at) * plane.scale.x + plane.scale.y + load_residual_2(plane.residual + at);
        let values = vec2(activate(sums.x, shape.slope), activate(sums.y, shape.slope));
        store_y_2(plane.y + at, values);
        return values;
    }
    let value = make_one(plane, at);
    if WRITES_Y_P && wanted {
        return vec2(value, make_one(plane, at + 1u));
    }
    return vec2(value);
}

fn make_one(plane: Plane, at: u32) -> f32 {
    let sum = load_x(plane.x + at) * plane.scale.x + plane.scale.y + load_residual(plane.residual + at);
    let value = activate(sum, shape.slope);
    store_y(plane.y + at, value);
    return value;
}

// The 2x2 blocks of two rows of a frame, from the row `y` and the block `first` on, and their means.
fn blocks(plane: Plane, frame: u32, y: u32, first: u32) {
    var means: array<f32, BLOCKS>;
    for (var b = 0u; b < BLOCKS; b++) {
        let x = 2u * (first + b);
        if x < shape.w && y < shape.h {
            let at = (frame % shape.t * shape.h + y) * shape.w + x;
            // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
            let top = make(plane, at, x + 1u < shape.w);
            var bottom = top;
            if y + 1u < shape.h {
                bottom = make(plane, at + shape.w, x + 1u < shape.w);
            }
            means[b] = 0.25 * (top.x + top.y + bottom.x + bottom.y);
        }
    }
    for (var b = 0u; b < BLOCKS; b++) {
        if y / 2u < shape.pooled_h && first + b < shape.pooled_w {
            let at = (frame * shape.pooled_h + y / 2u) * shape.pooled_w + first + b;
            if !POOLED_PAIRED {
                store_y_p(at, means[b]);
            } else if (b & 1u) == 0u {
                store_y_p_2(at, vec2(means[b], means[b | 1u]));
            }
        }
    }
}
