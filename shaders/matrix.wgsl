// Octave convolution of any kernel size as an implicit GEMM on cooperative matrices: f16 factors, f32 sums.
//
//   Y_H = activate(conv(S, W_HH) + conv(X_L, W_LH) + bias_h + residual_h)          L->H of the same resolution, or
//   Y_H = activate(conv(S, W_HH) + replicate(P) + bias_h + residual_h)             its sums P given by an earlier dispatch
//   Y_L = activate(conv(X_L, W_LL) + conv(S, W_HL) + bias_l + residual_l)          S = X_H, or pooled as the path wants it
//   Y_P = pool(Y_H)                                                                where the layer writes it
//
// Mapping. GEMM M = output channels, N = positions of the batch, K = every (path, tap, channel) in turn: the two paths
// into an output are one sum. Positions are ordered by *cells* of 2x2, so that a cell's mean, and the one value of P over
// it, belong to four adjacent columns. The first `high_workgroups` workgroups make Y_H, the others Y_L; a workgroup makes
// ROWS * SIDE channels by POSITIONS positions. PIECE_ROWS x PIECE_COLS subgroups have a piece of it each, of MATRIX_ROWS x
// MATRIX_COLS matrices, a matrix of each in turn. WGSL cannot set the size of subgroups: the host takes the largest that
// the device has, and where they turn out smaller, those beyond the last piece repeat another's and are ignored.
//
// A step takes SLAB channels of one tap. Threads gather them for all positions into workgroup memory, [position][channel],
// with zeros for padding and for channels beyond the last, while the step before is multiplied; weights are loaded as
// matrices straight from their buffer. In either a matrix's channels are contiguous, as matrix units want them.
//
// Operands: X [n][c][t][h][w]; weights of each path [oc / SIDE][kt][r][s][c / SIDE][oc % SIDE][c % SIDE], channels padded
// with zeros to whole slabs and output channels to whole workgroups, behind the biases [oc] of H, then of L, in the same
// buffer, which is bound twice.
//
// The host guarantees: one group; maps as the paths convolve them, pooled beforehand; at least one path an output; sizes,
// strides and weight offsets of `shape` within their buffers; where PAIRED, one tap along w, stride 1, no padding and an even
// width; where an output is PAIRED, its width even; WORKGROUP threads are at least one subgroup a piece, and
// at most SUBGROUPS.

struct PathShape {
    channels: u32,
    slabs: u32, // of a tap
    source_t: u32,
    source_h: u32,
    source_w: u32,
    stride: u32,
    weights: u32, // in matrices of SIDE x SIDE, so that drivers see the alignment and load them in wide words
    row: u32, // matrices for SIDE output channels
}

