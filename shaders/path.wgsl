// One of the four convolutions of an octave layer, as a template: the host instantiates it for hh, hl, lh and ll by
// renaming `path_` and `PATH_`, and writes in front of each instance
//
//   fn path_load(i: u32) -> f32         element i of the tensor that the path reads
//   const PATH_ROWS, PATH_COLS: u32     the block of outputs that a thread owns
//   const PATH_VECTORS: u32             its output channels, in units of Lane
//   const PATH_INNER_H, PATH_INNER_W    the taps that share a window: the kernel, a row of it, or one tap
//   const PATH_LEVEL: u32               how many 2x2 averages lie between the tensor and the convolution: 0, 1, 2
//   const PATH_STEP: u32                stride over the sampled map: 1; 2 and 4 in the strided ablation, inner 1x1 then
//
// Sampled map S = the tensor after PATH_LEVEL poolings. For a block of outputs at (y, x) of frame t
//
//   acc[i][j][oc] += sum over kt, r, s, c of  W[oc][c][kt][r][s] * S[n][c][t'][(y+i)*STEP + r*dh - ph][(x+j)*STEP + s*dw - pw]
//
// A window of S, large enough for all inner taps of the whole block, is read once a channel and used
// INNER_H * INNER_W * VECTORS times. Weights [group][block][kt][outer r][outer s][c][inner r][inner s][oc] are read in
// order, at an address that is the same for all threads of a workgroup.
//
// The host guarantees: ROWS and COLS as declared; channels of `group` exist in the tensor; an inner kernel larger than
// one tap only where dilation and STEP are 1; all sizes of PathShape at least 1.

const PATH_WINDOW_H: u32 = PATH_ROWS + PATH_INNER_H - 1u;
const PATH_WINDOW_W: u32 = PATH_COLS + PATH_INNER_W - 1u;
// Elements of the tensor under one element of S, along one axis.
const PATH_SUB: u32 = 1u << PATH_LEVEL;
const PATH_MEAN: f32 = 1.0 / f32(PATH_SUB * PATH_SUB);
const PATH_ACC: u32 = PATH_ROWS * PATH_COLS * PATH_VECTORS;

// Row (or column) k of the PATH_SUB that an element of S averages. An element beyond an odd edge is its neighbour
// again, so that the mean of four equals the mean of those that exist.
fn path_under(at: u32, k: u32, half: u32, size: u32) -> u32 {
    if PATH_LEVEL == 2u {
        return min(2u * min(2u * at + (k >> 1u), half - 1u) + (k & 1u), size - 1u);
    }
    if PATH_LEVEL == 1u {
        return min(2u * at + k, size - 1u);
    }
    return at;
}

fn path_accumulate(
    acc: ptr<function, array<Lane, PATH_ACC>>,
    p: PathShape,
    n: u32,
    t: u32,
    group: u32,
    block: u32,
    y: u32,
    x: u32,
) {
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    let first_channel = (n * p.source_channels + group * p.channels) * channel_size;
    // Lanes of weights a thread reads for one outer tap.
    let tap_weights = p.channels * PATH_INNER_H * PATH_INNER_W * PATH_VECTORS;
    var next = p.weights + block * shape.kernel_t * p.outer_h * p.outer_w * tap_weights;

    for (var kt = 0u; kt < shape.kernel_t; kt++) {
        let frame = i32(t * shape.stride_t + kt * shape.dilation_t) - i32(shape.padding_t);
        // Frames of padding are masked like rows of padding: a branch would take threads apart, and with them the
        // address of the weights.
        let frame_in = frame >= 0 && frame < i32(p.source_t);
        let frame_at = u32(clamp(frame, 0, i32(p.source_t) - 1));
        for (var r = 0u; r < p.outer_h; r++) {
            // Where the rows of the window start in the tensor, and which of them lie in the padding.
            var row_at: array<u32, PATH_WINDOW_H * PATH_SUB>;
            var row_in: array<bool, PATH_WINDOW_H>;
            for (var i = 0u; i < PATH_WINDOW_H; i++) {
                let row = i32(min(y + i, p.last_h) * PATH_STEP + r * shape.dilation_h) - i32(shape.padding_h);
                row_in[i] = frame_in && row >= 0 && row < i32(p.map_h);
                let inside = u32(clamp(row, 0, i32(p.map_h) - 1));
                for (var k = 0u; k < PATH_SUB; k++) {
                    row_at[i * PATH_SUB + k] = path_under(inside, k, p.half_h, p.source_h) * p.source_w;
                }
            }
            for (var s = 0u; s < p.outer_w; s++) {
                var col_at: array<u32, PATH_WINDOW_W * PATH_SUB>;
                var col_in: array<bool, PATH_WINDOW_W>;
                for (var j = 0u; j < PATH_WINDOW_W; j++) {
                    let col = i32(min(x + j, p.last_w) * PATH_STEP + s * shape.dilation_w) - i32(shape.padding_w);
                    col_in[j] = col >= 0 && col < i32(p.map_w);
                    let inside = u32(clamp(col, 0, i32(p.map_w) - 1));
                    for (var k = 0u; k < PATH_SUB; k++) {
                        col_at[j * PATH_SUB + k] = path_under(inside, k, p.half_w, p.source_w);
                    }
                }

                var plane = first_channel + frame_at * plane_size;
                for (var c = 0u; c < p.channels; c++) {
                    var window: array<f32, PATH_WINDOW_H * PATH_WINDOW_W>;
                    for (var i = 0u; i < PATH_WINDOW_H; i++) {
                        for (var j = 0u; j < PATH_WINDOW_W; j++) {
                            var sum = 0.0;
                            for (var a = 0u; a < PATH_SUB; a++) {
                                for (var b = 0u; b < PATH_SUB; b++) {
                                    sum += path_load(plane + row_at[i * PATH_SUB + a] + col_at[j * PATH_SUB + b]);
                                }
                            }
                            // select and not a product with zero: what lies at the clamped address may be infinite.
                            window[i * PATH_WINDOW_W + j] = select(0.0, sum * PATH_MEAN, row_in[i] && col_in[j]);
                        }
                    }
                    for (var dr = 0u; dr < PATH_INNER_H; dr++) {
                        for (var ds = 0u; ds < PATH_INNER_W; ds++) {
                            for (var v = 0u; v < PATH_VECTORS; v++) {
                                let w = weight(next);
                                next++;
                                for (var i = 0u; i < PATH_ROWS; i++) {
                                    for (var j = 0u; j < PATH_COLS; j++) {
                                        let at = (i * PATH_COLS + j) * PATH_VECTORS + v;
                                        let value = window[(i + dr) * PATH_WINDOW_W + j + ds];
                                        (*acc)[at] = (*acc)[at] + Lane(value) * w;
                                    }
                                }
                            }
                        }
                    }
                    plane += channel_size;
                }
            }
        }
    }
}
