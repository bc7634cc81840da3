// In place of staged/products: products in f16, two positions per instruction if the device has packed arithmetic. The
// SLAB products of a slab are added up in f16, and their sum is added to an f32.

#import staged/tile

// Adds the products of the slab in one half of the workgroup memory.
fn multiply(sums: ptr<function, Sums>, half: u32, own: Owner) {
    // Indexed like the sums, so that drivers keep these in registers too.
    var short_sums: array<array<array<Factors, CELLS>, LANES>, VECTORS>;
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
                        short_sums[m][k][v] += w[u][m][k] * x[u][v];
                    }
                }
            }
        }
        at_w += UNROLL * TILE_VECTORS;
        at_x += UNROLL * TILE_CELLS;
    }
    for (var m = 0u; m < VECTORS; m++) {
        for (var k = 0u; k < LANES; k++) {
            for (var v = 0u; v < CELLS; v++) {
                (*sums)[m][k][v] += vec4<f32>(short_sums[m][k][v]);
            }
        }
    }
}
