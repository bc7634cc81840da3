// Octave convolution of any kernel size as an implicit GEMM on cooperative matrices: f16 factors, f32 sums.
//
//   Y_H = activate(conv(S, W_HH) + replicate(conv(X_L, W_LH)) + bias_h + residual_h), or
//   Y_H = activate(conv(S, W_HH) + replicate(P) + bias_h + residual_h)             its sums P given by an earlier dispatch,
//   Y_H = activate(conv(S, W_HH) + conv(X_L, W_LH) + bias_h + residual_h)          or of the same resolution
//   Y_L = activate(conv(X_L, W_LL) + conv(S, W_HL) + bias_l + residual_l)          S = X_H, or pooled as the path wants it
//   Y_P = pool(Y_H)                                                                where the layer writes it
//
// Mapping. GEMM M = output channels, N = positions of the batch, K = every (path, tap, channel) in turn: the two paths
// into an output are one sum. Positions come as *cells* of 2x2, so that a cell's mean, and the one position of X_L over
// it, belong to one column of four matrices: (row, column) of the position within its cell is a matrix's *phase*. Where
// L->H is replicated, its sums over a block of cells are the matrix that those of all four phases start from. The first
// `high_workgroups` workgroups make Y_H, the others Y_L; a workgroup makes ROWS * SIDE channels by CELLS cells.
// PIECE_ROWS x 2 subgroups have a piece of it each, of MATRIX_ROWS x MATRIX_COLS matrices: piece column b has the phases
// (0, b) and (1, b) in turn. WGSL cannot set the size of subgroups: the host takes the largest that the device has, and
// where they turn out smaller, those beyond the last piece only gather.
//
// A step takes SLAB channels. Threads gather them into workgroup memory, [matrix of the slab][phase][cell][channel], with
// zeros for padding and for channels beyond the last, while the step before is multiplied; weights are loaded as
// matrices straight from their buffer. In either a matrix's channels are contiguous, as matrix units want them.
//
// - WINDOWED (stride 1): a step has all taps of a frame. Cells are counted over the padded map, `pitch_rows` x
//   `pitch_cols` of a frame, those beyond the output's among them: so a tap's inputs, of any phase, are those of one phase
//   at a constant distance, and WINDOW cells serve all taps of CELLS. Of X_L, whose rows the padding between them keeps
//   apart too, LOW_WINDOW positions do.
// - otherwise a step has one tap, whose inputs are gathered for each position; a pitch is then the cells of the output,
//   and WINDOW and LOW_WINDOW are CELLS, or more where there would be nothing for some threads to gather.
//
// Where SLICED, the slabs of all inputs are cut into `slices`, and as many times the workgroups make partial sums, one
// slice's behind the other's, for shaders/reduce.wgsl to add up.
//
// Operands: X [n][c][t][h][w]; weights of each path [oc / SIDE][kt][r][s][c / SIDE][oc % SIDE][c % SIDE], channels padded
// with zeros to whole slabs and output channels to whole workgroups, behind the biases [oc] of H, then of L, in the same
// buffer, which is bound twice.
//
// The host guarantees:
// - one group; maps as the paths convolve them, pooled beforehand; at least one path an output, or none where HAS_SUMS;
//   sizes, strides and weight offsets of `shape` within their buffers; where an output is PAIRED, its width even;
// - SIDE, WORKGROUP, WINDOW and LOW_WINDOW powers of two; WORKGROUP at least SIDE and a subgroup a piece, and no more than
//   SLAB * SPANS or SLAB * LOW_WINDOW; no more `slices` than slabs of any path;
// - where WINDOWED, stride 1, one matrix a slab, and WINDOW cells enough, with one to spare where pairs straddle cells;
// - where SPAN is more than one, stride 1 and rows of whole spans; spans of two where WINDOWED, and otherwise one tap along
//   w without padding;
// - where PAIRS_STRADDLE (an odd padding), rows of the padded map that are whole cells: 2 * pitch_cols columns;
// - where UPSAMPLES, X_L as large as its convolution wants for all cells, LOW_WINDOW positions that fit where a step does,
//   and, where WINDOWED, as much padding between its rows and frames as either side of them has.

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
    pitch_rows: u32, // of cells that are counted in a frame
    pitch_cols: u32, // in a row of them
    cells: u32, // n * t * pitch_rows * pitch_cols
    blocks: u32, // workgroups for all output channels
    bias: u32,
    pooled_h: u32,
    pooled_w: u32,
    sums_h: u32, // rows and columns of P
    sums_w: u32,
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
    stride_t: u32,
    kernel_t: u32,
    kernel_h: u32,
    kernel_w: u32,
    padding_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_t: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    slices: u32,
    unused: u32,
}

