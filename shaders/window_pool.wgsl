// Y = the maximum or the mean over windows of X; a thread makes ROWS x COLS elements.
//
//   Y[n][y_first + c][t][y][x] = max or mean of X[n][c][t'][y'][x']
//                              over t' in t * stride_t - padding_t .. + kernel_t, and so for y' and x'
//
// of the elements that exist: what lies outside of the map counts neither as a maximum nor in a mean.
//
// Operands: X [n][channels][t][h][w]; Y [n][y_of][t][h][w], of which `channels` from `y_first` on are written.
//
// Of X and Y bands of rows may be there or be made alone: y' counts from x_row on, of x_rows, and y runs from y_row on
// over y_rows.
//
// The host writes in front kernel_h(), kernel_w(), stride_h() and stride_w(): constants where a window is SMALL, so that
// drivers unroll its loops and load what windows share once.
//
// The host guarantees: `threads` blocks of elements of the slice; every window has an element, and all its rows are in the
// band; padding less than the kernel; COLS 2 and Y of rows of even length where PAIRED.

struct Shape {
    threads: u32, // n * channels * t_out * rows * cols
    grid_x: u32,
    rows: u32, // blocks along the axes of what is made of a plane
    cols: u32,
    channels: u32,
    y_first: u32,
    y_of: u32,
    t: u32,
    h: u32,
    w: u32,
    t_out: u32,
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
    x_row: u32, // the rows of X that are there: from which, and how many
    x_rows: u32,
    y_row: u32, // the rows of Y that are made
    y_rows: u32,
    unused_a: u32,
    unused_b: u32,
}

// Element k of a window that begins at `begin` of an axis; beyond the map the nearest that exists, which is of the window too.
fn inside(begin: i32, k: u32, size: u32) -> u32 {
    return u32(clamp(begin + i32(k), 0, i32(size) - 1));
}

fn exists(begin: i32, k: u32, size: u32) -> bool {
    let at = begin + i32(k);
    return at >= 0 && at < i32(size);
}

// How many elements of a window exist.
fn count(begin: i32, kernel: u32, size: u32) -> u32 {
    return u32(min(begin + i32(kernel), i32(size)) - max(begin, 0));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let x = COLS * (thread % shape.cols);
    let y = ROWS * (thread / shape.cols % shape.rows);
    let t = thread / (shape.cols * shape.rows) % shape.t_out;
    let plane = thread / (shape.cols * shape.rows * shape.t_out);
    let n = plane / shape.channels;
    let c = plane % shape.channels;
    let frame = (n * shape.y_of + shape.y_first + c) * shape.t_out + t;
    let first = i32(t * shape.stride_t) - i32(shape.padding_t);

    for (var i = 0u; i < ROWS; i++) {
        // What lies beyond the last row or column is that again, and not stored.
        let y_out = shape.y_row + min(y + i, shape.y_rows - 1u);
        let top = i32(y_out * stride_h()) - i32(shape.padding_h);
        var values: array<f32, COLS>;
        for (var j = 0u; j < COLS; j++) {
            let left = i32(min(x + j, shape.w_out - 1u) * stride_w()) - i32(shape.padding_w);
            values[j] = pooled(plane, first, top, left);
        }
        let at = (frame * shape.h_out + y_out) * shape.w_out + x;
        if y + i >= shape.y_rows {
            continue;
        }
        if PAIRED {
            store_y_2(at, vec2(values[0], values[COLS - 1u]));
        } else {
            for (var j = 0u; j < COLS; j++) {
                if x + j < shape.w_out {
                    store_y(at + j, values[j]);
                }
            }
        }
    }
}

// The elements of a window that are gone through: all of a small one, so that its loop is of constant length, and those that
// exist of a large one, which may lie in the padding for the most part.
fn range(begin: i32, kernel: u32, size: u32) -> vec2<u32> {
    if SMALL {
        return vec2(0u, kernel);
    }
    return vec2(u32(max(-begin, 0)), u32(min(i32(kernel), i32(size) - begin)));
}

// Over the window that begins at (first, top, left) of a plane's frames, rows and columns.
fn pooled(plane: u32, first: i32, top: i32, left: i32) -> f32 {
    let frames = range(first, shape.kernel_t, shape.t);
    let rows = range(top, kernel_h(), shape.h);
    let cols = range(left, kernel_w(), shape.w);
    var value = 0.0;
    for (var i = frames.x; i < frames.y; i++) {
        let frame = plane * shape.t + inside(first, i, shape.t);
        for (var j = rows.x; j < rows.y; j++) {
            let row = (frame * shape.x_rows + inside(top, j, shape.h) - shape.x_row) * shape.w;
            for (var k = cols.x; k < cols.y; k++) {
                let element = load_x(row + inside(left, k, shape.w));
                if AVERAGE {
                    let is_in = exists(first, i, shape.t) && exists(top, j, shape.h) && exists(left, k, shape.w);
                    value += select(0.0, element, is_in);
                } else {
                    value = select(max(value, element), element, i == frames.x && j == rows.x && k == cols.x);
                }
            }
        }
    }
    if AVERAGE {
        let existing = count(first, shape.kernel_t, shape.t) * count(top, kernel_h(), shape.h);
        value = value / f32(existing * count(left, kernel_w(), shape.w));
    }
    return value;
}
