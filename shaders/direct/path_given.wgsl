// In place of direct/path: reads the path's sums, which an earlier dispatch has made.
//
// Operands: the sums [n][source_channels][source_t][source_h][source_w], whose channels are the layer's output
// channels. Rows, columns and channels beyond the last one read the last one: what they make is not stored.
//
// The host guarantees: if PAIRED, COLS and the width are even.

#import common/lanes
#import direct/shape
#import direct/tile_high as tile
#import tensors/input as source

alias Sums = TileSums;

// Whether two elements of a row are read as one word.
const PAIRED: bool = false;

fn accumulate(sums: ptr<function, Sums>, p: PathShape, own: Owner, y: u32, x: u32) {
    let o = shape.high;
    for (var v = 0u; v < TILE_VECTORS; v++) {
        for (var k = 0u; k < LANES; k++) {
            let oc = min((((own.block % o.group_blocks) * TILE_VECTORS + v) * ACROSS + own.across) * LANES + k, o.group_channels - 1u);
            let plane = (own.n * p.source_channels + own.group * o.group_channels + oc) * p.source_t + own.t;
            for (var i = 0u; i < TILE_ROWS; i++) {
                let row = (plane * p.source_h + min(y + i, p.source_h - 1u)) * p.source_w;
                for (var j = 0u; j < TILE_COLS; j++) {
                    if !PAIRED {
                        (*sums)[v][k][i][j] = source_load(row + min(x + j, p.source_w - 1u));
                    } else if (j & 1u) == 0u {
                        let word = source_load_2(row + min(x + j, p.source_w - 2u));
                        (*sums)[v][k][i][j] = word.x;
                        (*sums)[v][k][i][j + 1u] = word.y;
                    }
                }
            }
        }
    }
}