const ROWS: u32 = PIECE_ROWS * MATRIX_ROWS; // matrices of a workgroup
const CELLS: u32 = MATRIX_COLS / 2u * SIDE;
const SLAB: u32 = DEPTH * SIDE;
// Steps in workgroup memory: a window is made after the one before has been multiplied.
const STEPS_KEPT: u32 = select(2u, 1u, WINDOWED);
const STEP: u32 = 4u * WINDOW * SLAB;
// Spans of adjacent positions in a row, and what each thread gathers: so many of them, and of their channels.
const SPANS: u32 = 4u * WINDOW / SPAN;
const HELD: u32 = max(SPANS / WORKGROUP, 1u);
const SHARERS: u32 = max(WORKGROUP / SPANS, 1u);
const RUN: u32 = SLAB / SHARERS;
const STRETCH: u32 = min(RUN, SIDE); // of a run, side by side in workgroup memory
const STRETCHES: u32 = SIDE / STRETCH;
// Where padding is odd, a pair of columns begins in the second column of a cell. One that begins in the last cell of a row
// ends in the first of the next: both columns lie in the padding, and are the zeros that this cell wants in its first.
// What begins in front of a workgroup's first cell goes to the last cell of the window, which no tap reads then.
const SHIFT: u32 = select(0u, 1u, PAIRS_STRADDLE);
// What is finished at a time: a matrix of each subgroup, as channels by (b, cell), and how much of it is each thread's.
const ROUND_ROWS: u32 = PIECE_ROWS * SIDE;
const ROUND_COLS: u32 = 2u * SIDE;
const FINISHED: u32 = max(ROUND_ROWS * SIDE / WORKGROUP, 1u);

alias Held = array<array<array<f16, SPAN>, RUN>, HELD>;
alias Places = array<Place, HELD>;
alias Starts = array<array<Sum, MATRIX_COLS / 2u>, MATRIX_ROWS>;

var<workgroup> inputs: array<f16, STEPS_KEPT * STEP>;
var<workgroup> sums: array<f32, ROUND_ROWS * ROUND_COLS>;

// A position of an output, or the first of a cell.
struct Place {
    n: u32,
    t: u32,
    y: u32,
    x: u32,
}

// What a subgroup has of a workgroup's part, if anything.
struct Piece {
    there: bool,
    row: u32,
    col: u32,
}

// What the next step takes.
struct Cursor {
    second: bool, // of the two paths into the output
    kt: u32,
    r: u32,
    s: u32,
    slab: u32,
    slabs: vec2<u32>, // the first that is taken of the path, and the one behind the last
}

// The first position of a cell that is counted.
fn place_of(o: OutputShape, cell: u32) -> Place {
    var place: Place;
    place.x = 2u * (cell % o.pitch_cols);
    place.y = 2u * (cell / o.pitch_cols % o.pitch_rows);
    place.t = cell / (o.pitch_cols * o.pitch_rows) % o.t;
    place.n = cell / (o.pitch_cols * o.pitch_rows * o.t);
    return place;
}

