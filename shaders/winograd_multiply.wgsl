// Winograd convolution, between its first dispatch and its last: a matrix product for each point of the tiles.
//
//   M[a][oc][tile] = sum_c U[a][oc][c] V[a][c][tile]
//
// There are up to three products: at high resolution Y_H over the channels of X_H; at low resolution Y_L over the
// stacked channels of X_L and pool(X_H), and L->H over those of X_L. In a layer of stride 2 L->H is at high resolution,
// and X_L's channels stack there too.
//
// Mapping. One side of a product, tiles or channels, is its *columns*: a thread has COLUMN_VECTORS Columns of them, vec2
// or vec4. The other is its *rows*: a workgroup has ROW_VECTORS vec4 of them, read at addresses that are the same for all
// its threads. Which is which is the host's choice, the same for all products of a dispatch: it writes in front
//
//   fn column(i: u32) -> Column       of V, or of U
//   fn row(i: u32) -> vec4<f32>       of the other
//   fn store_m(i: u32, v: Column)     M
//
// Operands: V [a][c][tile]; U [a][block][c][oc], a block of channels being a workgroup's; M [a][row][column].
//
// The host guarantees: depths that UNROLL divides; all sides padded to whole threads and blocks, in V, U and M alike.

struct Product {
    workgroups: u32,
    column_blocks: u32, // workgroups along the columns and the rows
    row_blocks: u32,
    threads: u32, // along the columns
    depth: u32, // channels of the input
    columns: u32, // where the columns' operand begins, in Columns; its strides from point to point, block to block, channel to channel
    columns_point: u32,
    columns_block: u32,
    columns_channel: u32,
    rows: u32, // likewise in vec4
    rows_point: u32,
    rows_block: u32,
    rows_channel: u32,
    sums: u32, // where M begins, and its strides from point to point and row to row, in Columns
    sums_point: u32,
    sums_row: u32,
}

struct Shape {
    products: array<Product, 3>, // those that there are first
    grid_x: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    let counts = vec4(
        shape.products[0].workgroups,
        shape.products[1].workgroups,
        shape.products[2].workgroups,
        0u,
    );
    if workgroup >= sum_of(counts) {
        return;
    }
    let turn = turn_of(workgroup, counts);
    let p = shape.products[turn.kind];
    // The blocks over the same columns follow one another, and the points come last: what is read stays near.
    let block = turn.index;
    let row_block = block % p.row_blocks;
    let column_block = block / p.row_blocks % p.column_blocks;
    let thread = column_block * WORKGROUP + local;
    let point = block / (p.row_blocks * p.column_blocks);
    if thread >= p.threads {
        return;
    }

    // Sums by row, and column. Each level is indexed by the counter of a loop of its very length: drivers then unroll
    // the loop whatever its size, and the sums are registers.
    var acc: array<array<array<Column, COLUMN_VECTORS>, 4>, ROW_VECTORS>;
    var column_at = p.columns + point * p.columns_point + column_block * p.columns_block + local * COLUMN_VECTORS;
    var row_at = p.rows + point * p.rows_point + row_block * p.rows_block;
    for (var c = 0u; c < p.depth; c += UNROLL) {
        var x: array<array<Column, COLUMN_VECTORS>, UNROLL>;
        for (var u = 0u; u < UNROLL; u++) {
            for (var j = 0u; j < COLUMN_VECTORS; j++) {
                x[u][j] = column(column_at + j);
            }
            column_at += p.columns_channel;
        }
        for (var i = 0u; i < ROW_VECTORS; i++) {
            var w: array<vec4<f32>, UNROLL>;
            for (var u = 0u; u < UNROLL; u++) {
                w[u] = row(row_at + u * p.rows_channel + i);
            }
            // Row by row, so that few sums are worked on at a time: a software device, which runs this order, keeps
            // them in registers.
            for (var k = 0u; k < 4u; k++) {
                for (var u = 0u; u < UNROLL; u++) {
                    for (var j = 0u; j < COLUMN_VECTORS; j++) {
                        acc[i][k][j] += x[u][j] * w[u][k];
                    }
                }
            }
        }
        row_at += UNROLL * p.rows_channel;
    }

    let first = p.sums + point * p.sums_point + row_block * ROW_VECTORS * 4u * p.sums_row + thread * COLUMN_VECTORS;
    for (var i = 0u; i < ROW_VECTORS; i++) {
        for (var k = 0u; k < 4u; k++) {
            for (var j = 0u; j < COLUMN_VECTORS; j++) {
                store_m(first + (i * 4u + k) * p.sums_row + j, acc[i][k][j]);
            }
        }
    }
}
