// One of the four convolutions of an octave layer, as a template: the host instantiates it for hh, hl, lh and ll by
// renaming `path_` and `PATH_`, and writes in front of each instance
//
//   fn path_load(i: u32) -> f32         element i of the tensor that the path reads
//   fn path_load_2(i: u32) -> vec2<f32> elements i, which is even, and i + 1
//   fn path_load_word(i: u32) -> vec2<f32> elements 2 * i and 2 * i + 1
//   const PATH_ROWS, PATH_COLS: u32     the block of outputs that a thread owns
//   const PATH_VECTORS: u32             its output channels, in units of Factors
//   const PATH_INNER_H, PATH_INNER_W    the taps that share a window: the kernel, a row of it, or one tap
//   const PATH_LEVEL: u32               how many 2x2 averages lie between the tensor and the convolution: 0, 1, 2
//   const PATH_STEP: u32                stride over the sampled map
//   const PATH_UNROLL: u32              channels whose windows are read together
//   const PATH_PAIRED: bool             whether two elements of a row are read as one word
//   const PATH_AHEAD: u32               columns of a block's first word in front of its window: 0, 1
//   const PATH_ALTERNATES: bool         whether they are there in every second channel only, as planes are of odd size
//
// and once for all of them Factor, the type of products, f32 or f16, and Factors, LANES of it. Behind each instance stands one
// of shaders/path_products.wgsl or shaders/path_products_f16.wgsl.
//
// Sampled map S = the tensor after PATH_LEVEL poolings. For a block of outputs at (y, x) of frame t
//
//   acc[i][j][oc] += sum over kt, r, s, c of  W[oc][c][kt][r][s] * S[n][c][t'][(y+i)*STEP + r*dh - ph][(x+j)*STEP + s*dw - pw]
//
// A window of S, large enough for all inner taps of the whole block, is read once a channel and used
// INNER_H * INNER_W * VECTORS times. Weights [group][block][kt][outer r][outer s][c][inner r][inner s][oc] are read in
// order, `across` vectors behind the first of a block: at an address that is the same for all threads of a workgroup, or at
// ACROSS of them side by side.
//
// The host guarantees: ROWS and COLS as declared; channels of `group` exist in the tensor; an inner kernel larger than
// one tap along an axis only where the dilation along it is 1, and outputs beyond the last do not repeat it; channels of a
// group divisible by UNROLL; all sizes of PathShape at least 1; taps in the padding only where MASKED. Where PAIRED:
// source_w even; at level 0 one inner kernel along w, adjacent columns from one output to the next, and PATH_AHEAD in front
// of each window an even column. Where ALTERNATES: one tap; planes of one row, of odd size, an even number of them in front
// of a group's first; UNROLL even. Where ACROSS is not 1: one tap. Where SLICED, `slice` of `shape.slices` is summed.

