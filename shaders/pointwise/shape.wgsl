// What all files of the pointwise kernel share: its uniform, the tile of a thread, and the inputs over a cell.

#import common/lanes

const WORKGROUP: u32 = 64u;

// The tile of a thread: cells, and vectors of LANES channels of either output.
const CELL_ROWS: u32 = 1u;
const CELL_COLS: u32 = 1u;
const HIGH_VECTORS: u32 = 1u;
const LOW_VECTORS: u32 = 1u;
// Its positions of Y_H.
const FINE_ROWS: u32 = 2u * CELL_ROWS;
const FINE_COLS: u32 = 2u * CELL_COLS;

// Whether X_L has the resolution of Y_H, as at stride 2, or of Y_L, as at stride 1.
const LOW_IS_FINE: bool = false;
// Elements of X_L that belong to a cell, along an axis, and those that belong to a thread.
const X_L_PER_CELL: u32 = select(1u, 2u, LOW_IS_FINE);
const X_L_ROWS: u32 = select(CELL_ROWS, FINE_ROWS, LOW_IS_FINE);
const X_L_COLS: u32 = select(CELL_COLS, FINE_COLS, LOW_IS_FINE);

// Whether the inputs of H->L and L->L are the first of 2x2 positions, and not their mean.
const STRIDED: bool = false;

// Sums of Y_H, of Y_L, and of L->H at the resolution of X_L, by vector, lane, row and column. Each dimension is only
// indexed by the counter of a loop of exactly its length: drivers then unroll the loop, however long, and keep the sums
// in registers.
//
// Paths and outputs pass each other sums of these types, because naga treats two aliases of one array as two types.
alias SumsOfHigh = array<array<array<array<f32, FINE_COLS>, FINE_ROWS>, LANES>, max(HIGH_VECTORS, 1u)>;
alias SumsOfLow = array<array<array<array<f32, CELL_COLS>, CELL_ROWS>, LANES>, max(LOW_VECTORS, 1u)>;
alias SumsFromLow = array<array<array<array<f32, X_L_COLS>, X_L_ROWS>, LANES>, max(HIGH_VECTORS, 1u)>;

struct Shape {
    cell_rows: u32, // tiles along h and w
    cell_cols: u32,
    threads: u32, // n * t * cell_rows * cell_cols
    tiles: u32, // workgroups per block, for all threads
    blocks: u32, // blocks of output channels
    grid_x: u32,
    t_out: u32,
    stride_t: u32,
    high_in: u32, // channels of X_H
    high_t: u32, // size of X_H, or of pool(X_H) if that is read instead
    high_h: u32,
    high_w: u32,
    fine_h: u32, // the resolution of Y_H
    fine_w: u32,
    low_in: u32, // channels of X_L
    low_t: u32,
    low_h: u32,
    low_w: u32,
    high_out: u32, // channels of Y_H and of Y_L that the layer makes
    low_out: u32,
    coarse_h: u32, // the resolution of Y_L and of pool(Y_H)
    coarse_w: u32,
    bias_high: u32, // where the biases begin, in Lanes
    bias_low: u32,
    hh: u32, // where the weights of each path begin, in Lanes
    hl: u32,
    lh: u32,
    ll: u32,
    slope: f32, // of leaky ReLU
    high_of: u32, // channels of the tensor Y_H, and which of them is the layer's first
    high_first: u32,
    low_of: u32, // the same of Y_L
    low_first: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// Which outputs a thread makes.
struct Owner {
    n: u32,
    t: u32,
    cell_y: u32, // its first cell
    cell_x: u32,
    block: u32,
}