// The first position of what a thread gathers, `first_cell` being the workgroup's.
fn place_of_span(o: OutputShape, first_cell: u32, span: u32) -> Place {
    let column = span * SPAN % (2u * WINDOW);
    // What is in front of the first cell wraps. It repeats the last that is counted, as those behind it do.
    var place = place_of(o, min(first_cell + column / 2u - SHIFT, o.cells - 1u));
    place.y += span * SPAN / (2u * WINDOW);
    place.x += column % 2u + SHIFT;
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

// Puts what a thread has gathered where step `buffer` of those kept reads it.
fn put(held: ptr<function, Held>, buffer: u32, local: u32) {
    let share = local / SPANS;
    for (var i = 0u; i < HELD; i++) {
        let first = (i * WORKGROUP + local % SPANS) * SPAN;
        for (var k = 0u; k < SPAN; k++) {
            let column = first % (2u * WINDOW) + k - SHIFT;
            let phase = first / (2u * WINDOW) * 2u + column % 2u;
            let cell = column / 2u % WINDOW;
            for (var u = 0u; u < RUN; u += STRETCH) {
                // Counted in stretches, so that drivers see how a stretch is aligned and store it in wide words.
                let stretch = share * (RUN / STRETCH) + u / STRETCH;
                let matrix = stretch / STRETCHES * 4u + phase;
                let at = buffer * STEP + (matrix * WINDOW + cell) * SIDE + stretch % STRETCHES * STRETCH;
                for (var v = 0u; v < STRETCH; v++) {
                    inputs[at + v] = (*held)[i][u + v][k];
                }
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
    var workgroup = id.x + id.y * shape.grid_x;
    var slice = 0u;
    if SLICED {
        slice = workgroup / shape.workgroups;
        workgroup %= shape.workgroups;
    }
    if slice < shape.slices && workgroup < shape.workgroups {
        make(workgroup, local, subgroup, slice);
    }
}

// The slabs of channels of a slice, from the first to the one behind the last: as many as in any other, or one more.
fn slabs_of(p: PathShape, slice: u32) -> vec2<u32> {
    if SLICED {
        return p.slabs * vec2(slice, slice + 1u) / shape.slices;
    }
    return vec2(0u, p.slabs);
}

// Steps that take so many slabs.
fn steps_of(slabs: vec2<u32>) -> u32 {
    return shape.kernel_t * select(shape.kernel_h * shape.kernel_w, 1u, WINDOWED) * (slabs.y - slabs.x);
}

fn make(workgroup: u32, local: u32, subgroup: u32, slice: u32) {
    let low = HAS_LOW && (!HAS_HIGH || workgroup >= shape.high_workgroups);
    var o = shape.high;
    var index = workgroup;
    if low {
        o = shape.low;
        index -= shape.high_workgroups;
    }
    // The blocks of channels over the same positions follow one another: they read the same inputs.
    let block = index % o.blocks;
    let first_cell = index / o.blocks * CELLS;
    let piece = Piece(subgroup < 2u * PIECE_ROWS, subgroup / 2u, subgroup % 2u);
    let first_row = block * ROWS + piece.row;

    var p = shape.hh;
    var second = shape.lh;
    if low {
        p = shape.ll;
        second = shape.hl;
    } else if UPSAMPLES {
        second.slabs = 0u;
    }
    let steps = steps_of(slabs_of(p, slice)) + steps_of(slabs_of(second, slice));
    var at: Cursor;
    if p.channels == 0u {
        at.second = true;
        p = second;
    }
    at.slabs = slabs_of(p, slice);
    at.slab = at.slabs.x;
    var acc: array<array<Sum, MATRIX_COLS>, MATRIX_ROWS>;
    if UPSAMPLES && !low {
        var starts: Starts;
        sum_from_low(&starts, o, first_cell, first_row, piece.there, local, slice);
        for (var i = 0u; i < MATRIX_ROWS; i++) {
            for (var j = 0u; j < MATRIX_COLS; j++) {
                acc[i][j] = starts[i][j / 2u];
            }
        }
    }
    let share = local / SPANS;
    var places: Places;
    for (var i = 0u; i < HELD; i++) {
        places[i] = place_of_span(o, first_cell, i * WORKGROUP + local % SPANS);
    }
    var held: Held;
    // Where the weights of the step are, in matrices, and how far from tap to tap and from row to row of matrices.
    var factors = 0u;
    var next_tap = 0u;
    var next_row = 0u;
    let taps_down = select(1u, shape.kernel_h, WINDOWED);
    let taps_across = select(1u, shape.kernel_w, WINDOWED);
    let dilation_h = shape.dilation_h;
    let dilation_w = shape.dilation_w;
    // While a step's inputs are on their way, the step before is multiplied.
    for (var step = 0u; step <= steps; step++) {
        let fetches = step < steps;
        if fetches {
            fetch(&held, &places, p, at, low, share);
        }
        if step > 0u && piece.there {
            let kept = (~step & (STEPS_KEPT - 1u)) * STEP;
            for (var r = 0u; r < taps_down; r++) {
                for (var s = 0u; s < taps_across; s++) {
                    let column = piece.col + s * dilation_w;
                    for (var d = 0u; d < DEPTH; d++) {
                        var left: array<Left, MATRIX_ROWS>;
                        for (var i = 0u; i < MATRIX_ROWS; i++) {
                            let factor = factors + (r * taps_across + s) * next_tap + i * PIECE_ROWS * next_row + d;
                            left[i] = coopLoadT<Left>(&weights[factor * SIDE * SIDE], SIDE);
                        }
                        for (var j = 0u; j < MATRIX_COLS; j++) {
                            let line = j % 2u + r * dilation_h;
                            let phase = d * 4u + line % 2u * 2u + column % 2u;
                            let cell = j / 2u * SIDE + line / 2u * o.pitch_cols + column / 2u;
                            let right = coopLoad<Right>(&inputs[kept + (phase * WINDOW + cell) * SIDE], SIDE);
                            for (var i = 0u; i < MATRIX_ROWS; i++) {
                                acc[i][j] = coopMultiplyAdd(left[i], right, acc[i][j]);
                            }
                        }
                    }
                }
            }
        }
        if WINDOWED {
            workgroupBarrier();
        }
        if fetches {
            put(&held, step & (STEPS_KEPT - 1u), local);
            factors = first_factor(p, at, first_row);
            next_tap = p.slabs * DEPTH;
            next_row = p.row;
            if advance(&at) {
                p = second;
                at.slabs = slabs_of(p, slice);
                at.slab = at.slabs.x;
            }
        }
        workgroupBarrier();
    }

    // Round by round, of which those that have nothing to store are left out. Their number is no constant, so that the
    // loops stay loops, and all that finishes a cell is there once.
    let first_channel = block * ROWS * SIDE;
    let rounds_down = min(MATRIX_ROWS, (o.own - first_channel + ROUND_ROWS - 1u) / ROUND_ROWS);
    let rounds_across = min(MATRIX_COLS / 2u, (o.cells - first_cell + SIDE - 1u) / SIDE);
    for (var across = 0u; across < rounds_across; across++) {
        let cell = first_cell + across * SIDE + local % SIDE;
        let place = place_of(o, cell);
        let wanted = place.y < o.h && place.x < o.w && cell < o.cells;
        for (var down = 0u; down < rounds_down; down++) {
            var rows: array<vec2<f32>, FINISHED>;
            for (var lower = 0u; lower < 2u; lower++) {
                for (var i = 0u; i < MATRIX_ROWS; i++) {
                    for (var j = 0u; j < MATRIX_COLS; j++) {
                        if piece.there && i == down && j == 2u * across + lower {
                            coopStoreT(acc[i][j], &sums[(piece.row * ROUND_COLS + piece.col) * SIDE], ROUND_COLS);
                        }
                    }
                }
                workgroupBarrier();
                for (var k = 0u; k < FINISHED; k++) {
                    let r = local / SIDE + k * (WORKGROUP / SIDE);
                    let oc = first_channel + down * ROUND_ROWS + r;
                    if wanted && r < ROUND_ROWS && oc < o.own {
                        rows[k] = finish_row_of_cell(r * ROUND_COLS + local % SIDE, o, low, place, oc, slice, lower, rows[k]);
                    }
                }
                workgroupBarrier();
            }
        }
    }
}

// The first matrix of weights that a step takes, in a row of them.
fn first_factor(p: PathShape, at: Cursor, row: u32) -> u32 {
    let tap = (at.kt * shape.kernel_h + at.r) * shape.kernel_w + at.s;
    return p.weights + row * p.row + (tap * p.slabs + at.slab) * DEPTH;
}

// Goes on to what the step after takes. Says whether this was the last of its path.
fn advance(at: ptr<function, Cursor>) -> bool {
    (*at).slab += 1u;
    if (*at).slab < (*at).slabs.y {
        return false;
    }
    (*at).slab = (*at).slabs.x;
    if !WINDOWED {
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
    }
    (*at).kt += 1u;
    if (*at).kt < shape.kernel_t {
        return false;
    }
    (*at).kt = 0u;
    (*at).second = true;
    return true;
}

// Finishes a row of a cell, whose sums lie at `at` and SIDE behind, and the mean of the cell after its lower row, `upper`
// being what the other one came to.
fn finish_row_of_cell(
    at: u32,
    o: OutputShape,
    low: bool,
    place: Place,
    oc: u32,
    slice: u32,
    lower: u32,
    upper: vec2<f32>,
) -> vec2<f32> {
    let plane = slice * o.planes + (place.n * o.channels + o.first + oc) * o.t + place.t;
    let y = place.y + lower;
    // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
    var row = upper;
    if y < o.h {
        var start = biases[o.bias + oc];
        if HAS_SUMS && !low {
            let plane_of_sums = (place.n * o.own + oc) * o.t + place.t;
            let row_of_sums = plane_of_sums * o.sums_h + min(place.y / 2u, o.sums_h - 1u);
            start += load_low_sums(row_of_sums * o.sums_w + min(place.x / 2u, o.sums_w - 1u));
        }
        let index = (plane * o.h + y) * o.w + place.x;
        row = finish_row(vec2(sums[at], sums[at + SIDE]) + start, index, place.x + 1u < o.w, low);
    }
    if WRITES_Y_P && !low && lower == 1u && place.y / 2u < o.pooled_h && place.x / 2u < o.pooled_w {
        let mean = 0.25 * (upper.x + upper.y + row.x + row.y);
        store_y_p((plane * o.pooled_h + place.y / 2u) * o.pooled_w + place.x / 2u, mean);
    }
    return row;
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
