// Finishes the tiles of one output; Y_H and Y_L have an instance each. Adds the bias, applies common/epilogue, and
// writes the means of 2x2 positions if POOLED.
//
// Operands: biases [block][oc] in f32; the pooled output [n][tensor_channels][t][pooled_h][pooled_w].
//
// The host guarantees: if POOLED, ROWS and COLS are even. If PAIRED, COLS and the width are even. If POOLED_PAIRED,
// COLS is a multiple of 4, and the width of the pooled output is even.

#import common/epilogue as self
#import common/lanes
#import common/means
#import direct/shape
#import direct/tile_high as tile
#import tensors/output as pooled
#import tensors/weights

alias Sums = TileSums;

// Whether the means of 2x2 positions are written too, and whether two adjacent means are written as one word.
const POOLED: bool = false;
const POOLED_PAIRED: bool = false;

// The finished values of one output channel, row by row.
alias Values = array<f32, TILE_ROWS * TILE_COLS>;

// Finishes the tile that begins at row y and column x.
fn finish_tile(sums: ptr<function, Sums>, o: OutputShape, own: Owner, y: u32, x: u32) {
    for (var v = 0u; v < TILE_VECTORS; v++) {
        let shift = bias(o.bias + (own.block * TILE_VECTORS + v) * ACROSS + own.across);
        let first = (((own.block % o.group_blocks) * TILE_VECTORS + v) * ACROSS + own.across) * LANES;
        for (var k = 0u; k < LANES; k++) {
            let oc = first + k;
            if oc >= o.group_channels {
                break;
            }
            let channel = own.n * o.tensor_channels + o.first_channel + own.group * o.group_channels + oc;
            let plane = own.slice * o.slice_planes + channel * o.t + own.t;
            var values = Values();
            finish_channel(&values, sums, v, k, lane(shift, k), o, plane, y, x);
            if POOLED {
                store_means(&values, o, plane, y, x);
            }
        }
    }
}

// Finishes channel k of vector v. `shift` is added to each of its sums.
fn finish_channel(
    values: ptr<function, Values>,
    sums: ptr<function, Sums>,
    v: u32,
    k: u32,
    shift: f32,
    o: OutputShape,
    plane: u32,
    y: u32,
    x: u32,
) {
    for (var i = 0u; i < TILE_ROWS; i++) {
        for (var j = 0u; j < TILE_COLS; j++) {
            if PAIRED && (j & 1u) == 1u {
                continue;
            }
            let at = i * TILE_COLS + j;
            let sum = (*sums)[v][k][i][j] + shift;
            if y + i < o.h && x + j < o.w {
                let index = (plane * o.h + y + i) * o.w + x + j;
                if PAIRED {
                    let pair = finish_2(vec2(sum, (*sums)[v][k][i][j | 1u] + shift), index, shape.slope);
                    (*values)[at] = pair.x;
                    (*values)[at | 1u] = pair.y;
                } else {
                    (*values)[at] = finish(sum, index, shape.slope);
                }
            }
        }
    }
}

// Writes the means of one channel.
fn store_means(values: ptr<function, Values>, o: OutputShape, plane: u32, y: u32, x: u32) {
    for (var i = 0u; i < TILE_ROWS; i += 2u) {
        for (var j = 0u; j < TILE_COLS; j += 2u) {
            let row = (y + i) >> 1u;
            let col = (x + j) >> 1u;
            if row < o.pooled_h && col < o.pooled_w {
                let index = (plane * o.pooled_h + row) * o.pooled_w + col;
                let mean = mean_at(values, o, y, x, i, j);
                if !POOLED_PAIRED {
                    pooled_store(index, mean);
                } else if (j & 2u) == 0u {
                    pooled_store_2(index, vec2(mean, mean_at(values, o, y, x, i, (j + 2u) % TILE_COLS)));
                }
            }
        }
    }
}

// The mean of the 2x2 positions at row i and column j of the tile.
fn mean_at(values: ptr<function, Values>, o: OutputShape, y: u32, x: u32, i: u32, j: u32) -> f32 {
    let at = i * TILE_COLS + j;
    let cell = vec4((*values)[at], (*values)[at + 1u], (*values)[at + TILE_COLS], (*values)[at + TILE_COLS + 1u]);
    return mean_of_existing(cell, x + j + 1u < o.w, y + i + 1u < o.h);
}
