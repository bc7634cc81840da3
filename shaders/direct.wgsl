// Octave convolution of any kernel size, dense, grouped or depthwise, in one dispatch and without workgroup memory.
//
//   Y_H = activate(conv(X_H, W_HH) + replicate(conv(X_L, W_LH)) + bias_h + residual_h)
//   Y_L = activate(conv(X_L, W_LL) + conv(pool(X_H), W_HL) + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   where the layer writes it
//
// Mapping. `high_workgroups` workgroups make Y_H, the others Y_L, in turn (shaders/turns.wgsl). In both, a workgroup has
// one block of output channels, and a thread owns a block of positions of it: HIGH_ROWS x HIGH_COLS of Y_H by
// HIGH_VECTORS * LANES channels, or LOW_ROWS x LOW_COLS of Y_L by LOW_VECTORS * LANES. Sums stay in registers until the
// epilogue: no intermediate is stored.
//   - Where ACROSS is 1, the threads of a workgroup lie along the positions: inputs are each thread's own, and weights at an
//     address that is the same for all of them, a scalar load where hardware has one.
//   - Where ACROSS is WORKGROUP, they lie along the channels of one block of positions, and it is the other way round. A
//     block's channels are then [vector][thread][lane].
//   - L->H is computed at low resolution, (HIGH_ROWS/2) x (HIGH_COLS/2) positions a thread, and starts the accumulators
//     of the 2x2 blocks above them (at stride 2 the two resolutions are the same, and it starts them one to one).
//   - H->L averages X_H while it loads, unless the layer is given pool(X_H).
//   - Where SLICED, the channels of all inputs are cut into `slices`, and as many times the workgroups make partial sums,
//     one slice's behind the other's, for shaders/reduce.wgsl to add up.
//
// Operands: X [n][c][t][h][w]; weights as shaders/path.wgsl says, behind the biases [block][oc] of H, then of L.
//
// The host guarantees: HIGH_ROWS and HIGH_COLS even where L->H is replicated or Y_P written; sizes, strides and weight
// offsets of `shape` within their buffers; `workgroups` of both outputs together, times `slices`, fewer than 2^28 (a grid
// folded into x and y may have up to grid_x - 1 too many). Where an output is PAIRED, its width and its blocks' are even.
// Where ACROSS is not 1, one group. A map may be told to be of one row, where each position reads its own position alone.

struct PathShape {
    channels: u32, // c_in of one group
    source_channels: u32,
    source_t: u32,
    source_h: u32,
    source_w: u32,
    half_h: u32, // the source after one pooling
    half_w: u32,
    map_h: u32, // the source after PATH_LEVEL poolings: what is convolved
    map_w: u32,
    last_h: u32, // the last row and column of outputs; those beyond repeat it
    last_w: u32,
    outer_h: u32, // how many inner kernels make the kernel
    outer_w: u32,
    weights: u32, // in Factors
    unused_a: u32,
    unused_b: u32,
}

struct OutputShape {
    channels: u32, // of the tensor
    t: u32,
    h: u32,
    w: u32,
    rows: u32, // blocks of positions along h and w
    cols: u32,
    threads: u32, // n * t * rows * cols
    blocks: u32, // of output channels, of all groups: a workgroup's each
    group_channels: u32, // c_out of one group
    group_blocks: u32, // blocks of output channels of one group
    bias: u32, // in blocks of f32 Lanes
    pooled_h: u32,
    pooled_w: u32,
    first: u32, // channel of the tensor where the layer's begin
    first_row: u32, // of the layer's output that is the tensor's first
    planes: u32, // of the partial sums of a slice
}

struct Shape {
    hh: PathShape,
    hl: PathShape,
    lh: PathShape,
    ll: PathShape,
    high: OutputShape,
    low: OutputShape,
    grid_x: u32,
    high_workgroups: u32,
    workgroups: u32,
    kernel_t: u32,
    stride_t: u32,
    padding_t: u32,
    dilation_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    slices: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var workgroup = id.x + id.y * shape.grid_x;
    if workgroup >= shape.workgroups * shape.slices {
        return;
    }
    var slice = 0u;
    if SLICED {
        slice = workgroup / shape.workgroups;
        workgroup %= shape.workgroups;
    }
    if !MAKES_LOW {
        high(workgroup, local, slice);
    } else if !MAKES_HIGH {
        low(workgroup, local, slice);
    } else {
        let turn = turn_of(workgroup, vec4(shape.high_workgroups, shape.workgroups - shape.high_workgroups, 0u, 0u));
        if turn.kind == 0u {
            high(turn.index, local, slice);
        } else {
            low(turn.index, local, slice);
        }
    }
}

