// 1x1 octave convolution in one dispatch: a GEMM over both resolutions at once, without workgroup memory.
//
//   Y_H[oc][y][x] = activate(sum_c W_HH[oc][c] F[c][y][x] + sum_c W_LH[oc][c] X_L[c][y/2][x/2] + bias_h + residual_h)
//   Y_L[oc][y][x] = activate(sum_c W_HL[oc][c] C[c][y][x] + sum_c W_LL[oc][c] X_L[c][y][x]     + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   if the layer writes it
//
// F is X_H at the resolution of Y_H (at stride 2, its 2x2 means). C is pool(F). A *cell* is 2x2 positions of F and Y_H,
// with the one position of C, X_L and Y_L below them. So one read of X_H serves both outputs, and C costs only three
// additions. At stride 2, X_L has the resolution of Y_H: L->H reads it as it is, and L->L reads its 2x2 means.
//
// Mapping. GEMM M = output channels, N = cells of the batch, K = c_in. A thread makes CELL_ROWS x CELL_COLS cells, with
// HIGH_VECTORS * LANES channels of Y_H and LOW_VECTORS * LANES channels of Y_L. The host chooses the two numbers so
// that both outputs have about as many blocks. A workgroup has one block of channels, so all its threads read weights
// at the same address.
//
// Operands: X_H, X_L, Y_H, Y_L and residuals [n][c][t][h][w]; weights as in pointwise/products, after the biases
// [block][oc] of Y_H, then of Y_L.
//
// If a tensor is paired, two adjacent columns, the first one even, are moved at once. Its rows then have even length.
// Rows of a paired input are also as long as what the layer reads of them. So a pair lies wholly inside or wholly
// beyond the edge.
//
// The host guarantees: kernel 1x1x1, no padding, one group; sizes and offsets of `shape` lie within their buffers;
// weights of both outputs are padded with zeros to `blocks` blocks.

#import common/epilogue as high
#import common/epilogue as low
#import common/lanes
#import common/means
#import pointwise/from_high
#import pointwise/from_low
#import pointwise/products as hh
#import pointwise/products as ll
#import pointwise/shape
#import tensors/output as y_p
#import tensors/weights

const HAS_X_H: bool = true;
const HAS_X_L: bool = true;

// Whether pool(Y_H) is written too, and whether two columns at a time.
const WRITES_Y_P: bool = false;
const Y_P_PAIRED: bool = false;

// A value for each cell of a row.
alias CellRow = array<f32, CELL_COLS>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    // Adjacent workgroups have the same cells and other blocks of channels, because they then read the same inputs.
    let block = workgroup % shape.blocks;
    let thread = (workgroup / shape.blocks) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    var own: Owner;
    own.block = block;
    own.cell_x = thread % shape.cell_cols * CELL_COLS;
    own.cell_y = thread / shape.cell_cols % shape.cell_rows * CELL_ROWS;
    own.t = thread / (shape.cell_cols * shape.cell_rows) % shape.t_out;
    own.n = thread / (shape.cell_cols * shape.cell_rows * shape.t_out);

    // L->H comes first, because it sets the sums of Y_H.
    var high_sums: HhSums;
    var low_sums: LlSums;
    if HAS_X_L {
        add_from_low(&high_sums, &low_sums, own);
    }
    if HAS_X_H {
        add_from_high(&high_sums, &low_sums, own);
    }
    finish_high(&high_sums, own);
    finish_low(&low_sums, own);
}

