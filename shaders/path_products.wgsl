// The products of a turn of shaders/path.wgsl, as a template beside it: a window of PATH_UNROLL channels by their weights,
// in f32.
//
// Sums are by vector, lane, row and column. Each level is indexed by the counter of a loop of its very length: drivers
// then unroll the loop whatever its size, and the sums are registers.

// `own` has the weights where they are each thread's own; others are read here, from `first` on.
fn path_multiply(
    acc: ptr<function, array<array<array<array<f32, PATH_COLS>, PATH_ROWS>, LANES>, PATH_VECTORS>>,
    window: ptr<function, array<array<array<Factor, PATH_WINDOW_W>, PATH_WINDOW_H>, PATH_UNROLL>>,
    own: ptr<function, array<array<Factors, PATH_VECTORS>, PATH_UNROLL>>,
    first: u32,
) {
    if CHANNEL_BY_CHANNEL {
        for (var v = 0u; v < PATH_VECTORS; v++) {
            var w: array<array<array<Factors, PATH_INNER_W>, PATH_INNER_H>, PATH_UNROLL>;
            for (var u = 0u; u < PATH_UNROLL; u++) {
                for (var dr = 0u; dr < PATH_INNER_H; dr++) {
                    for (var ds = 0u; ds < PATH_INNER_W; ds++) {
                        let tap = (u * PATH_INNER_H + dr) * PATH_INNER_W + ds;
                        if ACROSS > 1u {
                            w[u][dr][ds] = (*own)[u][v];
                        } else {
                            w[u][dr][ds] = weight(first + (tap * PATH_VECTORS + v) * ACROSS);
                        }
                    }
                }
            }
            for (var k = 0u; k < LANES; k++) {
                for (var u = 0u; u < PATH_UNROLL; u++) {
                    for (var dr = 0u; dr < PATH_INNER_H; dr++) {
                        for (var ds = 0u; ds < PATH_INNER_W; ds++) {
                            let value = lane(w[u][dr][ds], k);
                            for (var i = 0u; i < PATH_ROWS; i++) {
                                for (var j = 0u; j < PATH_COLS; j++) {
                                    let input = (*window)[u][i * PATH_STRIDE_H + dr][j * PATH_STRIDE_W + ds];
                                    (*acc)[v][k][i][j] += input * value;
                                }
                            }
                        }
                    }
                }
            }
        }
    } else {
        for (var u = 0u; u < PATH_UNROLL; u++) {
            for (var dr = 0u; dr < PATH_INNER_H; dr++) {
                for (var ds = 0u; ds < PATH_INNER_W; ds++) {
                    let tap = (u * PATH_INNER_H + dr) * PATH_INNER_W + ds;
                    for (var v = 0u; v < PATH_VECTORS; v++) {
                        let w = weight(first + (tap * PATH_VECTORS + v) * ACROSS);
                        for (var k = 0u; k < LANES; k++) {
                            for (var i = 0u; i < PATH_ROWS; i++) {
                                for (var j = 0u; j < PATH_COLS; j++) {
                                    let input = (*window)[u][i * PATH_STRIDE_H + dr][j * PATH_STRIDE_W + ds];
                                    (*acc)[v][k][i][j] += input * lane(w, k);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
