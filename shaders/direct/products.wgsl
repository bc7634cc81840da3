// A part of direct/path: the products of one iteration, which multiplies the window of UNROLL channels by their
// weights, in f32.

#import common/lanes
#import direct/shape
#import direct/tile_high as tile
#import direct/window as self
#import tensors/weights

// Adds the products to the sums. If each thread has weights of its own, they are in `weights_at_hand`. If not, they are
// read from `first` on.
fn multiply(
    sums: ptr<function, Sums>,
    window: ptr<function, Window>,
    weights_at_hand: ptr<function, OwnWeights>,
    first: u32,
) {
    if CHANNEL_BY_CHANNEL {
        for (var v = 0u; v < TILE_VECTORS; v++) {
            multiply_vector(sums, window, weights_at_hand, first, v);
        }
        return;
    }
    for (var u = 0u; u < UNROLL; u++) {
        for (var r = 0u; r < INNER_H; r++) {
            for (var s = 0u; s < INNER_W; s++) {
                let tap = (u * INNER_H + r) * INNER_W + s;
                for (var v = 0u; v < TILE_VECTORS; v++) {
                    let w = weight(first + (tap * TILE_VECTORS + v) * ACROSS);
                    for (var k = 0u; k < LANES; k++) {
                        add_products(sums, window, v, k, u, r, s, lane(w, k));
                    }
                }
            }
        }
    }
}

// Adds the products of one vector of output channels, one channel after the other.
fn multiply_vector(
    sums: ptr<function, Sums>,
    window: ptr<function, Window>,
    weights_at_hand: ptr<function, OwnWeights>,
    first: u32,
    v: u32,
) {
    var w: array<array<array<Factors, INNER_W>, INNER_H>, UNROLL>;
    for (var u = 0u; u < UNROLL; u++) {
        for (var r = 0u; r < INNER_H; r++) {
            for (var s = 0u; s < INNER_W; s++) {
                let tap = (u * INNER_H + r) * INNER_W + s;
                if ACROSS > 1u {
                    w[u][r][s] = (*weights_at_hand)[u][v];
                } else {
                    w[u][r][s] = weight(first + (tap * TILE_VECTORS + v) * ACROSS);
                }
            }
        }
    }
    for (var k = 0u; k < LANES; k++) {
        for (var u = 0u; u < UNROLL; u++) {
            for (var r = 0u; r < INNER_H; r++) {
                for (var s = 0u; s < INNER_W; s++) {
                    add_products(sums, window, v, k, u, r, s, lane(w[u][r][s], k));
                }
            }
        }
    }
}

// Adds the products of one weight: output channel k of vector v, input channel u, tap (r, s) of the inner kernel.
fn add_products(
    sums: ptr<function, Sums>,
    window: ptr<function, Window>,
    v: u32,
    k: u32,
    u: u32,
    r: u32,
    s: u32,
    w: f32,
) {
    for (var i = 0u; i < TILE_ROWS; i++) {
        for (var j = 0u; j < TILE_COLS; j++) {
            let input = (*window)[u][i * WINDOW_STRIDE_H + r][j * WINDOW_STRIDE_W + s];
            (*sums)[v][k][i][j] += input * w;
        }
    }
}