struct OutputShape {
    channels: u32, // of the tensor
    first: u32, // channel of the tensor where the layer's begin
    own: u32, // channels of the layer
    t: u32,
    h: u32,
    w: u32,
    cell_rows: u32,
    cell_cols: u32,
    cells: u32, // n * t * cell_rows * cell_cols
    blocks: u32, // workgroups for all output channels
    bias: u32,
    steps: u32,
    pooled_h: u32,
    pooled_w: u32,
    sums_h: u32, // rows and columns of P
    sums_w: u32,
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
    stride_t: u32,
    kernel_h: u32,
    kernel_w: u32,
    padding_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_t: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

const ROWS: u32 = PIECE_ROWS * MATRIX_ROWS; // matrices of a workgroup
const POSITIONS: u32 = PIECE_COLS * MATRIX_COLS * SIDE;
const SLAB: u32 = DEPTH * SIDE;
// A few elements more than a slab, so that the channels of adjacent positions lie in different banks.
const PITCH: u32 = SLAB + SKEW;
// What a load brings: adjacent positions of a row, of an even one where there are two. How many of these a thread
// gathers, and how many of their channels.
const SPAN: u32 = select(1u, 2u, PAIRED);
const SPANS: u32 = POSITIONS / SPAN;
const HELD: u32 = max(SPANS / WORKGROUP, 1u);
const SHARERS: u32 = max(WORKGROUP / SPANS, 1u);
const RUN: u32 = SLAB / SHARERS;
// What is finished at a time: a matrix of each subgroup, as channels by cells.
const ROUND_ROWS: u32 = PIECE_ROWS * SIDE;
const ROUND_COLS: u32 = PIECE_COLS * SIDE;
const ROUND_CELLS: u32 = ROUND_COLS / 4u;
// Rows for subgroups that have no piece too.
const STORED_ROWS: u32 = (SUBGROUPS + PIECE_COLS - 1u) / PIECE_COLS * SIDE;

alias Held = array<array<array<f16, SPAN>, RUN>, HELD>;
alias Places = array<Place, HELD>;

var<workgroup> inputs: array<f16, 2u * POSITIONS * PITCH>;
var<workgroup> sums: array<f32, STORED_ROWS * ROUND_COLS>;

// A position of an output, or the first of a cell.
struct Place {
    n: u32,
    t: u32,
    y: u32,
    x: u32,
}

// What the next step takes.
struct Cursor {
    second: bool, // of the two paths into the output
    kt: u32,
    r: u32,
    s: u32,
    slab: u32,
    step: u32, // of the path
}

// The first position of a cell. Cells beyond the last repeat it.
fn place_of(o: OutputShape, cell: u32) -> Place {
    let at = min(cell, o.cells - 1u);
    var place: Place;
    place.x = 2u * (at % o.cell_cols);
    place.y = 2u * (at / o.cell_cols % o.cell_rows);
    place.t = at / (o.cell_cols * o.cell_rows) % o.t;
    place.n = at / (o.cell_cols * o.cell_rows * o.t);
    return place;
}

fn fetch(held: ptr<function, Held>, places: ptr<function, Places>, p: PathShape, at: Cursor, low: bool, share: u32) {
    // The same for all threads.
    if low {
        if at.second {
            hl_fetch(held, places, p, at, share);
        } else {
            ll_fetch(held, places, p, at, share);
        }
    } else if at.second {
        lh_fetch(held, places, p, at, share);
    } else {
        hh_fetch(held, places, p, at, share);
    }
}

// Puts what a thread has gathered where the step reads it.
fn put(held: ptr<function, Held>, buffer: u32, local: u32) {
    let span = local % SPANS;
    let share = local / SPANS;
    for (var i = 0u; i < HELD; i++) {
        let first = ((buffer * HELD + i) * min(WORKGROUP, SPANS) + span) * SPAN * PITCH + share * RUN;
        for (var k = 0u; k < SPAN; k++) {
            for (var u = 0u; u < RUN; u++) {
                inputs[first + k * PITCH + u] = (*held)[i][u][k];
            }
        }
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let workgroup = id.x + id.y * shape.grid_x;
    if workgroup < shape.workgroups {
        make(workgroup, local, subgroup);
    }
}

fn make(workgroup: u32, local: u32, subgroup: u32) {
    let low = HAS_LOW && (!HAS_HIGH || workgroup >= shape.high_workgroups);
    var o = shape.high;
    var index = workgroup;
    if low {
        o = shape.low;
        index -= shape.high_workgroups;
    }
    // The blocks of channels over the same positions follow one another: they read the same inputs.
    let block = index % o.blocks;
    let first_cell = index / o.blocks * (POSITIONS / 4u);
    let own_row = subgroup / PIECE_COLS;
    let piece_row = min(own_row, PIECE_ROWS - 1u);
    let piece_col = subgroup % PIECE_COLS;

    var at: Cursor;
    var p = shape.hh;
    if low {
        p = shape.ll;
    }
    if p.channels == 0u {
        at.second = true;
        p = shape.lh;
        if low {
            p = shape.hl;
        }
    }
    let share = local / SPANS;
    var places: Places;
    for (var i = 0u; i < HELD; i++) {
        let column = (i * WORKGROUP + local % SPANS) * SPAN;
        places[i] = place_of(o, first_cell + column / 4u);
        places[i].y += (column >> 1u) & 1u;
        places[i].x += column & 1u;
    }
    var held: Held;
    var acc: array<array<Sum, MATRIX_COLS>, MATRIX_ROWS>;
    var matrix = 0u;
    var row = 0u;
    // While a step's inputs are on their way, the step before is multiplied.
    for (var step = 0u; step <= o.steps; step++) {
        let fetches = step < o.steps;
        if fetches {
            fetch(&held, &places, p, at, low, share);
        }
        if step > 0u {
            let staged = ((~step & 1u) * POSITIONS + piece_col * SIDE) * PITCH;
            for (var d = 0u; d < DEPTH; d++) {
                var left: array<Left, MATRIX_ROWS>;
                for (var i = 0u; i < MATRIX_ROWS; i++) {
                    left[i] = coopLoadT<Left>(&weights[(matrix + i * PIECE_ROWS * row + d) * SIDE * SIDE], SIDE);
                }
                for (var j = 0u; j < MATRIX_COLS; j++) {
                    let right = coopLoad<Right>(&inputs[staged + j * PIECE_COLS * SIDE * PITCH + d * SIDE], PITCH);
                    for (var i = 0u; i < MATRIX_ROWS; i++) {
                        acc[i][j] = coopMultiplyAdd(left[i], right, acc[i][j]);
                    }
                }
            }
        }
        if fetches {
            put(&held, step & 1u, local);
            row = p.row;
            matrix = p.weights + (block * ROWS + piece_row) * row + at.step * DEPTH;
            if advance(&at, p) {
                p = shape.lh;
                if low {
                    p = shape.hl;
                }
            }
        }
        workgroupBarrier();
    }

    // Round by round, of which those that have nothing to store are left out. Their number is no constant, so that the
    // loops stay loops, and all that finishes a cell is there once.
    let cell = local % ROUND_CELLS;
    let first_channel = block * ROWS * SIDE;
    let rounds_down = min(MATRIX_ROWS, (o.own - first_channel + ROUND_ROWS - 1u) / ROUND_ROWS);
    let rounds_across = min(MATRIX_COLS, (o.cells - first_cell + ROUND_CELLS - 1u) / ROUND_CELLS);
    for (var across = 0u; across < rounds_across; across++) {
        let own_cell = first_cell + across * ROUND_CELLS + cell;
        let place = place_of(o, own_cell);
        for (var down = 0u; down < rounds_down; down++) {
            for (var i = 0u; i < MATRIX_ROWS; i++) {
                for (var j = 0u; j < MATRIX_COLS; j++) {
                    if i == down && j == across {
                        coopStoreT(acc[i][j], &sums[own_row * SIDE * ROUND_COLS + piece_col * SIDE], ROUND_COLS);
                    }
                }
            }
            workgroupBarrier();
            for (var r = local / ROUND_CELLS; r < ROUND_ROWS; r += WORKGROUP / ROUND_CELLS) {
                let oc = first_channel + down * ROUND_ROWS + r;
                if own_cell < o.cells && oc < o.own {
                    finish_cell(r * ROUND_COLS + 4u * cell, o, low, place, oc);
                }
            }
            workgroupBarrier();
        }
    }
}

// Goes on to the next slab of path `p`. Says whether that was its last.
fn advance(at: ptr<function, Cursor>, p: PathShape) -> bool {
    (*at).step += 1u;
    (*at).slab += 1u;
    if (*at).slab < p.slabs {
        return false;
    }
    (*at).slab = 0u;
    (*at).s += 1u;
    if (*at).s < shape.kernel_w {
        return false;
    }
    (*at).s = 0u;
    (*at).r += 1u;
    if (*at).r < shape.kernel_h {
        return false;
    }
    (*at).r = 0u;
    (*at).kt += 1u;
    if (*at).step * DEPTH < p.row {
        return false;
    }
    (*at).kt = 0u;
    (*at).step = 0u;
    (*at).second = true;
    return true;
}

// Finishes the four positions of a cell, whose sums lie from `at` on, and their mean.
fn finish_cell(at: u32, o: OutputShape, low: bool, place: Place, oc: u32) {
    var start = biases[o.bias + oc];
    if HAS_SUMS && !low {
        let row = ((place.n * o.own + oc) * o.t + place.t) * o.sums_h + min(place.y / 2u, o.sums_h - 1u);
        start += load_low_sums(row * o.sums_w + min(place.x / 2u, o.sums_w - 1u));
    }
    let plane = (place.n * o.channels + o.first + oc) * o.t + place.t;
    let index = (plane * o.h + place.y) * o.w + place.x;
    let right = place.x + 1u < o.w;
    // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
    let top = finish_row(vec2(sums[at], sums[at + 1u]) + start, index, right, low);
    var bottom = top;
    if place.y + 1u < o.h {
        bottom = finish_row(vec2(sums[at + 2u], sums[at + 3u]) + start, index + o.w, right, low);
    }
    if WRITES_Y_P && !low && place.y / 2u < o.pooled_h && place.x / 2u < o.pooled_w {
        let mean = 0.25 * (top.x + top.y + bottom.x + bottom.y);
        store_y_p((plane * o.pooled_h + place.y / 2u) * o.pooled_w + place.x / 2u, mean);
    }
}

// Finishes two positions side by side, of which the second may not exist.
fn finish_row(sums: vec2<f32>, index: u32, right: bool, low: bool) -> vec2<f32> {
    if low && LOW_PAIRED {
        let wanted = sums + load_residual_l_2(index);
        let values = vec2(activate(wanted.x, shape.slope), activate(wanted.y, shape.slope));
        store_y_l_2(index, values);
        return values;
    }
    if !low && HIGH_PAIRED {
        var values = sums;
        if !HIGH_IS_PARTIAL {
            let wanted = sums + load_residual_h_2(index);
            values = vec2(activate(wanted.x, shape.slope), activate(wanted.y, shape.slope));
        }
        store_y_h_2(index, values);
        return values;
    }
    let left = finish(sums.x, index, low);
    if right {
        return vec2(left, finish(sums.y, index + 1u, low));
    }
    return vec2(left);
}

fn finish(sum: f32, index: u32, low: bool) -> f32 {
    if low {
        let value = activate(sum + load_residual_l(index), shape.slope);
        store_y_l(index, value);
        return value;
    }
    var value = sum;
    if !HIGH_IS_PARTIAL {
        value = activate(sum + load_residual_h(index), shape.slope);
    }
    store_y_h(index, value);
    return value;
}
