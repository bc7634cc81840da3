// Octave convolution of any kernel size on matrix units, for layers of one group: f16 factors, f32 sums.
//
//   Y_H = activate(conv(S, W_HH) + replicate(conv(X_L, W_LH)) + bias_h + residual_h)
//   Y_H = activate(conv(S, W_HH) + replicate(G) + bias_h + residual_h)       if an earlier dispatch has made the sums G
//   Y_H = activate(conv(S, W_HH) + conv(X_L, W_LH) + bias_h + residual_h)    if X_L has the resolution of Y_H
//   Y_L = activate(conv(X_L, W_LL) + conv(S, W_HL) + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                          if the layer writes it
//
// S is X_H after as many poolings as the path wants, maybe none.
//
// Words of this family, besides those of docs/vocabulary.md:
//   cursor         the path, tap and slab that an iteration takes
//   counted cells  all cells over which N runs: some may lie beyond the output, and are not stored
//   word           here WORD adjacent columns of one channel, which one load brings
//   stretch        channels that a thread stores side by side in workgroup memory, because they belong to one matrix
//   round          the sums that are finished together: one matrix of each subgroup
//
// Mapping. M = output channels, N = positions of the output, cell by cell, K = (path, tap, input channel): the two
// paths into an output add to the same sums. A column of a matrix is a cell, and each phase has matrices of its own. So
// the four positions of a cell, whose mean Y_P wants, lie in the same column of four matrices. If L->H is replicated,
// all four phases start from one matrix of sums of L->H.
//
// The first `high_workgroups` workgroups make Y_H, the others make Y_L. A workgroup makes ROWS * SIDE channels of CELLS
// cells. It has PIECE_ROWS x 2 pieces of MATRIX_ROWS x MATRIX_COLS matrices, and each subgroup makes one piece. The
// columns of matrices of piece column b have the phases (0, b) and (1, b), alternately. WGSL cannot set the size of
// subgroups, so the host assumes the largest size that the device has. If subgroups are smaller, there are more of
// them, and those beyond the last piece only gather.
//
// An iteration takes one slab. Threads gather its inputs into workgroup memory, [matrix of the
// slab][phase][cell][channel], with zeros for padding and for channels that do not exist. Meanwhile the previous slab
// is multiplied. Weights are loaded as matrices straight from their buffer. In both, the channels of a matrix are
// contiguous, as matrix units want them.
//   - If WINDOWED (stride 1), an iteration takes all taps of a frame. Cells are counted over the padded map. So for
//     each phase of the output, the inputs of a tap are one phase of the inputs, a constant number of cells away, and a
//     window of WINDOW cells serves all taps. X_L has a window of POSITIONS positions (matrix/replicated). There too,
//     the padding lies between the rows.
//   - If not, an iteration takes one tap, whose inputs are gathered for each position. Only cells of the output are
//     counted. WINDOW and POSITIONS are CELLS, or more if some threads would have nothing to gather.
//
// If SLICED, the input channels are cut into `slices`, and there are `slices` times as many workgroups: first those of
// the first slice, then those of the second one, and so on. Partial sums lie in the same order.
//
// Operands: X [n][c][t][h][w]; weights of each path [oc / SIDE][q][r][s][c / SIDE][oc % SIDE][c % SIDE], input channels
// padded with zeros to whole slabs, and output channels to whole workgroups; biases [oc] of Y_H, then of Y_L, in front
// of the weights in the same buffer, which is bound twice; residuals and Y [n][c][t][h][w].
//
// The host guarantees:
// - one group; maps are pooled already; at least one path per output, or none if GIVEN; sizes, strides and offsets of
//   `shape` lie within their buffers; outputs that are PAIRED have an even width; no more `slices` than slabs of any
//   path;
// - SIDE, WORKGROUP, WINDOW and POSITIONS are powers of two; WORKGROUP is at least SIDE, and has at least one subgroup
//   per piece, and is no more than SLAB * WORDS or SLAB * POSITIONS;
// - if WINDOWED: stride 1, one matrix per slab, and a window with all cells that taps read, plus one if PAIRS_STRADDLE;
// - if WORD is more than one: stride 1, and rows of whole words. If WINDOWED, WORD is at most two. If not, there is one
//   tap along w, without padding;
// - if PAIRS_STRADDLE (the padding is odd): rows of the padded map are whole cells, 2 * counted_cols columns;
// - if REPLICATES: X_L is as large as its convolution wants for all cells; its window fits into the workgroup memory of
//   a slab; if WINDOWED, there is as much padding between its rows, and between its frames, as on the larger side of
//   them.

#import matrix/output
#import matrix/path as hh
#import matrix/path as hl
#import matrix/path as lh
#import matrix/path as ll
#import matrix/replicated as replicated
#import matrix/tile

// Which outputs there are.
const HAS_HIGH: bool = true;
const HAS_LOW: bool = true;
// L->H is made at low resolution and replicated.
const REPLICATES: bool = false;

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

fn make(workgroup: u32, local: u32, subgroup: u32, slice: u32) {
    let low = HAS_LOW && (!HAS_HIGH || workgroup >= shape.high_workgroups);
    var o = shape.high;
    var index = workgroup;
    if low {
        o = shape.low;
        index -= shape.high_workgroups;
    }
    // Adjacent workgroups have the same positions and other blocks of channels, because they then read the same inputs.
    let block = index % o.blocks;
    let first_cell = index / o.blocks * CELLS;
    let piece = Piece(subgroup < 2u * PIECE_ROWS, subgroup / 2u, subgroup % 2u);
    let first_row = block * ROWS + piece.row;

    var sums: Sums;
    if REPLICATES && !low {
        var cell_sums: CellSums;
        replicated_accumulate(&cell_sums, o, first_cell, first_row, piece.exists, local, slice);
        for (var i = 0u; i < MATRIX_ROWS; i++) {
            for (var j = 0u; j < MATRIX_COLS; j++) {
                sums[i][j] = cell_sums[i][j / 2u];
            }
        }
    }
    accumulate(&sums, o, low, first_cell, first_row, piece, local, slice);
    finish_tile(&sums, o, low, block * ROWS * SIDE, first_cell, piece, local, slice);
}

