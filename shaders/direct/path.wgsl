// One of the four convolutions of an octave layer; each path has an instance. It adds its sums to those of a tile.
//
// S is the map that is convolved: the path's source tensor after LEVEL poolings. For a tile at (y, x) of frame t
//
//   sums[i][j][oc] += sum over q, r, s, c of  W[oc][c][q][r][s] * S[n][c][t'][y'][x']
//
//   t' = t * stride_t + q * dilation_t - padding_t
//   y' = (y + i) * STRIDE + r * dilation_h - padding_h
//   x' = (x + j) * STRIDE + s * dilation_w - padding_w
//
// The window of S that all taps of the inner kernel need for the whole tile is read once per channel, and used
// INNER_H * INNER_W * VECTORS times.
//
// Operands: the tensor [n][source_channels][source_t][source_h][source_w]; weights
// [group][block][kt][outer r][outer s][c][inner r][inner s][oc], read in order. All threads of a workgroup read the
// same address, or ACROSS adjacent addresses.
//
// The host guarantees: input channels of `group` exist in the tensor; an inner kernel has several taps along an axis
// only if the dilation along that axis is 1, and outputs beyond the last one do not repeat it; UNROLL divides the input
// channels of a group; all sizes of PathShape are at least 1; taps lie in the padding only if MASKED.
//   - If PAIRED: source_w is even. At level 0 there is one inner kernel along w, adjacent outputs read adjacent
//     columns, and the column that lies AHEAD columns in front of a window is even.
//   - If ALTERNATES: there is one tap. Planes are single rows of odd size, and an even number of planes lies in front
//     of the first plane of a group. UNROLL is even.
//   - If ACROSS is not 1: there is one tap.

#import direct/places as self
#import direct/products as self
#import direct/shape
#import direct/tile_high as tile
#import direct/window as self
#import tensors/input as source
#import tensors/weights

const MEAN: f32 = 1.0 / f32(SUB * SUB);

// Weights of one input channel for one inner kernel and all ACROSS threads, in Factors.
const CHANNEL_WEIGHTS: u32 = TAPS * TILE_VECTORS * ACROSS;

// Adds the path's sums to those of the tile that begins at row y and column x.
fn accumulate(sums: ptr<function, Sums>, p: PathShape, own: Owner, y: u32, x: u32) {
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    let first_channel = (own.n * p.source_channels + own.group * p.group_channels) * channel_size;
    let channels = channels_of(p, own.slice);
    // Where the next weights lie. This and `channel` are the same for all threads if ACROSS is 1.
    var next = p.weights + own.block * shape.kernel_t * p.outer_h * p.outer_w * (p.group_channels * CHANNEL_WEIGHTS) + own.across;
    for (var q = 0u; q < shape.kernel_t; q++) {
        let frame = i32(own.t * shape.stride_t + q * shape.dilation_t) - i32(shape.padding_t);
        // Frames of padding are masked like rows of padding. After a branch that skips them, threads of a workgroup
        // would not have the same address of weights.
        let frame_inside = frame >= 0 && frame < i32(p.source_t);
        let frame_at = first_channel + u32(clamp(frame, 0, i32(p.source_t) - 1)) * plane_size;
        for (var r = 0u; r < p.outer_h; r++) {
            var rows = rows_of(p, y, r, frame_at, frame_inside);
            for (var s = 0u; s < p.outer_w; s++) {
                var columns = columns_of(p, x, s);
                var loads = loads_of(p, x, &rows, &columns);
                // Counted in words if the plane of a channel is a whole number of words.
                let to_next = select(channel_size, channel_size >> 1u, BY_WORD && !ALTERNATES);
                var channel = channels.begin * to_next;
                next += channels.begin * CHANNEL_WEIGHTS;
                for (var c = channels.begin; c < channels.end; c += UNROLL) {
                    // A thread's own weights take long to load, so these loads start before those of the inputs.
                    var weights_at_hand = OwnWeights();
                    if ACROSS > 1u {
                        load_weights(&weights_at_hand, next);
                    }
                    var window = Window();
                    for (var u = 0u; u < UNROLL; u++) {
                        for (var i = 0u; i < WINDOW_H; i++) {
                            if LEVEL == 0u {
                                load_row(&window, u, i, channel, &rows, &loads);
                            } else {
                                load_means(&window, u, i, channel, &rows, &columns);
                            }
                        }
                        channel += to_next;
                    }
                    multiply(sums, &window, &weights_at_hand, next);
                    next += UNROLL * CHANNEL_WEIGHTS;
                }
                next += (p.group_channels - channels.end) * CHANNEL_WEIGHTS;
            }
        }
    }
}

