// What stands in for shaders/path.wgsl where an earlier dispatch has done the path's convolution: reads its sums.
//
// Where PATH_PAIRED, PATH_COLS and the width are even, and two of a row are read as one word.
//
// The sums P [n][oc][t][h][w], of the layer's output channels, lie where `path_load` reads. Positions beyond the last
// row or column repeat it, as do channels that pad the last block: neither is stored.

fn path_accumulate(
    acc: ptr<function, array<array<array<array<f32, PATH_COLS>, PATH_ROWS>, LANES>, PATH_VECTORS>>,
    p: PathShape,
    n: u32,
    t: u32,
    group: u32,
    block: u32,
    across: u32,
    y: u32,
    x: u32,
    slice: u32,
) {
    let o = shape.high;
    for (var v = 0u; v < PATH_VECTORS; v++) {
        for (var k = 0u; k < LANES; k++) {
            let oc = min((((block % o.group_blocks) * PATH_VECTORS + v) * ACROSS + across) * LANES + k, o.group_channels - 1u);
            let plane = (n * p.source_channels + group * o.group_channels + oc) * p.source_t + t;
            for (var i = 0u; i < PATH_ROWS; i++) {
                let row = (plane * p.source_h + min(y + i, p.source_h - 1u)) * p.source_w;
                for (var j = 0u; j < PATH_COLS; j++) {
                    if !PATH_PAIRED {
                        (*acc)[v][k][i][j] = path_load(row + min(x + j, p.source_w - 1u));
                    } else if (j & 1u) == 0u {
                        let word = path_load_2(row + min(x + j, p.source_w - 2u));
                        (*acc)[v][k][i][j] = word.x;
                        (*acc)[v][k][i][j + 1u] = word.y;
                    }
                }
            }
        }
    }
}
