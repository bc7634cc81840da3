// Y = the maximum or the mean of the elements of X under each pool window.
//
//   Y[n][y_first + c][t][y][x] = max or mean of X[n][c][t'][y'][x']
//                                over kernel_t frames t' from t * stride_t - padding_t on, and so for y' and x'
//
// Only elements that exist are compared or added. A mean is their sum, divided by the number of elements of the pool
// window that lie in the map, or at most `before` before it or `behind` behind it.
//
// Mapping. A thread makes ROWS x COLS elements of a frame.
//
// Operands: X [n][channels][t][x_rows][w]; Y [n][y_channels][t_out][h_out][w_out]. Of Y, `channels` channels are
// written, starting at y_first, and y_rows rows of each frame, starting at y_row. Of each map, X has x_rows rows,
// starting at x_row.
//
// The host guarantees: one thread for each ROWS x COLS elements that are made; every pool window has an element that
// exists, and X has all of its rows that exist; padding is less than the kernel; if PAIRED, COLS = 2 and rows of Y have
// even length.

#import tensors/input as x
#import tensors/output as y
#import common/nan

const WORKGROUP: u32 = 64u;
// Makes means. If not, makes maxima.
const AVERAGE: bool = false;
// Y is written two columns at a time.
const PAIRED: bool = false;
// Elements of a thread.
const ROWS: u32 = 1u;
const COLS: u32 = 1u;
// The pool window has few elements. Its size and stride along h and w are then the constants below, so that drivers
// unroll its loops, and load elements once that adjacent pool windows share.
const SMALL: bool = false;
const KERNEL_H: u32 = 1u;
const KERNEL_W: u32 = 1u;
const STRIDE_H: u32 = 1u;
const STRIDE_W: u32 = 1u;

struct Shape {
    threads: u32, // n * channels * t_out * threads_h * threads_w
    grid_x: u32,
    threads_h: u32, // threads along h and w, for the rows of a frame that are made
    threads_w: u32,
    channels: u32,
    y_first: u32, // the first channel of Y that is written
    y_channels: u32, // all channels of Y
    t: u32, // size of a whole map of X
    h: u32,
    w: u32,
    t_out: u32, // size of a whole map of Y
    h_out: u32,
    w_out: u32,
    kernel_t: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_t: u32,
    stride_h: u32,
    stride_w: u32,
    padding_t: u32,
    padding_h: u32,
    padding_w: u32,
    x_row: u32, // the rows of a map that X has: the first one, and their number
    x_rows: u32,
    y_row: u32, // the rows of Y that are made: the first one, and their number
    y_rows: u32,
    before_t: u32, // elements before the map, and behind it, that count in a mean
    before_h: u32,
    before_w: u32,
    behind_t: u32,
    behind_h: u32,
    behind_w: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

fn kernel_h() -> u32 {
    return select(shape.kernel_h, KERNEL_H, SMALL);
}

fn kernel_w() -> u32 {
    return select(shape.kernel_w, KERNEL_W, SMALL);
}

fn stride_h() -> u32 {
    return select(shape.stride_h, STRIDE_H, SMALL);
}

fn stride_w() -> u32 {
    return select(shape.stride_w, STRIDE_W, SMALL);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let col = COLS * (thread % shape.threads_w);
    let row = ROWS * (thread / shape.threads_w % shape.threads_h);
    let t = thread / (shape.threads_w * shape.threads_h) % shape.t_out;
    let plane = thread / (shape.threads_w * shape.threads_h * shape.t_out);
    let n = plane / shape.channels;
    let c = plane % shape.channels;
    let frame = (n * shape.y_channels + shape.y_first + c) * shape.t_out + t;
    let first = i32(t * shape.stride_t) - i32(shape.padding_t);

    for (var i = 0u; i < ROWS; i++) {
        // A row or column beyond the last one computes the last one again, and is not stored.
        let row_out = shape.y_row + min(row + i, shape.y_rows - 1u);
        let top = i32(row_out * stride_h()) - i32(shape.padding_h);
        var values = array<f32, COLS>();
        for (var j = 0u; j < COLS; j++) {
            let left = i32(min(col + j, shape.w_out - 1u) * stride_w()) - i32(shape.padding_w);
            values[j] = pooled(plane, first, top, left);
        }
        if row + i < shape.y_rows {
            store_row((frame * shape.h_out + row_out) * shape.w_out, col, values);
        }
    }
}

// Stores elements of one row of Y, which begins at index `row`, starting at column `col`.
fn store_row(row: u32, col: u32, values: array<f32, COLS>) {
    if PAIRED {
        y_store_2(row + col, vec2(values[0], values[COLS - 1u]));
    } else {
        for (var j = 0u; j < COLS; j++) {
            if col + j < shape.w_out {
                y_store(row + col + j, values[j]);
            }
        }
    }
}

// The maximum or mean over the pool window at frame `first`, row `top` and column `left` of channel `plane`.
fn pooled(plane: u32, first: i32, top: i32, left: i32) -> f32 {
    let frames = range(first, shape.kernel_t, shape.t);
    let rows = range(top, kernel_h(), shape.h);
    let cols = range(left, kernel_w(), shape.w);
    var value = 0.0;
    var nan = 0.0;
    for (var i = frames.x; i < frames.y; i++) {
        let frame = plane * shape.t + inside(first, i, shape.t);
        for (var j = rows.x; j < rows.y; j++) {
            let row = (frame * shape.x_rows + inside(top, j, shape.h) - shape.x_row) * shape.w;
            for (var k = cols.x; k < cols.y; k++) {
                let element = x_load(row + inside(left, k, shape.w));
                if AVERAGE {
                    let is_in = exists(first, i, shape.t) && exists(top, j, shape.h) && exists(left, k, shape.w);
                    value += select(0.0, element, is_in);
                } else {
                    value = select(max(value, element), element, i == frames.x && j == rows.x && k == cols.x);
                    nan = select(nan, element, is_nan(element));
                }
            }
        }
    }
    if AVERAGE {
        let frames_in = count(first, shape.kernel_t, shape.t, shape.before_t, shape.behind_t);
        let rows_in = count(top, kernel_h(), shape.h, shape.before_h, shape.behind_h);
        let cols_in = count(left, kernel_w(), shape.w, shape.before_w, shape.behind_w);
        value = value / f32(frames_in * rows_in * cols_in);
    }
    return select(value, nan, is_nan(nan));
}

// The elements of a pool window that a loop takes along an axis: the first, and the one after the last. In a small
// window these are all elements, so that the loop has a constant length. In a large window, which may lie mostly in the
// padding, these are the elements that exist.
fn range(begin: i32, kernel: u32, size: u32) -> vec2<u32> {
    if SMALL {
        return vec2(0u, kernel);
    }
    return vec2(u32(max(-begin, 0)), u32(min(i32(kernel), i32(size) - begin)));
}

// The place along an axis of element k of a pool window that begins at `begin`. For an element outside of the map it is
// the nearest element that exists, which is in the pool window too.
fn inside(begin: i32, k: u32, size: u32) -> u32 {
    return u32(clamp(begin + i32(k), 0, i32(size) - 1));
}

fn exists(begin: i32, k: u32, size: u32) -> bool {
    let at = begin + i32(k);
    return at >= 0 && at < i32(size);
}

// How many elements of a pool window lie in the map, or in as much before and behind it, along an axis.
fn count(begin: i32, kernel: u32, size: u32, before: u32, behind: u32) -> u32 {
    return u32(min(begin + i32(kernel), i32(size + behind)) - max(begin, -i32(before)));
}
