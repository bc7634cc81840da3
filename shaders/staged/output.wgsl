// Finishes the sums of one output of staged/staged: adds the bias, adds the sums of L->H if an earlier dispatch has
// made them, applies common/epilogue, and writes Y_P.
//
// Operands: residual and y [n][tensor_c][t][h][w]; if SLICED, y is [slice][n][c_out][t][h][w]; pooled is Y_P,
// [n][tensor_c][t][pooled_h][pooled_w]; given [n][c_out][t][given_h][given_w].

#import common/epilogue as self
#import common/means
#import staged/tile
#import tensors/input as given
#import tensors/output as pooled

// Tiles reach beyond the last channel, cell or position.
const EDGES: bool = true;
// An earlier dispatch has made the sums of L->H.
const GIVEN: bool = false;
// Y_P is written.
const POOLED: bool = false;

fn finish_tile(sums: ptr<function, Sums>, o: OutputShape, own: Owner, slice: u32) {
    for (var v = 0u; v < CELLS; v++) {
        let index = own.tile * TILE_CELLS + v * THREAD_COLS + own.col;
        if !EDGES || index < o.cells {
            let cell = place_of(o, index);
            for (var m = 0u; m < VECTORS; m++) {
                let vector = own.block * TILE_VECTORS + m * THREAD_ROWS + own.row;
                let shift = bias(o.bias + vector);
                let live = select(LANES, live_lanes(LANES * vector, o.c_out), EDGES);
                for (var k = 0u; k < live; k++) {
                    // Lane k, selected by comparisons: drivers could not keep the sums in registers if the counter of a
                    // loop of another length indexed them.
                    var sum = vec4(lane(shift, k));
                    for (var other = 0u; other < LANES; other++) {
                        sum += select(vec4(0.0), (*sums)[m][other][v], other == k);
                    }
                    finish_positions(sum, o, cell, LANES * vector + k, slice);
                }
            }
        }
    }
}

// Finishes and writes the four positions of a cell, in the order of rows, of channel `c`.
fn finish_positions(sum: vec4<f32>, o: OutputShape, cell: Place, c: u32, slice: u32) {
    let plane = slice * o.planes + (cell.n * o.tensor_c + o.first_c + c) * o.t + cell.t;
    let right = !EDGES || cell.x + 1u < o.w;
    let lower = !EDGES || cell.y + 1u < o.h;
    let index = (plane * o.h + cell.y) * o.w + cell.x;
    var start = 0.0;
    if GIVEN {
        // If odd sizes are rounded down, there is no row of L->H below the last row of Y_H. The last row stands in for
        // it. So do columns.
        let row = ((cell.n * o.c_out + c) * o.t + cell.t) * o.given_h + min(cell.y >> 1u, o.given_h - 1u);
        start = given_load(row * o.given_w + min(cell.x >> 1u, o.given_w - 1u));
    }
    let values = finish_cell(sum + start, index, o.w, right, lower, shape.slope);
    if POOLED {
        let row = cell.y >> 1u;
        let col = cell.x >> 1u;
        if row < o.pooled_h && col < o.pooled_w {
            pooled_store((plane * o.pooled_h + row) * o.pooled_w + col, mean_of(values));
        }
    }
}