// Finishes a thread's tile of Y_H.
fn finish_high(sums: ptr<function, HhSums>, own: Owner) {
    for (var v = 0u; v < HIGH_VECTORS; v++) {
        let shift = bias(shape.bias_high + own.block * HIGH_VECTORS + v);
        let first = (own.block * HIGH_VECTORS + v) * LANES;
        for (var k = 0u; k < LANES; k++) {
            let oc = first + k;
            if oc >= shape.high_out {
                break;
            }
            let plane = (own.n * shape.high_of + shape.high_first + oc) * shape.t_out + own.t;
            for (var i = 0u; i < CELL_ROWS; i++) {
                var means = CellRow();
                for (var j = 0u; j < CELL_COLS; j++) {
                    let cell = lane(shift, k) + vec4(
                        (*sums)[v][k][2u * i][2u * j],
                        (*sums)[v][k][2u * i][2u * j + 1u],
                        (*sums)[v][k][2u * i + 1u][2u * j],
                        (*sums)[v][k][2u * i + 1u][2u * j + 1u],
                    );
                    means[j] = finish_cell(cell, plane, own.cell_y + i, own.cell_x + j);
                }
                if WRITES_Y_P {
                    store_means(&means, plane, own.cell_y + i, own.cell_x);
                }
            }
        }
    }
}

// Finishes the 2x2 positions of Y_H over a cell, in the order of rows, and returns their mean.
fn finish_cell(sums: vec4<f32>, plane: u32, cell_y: u32, cell_x: u32) -> f32 {
    let y = 2u * cell_y;
    let x = 2u * cell_x;
    if y >= shape.fine_h || x >= shape.fine_w {
        return 0.0;
    }
    let index = (plane * shape.fine_h + y) * shape.fine_w + x;
    let right = x + 1u < shape.fine_w;
    let below = y + 1u < shape.fine_h;
    return mean_of(high_finish_cell(sums, index, shape.fine_w, right, below, shape.slope));
}

// Writes the means of a row of cells.
fn store_means(means: ptr<function, CellRow>, plane: u32, y: u32, x: u32) {
    let index = (plane * shape.coarse_h + y) * shape.coarse_w + x;
    if Y_P_PAIRED {
        for (var j = 0u; j < CELL_COLS / 2u; j++) {
            if y < shape.coarse_h && x + 2u * j < shape.coarse_w {
                y_p_store_2(index + 2u * j, vec2((*means)[2u * j], (*means)[2u * j + 1u]));
            }
        }
        return;
    }
    for (var j = 0u; j < CELL_COLS; j++) {
        if y < shape.coarse_h && x + j < shape.coarse_w {
            y_p_store(index + j, (*means)[j]);
        }
    }
}

// Finishes a thread's tile of Y_L.
fn finish_low(sums: ptr<function, LlSums>, own: Owner) {
    for (var v = 0u; v < LOW_VECTORS; v++) {
        let shift = bias(shape.bias_low + own.block * LOW_VECTORS + v);
        let first = (own.block * LOW_VECTORS + v) * LANES;
        for (var k = 0u; k < LANES; k++) {
            let oc = first + k;
            if oc >= shape.low_out {
                break;
            }
            let plane = (own.n * shape.low_of + shape.low_first + oc) * shape.t_out + own.t;
            for (var i = 0u; i < CELL_ROWS; i++) {
                finish_low_row(sums, v, k, i, lane(shift, k), plane, own.cell_y + i, own.cell_x);
            }
        }
    }
}

// Finishes row i of channel k of vector v. `shift` is added to each sum.
fn finish_low_row(
    sums: ptr<function, LlSums>,
    v: u32,
    k: u32,
    i: u32,
    shift: f32,
    plane: u32,
    y: u32,
    x: u32,
) {
    let index = (plane * shape.coarse_h + y) * shape.coarse_w + x;
    if LOW_PAIRED {
        for (var j = 0u; j < CELL_COLS / 2u; j++) {
            if y < shape.coarse_h && x + 2u * j < shape.coarse_w {
                let pair = vec2((*sums)[v][k][i][2u * j], (*sums)[v][k][i][2u * j + 1u]) + shift;
                _ = low_finish_2(pair, index + 2u * j, shape.slope);
            }
        }
        return;
    }
    for (var j = 0u; j < CELL_COLS; j++) {
        if y < shape.coarse_h && x + j < shape.coarse_w {
            _ = low_finish((*sums)[v][k][i][j] + shift, index + j, shape.slope);
        }
    }
}
