// 1x1 octave convolution in one dispatch: a GEMM over both resolutions at once, without workgroup memory.
//
//   Y_H[oc][y][x] = activate(sum_c W_HH[oc][c] F[c][y][x] + sum_c W_LH[oc][c] X_L[c][y/2][x/2] + bias_h + residual_h)
//   Y_L[oc][y][x] = activate(sum_c W_HL[oc][c] C[c][y][x] + sum_c W_LL[oc][c] X_L[c][y][x]     + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   where the layer writes it
//
// F is X_H at the resolution of Y_H (at stride 2 its 2x2 means), C is the mean of each 2x2 of F. A *cell* is 2x2
// positions of F and Y_H with the one position of C, X_L and Y_L below them, so that one read of X_H serves both
// outputs and its mean costs three additions: pool(X_H) is never wanted. At stride 2 X_L has the resolution of Y_H, and
// is treated as F is.
//
// Mapping. GEMM M = output channels, N = cells of the batch, K = c_in. A thread owns CELL_ROWS x CELL_COLS cells by
// HIGH_VECTORS * LANES channels of Y_H and LOW_VECTORS * LANES channels of Y_L; the host balances the two so that both
// outputs have about as many blocks. A workgroup has one block of channels: weights are read at an address that is the
// same for all its threads.
//
// Operands: X [n][c][t][h][w]; weights of each path [block][c][oc], behind the biases [block][oc] of H, then of L.
//
// Of a tensor that is paired, two adjacent columns, the first even, are moved at once. Its rows are then of even length,
// and those of an input as long as what the layer wants of it: a pair lies wholly inside or wholly beyond the edge.
//
// The host guarantees: kernel 1x1x1, no padding, one group; sizes and weight offsets of `shape` within their buffers;
// weights padded with zeros to `blocks` blocks on both outputs.

