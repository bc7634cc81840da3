// The dispatch of a Winograd convolution between the first and the last: a matrix product for each point.
//
//   M[a][oc][tile] = sum over c of U[a][oc][c] * V[a][c][tile]
//
// There are up to three products, with these channels as c:
//   - Y_H, at high resolution: the channels of X_H; at stride 2, then those of X_L for L->H;
//   - Y_L, at low resolution: the channels of X_L, then those of pool(X_H);
//   - L->H at stride 1, at low resolution: the channels of X_L.
//
// Mapping. One side of the products, Winograd tiles or output channels, is their *columns*: a thread takes
// COLUMN_VECTORS Columns, which are vectors of 2 or 4 columns. The other side is their *rows*: a workgroup takes
// ROW_VECTORS vectors of 4 rows, and all of its threads read them at the same addresses. The host chooses which side is
// which, for all products of a dispatch, with winograd/columns_of_tiles or the file in its place.
//
// Operands: V [a][c][tile]; the weights at the points, U [a][block][c][oc], where a workgroup takes one block of
// channels; M [a][row][column].
//
// The host guarantees: UNROLL divides the channels of the input; all sides of V, U and M are padded, so that no thread
// and no block is incomplete.

#import common/turns
#import tensors/vectors_out as m
#import winograd/columns_of_tiles

const WORKGROUP: u32 = 64u;
const COLUMN_VECTORS: u32 = 1u;
const ROW_VECTORS: u32 = 4u;
// Channels of the input that a thread takes at a time.
const UNROLL: u32 = 4u;

struct Product {
    workgroups: u32,
    column_blocks: u32, // workgroups along the columns and the rows
    row_blocks: u32,
    threads: u32, // along the columns
    depth: u32, // channels of the input
    columns: u32, // where the columns' operand begins, and distances between points, blocks and channels, in Columns
    columns_point: u32,
    columns_block: u32,
    columns_channel: u32,
    rows: u32, // the same of the rows' operand, in vec4
    rows_point: u32,
    rows_block: u32,
    rows_channel: u32,
    sums: u32, // where M begins, and distances between points and between rows, in Columns
    sums_point: u32,
    sums_row: u32,
}

struct Shape {
    products: array<Product, 3>, // those of the dispatch come first
    grid_x: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// By row (vector and lane) and column. Each dimension is only indexed by the counter of a loop of exactly its length:
// drivers then unroll the loop, however long, and keep the sums in registers.
alias Sums = array<array<array<Column, COLUMN_VECTORS>, 4>, ROW_VECTORS>;
alias Columns = array<array<Column, COLUMN_VECTORS>, UNROLL>;

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
    // Adjacent workgroups share columns, and all workgroups of a point are adjacent, so that inputs stay in caches.
    let row_block = turn.index % p.row_blocks;
    let column_block = turn.index / p.row_blocks % p.column_blocks;
    let thread = column_block * WORKGROUP + local;
    let point = turn.index / (p.row_blocks * p.column_blocks);
    if thread >= p.threads {
        return;
    }
    let columns_at = p.columns + point * p.columns_point + column_block * p.columns_block + local * COLUMN_VECTORS;
    let rows_at = p.rows + point * p.rows_point + row_block * p.rows_block;
    var sums: Sums;
    accumulate(p, columns_at, rows_at, &sums);
    let first_row = row_block * ROW_VECTORS * 4u;
    store(p.sums + point * p.sums_point + first_row * p.sums_row + thread * COLUMN_VECTORS, p.sums_row, &sums);
}

// Adds the products of all channels of the input. The operands begin at vectors `columns_first` and `rows_first`.
fn accumulate(p: Product, columns_first: u32, rows_first: u32, sums: ptr<function, Sums>) {
    var column_at = columns_first;
    var row_at = rows_first;
    for (var c = 0u; c < p.depth; c += UNROLL) {
        var x = Columns();
        for (var u = 0u; u < UNROLL; u++) {
            for (var j = 0u; j < COLUMN_VECTORS; j++) {
                x[u][j] = column(column_at + j);
            }
            column_at += p.columns_channel;
        }
        for (var i = 0u; i < ROW_VECTORS; i++) {
            add_products(i, row_at, p.rows_channel, &x, sums);
        }
        row_at += UNROLL * p.rows_channel;
    }
}

// Adds the products of UNROLL channels to the sums of row vector i. Channels of the rows' operand lie `distance` apart.
fn add_products(i: u32, row_at: u32, distance: u32, x: ptr<function, Columns>, sums: ptr<function, Sums>) {
    var w: array<vec4<f32>, UNROLL>;
    for (var u = 0u; u < UNROLL; u++) {
        w[u] = row(row_at + u * distance + i);
    }
    // Row by row, so that few sums are in use at a time. A software device keeps this order, and has them in registers.
    for (var k = 0u; k < 4u; k++) {
        for (var u = 0u; u < UNROLL; u++) {
            for (var j = 0u; j < COLUMN_VECTORS; j++) {
                (*sums)[i][k][j] += (*x)[u][j] * w[u][k];
            }
        }
    }
}

// Stores the sums, starting at Column `first`. Rows lie `distance` apart.
fn store(first: u32, distance: u32, sums: ptr<function, Sums>) {
    for (var i = 0u; i < ROW_VECTORS; i++) {
        for (var k = 0u; k < 4u; k++) {
            for (var j = 0u; j < COLUMN_VECTORS; j++) {
                m_store(first + (i * 4u + k) * distance + j, (*sums)[i][k][j]);
            }
        }
    }
}