// Which outputs a thread owns.
struct Owner {
    n: u32,
    t: u32,
    y: u32, // its first row and column, in blocks
    x: u32,
    group: u32,
    block: u32, // of all groups
    across: u32, // of the ACROSS threads that have vectors of it
}

fn owner(o: OutputShape, workgroup: u32, local: u32) -> Owner {
    // What reads the same follows one another: blocks of channels over the same positions, or the other way round.
    var thread = (workgroup / o.blocks) * WORKGROUP + local;
    var block = workgroup % o.blocks;
    var own: Owner;
    if ACROSS > 1u {
        thread = workgroup % o.threads;
        block = workgroup / o.threads;
        own.across = local;
    }
    // Beyond the last thread the last stands in, but below the last row, where nothing is stored: a branch around all that
    // a thread does would hold scalar registers throughout.
    let idle = thread >= o.threads;
    thread = min(thread, o.threads - 1u);
    own.x = thread % o.cols;
    own.y = select(thread / o.cols % o.rows, o.rows, idle);
    own.t = thread / (o.cols * o.rows) % o.t;
    own.n = thread / (o.cols * o.rows * o.t);
    own.group = block / o.group_blocks;
    own.block = block;
    return own;
}

fn high(workgroup: u32, local: u32, slice: u32) {
    let o = shape.high;
    let own = owner(o, workgroup, local);
    let y = own.y * HIGH_ROWS;
    let x = own.x * HIGH_COLS;

    var from_low: array<array<array<array<f32, LH_COLS>, LH_ROWS>, LANES>, HIGH_VECTORS>;
    lh_accumulate(&from_low, shape.lh, own.n, own.t, own.group, own.block, own.across, y >> LH_SHIFT, x >> LH_SHIFT, slice);
    var acc: array<array<array<array<f32, HIGH_COLS>, HIGH_ROWS>, LANES>, HIGH_VECTORS>;
    for (var v = 0u; v < HIGH_VECTORS; v++) {
        for (var k = 0u; k < LANES; k++) {
            for (var i = 0u; i < HIGH_ROWS; i++) {
                for (var j = 0u; j < HIGH_COLS; j++) {
                    acc[v][k][i][j] = from_low[v][k][i >> LH_SHIFT][j >> LH_SHIFT];
                }
            }
        }
    }
    hh_accumulate(&acc, shape.hh, own.n, own.t, own.group, own.block, own.across, o.first_row + y, x, slice);

    for (var v = 0u; v < HIGH_VECTORS; v++) {
        let shift = bias(o.bias + (own.block * HIGH_VECTORS + v) * ACROSS + own.across);
        let first = (((own.block % o.group_blocks) * HIGH_VECTORS + v) * ACROSS + own.across) * LANES;
        for (var k = 0u; k < LANES; k++) {
            let oc = first + k;
            if oc >= o.group_channels {
                break;
            }
            let channel = own.n * o.channels + o.first + own.group * o.group_channels + oc;
            let plane = slice * o.planes + channel * o.t + own.t;
            var out: array<f32, HIGH_ROWS * HIGH_COLS>;
            for (var i = 0u; i < HIGH_ROWS; i++) {
                for (var j = 0u; j < HIGH_COLS; j++) {
                    if HIGH_PAIRED && (j & 1u) == 1u {
                        continue;
                    }
                    let at = i * HIGH_COLS + j;
                    let sum = acc[v][k][i][j] + lane(shift, k);
                    if y + i < o.h && x + j < o.w {
                        let index = (plane * o.h + y + i) * o.w + x + j;
                        if HIGH_PAIRED {
                            let pair = finish_high_2(vec2(sum, acc[v][k][i][j | 1u] + lane(shift, k)), index);
                            out[at] = pair.x;
                            out[at | 1u] = pair.y;
                            store_y_h_2(index, pair);
                        } else {
                            out[at] = sum;
                            if !HIGH_IS_PARTIAL {
                                out[at] = activate(sum + load_residual_h(index), shape.slope);
                            }
                            store_y_h(index, out[at]);
                        }
                    }
                }
            }
            if WRITES_Y_P {
                pool_block(&out, plane, y, x);
            }
        }
    }
}

