// In place of direct/products: products in f16, of two output channels per instruction on devices with packed
// arithmetic. The UNROLL * TAPS products of an iteration are added up in f16, and their sum is added to an f32.
//
// The host guarantees: LANES is 2 or 4, ACROSS is 1, and `weight` returns vectors of f16.

enable f16;

#import common/lanes
#import direct/shape
#import direct/tile_high as tile
#import direct/window as self
#import tensors/weights

const PAIRS: u32 = LANES / 2u;

// By vector, pair of lanes, row and column.
alias ShortSums = array<array<array<array<vec2<f16>, TILE_COLS>, TILE_ROWS>, PAIRS>, TILE_VECTORS>;

fn multiply(
    sums: ptr<function, Sums>,
    window: ptr<function, Window>,
    weights_at_hand: ptr<function, OwnWeights>,
    first: u32,
) {
    var short: ShortSums;
    for (var u = 0u; u < UNROLL; u++) {
        for (var r = 0u; r < INNER_H; r++) {
            for (var s = 0u; s < INNER_W; s++) {
                let tap = (u * INNER_H + r) * INNER_W + s;
                for (var v = 0u; v < TILE_VECTORS; v++) {
                    let w = weight(first + tap * TILE_VECTORS + v);
                    for (var k = 0u; k < PAIRS; k++) {
                        add_products(&short, window, v, k, u, r, s, vec2(f16(w[2u * k]), f16(w[2u * k + 1u])));
                    }
                }
            }
        }
    }
    for (var v = 0u; v < TILE_VECTORS; v++) {
        for (var k = 0u; k < PAIRS; k++) {
            for (var i = 0u; i < TILE_ROWS; i++) {
                for (var j = 0u; j < TILE_COLS; j++) {
                    (*sums)[v][2u * k][i][j] += f32(short[v][k][i][j].x);
                    (*sums)[v][2u * k + 1u][i][j] += f32(short[v][k][i][j].y);
                }
            }
        }
    }
}

// Adds the products of two weights: output channels 2 * k and 2 * k + 1 of vector v, input channel u, tap (r, s) of the
// inner kernel.
fn add_products(
    short: ptr<function, ShortSums>,
    window: ptr<function, Window>,
    v: u32,
    k: u32,
    u: u32,
    r: u32,
    s: u32,
    w: vec2<f16>,
) {
    for (var i = 0u; i < TILE_ROWS; i++) {
        for (var j = 0u; j < TILE_COLS; j++) {
            let input = f16((*window)[u][i * WINDOW_STRIDE_H + r][j * WINDOW_STRIDE_W + s]);
            (*short)[v][k][i][j] += input * w;
        }
    }
}
