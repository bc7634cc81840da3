// The products of one path: multiplies the inputs of UNROLL channels by their weights. Each path has an instance.
//
// Operands: weights [block][c][oc] in vectors of LANES.

#import common/lanes
#import pointwise/tile_high as tile
#import tensors/weights

alias Sums = TileSums;

// Input channels that a thread holds at once.
const UNROLL: u32 = 1u;

// By channel, row and column.
alias Inputs = array<array<array<f32, TILE_COLS>, TILE_ROWS>, UNROLL>;

// Adds the products to the sums. The weights of the first channel begin at `first`.
//
// One output channel after the other, so that few sums are in use at a time: a software device keeps this order, and
// holds them in registers.
fn multiply(sums: ptr<function, Sums>, inputs: ptr<function, Inputs>, first: u32) {
    for (var v = 0u; v < TILE_VECTORS; v++) {
        var w = array<Lane, UNROLL>();
        for (var u = 0u; u < UNROLL; u++) {
            w[u] = weight(first + u * TILE_VECTORS + v);
        }
        for (var k = 0u; k < LANES; k++) {
            for (var u = 0u; u < UNROLL; u++) {
                for (var i = 0u; i < TILE_ROWS; i++) {
                    for (var j = 0u; j < TILE_COLS; j++) {
                        (*sums)[v][k][i][j] += (*inputs)[u][i][j] * lane(w[u], k);
                    }
                }
            }
        }
    }
}
