// Y = the maximum or the mean over windows of X; a thread makes one element.
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
// The host guarantees: `threads` elements of the slice; every window has an element, and all its rows are in the band;
// padding less than the kernel.

struct Shape {
    threads: u32, // n * channels * t_out * y_rows * w_out
    grid_x: u32,
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
}

// The elements begin..end that exist of window `at` along one axis.
fn window(at: u32, kernel: u32, stride: u32, padding: u32, size: u32) -> vec2<u32> {
    let begin = at * stride;
    return vec2(max(begin, padding) - padding, min(begin + kernel - padding, size));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let x = thread % shape.w_out;
    let y = shape.y_row + thread / shape.w_out % shape.y_rows;
    let t = thread / (shape.w_out * shape.y_rows) % shape.t_out;
    let plane = thread / (shape.w_out * shape.y_rows * shape.t_out);
    let frames = window(t, shape.kernel_t, shape.stride_t, shape.padding_t, shape.t);
    let rows = window(y, shape.kernel_h, shape.stride_h, shape.padding_h, shape.h);
    let cols = window(x, shape.kernel_w, shape.stride_w, shape.padding_w, shape.w);

    // A maximum starts with an element of its window, which changes nothing when it comes again.
    let start = ((plane * shape.t + frames.x) * shape.x_rows + rows.x - shape.x_row) * shape.w + cols.x;
    var value = select(load_x(start), 0.0, AVERAGE);
    for (var i = frames.x; i < frames.y; i++) {
        for (var j = rows.x; j < rows.y; j++) {
            let row = ((plane * shape.t + i) * shape.x_rows + j - shape.x_row) * shape.w;
            for (var k = cols.x; k < cols.y; k++) {
                let element = load_x(row + k);
                value = select(max(value, element), value + element, AVERAGE);
            }
        }
    }
    if AVERAGE {
        value = value / f32((frames.y - frames.x) * (rows.y - rows.x) * (cols.y - cols.x));
    }
    let n = plane / shape.channels;
    let c = plane % shape.channels;
    let frame = (n * shape.y_of + shape.y_first + c) * shape.t_out + t;
    store_y((frame * shape.h_out + y) * shape.w_out + x, value);
}
