// The sums of L->H for matrix/matrix, if they are replicated: the same matrix product over positions of X_L. Each
// position is a cell, so there is one phase.
//
// An iteration has POSITIONS positions of X_L in workgroup memory, [matrix of the slab][position][channel]. A thread
// gathers OWN_CHANNELS channels of OWN_POSITIONS positions.
//
// Operands: source is X_L, [n][c_in][source_t][source_h][source_w], in words whose elements are read one by one.

#import matrix/input as source
#import matrix/tile

// Positions of X_L in workgroup memory.
const POSITIONS: u32 = 16u;
// The channels of X_L fill whole slabs.
const WHOLE: bool = false;

const OWN_POSITIONS: u32 = max(POSITIONS / WORKGROUP, 1u);
const OWN_CHANNELS: u32 = SLAB / max(WORKGROUP / POSITIONS, 1u);
const OWN_STRETCH: u32 = min(OWN_CHANNELS, SIDE);
const OWN_STRETCHES: u32 = SIDE / OWN_STRETCH;

alias OwnGathered = array<array<f16, OWN_CHANNELS>, OWN_POSITIONS>;
alias OwnPlaces = array<Place, OWN_POSITIONS>;

// Adds the products of L->H for the cells of a workgroup.
fn accumulate(
    cell_sums: ptr<function, CellSums>,
    o: OutputShape,
    first_cell: u32,
    first_row: u32,
    has_piece: bool,
    local: u32,
    slice: u32,
) {
    let p = shape.lh;
    var places = places_of(o, first_cell, local);
    var gathered: OwnGathered;
    var at: Cursor;
    at.slabs = slabs_of(p.slabs, slice, shape.slices);
    at.slab = at.slabs.x;
    let iterations = iterations_of(at.slabs);
    let taps = taps_at_once();
    let line = taps.dilation_h * o.counted_cols;
    var factors = Factors(0u, p.slabs * DEPTH, p.row_size);
    // While the inputs of a slab are on their way, the previous slab is multiplied.
    for (var i = 0u; i <= iterations; i++) {
        let gathers = i < iterations;
        if gathers {
            gather_positions(&gathered, &places, p, at, local / POSITIONS);
        }
        if i > 0u && has_piece {
            multiply_cells(cell_sums, taps, line, factors);
        }
        workgroupBarrier();
        if gathers {
            put_positions(&gathered, local);
            factors.first = first_factor(p, at, first_row);
            advance(&at);
        }
        workgroupBarrier();
    }
}

// Where a thread's positions lie in X_L.
fn places_of(o: OutputShape, first_cell: u32, local: u32) -> OwnPlaces {
    let back = select(0u, shape.padding_h * o.counted_cols + shape.padding_w, WINDOWED);
    var places: OwnPlaces;
    for (var i = 0u; i < OWN_POSITIONS; i++) {
        let cell = first_cell + i * WORKGROUP + local % POSITIONS - back;
        places[i] = place_of(o, cell);
        // There is no row of X_L before the first cell or after the last one: such a row counts as padding.
        places[i].y = select(0x40000000u, places[i].y / 2u, cell < o.cells);
        places[i].x /= 2u;
    }
    return places;
}

// Gathers OWN_CHANNELS channels of the slab, starting at share * OWN_CHANNELS, for each of the thread's positions.
fn gather_positions(
    gathered: ptr<function, OwnGathered>,
    places: ptr<function, OwnPlaces>,
    p: PathShape,
    at: Cursor,
    share: u32,
) {
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    let first = at.slab * SLAB + share * OWN_CHANNELS;
    for (var i = 0u; i < OWN_POSITIONS; i++) {
        let place = (*places)[i];
        let frame = i32(place.t * shape.stride_t + at.q * shape.dilation_t) - i32(shape.padding_t);
        var row = i32(place.y);
        var col = i32(place.x);
        if !WINDOWED {
            row += i32(at.r * shape.dilation_h) - i32(shape.padding_h);
            col += i32(at.s * shape.dilation_w) - i32(shape.padding_w);
        }
        // Numbers below zero are large as unsigned numbers.
        let inside = u32(frame) < p.source_t && u32(row) < p.source_h && u32(col) < p.source_w;
        let plane = (place.n * p.c_in + first) * channel_size + u32(frame) * plane_size;
        let begin = plane + u32(row) * p.source_w + u32(col);
        for (var u = 0u; u < OWN_CHANNELS; u++) {
            let exists = inside && (WHOLE || first + u < p.c_in);
            (*gathered)[i][u] = select(0.0h, source_load_one(select(0u, begin + u * channel_size, exists)), exists);
        }
    }
}

// Puts what a thread has gathered into workgroup memory.
fn put_positions(gathered: ptr<function, OwnGathered>, local: u32) {
    let share = local / POSITIONS;
    for (var i = 0u; i < OWN_POSITIONS; i++) {
        for (var u = 0u; u < OWN_CHANNELS; u += OWN_STRETCH) {
            let stretch = share * (OWN_CHANNELS / OWN_STRETCH) + u / OWN_STRETCH;
            let position = stretch / OWN_STRETCHES * POSITIONS + i * WORKGROUP + local % POSITIONS;
            let begin = position * SIDE + stretch % OWN_STRETCHES * OWN_STRETCH;
            for (var v = 0u; v < OWN_STRETCH; v++) {
                inputs[begin + v] = (*gathered)[i][u + v];
            }
        }
    }
}

// Adds the products of the slab in workgroup memory. A tap's input lies `line` positions after that of the tap above.
fn multiply_cells(cell_sums: ptr<function, CellSums>, taps: Taps, line: u32, factors: Factors) {
    for (var r = 0u; r < taps.down; r++) {
        for (var s = 0u; s < taps.across; s++) {
            for (var d = 0u; d < DEPTH; d++) {
                var left: array<Left, MATRIX_ROWS>;
                for (var i = 0u; i < MATRIX_ROWS; i++) {
                    let factor = factors.first + (r * taps.across + s) * factors.next_tap
                        + i * PIECE_ROWS * factors.next_row + d;
                    left[i] = coopLoadT<Left>(&weights[factor * SIDE * SIDE], SIDE);
                }
                for (var j = 0u; j < MATRIX_COLS / 2u; j++) {
                    let position = d * POSITIONS + j * SIDE + r * line + s * taps.dilation_w;
                    let right = coopLoad<Right>(&inputs[position * SIDE], SIDE);
                    for (var i = 0u; i < MATRIX_ROWS; i++) {
                        (*cell_sums)[i][j] = coopMultiplyAdd(left[i], right, (*cell_sums)[i][j]);
                    }
                }
            }
        }
    }
}
