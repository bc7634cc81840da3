// Y = X in another size. An element takes the nearest element of X; or, if BILINEAR, the four around its place, each
// weighted by how near it is.
//
//   Y[n][y_first + c][t][y][x] = sum of w_y w_x X[n][x_first + c][t'][y'][x']
//                                over the rows y' and columns x' around the places of y and x
//
// Places are fractions of whole numbers, so that they are exact: see Axis. Frames are always the nearest.
//
// Mapping. A thread makes COLS adjacent elements of a row.
//
// Operands: X [n][x_channels][t_in][h_in][w_in]; Y [n][y_channels][t][h][w]. Of both, `channels` channels are used,
// starting at x_first and y_first.
//
// The host guarantees: threads_w = w / COLS, rounded up; for each axis of Y, size * step + start fits in 32 bits; if
// PAIRED, COLS and w are even.

#import common/axis
#import tensors/input as x
#import tensors/output as y

const WORKGROUP: u32 = 64u;
// Elements of a thread.
const COLS: u32 = 2u;
const BILINEAR: bool = false;
// Y is written two columns at a time.
const PAIRED: bool = false;

struct Shape {
    threads: u32, // n * channels * t * h * threads_w
    grid_x: u32,
    threads_w: u32, // threads along a row of Y
    channels: u32,
    x_first: u32, // the first channel that is read, and all channels of X
    x_channels: u32,
    y_first: u32,
    y_channels: u32,
    t_in: u32,
    h_in: u32,
    w_in: u32,
    t: u32,
    h: u32,
    w: u32,
    unused_a: u32,
    unused_b: u32,
    frames: Axis,
    rows: Axis,
    cols: Axis,
}

@group(0) @binding(0) var<uniform> shape: Shape;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let col = COLS * (thread % shape.threads_w);
    let row = thread / shape.threads_w % shape.h;
    let frame = thread / (shape.threads_w * shape.h);
    let t = frame % shape.t;
    let c = frame / shape.t % shape.channels;
    let n = frame / (shape.t * shape.channels);
    let channel = n * shape.x_channels + shape.x_first + c;
    let x_frame = (channel * shape.t_in + nearest(shape.frames, t, shape.t_in)) * shape.h_in;

    var values: array<f32, COLS>;
    if BILINEAR {
        let rows = around(shape.rows, row, shape.h_in);
        let top = (x_frame + rows.first) * shape.w_in;
        let bottom = (x_frame + rows.second) * shape.w_in;
        for (var j = 0u; j < COLS; j++) {
            // A column beyond the last one computes the last one again, and is not stored.
            let cols = around(shape.cols, min(col + j, shape.w - 1u), shape.w_in);
            let upper = dot(cols.weights, vec2(x_load(top + cols.first), x_load(top + cols.second)));
            let lower = dot(cols.weights, vec2(x_load(bottom + cols.first), x_load(bottom + cols.second)));
            values[j] = dot(rows.weights, vec2(upper, lower));
        }
    } else {
        let x_row = (x_frame + nearest(shape.rows, row, shape.h_in)) * shape.w_in;
        for (var j = 0u; j < COLS; j++) {
            values[j] = x_load(x_row + nearest(shape.cols, min(col + j, shape.w - 1u), shape.w_in));
        }
    }
    let y_frame = (n * shape.y_channels + shape.y_first + c) * shape.t + t;
    store_row((y_frame * shape.h + row) * shape.w, col, values);
}

// Stores elements of the row that begins at index `row`, starting at column `col`.
fn store_row(row: u32, col: u32, values: array<f32, COLS>) {
    for (var j = 0u; j < COLS; j++) {
        if col + j < shape.w {
            if !PAIRED {
                y_store(row + col + j, values[j]);
            } else if (j & 1u) == 0u {
                y_store_2(row + col + j, vec2(values[j], values[j | 1u]));
            }
        }
    }
}