fn finish_high_2(sums: vec2<f32>, index: u32) -> vec2<f32> {
    if HIGH_IS_PARTIAL {
        return sums;
    }
    let sum = sums + load_residual_h_2(index);
    return vec2(activate(sum.x, shape.slope), activate(sum.y, shape.slope));
}

// Writes the means of the 2x2 blocks of a thread's part of Y_H.
fn pool_block(out: ptr<function, array<f32, HIGH_ROWS * HIGH_COLS>>, plane: u32, y: u32, x: u32) {
    let o = shape.high;
    for (var i = 0u; i < HIGH_ROWS; i += 2u) {
        for (var j = 0u; j < HIGH_COLS; j += 2u) {
            let row = (y + i) >> 1u;
            let col = (x + j) >> 1u;
            if row < o.pooled_h && col < o.pooled_w {
                let index = (plane * o.pooled_h + row) * o.pooled_w + col;
                let mean = block_mean(out, y, x, i, j);
                if !POOLED_PAIRED {
                    store_y_p(index, mean);
                } else if (j & 2u) == 0u {
                    store_y_p_2(index, vec2(mean, block_mean(out, y, x, i, (j + 2u) % HIGH_COLS)));
                }
            }
        }
    }
}

fn block_mean(out: ptr<function, array<f32, HIGH_ROWS * HIGH_COLS>>, y: u32, x: u32, i: u32, j: u32) -> f32 {
    let at = i * HIGH_COLS + j;
    // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
    let right = x + j + 1u < shape.high.w;
    let below = y + i + 1u < shape.high.h;
    let a = (*out)[at];
    let b = select(a, (*out)[at + 1u], right);
    let c = select(a, (*out)[at + HIGH_COLS], below);
    let d = select(select(b, c, below), (*out)[at + HIGH_COLS + 1u], right && below);
    return 0.25 * (a + b + c + d);
}

fn low(workgroup: u32, local: u32, slice: u32) {
    let o = shape.low;
    let own = owner(o, workgroup, local);
    let y = own.y * LOW_ROWS;
    let x = own.x * LOW_COLS;

    var acc: array<array<array<array<f32, LOW_COLS>, LOW_ROWS>, LANES>, LOW_VECTORS>;
    ll_accumulate(&acc, shape.ll, own.n, own.t, own.group, own.block, own.across, y, x, slice);
    hl_accumulate(&acc, shape.hl, own.n, own.t, own.group, own.block, own.across, y, x, slice);

    for (var v = 0u; v < LOW_VECTORS; v++) {
        let shift = bias(o.bias + (own.block * LOW_VECTORS + v) * ACROSS + own.across);
        let first = (((own.block % o.group_blocks) * LOW_VECTORS + v) * ACROSS + own.across) * LANES;
        for (var k = 0u; k < LANES; k++) {
            let oc = first + k;
            if oc >= o.group_channels {
                break;
            }
            let channel = own.n * o.channels + o.first + own.group * o.group_channels + oc;
            let plane = slice * o.planes + channel * o.t + own.t;
            for (var i = 0u; i < LOW_ROWS; i++) {
                for (var j = 0u; j < LOW_COLS; j++) {
                    if LOW_PAIRED && (j & 1u) == 1u {
                        continue;
                    }
                    let sum = acc[v][k][i][j] + lane(shift, k);
                    if y + i < o.h && x + j < o.w {
                        let index = (plane * o.h + y + i) * o.w + x + j;
                        if LOW_PAIRED {
                            let pair = vec2(sum, acc[v][k][i][j | 1u] + lane(shift, k)) + load_residual_l_2(index);
                            store_y_l_2(index, vec2(activate(pair.x, shape.slope), activate(pair.y, shape.slope)));
                        } else {
                            store_y_l(index, activate(sum + load_residual_l(index), shape.slope));
                        }
                    }
                }
            }
        }
    }
}
