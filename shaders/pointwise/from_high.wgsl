// H->H and H->L of the pointwise kernel, which read X_H.
//
// F is X_H at the resolution of Y_H. An element of F is the mean of SUB x SUB elements of what is read.
//
// Operands: X_H, or pool(X_H), [n][high_in][high_t][high_h][high_w].

#import pointwise/products as hh
#import pointwise/products as hl
#import pointwise/shape
#import tensors/input as x_h

const HAS_HH: bool = true;
const HAS_HL: bool = true;

// Number of 2x2 means between X_H and F, and the elements of X_H under an element of F along an axis.
const HIGH_LEVEL: u32 = 0u;
const SUB: u32 = 1u << HIGH_LEVEL;
const MEAN: f32 = 1.0 / f32(SUB * SUB);
// Distance between the means that are adjacent elements of F.
const HIGH_STRIDE: u32 = 1u;

// Whether two columns are read as one word, and the loads, of words or of elements, that a row takes.
const X_H_PAIRED: bool = false;
const HIGH_ROW_LOADS: u32 = select(FINE_COLS * SUB, FINE_COLS * SUB / 2u, X_H_PAIRED);

// Where each load lies in the first channel, in elements or in words of two columns.
alias HighPlaces = array<array<array<u32, HIGH_ROW_LOADS>, SUB>, FINE_ROWS>;

// Adds H->H and H->L.
fn add_from_high(high: ptr<function, HhSums>, low: ptr<function, HlSums>, own: Owner) {
    var places = high_places(own);
    // The same for all threads, like the address of the weights.
    let to_next = shape.high_t * (shape.high_h * shape.high_w) / (FINE_COLS * SUB / HIGH_ROW_LOADS);
    var channel = 0u;
    var hh = shape.hh + own.block * shape.high_in * HIGH_VECTORS;
    var hl = shape.hl + own.block * shape.high_in * LOW_VECTORS;
    for (var c = 0u; c < shape.high_in; c += HH_UNROLL) {
        var inputs = HhInputs();
        for (var u = 0u; u < HH_UNROLL; u++) {
            for (var i = 0u; i < FINE_ROWS; i++) {
                load_high_row(&inputs, u, i, channel, &places);
            }
            channel += to_next;
        }
        if HAS_HH {
            hh_multiply(high, &inputs, hh);
        }
        if HAS_HL {
            var cells = HlInputs();
            for (var u = 0u; u < HL_UNROLL; u++) {
                take_high_cells(&cells, &inputs, u);
            }
            hl_multiply(low, &cells, hl);
        }
        hh += HH_UNROLL * HIGH_VECTORS;
        hl += HH_UNROLL * LOW_VECTORS;
    }
}

// Row (or column) k of the SUB of X_H under row `at` of F. At an odd edge the neighbour stands in.
fn under(at: u32, k: u32, size: u32) -> u32 {
    return min(at * SUB * HIGH_STRIDE + k, size - 1u);
}

fn high_places(own: Owner) -> HighPlaces {
    let plane_size = shape.high_h * shape.high_w;
    let first = (own.n * shape.high_in * shape.high_t + own.t * shape.stride_t) * plane_size;
    var places: HighPlaces;
    for (var i = 0u; i < FINE_ROWS; i++) {
        for (var a = 0u; a < SUB; a++) {
            let row = under(min(2u * own.cell_y + i, shape.fine_h - 1u), a, shape.high_h);
            for (var j = 0u; j < HIGH_ROW_LOADS; j++) {
                let k = j * (FINE_COLS * SUB / HIGH_ROW_LOADS);
                let col = under(min(2u * own.cell_x + k / SUB, shape.fine_w - 1u), k % SUB, shape.high_w);
                places[i][a][j] = (first + row * shape.high_w + col) / (FINE_COLS * SUB / HIGH_ROW_LOADS);
            }
        }
    }
    return places;
}

// Reads row i of F of channel u, whose plane begins at `channel`.
fn load_high_row(
    inputs: ptr<function, HhInputs>,
    u: u32,
    i: u32,
    channel: u32,
    places: ptr<function, HighPlaces>,
) {
    for (var a = 0u; a < SUB; a++) {
        for (var j = 0u; j < HIGH_ROW_LOADS; j++) {
            if !X_H_PAIRED {
                (*inputs)[u][i][j / SUB] += x_h_load(channel + (*places)[i][a][j]);
                continue;
            }
            let pair = x_h_load_word(channel + (*places)[i][a][j]);
            if SUB == 1u {
                (*inputs)[u][i][2u * j] = pair.x;
                (*inputs)[u][i][2u * j + 1u] = pair.y;
            } else {
                (*inputs)[u][i][2u * j / SUB] += pair.x + pair.y;
            }
        }
    }
    if SUB > 1u {
        for (var j = 0u; j < FINE_COLS; j++) {
            (*inputs)[u][i][j] *= MEAN;
        }
    }
}

// Takes the inputs of H->L for each cell of channel u: the mean of 2x2 positions of F, or the first of them if STRIDED.
fn take_high_cells(cells: ptr<function, HlInputs>, inputs: ptr<function, HhInputs>, u: u32) {
    for (var i = 0u; i < CELL_ROWS; i++) {
        for (var j = 0u; j < CELL_COLS; j++) {
            let first = (*inputs)[u][2u * i][2u * j];
            let others = (*inputs)[u][2u * i][2u * j + 1u]
                + (*inputs)[u][2u * i + 1u][2u * j]
                + (*inputs)[u][2u * i + 1u][2u * j + 1u];
            (*cells)[u][i][j] = select(0.25 * (first + others), first, STRIDED);
        }
    }
}
