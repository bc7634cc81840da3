// The last dispatch of a layer whose input channels are cut into slices: adds up the partial sums of all slices.
//
//   Y = activate(sum over slices of P[slice] + bias + residual), for Y_H and Y_L, and Y_P = pool(Y_H) if it is written
//
// Mapping. A thread makes the 2x2 positions of a cell of a channel; the first `high.threads` make Y_H, the others Y_L.
//
// Operands: partial sums P_H and P_L in f32, [slice][n][channels][t][h][w]; biases [channels] in f32, of Y_H, then of
// Y_L; residuals and outputs [n][tensor_channels][t][h][w]; Y_P [n][tensor_channels][t][pooled_h][pooled_w].
//
// The host guarantees: an output has `threads` cells, and both outputs together have fewer than 2^32; sizes of `shape`
// lie within their buffers.

#import common/epilogue as high
#import common/epilogue as low
#import common/means
#import tensors/input as p_h
#import tensors/input as p_l
#import tensors/output as y_p

const WORKGROUP: u32 = 64u;
const WRITES_Y_P: bool = false;

struct OutputShape {
    threads: u32, // n * channels * t * rows * cols
    slice_stride: u32, // elements of P from one slice to the next
    channels: u32, // of the layer
    t: u32,
    h: u32,
    w: u32,
    rows: u32, // cells along h and w
    cols: u32,
    tensor_channels: u32,
    first_channel: u32, // the tensor's channel that is the layer's first
    pooled_h: u32,
    pooled_w: u32,
    bias: u32, // where the biases begin
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

struct Shape {
    high: OutputShape,
    low: OutputShape,
    grid_x: u32,
    slices: u32,
    slope: f32, // of leaky ReLU
    unused: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// [channels] of Y_H, then of Y_L.
@group(0) @binding(1) var<storage, read> biases: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread < shape.high.threads {
        make_cell(true, shape.high, thread);
    } else if thread - shape.high.threads < shape.low.threads {
        make_cell(false, shape.low, thread - shape.high.threads);
    }
}

fn make_cell(is_high: bool, o: OutputShape, thread: u32) {
    let x = 2u * (thread % o.cols);
    let y = 2u * (thread / o.cols % o.rows);
    let partial_plane = thread / (o.cols * o.rows); // of P
    let c = partial_plane / o.t % o.channels;
    let n = partial_plane / (o.t * o.channels);
    let plane = (n * o.tensor_channels + o.first_channel + c) * o.t + partial_plane % o.t;
    let right = x + 1u < o.w;
    let below = y + 1u < o.h;

    let sums = sums_of(is_high, o, biases[o.bias + c], partial_plane * (o.h * o.w) + y * o.w + x, right, below);
    let index = plane * (o.h * o.w) + y * o.w + x;
    if !is_high {
        _ = low_finish_cell(sums, index, o.w, right, below, shape.slope);
        return;
    }
    let values = high_finish_cell(sums, index, o.w, right, below, shape.slope);
    if WRITES_Y_P && (y >> 1u) < o.pooled_h && (x >> 1u) < o.pooled_w {
        y_p_store((plane * o.pooled_h + (y >> 1u)) * o.pooled_w + (x >> 1u), mean_of(values));
    }
}

// The sums of a cell, in the order of rows. Its first position is element `first` of the first slice. The sum of the
// neighbour stands in for a position that does not exist.
fn sums_of(is_high: bool, o: OutputShape, shift: f32, first: u32, right: bool, below: bool) -> vec4<f32> {
    let to_right = select(0u, 1u, right);
    let to_below = select(0u, o.w, below);
    let positions = vec4(first, first + to_right, first + to_below, first + to_below + to_right);
    var sums: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        var at = positions[i];
        var sum = shift;
        for (var s = 0u; s < shape.slices; s++) {
            sum += partial_sum(is_high, at);
            at += o.slice_stride;
        }
        sums[i] = sum;
    }
    return sums;
}

fn partial_sum(is_high: bool, i: u32) -> f32 {
    if is_high {
        return p_h_load(i);
    }
    return p_l_load(i);
}
