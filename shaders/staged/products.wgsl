// The products of staged/path, in f32.

#import staged/tile

// Adds the products of the slab in one half of the workgroup memory to the sums.
fn multiply(sums: ptr<function, Sums>, half: u32, own: Owner) {
    var at_w = half * (SLAB * TILE_VECTORS) + own.row;
    var at_x = half * (SLAB * TILE_CELLS) + own.col;
    for (var c = 0u; c < SLAB; c += UNROLL) {
        var w = array<array<Factors, VECTORS>, UNROLL>();
        var x = array<array<Factors, CELLS>, UNROLL>();
        for (var u = 0u; u < UNROLL; u++) {
            for (var m = 0u; m < VECTORS; m++) {
                w[u][m] = tile_w[at_w + u * TILE_VECTORS + m * THREAD_ROWS];
            }
            for (var v = 0u; v < CELLS; v++) {
                x[u][v] = tile_x[at_x + u * TILE_CELLS + v * THREAD_COLS];
            }
            for (var m = 0u; m < VECTORS; m++) {
                for (var k = 0u; k < LANES; k++) {
                    for (var v = 0u; v < CELLS; v++) {
                        (*sums)[m][k][v] += w[u][m][k] * x[u][v];
                    }
                }
            }
        }
        at_w += UNROLL * TILE_VECTORS;
        at_x += UNROLL * TILE_CELLS;
    }
}
