// The products of a turn of shaders/path.wgsl, as a template beside it, in f16: two output channels an instruction where the
// device has packed arithmetic. PATH_UNROLL * PATH_TAPS products are added up in f16, and their sum to an f32.
//
// The host guarantees: LANES 2 or 4, ACROSS 1, `weight` gives vectors of f16.

fn path_multiply(
    acc: ptr<function, array<array<array<array<f32, PATH_COLS>, PATH_ROWS>, LANES>, PATH_VECTORS>>,
    window: ptr<function, array<array<array<Factor, PATH_WINDOW_W>, PATH_WINDOW_H>, PATH_UNROLL>>,
    own: ptr<function, array<array<Factors, PATH_VECTORS>, PATH_UNROLL>>,
    first: u32,
) {
    // By vector, pair of lanes, row and column, in levels as the sums.
    var turn: array<array<array<array<vec2<f16>, PATH_COLS>, PATH_ROWS>, PAIRS>, PATH_VECTORS>;
    for (var u = 0u; u < PATH_UNROLL; u++) {
        for (var dr = 0u; dr < PATH_INNER_H; dr++) {
            for (var ds = 0u; ds < PATH_INNER_W; ds++) {
                let tap = (u * PATH_INNER_H + dr) * PATH_INNER_W + ds;
                for (var v = 0u; v < PATH_VECTORS; v++) {
                    let w = weight(first + tap * PATH_VECTORS + v);
                    for (var k = 0u; k < PAIRS; k++) {
                        let pair = vec2(w[2u * k], w[2u * k + 1u]);
                        for (var i = 0u; i < PATH_ROWS; i++) {
                            for (var j = 0u; j < PATH_COLS; j++) {
                                let input = (*window)[u][i * PATH_STRIDE_H + dr][j * PATH_STRIDE_W + ds];
                                turn[v][k][i][j] += input * pair;
                            }
                        }
                    }
                }
            }
        }
    }
    for (var v = 0u; v < PATH_VECTORS; v++) {
        for (var k = 0u; k < PAIRS; k++) {
            for (var i = 0u; i < PATH_ROWS; i++) {
                for (var j = 0u; j < PATH_COLS; j++) {
                    (*acc)[v][2u * k][i][j] += f32(turn[v][k][i][j].x);
                    (*acc)[v][2u * k + 1u][i][j] += f32(turn[v][k][i][j].y);
                }
            }
        }
    }
}