struct Shape {
    cell_rows: u32, // blocks of cells along h and w
    cell_cols: u32,
    threads: u32, // n * t * cell_rows * cell_cols
    tiles: u32, // workgroups for them
    blocks: u32, // blocks of output channels
    grid_x: u32,
    t_out: u32,
    stride_t: u32,
    high_in: u32, // c_in of X_H
    high_t: u32, // X_H, or pool(X_H) where that is read instead
    high_h: u32,
    high_w: u32,
    fine_h: u32, // the resolution of Y_H
    fine_w: u32,
    low_in: u32, // c_in of X_L
    low_t: u32,
    low_h: u32,
    low_w: u32,
    high_out: u32,
    low_out: u32,
    coarse_h: u32, // the resolution of Y_L and of pool(Y_H)
    coarse_w: u32,
    bias_high: u32, // in f32 Lanes
    bias_low: u32,
    hh: u32, // weights of each path, in Lanes
    hl: u32,
    lh: u32,
    ll: u32,
    slope: f32,
    high_of: u32, // channels of the tensor Y_H, and where the layer's begin
    high_first: u32,
    low_of: u32,
    low_first: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

const FINE_ROWS: u32 = 2u * CELL_ROWS;
const FINE_COLS: u32 = 2u * CELL_COLS;
// Elements of X_H under one of F, along one axis.
const SUB: u32 = 1u << HIGH_LEVEL;
const MEAN: f32 = 1.0 / f32(SUB * SUB);
// Elements of X_L under a cell along an axis: it has the resolution of Y_H at stride 2, of Y_L at stride 1.
const LOW_STEP: u32 = select(1u, 2u, LOW_IS_FINE);
const LOW_ROWS: u32 = select(CELL_ROWS, FINE_ROWS, LOW_IS_FINE);
const LOW_COLS: u32 = select(CELL_COLS, FINE_COLS, LOW_IS_FINE);
// Loads of a row of inputs: of words of two columns, or of elements.
const LOW_ROW_LOADS: u32 = select(LOW_COLS, LOW_COLS / 2u, X_L_PAIRED);
const HIGH_ROW_LOADS: u32 = select(FINE_COLS * SUB, FINE_COLS * SUB / 2u, X_H_PAIRED);
// Inputs by row and column; sums by vector, lane, row and column. Each level is indexed by the counter of a loop of its
// very length: drivers then unroll the loop whatever its size, and the sums are registers.
alias Fine = array<array<f32, FINE_COLS>, FINE_ROWS>;
alias Coarse = array<array<f32, CELL_COLS>, CELL_ROWS>;
alias FromLow = array<array<f32, LOW_COLS>, LOW_ROWS>;
alias HighSums = array<array<Fine, LANES>, max(HIGH_VECTORS, 1u)>;
alias FromLowSums = array<array<FromLow, LANES>, max(HIGH_VECTORS, 1u)>;
alias LowSums = array<array<Coarse, LANES>, max(LOW_VECTORS, 1u)>;

// Row (or column) k of the SUB of X_H under row `at` of F; beyond an odd edge the neighbour again.
fn under(at: u32, k: u32, size: u32) -> u32 {
    return min(at * SUB * HIGH_STEP + k, size - 1u);
}

// One value for each cell of channel u at hand: the mean of the 2x2 over it, or the first of them where the layer strides instead.
fn coarse(fine: ptr<function, array<Fine, HIGH_UNROLL>>, u: u32) -> Coarse {
    var cells: Coarse;
    for (var i = 0u; i < CELL_ROWS; i++) {
        for (var j = 0u; j < CELL_COLS; j++) {
            let first = (*fine)[u][2u * i][2u * j];
            let others = (*fine)[u][2u * i][2u * j + 1u] + (*fine)[u][2u * i + 1u][2u * j] + (*fine)[u][2u * i + 1u][2u * j + 1u];
            cells[i][j] = select(0.25 * (first + others), first, STRIDED);
        }
    }
    return cells;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    // The blocks of channels over the same cells follow one another: they read the same inputs.
    let block = workgroup % shape.blocks;
    let thread = (workgroup / shape.blocks) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let cell_x = thread % shape.cell_cols * CELL_COLS;
    let cell_y = thread / shape.cell_cols % shape.cell_rows * CELL_ROWS;
    let t = thread / (shape.cell_cols * shape.cell_rows) % shape.t_out;
    let n = thread / (shape.cell_cols * shape.cell_rows * shape.t_out);

    var high: HighSums;
    var low: LowSums;
    if HAS_X_L {
        from_low(&high, &low, block, n, t, cell_y, cell_x);
    }
    if HAS_X_H {
        from_high(&high, &low, block, n, t, cell_y, cell_x);
    }

    for (var v = 0u; v < HIGH_VECTORS; v++) {
        let shift = bias(shape.bias_high + block * HIGH_VECTORS + v);
        let first = (block * HIGH_VECTORS + v) * LANES;
        for (var k = 0u; k < LANES; k++) {
            let oc = first + k;
            if oc >= shape.high_out {
                break;
            }
            let plane = (n * shape.high_of + shape.high_first + oc) * shape.t_out + t;
            for (var i = 0u; i < CELL_ROWS; i++) {
                var means: array<f32, CELL_COLS>;
                for (var j = 0u; j < CELL_COLS; j++) {
                    let sums = lane(shift, k) + vec4(
                        high[v][k][2u * i][2u * j],
                        high[v][k][2u * i][2u * j + 1u],
                        high[v][k][2u * i + 1u][2u * j],
                        high[v][k][2u * i + 1u][2u * j + 1u],
                    );
                    means[j] = store_cell(sums, plane, cell_y + i, cell_x + j);
                }
                if WRITES_Y_P {
                    store_means(means, plane, cell_y + i, cell_x);
                }
            }
        }
    }
    for (var v = 0u; v < LOW_VECTORS; v++) {
        let shift = bias(shape.bias_low + block * LOW_VECTORS + v);
        let first = (block * LOW_VECTORS + v) * LANES;
        for (var k = 0u; k < LANES; k++) {
            let oc = first + k;
            if oc >= shape.low_out {
                break;
            }
            let plane = (n * shape.low_of + shape.low_first + oc) * shape.t_out + t;
            for (var i = 0u; i < CELL_ROWS; i++) {
                store_low(low[v][k][i], lane(shift, k), plane, cell_y + i, cell_x);
            }
        }
    }
}

// Adds L->H and L->L. L->H comes first, so that at stride 1 it can start the accumulators of a cell.
fn from_low(
    high: ptr<function, HighSums>,
    low: ptr<function, LowSums>,
    block: u32,
    n: u32,
    t: u32,
    cell_y: u32,
    cell_x: u32,
) {
    let plane_size = shape.low_h * shape.low_w;
    let first = (n * shape.low_in * shape.low_t + t * shape.stride_t) * plane_size;
    // Where each load lies in the first channel, in elements or in words of two columns.
    var at: array<array<u32, LOW_ROW_LOADS>, LOW_ROWS>;
    for (var i = 0u; i < LOW_ROWS; i++) {
        let row = min(select(cell_y, 2u * cell_y, LOW_IS_FINE) + i, shape.low_h - 1u);
        for (var j = 0u; j < LOW_ROW_LOADS; j++) {
            let col = select(cell_x, 2u * cell_x, LOW_IS_FINE) + j * (LOW_COLS / LOW_ROW_LOADS);
            at[i][j] = (first + row * shape.low_w + min(col, shape.low_w - 1u)) / (LOW_COLS / LOW_ROW_LOADS);
        }
    }
    // The same for all threads, as the address of the weights is.
    let to_next = shape.low_t * plane_size / (LOW_COLS / LOW_ROW_LOADS);
    var channel = 0u;
    var lh = shape.lh + block * shape.low_in * HIGH_VECTORS;
    var ll = shape.ll + block * shape.low_in * LOW_VECTORS;
    var to_high: FromLowSums;
    for (var c = 0u; c < shape.low_in; c += LOW_UNROLL) {
        var x: array<FromLow, LOW_UNROLL>;
        for (var u = 0u; u < LOW_UNROLL; u++) {
            for (var i = 0u; i < LOW_ROWS; i++) {
                for (var j = 0u; j < LOW_ROW_LOADS; j++) {
                    if X_L_PAIRED {
                        let pair = load_x_l_word(channel + at[i][j]);
                        x[u][i][2u * j] = pair.x;
                        x[u][i][2u * j + 1u] = pair.y;
                    } else {
                        x[u][i][j] = load_x_l(channel + at[i][j]);
                    }
                }
            }
            channel += to_next;
        }
        if HAS_LH {
            for (var v = 0u; v < HIGH_VECTORS; v++) {
                var w: array<Lane, LOW_UNROLL>;
                for (var u = 0u; u < LOW_UNROLL; u++) {
                    w[u] = weight(lh + u * HIGH_VECTORS + v);
                }
                for (var k = 0u; k < LANES; k++) {
                    for (var u = 0u; u < LOW_UNROLL; u++) {
                        for (var i = 0u; i < LOW_ROWS; i++) {
                            for (var j = 0u; j < LOW_COLS; j++) {
                                to_high[v][k][i][j] += x[u][i][j] * lane(w[u], k);
                            }
                        }
                    }
                }
            }
        }
        if HAS_LL {
            var cells: array<Coarse, LOW_UNROLL>;
            for (var u = 0u; u < LOW_UNROLL; u++) {
                cells[u] = low_cells(&x, u);
            }
            for (var v = 0u; v < LOW_VECTORS; v++) {
                var w: array<Lane, LOW_UNROLL>;
                for (var u = 0u; u < LOW_UNROLL; u++) {
                    w[u] = weight(ll + u * LOW_VECTORS + v);
                }
                for (var k = 0u; k < LANES; k++) {
                    for (var u = 0u; u < LOW_UNROLL; u++) {
                        for (var i = 0u; i < CELL_ROWS; i++) {
                            for (var j = 0u; j < CELL_COLS; j++) {
                                (*low)[v][k][i][j] += cells[u][i][j] * lane(w[u], k);
                            }
                        }
                    }
                }
            }
        }
        lh += LOW_UNROLL * HIGH_VECTORS;
        ll += LOW_UNROLL * LOW_VECTORS;
    }
    for (var v = 0u; v < HIGH_VECTORS; v++) {
        for (var k = 0u; k < LANES; k++) {
            for (var i = 0u; i < FINE_ROWS; i++) {
                for (var j = 0u; j < FINE_COLS; j++) {
                    (*high)[v][k][i][j] = to_high[v][k][i * LOW_STEP / 2u][j * LOW_STEP / 2u];
                }
            }
        }
    }
}

// Adds H->H and H->L.
fn from_high(
    high: ptr<function, HighSums>,
    low: ptr<function, LowSums>,
    block: u32,
    n: u32,
    t: u32,
    cell_y: u32,
    cell_x: u32,
) {
    let plane_size = shape.high_h * shape.high_w;
    let first = (n * shape.high_in * shape.high_t + t * shape.stride_t) * plane_size;
    // Where each load lies in the first channel, in elements or in words of two columns.
    var at: array<array<array<u32, HIGH_ROW_LOADS>, SUB>, FINE_ROWS>;
    for (var i = 0u; i < FINE_ROWS; i++) {
        for (var a = 0u; a < SUB; a++) {
            let row = under(min(2u * cell_y + i, shape.fine_h - 1u), a, shape.high_h);
            for (var j = 0u; j < HIGH_ROW_LOADS; j++) {
                let k = j * (FINE_COLS * SUB / HIGH_ROW_LOADS);
                let col = under(min(2u * cell_x + k / SUB, shape.fine_w - 1u), k % SUB, shape.high_w);
                at[i][a][j] = (first + row * shape.high_w + col) / (FINE_COLS * SUB / HIGH_ROW_LOADS);
            }
        }
    }
    // The same for all threads, as the address of the weights is.
    let to_next = shape.high_t * plane_size / (FINE_COLS * SUB / HIGH_ROW_LOADS);
    var channel = 0u;
    var hh = shape.hh + block * shape.high_in * HIGH_VECTORS;
    var hl = shape.hl + block * shape.high_in * LOW_VECTORS;
    for (var c = 0u; c < shape.high_in; c += HIGH_UNROLL) {
        var x: array<Fine, HIGH_UNROLL>;
        for (var u = 0u; u < HIGH_UNROLL; u++) {
            for (var i = 0u; i < FINE_ROWS; i++) {
                for (var a = 0u; a < SUB; a++) {
                    for (var j = 0u; j < HIGH_ROW_LOADS; j++) {
                        if !X_H_PAIRED {
                            x[u][i][j / SUB] += load_high(channel + at[i][a][j]);
                            continue;
                        }
                        let pair = load_high_word(channel + at[i][a][j]);
                        if SUB == 1u {
                            x[u][i][2u * j] = pair.x;
                            x[u][i][2u * j + 1u] = pair.y;
                        } else {
                            x[u][i][2u * j / SUB] += pair.x + pair.y;
                        }
                    }
                }
                if SUB > 1u {
                    for (var j = 0u; j < FINE_COLS; j++) {
                        x[u][i][j] *= MEAN;
                    }
                }
            }
            channel += to_next;
        }
        // Channel by channel, so that few sums are worked on at a time: a software device, which runs this order, keeps
        // them in registers.
        if HAS_HH {
            for (var v = 0u; v < HIGH_VECTORS; v++) {
                var w: array<Lane, HIGH_UNROLL>;
                for (var u = 0u; u < HIGH_UNROLL; u++) {
                    w[u] = weight(hh + u * HIGH_VECTORS + v);
                }
                for (var k = 0u; k < LANES; k++) {
                    for (var u = 0u; u < HIGH_UNROLL; u++) {
                        for (var i = 0u; i < FINE_ROWS; i++) {
                            for (var j = 0u; j < FINE_COLS; j++) {
                                (*high)[v][k][i][j] += x[u][i][j] * lane(w[u], k);
                            }
                        }
                    }
                }
            }
        }
        if HAS_HL {
            var cells: array<Coarse, HIGH_UNROLL>;
            for (var u = 0u; u < HIGH_UNROLL; u++) {
                cells[u] = coarse(&x, u);
            }
            for (var v = 0u; v < LOW_VECTORS; v++) {
                var w: array<Lane, HIGH_UNROLL>;
                for (var u = 0u; u < HIGH_UNROLL; u++) {
                    w[u] = weight(hl + u * LOW_VECTORS + v);
                }
                for (var k = 0u; k < LANES; k++) {
                    for (var u = 0u; u < HIGH_UNROLL; u++) {
                        for (var i = 0u; i < CELL_ROWS; i++) {
                            for (var j = 0u; j < CELL_COLS; j++) {
                                (*low)[v][k][i][j] += cells[u][i][j] * lane(w[u], k);
                            }
                        }
                    }
                }
            }
        }
        hh += HIGH_UNROLL * HIGH_VECTORS;
        hl += HIGH_UNROLL * LOW_VECTORS;
    }
}

// The values of X_L for the cells, of channel u at hand.
fn low_cells(x: ptr<function, array<FromLow, LOW_UNROLL>>, u: u32) -> Coarse {
    var cells: Coarse;
    for (var i = 0u; i < CELL_ROWS; i++) {
        for (var j = 0u; j < CELL_COLS; j++) {
            let top = LOW_STEP * i;
            let left = LOW_STEP * j;
            let first = (*x)[u][top][left];
            // The other three of a cell's four; the first again where there is but one.
            let others = (*x)[u][top][left + LOW_STEP - 1u]
                + (*x)[u][top + LOW_STEP - 1u][left]
                + (*x)[u][top + LOW_STEP - 1u][left + LOW_STEP - 1u];
            cells[i][j] = select(first, 0.25 * (first + others), LOW_IS_FINE && !STRIDED);
        }
    }
    return cells;
}

// Finishes the 2x2 of Y_H over a cell, given row by row, and returns their mean.
fn store_cell(sums: vec4<f32>, plane: u32, cell_y: u32, cell_x: u32) -> f32 {
    let y = 2u * cell_y;
    let x = 2u * cell_x;
    if y >= shape.fine_h || x >= shape.fine_w {
        return 0.0;
    }
    let below = y + 1u < shape.fine_h;
    let index = (plane * shape.fine_h + y) * shape.fine_w + x;
    // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
    if Y_H_PAIRED {
        let top = finish_high_2(sums.xy, index);
        var bottom = top;
        if below {
            bottom = finish_high_2(sums.zw, index + shape.fine_w);
        }
        return 0.25 * (top.x + top.y + bottom.x + bottom.y);
    }
    let right = x + 1u < shape.fine_w;
    let a = finish_high(sums.x, index);
    var b = a;
    if right {
        b = finish_high(sums.y, index + 1u);
    }
    var c = a;
    var d = b;
    if below {
        c = finish_high(sums.z, index + shape.fine_w);
        d = c;
        if right {
            d = finish_high(sums.w, index + shape.fine_w + 1u);
        }
    }
    return 0.25 * (a + b + c + d);
}

fn finish_high(sum: f32, index: u32) -> f32 {
    let value = activate(sum + load_residual_h(index), shape.slope);
    store_y_h(index, value);
    return value;
}

fn finish_high_2(sums: vec2<f32>, index: u32) -> vec2<f32> {
    let wanted = sums + load_residual_h_2(index);
    let values = vec2(activate(wanted.x, shape.slope), activate(wanted.y, shape.slope));
    store_y_h_2(index, values);
    return values;
}

// Writes the means of a row of cells.
fn store_means(means: array<f32, CELL_COLS>, plane: u32, y: u32, x: u32) {
    var row = means;
    let index = (plane * shape.coarse_h + y) * shape.coarse_w + x;
    if Y_P_PAIRED {
        for (var j = 0u; j < CELL_COLS / 2u; j++) {
            if y < shape.coarse_h && x + 2u * j < shape.coarse_w {
                store_y_p_2(index + 2u * j, vec2(row[2u * j], row[2u * j + 1u]));
            }
        }
        return;
    }
    for (var j = 0u; j < CELL_COLS; j++) {
        if y < shape.coarse_h && x + j < shape.coarse_w {
            store_y_p(index + j, row[j]);
        }
    }
}

// Finishes a row of Y_L.
fn store_low(sums: array<f32, CELL_COLS>, shift: f32, plane: u32, y: u32, x: u32) {
    var row = sums;
    let index = (plane * shape.coarse_h + y) * shape.coarse_w + x;
    if Y_L_PAIRED {
        for (var j = 0u; j < CELL_COLS / 2u; j++) {
            if y < shape.coarse_h && x + 2u * j < shape.coarse_w {
                let at = index + 2u * j;
                let wanted = vec2(row[2u * j], row[2u * j + 1u]) + shift + load_residual_l_2(at);
                store_y_l_2(at, vec2(activate(wanted.x, shape.slope), activate(wanted.y, shape.slope)));
            }
        }
        return;
    }
    for (var j = 0u; j < CELL_COLS; j++) {
        if y < shape.coarse_h && x + j < shape.coarse_w {
            let sum = row[j] + shift;
            store_y_l(index + j, activate(sum + load_residual_l(index + j), shape.slope));
        }
    }
}
