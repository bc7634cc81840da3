// How shaders/matrix.wgsl makes the sums of L->H where they are replicated: by the loop that it has for the four phases of
// cells, over the positions of X_L, each of which is a cell's. The host writes in front
//
//   fn lh_load_one(i: u32) -> f16     element i of X_L
//   const LH_WHOLE: bool              whether its channels are whole slabs
//
// A thread takes LOW_RUN channels of LOW_HELD positions of the LOW_WINDOW that a step has in workgroup memory, as
// [matrix of the slab][position][channel].

const LOW_HELD: u32 = max(LOW_WINDOW / WORKGROUP, 1u);
const LOW_RUN: u32 = SLAB / max(WORKGROUP / LOW_WINDOW, 1u);
const LOW_STRETCH: u32 = min(LOW_RUN, SIDE);
const LOW_STRETCHES: u32 = SIDE / LOW_STRETCH;

// The sums over a workgroup's cells.
fn sum_from_low(
    starts: ptr<function, Starts>,
    o: OutputShape,
    first_cell: u32,
    first_row: u32,
    has_piece: bool,
    local: u32,
    slice: u32,
) {
    let p = shape.lh;
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    let share = local / LOW_WINDOW;
    let back = select(0u, shape.padding_h * o.pitch_cols + shape.padding_w, WINDOWED);
    var places: array<Place, LOW_HELD>;
    for (var i = 0u; i < LOW_HELD; i++) {
        let cell = first_cell + i * WORKGROUP + local % LOW_WINDOW - back;
        places[i] = place_of(o, cell);
        // In front of the first and beyond the last is no row of X_L.
        places[i].y = select(0x40000000u, places[i].y / 2u, cell < o.cells);
        places[i].x /= 2u;
    }
    var held: array<array<f16, LOW_RUN>, LOW_HELD>;
    var at: Cursor;
    at.slabs = slabs_of(p, slice);
    at.slab = at.slabs.x;
    let steps = steps_of(at.slabs);
    var factors = 0u;
    let next_tap = p.slabs * DEPTH;
    let taps_down = select(1u, shape.kernel_h, WINDOWED);
    let taps_across = select(1u, shape.kernel_w, WINDOWED);
    let line = shape.dilation_h * o.pitch_cols;
    let dilation_w = shape.dilation_w;
    for (var step = 0u; step <= steps; step++) {
        let fetches = step < steps;
        if fetches {
            let first = at.slab * SLAB + share * LOW_RUN;
            for (var i = 0u; i < LOW_HELD; i++) {
                let place = places[i];
                let frame = i32(place.t * shape.stride_t + at.kt * shape.dilation_t) - i32(shape.padding_t);
                var row = i32(place.y);
                var col = i32(place.x);
                if !WINDOWED {
                    row += i32(at.r * shape.dilation_h) - i32(shape.padding_h);
                    col += i32(at.s * shape.dilation_w) - i32(shape.padding_w);
                }
                let inside = u32(frame) < p.source_t && u32(row) < p.source_h && u32(col) < p.source_w;
                let plane = (place.n * p.channels + first) * channel_size + u32(frame) * plane_size;
                let begin = plane + u32(row) * p.source_w + u32(col);
                for (var u = 0u; u < LOW_RUN; u++) {
                    let there = inside && (LH_WHOLE || first + u < p.channels);
                    held[i][u] = select(0.0h, lh_load_one(select(0u, begin + u * channel_size, there)), there);
                }
            }
        }
        if step > 0u && has_piece {
            for (var r = 0u; r < taps_down; r++) {
                for (var s = 0u; s < taps_across; s++) {
                    for (var d = 0u; d < DEPTH; d++) {
                        var left: array<Left, MATRIX_ROWS>;
                        for (var i = 0u; i < MATRIX_ROWS; i++) {
                            let factor = factors + (r * taps_across + s) * next_tap + i * PIECE_ROWS * p.row + d;
                            left[i] = coopLoadT<Left>(&weights[factor * SIDE * SIDE], SIDE);
                        }
                        for (var j = 0u; j < MATRIX_COLS / 2u; j++) {
                            let position = d * LOW_WINDOW + j * SIDE + r * line + s * dilation_w;
                            let right = coopLoad<Right>(&inputs[position * SIDE], SIDE);
                            for (var i = 0u; i < MATRIX_ROWS; i++) {
                                (*starts)[i][j] = coopMultiplyAdd(left[i], right, (*starts)[i][j]);
                            }
                        }
                    }
                }
            }
        }
        workgroupBarrier();
        if fetches {
            for (var i = 0u; i < LOW_HELD; i++) {
                for (var u = 0u; u < LOW_RUN; u += LOW_STRETCH) {
                    let stretch = share * (LOW_RUN / LOW_STRETCH) + u / LOW_STRETCH;
                    let position = stretch / LOW_STRETCHES * LOW_WINDOW + i * WORKGROUP + local % LOW_WINDOW;
                    let first = position * SIDE + stretch % LOW_STRETCHES * LOW_STRETCH;
                    for (var v = 0u; v < LOW_STRETCH; v++) {
                        inputs[first + v] = held[i][u + v];
                    }
                }
            }
            factors = first_factor(p, at, first_row);
            advance(&at);
        }
        workgroupBarrier();
    }
}