// Input channels of a group: from `begin` up to but not including `end`.
struct Channels {
    begin: u32,
    end: u32,
}

// The channels of a slice. The iterations of two slices differ by one at most.
fn channels_of(p: PathShape, slice: u32) -> Channels {
    if !SLICED {
        return Channels(0u, p.group_channels);
    }
    let iterations = p.group_channels / UNROLL;
    return Channels(iterations * slice / shape.slices * UNROLL, iterations * (slice + 1u) / shape.slices * UNROLL);
}

// Reads the weights of UNROLL channels, starting at `first`.
fn load_weights(weights_at_hand: ptr<function, OwnWeights>, first: u32) {
    for (var u = 0u; u < UNROLL; u++) {
        for (var v = 0u; v < TILE_VECTORS; v++) {
            (*weights_at_hand)[u][v] = weight(first + (u * TILE_VECTORS + v) * ACROSS);
        }
    }
}

// Reads row i of the window of channel u, whose plane begins at `channel`, at level 0.
//
// Padding is masked with select, not multiplied by zero: the element at a clamped address may be infinite.
fn load_row(
    window: ptr<function, Window>,
    u: u32,
    i: u32,
    channel: u32,
    rows: ptr<function, Rows>,
    loads: ptr<function, Loads>,
) {
    var from_row = select(channel, channel >> 1u, BY_WORD && ALTERNATES);
    if TAPS > 1u {
        from_row += select((*rows).at[i], (*rows).at[i] >> 1u, BY_WORD);
    }
    var loaded: array<vec2<f32>, ROW_LOADS>;
    for (var j = 0u; j < ROW_LOADS; j++) {
        let at = from_row + (*loads).at[i % PLACED_ROWS][j];
        let inside = !MASKED || ((*rows).inside[i] && (*loads).inside[j]);
        if BY_WORD {
            loaded[j] = select(vec2(0.0), source_load_word(at), inside);
        } else {
            loaded[j].x = select(0.0, source_load(at), inside);
        }
    }
    let ahead = select(AHEAD, u & 1u, ALTERNATES);
    for (var j = 0u; j < WINDOW_W; j++) {
        if BY_WORD {
            (*window)[u][i][j] = Factor(loaded[(j + ahead) >> 1u][(j + ahead) & 1u]);
        } else {
            (*window)[u][i][j] = Factor(loaded[j].x);
        }
    }
}

// The same above level 0: each element is the mean of SUB x SUB elements of the tensor.
fn load_means(
    window: ptr<function, Window>,
    u: u32,
    i: u32,
    channel: u32,
    rows: ptr<function, Rows>,
    columns: ptr<function, Columns>,
) {
    for (var j = 0u; j < WINDOW_W; j++) {
        let inside = !MASKED || ((*rows).inside[i] && (*columns).inside[j]);
        var sum = 0.0;
        for (var a = 0u; a < SUB; a++) {
            let row = channel + (*rows).at[i * SUB + a];
            for (var b = 0u; b < SUB; b++) {
                if !PAIRED {
                    sum += source_load(row + (*columns).at[j * SUB + b]);
                } else if (b & 1u) == 0u {
                    let word = source_load_2(row + (*columns).at[j * SUB + b]);
                    sum += word.x + word.y;
                }
            }
        }
        (*window)[u][i][j] = select(Factor(0.0), Factor(sum * MEAN), inside);
    }
}
