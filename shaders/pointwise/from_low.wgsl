// L->H and L->L of the pointwise kernel, which read X_L.
//
// Operands: X_L [n][low_in][low_t][low_h][low_w].

#import common/lanes
#import pointwise/products as lh
#import pointwise/products as ll
#import pointwise/shape
#import tensors/input as x_l

const HAS_LH: bool = true;
const HAS_LL: bool = true;

// Whether two columns are read as one word, and the loads, of words or of elements, that a row takes.
const X_L_PAIRED: bool = false;
const X_L_ROW_LOADS: u32 = select(X_L_COLS, X_L_COLS / 2u, X_L_PAIRED);

// Where each load lies in the first channel, in elements or in words of two columns.
alias LowPlaces = array<array<u32, X_L_ROW_LOADS>, X_L_ROWS>;

// Adds L->L, and sets the sums of Y_H to those of L->H: at stride 1, one sum of L->H for the 2x2 positions of a cell.
fn add_from_low(high: ptr<function, SumsOfHigh>, low: ptr<function, LlSums>, own: Owner) {
    var places = low_places(own);
    // The same for all threads, like the address of the weights.
    let to_next = shape.low_t * (shape.low_h * shape.low_w) / (X_L_COLS / X_L_ROW_LOADS);
    var channel = 0u;
    var lh = shape.lh + own.block * shape.low_in * HIGH_VECTORS;
    var ll = shape.ll + own.block * shape.low_in * LOW_VECTORS;
    var to_high: LhSums;
    for (var c = 0u; c < shape.low_in; c += LH_UNROLL) {
        var inputs = LhInputs();
        for (var u = 0u; u < LH_UNROLL; u++) {
            load_low(&inputs, u, channel, &places);
            channel += to_next;
        }
        if HAS_LH {
            lh_multiply(&to_high, &inputs, lh);
        }
        if HAS_LL {
            var cells = LlInputs();
            for (var u = 0u; u < LL_UNROLL; u++) {
                take_low_cells(&cells, &inputs, u);
            }
            ll_multiply(low, &cells, ll);
        }
        lh += LH_UNROLL * HIGH_VECTORS;
        ll += LH_UNROLL * LOW_VECTORS;
    }
    for (var v = 0u; v < HIGH_VECTORS; v++) {
        for (var k = 0u; k < LANES; k++) {
            for (var i = 0u; i < FINE_ROWS; i++) {
                for (var j = 0u; j < FINE_COLS; j++) {
                    (*high)[v][k][i][j] = to_high[v][k][i * X_L_PER_CELL / 2u][j * X_L_PER_CELL / 2u];
                }
            }
        }
    }
}

fn low_places(own: Owner) -> LowPlaces {
    let plane_size = shape.low_h * shape.low_w;
    let first = (own.n * shape.low_in * shape.low_t + own.t * shape.stride_t) * plane_size;
    var places: LowPlaces;
    for (var i = 0u; i < X_L_ROWS; i++) {
        let row = min(select(own.cell_y, 2u * own.cell_y, LOW_IS_FINE) + i, shape.low_h - 1u);
        for (var j = 0u; j < X_L_ROW_LOADS; j++) {
            let col = select(own.cell_x, 2u * own.cell_x, LOW_IS_FINE) + j * (X_L_COLS / X_L_ROW_LOADS);
            places[i][j] = (first + row * shape.low_w + min(col, shape.low_w - 1u)) / (X_L_COLS / X_L_ROW_LOADS);
        }
    }
    return places;
}

// Reads channel u, whose plane begins at `channel`.
fn load_low(inputs: ptr<function, LhInputs>, u: u32, channel: u32, places: ptr<function, LowPlaces>) {
    for (var i = 0u; i < X_L_ROWS; i++) {
        for (var j = 0u; j < X_L_ROW_LOADS; j++) {
            if X_L_PAIRED {
                let pair = x_l_load_word(channel + (*places)[i][j]);
                (*inputs)[u][i][2u * j] = pair.x;
                (*inputs)[u][i][2u * j + 1u] = pair.y;
            } else {
                (*inputs)[u][i][j] = x_l_load(channel + (*places)[i][j]);
            }
        }
    }
}

// Takes the inputs of L->L for each cell of channel u.
fn take_low_cells(cells: ptr<function, LlInputs>, inputs: ptr<function, LhInputs>, u: u32) {
    for (var i = 0u; i < CELL_ROWS; i++) {
        for (var j = 0u; j < CELL_COLS; j++) {
            let top = X_L_PER_CELL * i;
            let left = X_L_PER_CELL * j;
            let first = (*inputs)[u][top][left];
            // The other three of the cell's four elements. If a cell has only one, the sum has that one three times.
            let others = (*inputs)[u][top][left + X_L_PER_CELL - 1u]
                + (*inputs)[u][top + X_L_PER_CELL - 1u][left]
                + (*inputs)[u][top + X_L_PER_CELL - 1u][left + X_L_PER_CELL - 1u];
            (*cells)[u][i][j] = select(first, 0.25 * (first + others), LOW_IS_FINE && !STRIDED);
        }
    }
}