// From one output to the next in the window, which has only what its taps read.
const PATH_STRIDE_H: u32 = select(PATH_STEP, 1u, PATH_INNER_H == 1u);
const PATH_STRIDE_W: u32 = select(PATH_STEP, 1u, PATH_INNER_W == 1u);
const PATH_WINDOW_H: u32 = (PATH_ROWS - 1u) * PATH_STRIDE_H + PATH_INNER_H;
const PATH_WINDOW_W: u32 = (PATH_COLS - 1u) * PATH_STRIDE_W + PATH_INNER_W;
const PATH_TAPS: u32 = PATH_INNER_H * PATH_INNER_W;
// Whether a row of the window is read in words of two columns, and the words or elements that have all of it.
const PATH_BY_WORD: bool = PATH_PAIRED && PATH_LEVEL == 0u;
const PATH_ROW_LOADS: u32 = select(PATH_WINDOW_W, (PATH_WINDOW_W + PATH_AHEAD + 1u) / 2u, PATH_BY_WORD);
// A small window has the place of each of its loads at hand, a larger one those of a row.
const PATH_PLACED_ROWS: u32 = select(1u, PATH_WINDOW_H, PATH_TAPS == 1u);
// Elements of the tensor under one element of S, along one axis.
const PATH_SUB: u32 = 1u << PATH_LEVEL;
const PATH_MEAN: f32 = 1.0 / f32(PATH_SUB * PATH_SUB);

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
    acc: ptr<function, array<array<array<array<f32, PATH_COLS>, PATH_ROWS>, LANES>, PATH_VECTORS>>,
    p: PathShape,
    n: u32,
    t: u32,
    group: u32,
    block: u32,
    across: u32,
    y: u32,
    x: u32,
    slice: u32,
) {
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    let first_channel = (n * p.source_channels + group * p.channels) * channel_size;
    // Lanes of weights a thread reads for one outer tap.
    let tap_weights = p.channels * PATH_TAPS * PATH_VECTORS * ACROSS;
    let channel_weights = PATH_TAPS * PATH_VECTORS * ACROSS;
    var next = p.weights + block * shape.kernel_t * p.outer_h * p.outer_w * tap_weights + across;
    // The channels of the slice: as many turns as in any other, or one more.
    var begin = 0u;
    var end = p.channels;
    if SLICED {
        let turns = p.channels / PATH_UNROLL;
        begin = turns * slice / shape.slices * PATH_UNROLL;
        end = turns * (slice + 1u) / shape.slices * PATH_UNROLL;
    }

    for (var kt = 0u; kt < shape.kernel_t; kt++) {
        let frame = i32(t * shape.stride_t + kt * shape.dilation_t) - i32(shape.padding_t);
        // Frames of padding are masked like rows of padding: a branch would take threads apart, and with them the
        // address of the weights.
        let frame_in = frame >= 0 && frame < i32(p.source_t);
        let in_frame = first_channel + u32(clamp(frame, 0, i32(p.source_t) - 1)) * plane_size;
        for (var r = 0u; r < p.outer_h; r++) {
            // Where the rows of the window start in the first channel, and which of them lie in the padding.
            var row_at: array<u32, PATH_WINDOW_H * PATH_SUB>;
            var row_in: array<bool, PATH_WINDOW_H>;
            for (var i = 0u; i < PATH_WINDOW_H; i++) {
                let first = select(y * PATH_STEP + i, min(y + i, p.last_h) * PATH_STEP, PATH_INNER_H == 1u);
                let row = i32(first + r * PATH_INNER_H * shape.dilation_h) - i32(shape.padding_h);
                row_in[i] = frame_in && row >= 0 && row < i32(p.map_h);
                let inside = u32(clamp(row, 0, i32(p.map_h) - 1));
                for (var k = 0u; k < PATH_SUB; k++) {
                    row_at[i * PATH_SUB + k] = in_frame + path_under(inside, k, p.half_h, p.source_h) * p.source_w;
                }
            }
            for (var s = 0u; s < p.outer_w; s++) {
                var col_at: array<u32, PATH_WINDOW_W * PATH_SUB>;
                var col_in: array<bool, PATH_WINDOW_W>;
                for (var j = 0u; j < PATH_WINDOW_W; j++) {
                    let first = select(x * PATH_STEP + j, min(x + j, p.last_w) * PATH_STEP, PATH_INNER_W == 1u);
                    let col = i32(first + s * PATH_INNER_W * shape.dilation_w) - i32(shape.padding_w);
                    col_in[j] = col >= 0 && col < i32(p.map_w);
                    let inside = u32(clamp(col, 0, i32(p.map_w) - 1));
                    for (var k = 0u; k < PATH_SUB; k++) {
                        col_at[j * PATH_SUB + k] = path_under(inside, k, p.half_w, p.source_w);
                    }
                }

                // The same of the loads of a row at level 0, in words or in elements.
                var load_at: array<array<u32, PATH_ROW_LOADS>, PATH_PLACED_ROWS>;
                var load_in: array<bool, PATH_ROW_LOADS>;
                for (var j = 0u; j < PATH_ROW_LOADS; j++) {
                    var at = col_at[j * PATH_SUB];
                    load_in[j] = col_in[j];
                    if PATH_BY_WORD && PATH_ALTERNATES {
                        // The last element of an odd plane has a word for itself, or ends the one before.
                        at = min(x + 2u * j, p.map_w - 1u) >> 1u;
                        load_in[j] = true;
                    } else if PATH_BY_WORD {
                        let col = i32(x * PATH_STEP + 2u * j) - i32(shape.padding_w + PATH_AHEAD);
                        at = u32(clamp(col, 0, i32(p.map_w) - 2)) >> 1u;
                        load_in[j] = col >= 0 && col < i32(p.map_w);
                    }
                    for (var i = 0u; i < PATH_PLACED_ROWS; i++) {
                        load_at[i][j] = at;
                        if PATH_TAPS == 1u {
                            load_at[i][j] += select(row_at[i * PATH_SUB], row_at[i * PATH_SUB] >> 1u, PATH_BY_WORD);
                        }
                    }
                }

                // The same for all threads, as the address of the weights is; in words where each channel has whole ones.
                let in_words = PATH_BY_WORD && !PATH_ALTERNATES;
                let to_next = select(channel_size, channel_size >> 1u, in_words);
                var channel = begin * to_next;
                next += begin * channel_weights;
                for (var c = begin; c < end; c += PATH_UNROLL) {
                    // Weights of a thread's own come from far: they are on their way while the inputs are fetched.
                    var own: array<array<Factors, PATH_VECTORS>, PATH_UNROLL>;
                    if ACROSS > 1u {
                        for (var u = 0u; u < PATH_UNROLL; u++) {
                            for (var v = 0u; v < PATH_VECTORS; v++) {
                                own[u][v] = weight(next + (u * PATH_VECTORS + v) * ACROSS);
                            }
                        }
                    }
                    var window: array<array<array<Factor, PATH_WINDOW_W>, PATH_WINDOW_H>, PATH_UNROLL>;
                    for (var u = 0u; u < PATH_UNROLL; u++) {
                        for (var i = 0u; i < PATH_WINDOW_H; i++) {
                            // select and not a product with zero: what lies at a clamped address may be infinite.
                            if PATH_LEVEL == 0u {
                                var from_row = select(channel, channel >> 1u, PATH_BY_WORD && PATH_ALTERNATES);
                                if PATH_TAPS > 1u {
                                    from_row += select(row_at[i], row_at[i] >> 1u, PATH_BY_WORD);
                                }
                                var loaded: array<vec2<f32>, PATH_ROW_LOADS>;
                                for (var j = 0u; j < PATH_ROW_LOADS; j++) {
                                    let at = from_row + load_at[i % PATH_PLACED_ROWS][j];
                                    let inside = !MASKED || (row_in[i] && load_in[j]);
                                    if PATH_BY_WORD {
                                        loaded[j] = select(vec2(0.0), path_load_word(at), inside);
                                    } else {
                                        loaded[j].x = select(0.0, path_load(at), inside);
                                    }
                                }
                                let ahead = select(PATH_AHEAD, u & 1u, PATH_ALTERNATES);
                                for (var j = 0u; j < PATH_WINDOW_W; j++) {
                                    if PATH_BY_WORD {
                                        window[u][i][j] = Factor(loaded[(j + ahead) >> 1u][(j + ahead) & 1u]);
                                    } else {
                                        window[u][i][j] = Factor(loaded[j].x);
                                    }
                                }
                                continue;
                            }
                            for (var j = 0u; j < PATH_WINDOW_W; j++) {
                                let inside = !MASKED || (row_in[i] && col_in[j]);
                                var sum = 0.0;
                                for (var a = 0u; a < PATH_SUB; a++) {
                                    let row = channel + row_at[i * PATH_SUB + a];
                                    for (var b = 0u; b < PATH_SUB; b++) {
                                        if !PATH_PAIRED {
                                            sum += path_load(row + col_at[j * PATH_SUB + b]);
                                        } else if (b & 1u) == 0u {
                                            let word = path_load_2(row + col_at[j * PATH_SUB + b]);
                                            sum += word.x + word.y;
                                        }
                                    }
                                }
                                window[u][i][j] = select(Factor(0.0), Factor(sum * PATH_MEAN), inside);
                            }
                        }
                        channel += to_next;
                    }
                    path_multiply(acc, &window, &own, next);
                    next += PATH_UNROLL * channel_weights;
                }
                next += (p.channels - end) * channel_weights;
            }
        }
    }
}
