// Finishes the sums of matrix/matrix: adds the bias, adds the sums of L->H if an earlier dispatch has made them,
// applies common/epilogue, and writes Y_P.
//
// Sums are finished in rounds. In a round, each subgroup stores one of its matrices in workgroup memory. From there,
// threads finish rows of cells: two positions side by side.
//
// Operands: residuals and outputs [n][tensor_c][t][h][w]; if SLICED, outputs are [slice][n][c_out][t][h][w]; pooled is
// Y_P, [n][tensor_c][t][pooled_h][pooled_w]; given [n][c_out][t][given_h][given_w].

#import common/epilogue as high
#import common/epilogue as low
#import common/means
#import matrix/tile
#import tensors/input as given
#import tensors/output as pooled

// An earlier dispatch has made the sums of L->H.
const GIVEN: bool = false;
// Y_P is written.
const POOLED: bool = false;

// Rows of cells that a thread finishes per round.
const THREAD_ROWS: u32 = max(ROUND_ROWS * SIDE / WORKGROUP, 1u);

fn finish_tile(
    sums: ptr<function, Sums>,
    o: OutputShape,
    low: bool,
    first_channel: u32,
    first_cell: u32,
    piece: Piece,
    local: u32,
    slice: u32,
) {
    // Rounds that have nothing to store are left out. As the counts are not constants, drivers do not unroll the loops,
    // and compile the code that finishes a cell once.
    let rounds_down = min(MATRIX_ROWS, (o.c_out - first_channel + ROUND_ROWS - 1u) / ROUND_ROWS);
    let rounds_across = min(MATRIX_COLS / 2u, (o.cells - first_cell + SIDE - 1u) / SIDE);
    for (var across = 0u; across < rounds_across; across++) {
        let cell = first_cell + across * SIDE + local % SIDE;
        let place = place_of(o, cell);
        let exists = place.y < o.h && place.x < o.w && cell < o.cells;
        for (var down = 0u; down < rounds_down; down++) {
            var rows: array<vec2<f32>, THREAD_ROWS>;
            for (var lower = 0u; lower < 2u; lower++) {
                store_matrix(sums, piece, down, 2u * across + lower);
                workgroupBarrier();
                for (var k = 0u; k < THREAD_ROWS; k++) {
                    let r = local / SIDE + k * (WORKGROUP / SIDE);
                    let oc = first_channel + down * ROUND_ROWS + r;
                    if exists && r < ROUND_ROWS && oc < o.c_out {
                        let at = r * ROUND_COLS + local % SIDE;
                        rows[k] = finish_row_of_cell(at, o, low, place, oc, slice, lower, rows[k]);
                    }
                }
                workgroupBarrier();
            }
        }
    }
}

// Stores matrix (row, col) of a subgroup, if it has a piece. Loops of exactly the lengths of `sums` look for the
// matrix: drivers could not keep the sums in registers if `row` and `col` indexed them.
fn store_matrix(sums: ptr<function, Sums>, piece: Piece, row: u32, col: u32) {
    for (var i = 0u; i < MATRIX_ROWS; i++) {
        for (var j = 0u; j < MATRIX_COLS; j++) {
            if piece.exists && i == row && j == col {
                coopStoreT((*sums)[i][j], &round_sums[(piece.row * ROUND_COLS + piece.col) * SIDE], ROUND_COLS);
            }
        }
    }
}

// Finishes a row of a cell, the upper one or the lower one, and returns it. Its sums are elements `at` and `at + SIDE`
// of `round_sums`. After the lower row it also writes the mean of the cell; `upper` is the finished upper row.
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
    let plane = slice * o.planes + (place.n * o.tensor_c + o.first_c + oc) * o.t + place.t;
    let y = place.y + lower;
    // At an odd edge the upper row stands in for the lower one, so that the mean is that of the positions that exist.
    var row = upper;
    if y < o.h {
        var start = biases[o.bias + oc];
        if GIVEN && !low {
            let plane_of_given = (place.n * o.c_out + oc) * o.t + place.t;
            let row_of_given = plane_of_given * o.given_h + min(place.y / 2u, o.given_h - 1u);
            start += given_load(row_of_given * o.given_w + min(place.x / 2u, o.given_w - 1u));
        }
        let index = (plane * o.h + y) * o.w + place.x;
        row = finish_row(vec2(round_sums[at], round_sums[at + SIDE]) + start, index, place.x + 1u < o.w, low);
    }
    if POOLED && !low && lower == 1u && place.y / 2u < o.pooled_h && place.x / 2u < o.pooled_w {
        let index = (plane * o.pooled_h + place.y / 2u) * o.pooled_w + place.x / 2u;
        pooled_store(index, mean_of(vec4(upper, row)));
    }
    return row;
}

// Finishes two positions side by side; `right` says whether the second one exists.
fn finish_row(row_sums: vec2<f32>, index: u32, right: bool, low: bool) -> vec2<f32> {
    if low {
        return low_finish_row(row_sums, index, right, shape.slope);
    }
    return high_finish_row(row_sums, index, right, shape.slope);
}