// Adds the products of the paths into an output, except for an L->H that is replicated.
fn accumulate(
    sums: ptr<function, Sums>,
    o: OutputShape,
    low: bool,
    first_cell: u32,
    first_row: u32,
    piece: Piece,
    local: u32,
    slice: u32,
) {
    var p = shape.hh;
    var second = shape.lh;
    if low {
        p = shape.ll;
        second = shape.hl;
    } else if REPLICATES {
        second.slabs = 0u;
    }
    let iterations = iterations_of(slabs_of(p.slabs, slice, shape.slices))
        + iterations_of(slabs_of(second.slabs, slice, shape.slices));
    var at: Cursor;
    if p.c_in == 0u {
        at.second = true;
        p = second;
    }
    at.slabs = slabs_of(p.slabs, slice, shape.slices);
    at.slab = at.slabs.x;

    var places: Places;
    for (var i = 0u; i < THREAD_WORDS; i++) {
        places[i] = place_of_word(o, first_cell, i * WORKGROUP + local % WORDS);
    }
    let taps = taps_at_once();
    var gathered: Gathered;
    var factors: Factors;
    // While the inputs of a slab are on their way, the previous slab is multiplied.
    for (var i = 0u; i <= iterations; i++) {
        let gathers = i < iterations;
        if gathers {
            gather(&gathered, &places, p, at, low, local / WORDS);
        }
        if i > 0u && piece.exists {
            multiply(sums, o, piece, taps, factors, ~i & (SLABS_KEPT - 1u));
        }
        if WINDOWED {
            workgroupBarrier();
        }
        if gathers {
            put(&gathered, i & (SLABS_KEPT - 1u), local);
            factors = Factors(first_factor(p, at, first_row), p.slabs * DEPTH, p.row_size);
            if advance(&at) {
                p = second;
                at.slabs = slabs_of(p.slabs, slice, shape.slices);
                at.slab = at.slabs.x;
            }
        }
        workgroupBarrier();
    }
}

// Gathers a thread's part of the inputs at the cursor. All threads of a workgroup take the same branch.
fn gather(
    gathered: ptr<function, Gathered>,
    places: ptr<function, Places>,
    p: PathShape,
    at: Cursor,
    low: bool,
    share: u32,
) {
    if low {
        if at.second {
            hl_gather(gathered, places, p, at, share);
        } else {
            ll_gather(gathered, places, p, at, share);
        }
    } else if at.second {
        lh_gather(gathered, places, p, at, share);
    } else {
        hh_gather(gathered, places, p, at, share);
    }
}

// Puts what a thread has gathered into workgroup memory, as number `kept` of the SLABS_KEPT slabs there.
fn put(gathered: ptr<function, Gathered>, kept: u32, local: u32) {
    let share = local / WORDS;
    for (var i = 0u; i < THREAD_WORDS; i++) {
        let first = (i * WORKGROUP + local % WORDS) * WORD;
        for (var k = 0u; k < WORD; k++) {
            // The column before the first one wraps, to the last cell: WINDOW is a power of two where pairs straddle.
            let column = first % (2u * WINDOW) + k - SHIFT;
            let phase = first / (2u * WINDOW) * 2u + column % 2u;
            let cell = column / 2u % WINDOW;
            for (var u = 0u; u < THREAD_CHANNELS; u += STRETCH) {
                // Counted in stretches, so that drivers see that a stretch is aligned, and store it in wide words.
                let stretch = share * (THREAD_CHANNELS / STRETCH) + u / STRETCH;
                let matrix = stretch / STRETCHES * 4u + phase;
                let begin = kept * SLAB_SIZE + (matrix * WINDOW + cell) * SIDE + stretch % STRETCHES * STRETCH;
                for (var v = 0u; v < STRETCH; v++) {
                    inputs[begin + v] = (*gathered)[i][u + v][k];
                }
            }
        }
    }
}

// Adds the products of slab `kept` in workgroup memory to the sums.
fn multiply(sums: ptr<function, Sums>, o: OutputShape, piece: Piece, taps: Taps, factors: Factors, kept: u32) {
    let begin = kept * SLAB_SIZE;
    for (var r = 0u; r < taps.down; r++) {
        for (var s = 0u; s < taps.across; s++) {
            let column = piece.col + s * taps.dilation_w;
            for (var d = 0u; d < DEPTH; d++) {
                var left: array<Left, MATRIX_ROWS>;
                for (var i = 0u; i < MATRIX_ROWS; i++) {
                    let factor = factors.first + (r * taps.across + s) * factors.next_tap
                        + i * PIECE_ROWS * factors.next_row + d;
                    left[i] = coopLoadT<Left>(&weights[factor * SIDE * SIDE], SIDE);
                }
                for (var j = 0u; j < MATRIX_COLS; j++) {
                    let line = j % 2u + r * taps.dilation_h;
                    let phase = d * 4u + line % 2u * 2u + column % 2u;
                    let cell = j / 2u * SIDE + line / 2u * o.counted_cols + column / 2u;
                    let right = coopLoad<Right>(&inputs[begin + (phase * WINDOW + cell) * SIDE], SIDE);
                    for (var i = 0u; i < MATRIX_ROWS; i++) {
                        (*sums)[i][j] = coopMultiplyAdd(left[i], right, (*sums)[i][j]);
                    }
                }
            }
        }
    }
}
