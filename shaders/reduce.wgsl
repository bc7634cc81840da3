// Y = activate(sum over slices of P[slice] + bias + residual), for both outputs of a layer, and pool(Y_H): the last dispatch
// where input channels are cut into slices, of which workgroups of their own have made partial sums. A thread makes 2x2
// positions of a channel; the first `high.threads` make Y_H, the others Y_L.
//
// Operands: partial sums P_H and P_L in f32, [slice][n][c][t][h][w]; biases [c] in f32, of H, then of L.
//
// The host guarantees: `threads` cells of each output, both together less than 2^32; sizes of `shape` within their buffers.

struct OutputShape {
    threads: u32, // n * channels * t * rows * cols
    slice_stride: u32, // elements of P from one slice to the next
    channels: u32, // of the layer
    t: u32,
    h: u32,
    w: u32,
    rows: u32, // of cells
    cols: u32,
    tensor_channels: u32, // of Y, and where the layer's begin
    first: u32,
    pooled_h: u32,
    pooled_w: u32,
    bias: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

struct Shape {
    high: OutputShape,
    low: OutputShape,
    grid_x: u32,
    slices: u32,
    slope: f32,
    unused: u32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread < shape.high.threads {
        cell(true, shape.high, thread);
    } else if thread - shape.high.threads < shape.low.threads {
        cell(false, shape.low, thread - shape.high.threads);
    }
}

fn cell(is_high: bool, o: OutputShape, thread: u32) {
    let x = 2u * (thread % o.cols);
    let y = 2u * (thread / o.cols % o.rows);
    let partial_plane = thread / (o.cols * o.rows); // of P
    let c = partial_plane / o.t % o.channels;
    let n = partial_plane / (o.t * o.channels);
    let plane = (n * o.tensor_channels + o.first + c) * o.t + partial_plane % o.t;
    // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
    let right = min(x + 1u, o.w - 1u);
    let below = min(y + 1u, o.h - 1u);
    let positions = vec4(y * o.w + x, y * o.w + right, below * o.w + x, below * o.w + right);

    let shift = biases[o.bias + c];
    var values: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        var at = partial_plane * (o.h * o.w) + positions[i];
        var sum = shift;
        for (var s = 0u; s < shape.slices; s++) {
            sum += partial_sum(is_high, at);
            at += o.slice_stride;
        }
        values[i] = finish(is_high, plane * (o.h * o.w) + positions[i], sum);
    }
    if WRITES_Y_P && is_high && (y >> 1u) < o.pooled_h && (x >> 1u) < o.pooled_w {
        store_y_p((plane * o.pooled_h + (y >> 1u)) * o.pooled_w + (x >> 1u), 0.25 * (values.x + values.y + values.z + values.w));
    }
}

fn partial_sum(is_high: bool, i: u32) -> f32 {
    if is_high {
        return load_p_h(i);
    }
    return load_p_l(i);
}

fn finish(is_high: bool, i: u32, sum: f32) -> f32 {
    if is_high {
        let value = activate(sum + load_residual_h(i), shape.slope);
        store_y_h(i, value);
        return value;
    }
    let value = activate(sum + load_residual_l(i), shape.slope);
    store_y_l(i, value);
    return value;
}
