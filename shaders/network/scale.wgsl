// Y = activate(X * factor + shift + residual), element by element, from channels of one tensor to channels of another.
// If WRITES_Y_P, pool(Y) is written too.
//
// network/affine, or a file in its place, defines factor and shift.
//
// Mapping. A thread finds channel and factor once for all that it makes. Adjacent threads make adjacent elements.
//   - Without pool(Y), a thread makes ELEMENTS elements of one channel, over all frames, or as many pairs if PAIRED.
//     They lie threads_w elements or pairs apart.
//   - With pool(Y), a thread makes CELLS cells of Y, side by side, in each of ROWS pairs of rows of a frame. These
//     pairs of rows lie threads_h pairs apart.
//
// Operands: X [n][x_channels][t][h][w] and Y [n][y_channels][t][h][w], of which `channels` channels are used, starting
// at x_first and y_first; residual [n][channels][t][h][w]; Y_P [n][channels][t][pooled_h][pooled_w]; params [channels]
// of (factor, shift); factors [n][factors_channels]. Params and factors are f32.
//
// The host guarantees: the channels lie inside their tensors. Without pool(Y): threads_w = plane / ELEMENTS, or half of
// that for pairs, rounded up; if PAIRED, planes have even size. With pool(Y): threads_w = w / 2 / CELLS and threads_h
// = h / 2 / ROWS, rounded up at each division; if PAIRED, w is even; if POOLED_PAIRED, pooled_w is even.

#import common/epilogue as out
#import common/means
#import network/affine
#import tensors/input as x
#import tensors/output as y_p

const WORKGROUP: u32 = 64u;
const ELEMENTS: u32 = 4u;
const CELLS: u32 = 2u;
const ROWS: u32 = 1u;
// X, residual and Y are read and written two elements at a time.
const PAIRED: bool = false;
const WRITES_Y_P: bool = false;
// Y_P is written two columns at a time.
const POOLED_PAIRED: bool = false;

struct Shape {
    threads: u32, // n * channels * threads_w; with pool(Y), times t * threads_h
    grid_x: u32,
    channels: u32, // channels that are made
    plane: u32, // t * h * w
    threads_w: u32, // threads of a plane; with pool(Y), along a row
    x_first: u32, // the first channel that is read, and all channels of X
    x_channels: u32,
    y_first: u32,
    y_channels: u32,
    factors_first: u32,
    factors_channels: u32,
    slope: f32,
    t: u32,
    h: u32,
    w: u32,
    pooled_h: u32,
    pooled_w: u32,
    threads_h: u32, // with pool(Y), threads along a column
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// Where a thread's channel begins in the tensors, and its factor and shift.
struct Plane {
    x: u32,
    y: u32,
    residual: u32,
    scale: vec2<f32>,
}

fn plane_of(n: u32, c: u32) -> Plane {
    var plane: Plane;
    plane.x = (n * shape.x_channels + shape.x_first + c) * shape.plane;
    plane.y = (n * shape.y_channels + shape.y_first + c) * shape.plane;
    plane.residual = (n * shape.channels + c) * shape.plane;
    plane.scale = affine(c, n * shape.factors_channels + shape.factors_first + c);
    return plane;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let first = thread % shape.threads_w;
    if WRITES_Y_P {
        let row = thread / shape.threads_w % shape.threads_h;
        let frame = thread / (shape.threads_w * shape.threads_h);
        let c = frame / shape.t % shape.channels;
        let plane = plane_of(frame / (shape.t * shape.channels), c);
        for (var k = 0u; k < ROWS; k++) {
            make_cells(plane, frame, 2u * (row + k * shape.threads_h), first * CELLS);
        }
        return;
    }
    let c = thread / shape.threads_w % shape.channels;
    let plane = plane_of(thread / (shape.threads_w * shape.channels), c);
    for (var k = 0u; k < ELEMENTS; k++) {
        let at = (first + k * shape.threads_w) * select(1u, 2u, PAIRED);
        if at < shape.plane {
            _ = make(plane, at, true);
        }
    }
}

// Makes element `at` of a plane. Makes the next element too if PAIRED, or, with pool(Y), if `right`. Returns both
// elements; if the second is not made, the first stands in for it.
fn make(plane: Plane, at: u32, right: bool) -> vec2<f32> {
    if PAIRED {
        let sums = x_load_2(plane.x + at) * plane.scale.x + plane.scale.y;
        return out_finish_2_from(sums, plane.residual + at, plane.y + at, shape.slope);
    }
    let value = make_one(plane, at);
    if WRITES_Y_P && right {
        return vec2(value, make_one(plane, at + 1u));
    }
    return vec2(value);
}

fn make_one(plane: Plane, at: u32) -> f32 {
    let sum = x_load(plane.x + at) * plane.scale.x + plane.scale.y;
    return out_finish_from(sum, plane.residual + at, plane.y + at, shape.slope);
}

// Makes CELLS cells of two rows of a frame, starting at row `y` and cell `first`, and their means.
fn make_cells(plane: Plane, frame: u32, y: u32, first: u32) {
    var means: array<f32, CELLS>;
    for (var b = 0u; b < CELLS; b++) {
        let left = 2u * (first + b);
        if left < shape.w && y < shape.h {
            let at = (frame % shape.t * shape.h + y) * shape.w + left;
            // At an odd edge the neighbour stands in, as in common/means.
            let top = make(plane, at, left + 1u < shape.w);
            var bottom = top;
            if y + 1u < shape.h {
                bottom = make(plane, at + shape.w, left + 1u < shape.w);
            }
            means[b] = mean_of(vec4(top, bottom));
        }
    }
    store_means(frame, y / 2u, first, means);
}

// Stores a row of means, starting at column `first`.
fn store_means(frame: u32, y: u32, first: u32, means: array<f32, CELLS>) {
    for (var b = 0u; b < CELLS; b++) {
        if y < shape.pooled_h && first + b < shape.pooled_w {
            let at = (frame * shape.pooled_h + y) * shape.pooled_w + first + b;
            if !POOLED_PAIRED {
                y_p_store(at, means[b]);
            } else if (b & 1u) == 0u {
                y_p_store_2(at, vec2(means[b], means[b | 1u]));
            }
        }
    }
}
