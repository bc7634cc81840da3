// What becomes of the sums of one output, as a template for `high` and `low`: the host renames `path_` and `PATH_`, and
// writes in front of each instance
//
//   fn path_store(i: u32, value: f32)    writes element i of the output
//   fn path_store_2(i: u32, values: vec2<f32>)   elements i, which is even, and i + 1
//   fn path_residual(i: u32) -> f32      element i of the residual; zero where there is none
//   fn path_residual_2(i: u32) -> vec2<f32>      elements i, which is even, and i + 1
//   const PATH_PAIRED: bool              they are read and written so: the output's width is even
//   fn path_below(i: u32) -> f32         element i of the sums of L->H, where they are given; else zero
//   const PATH_EDGES: bool               tiles reach beyond the last cell, position or channel
//   const PATH_BELOW, PATH_PARTIAL, PATH_POOLED: bool    adds given sums; is a partial sum itself; writes its mean too

fn path_finish(sums: ptr<function, Sums>, o: OutputShape, own: Owner, slice: u32) {
    for (var v = 0u; v < CELLS; v++) {
        let at = own.tile * TILE_CELLS + v * THREAD_COLS + own.col;
        if !PATH_EDGES || at < o.cells {
            let cell = place(o, at);
            for (var m = 0u; m < VECTORS; m++) {
                let vector = own.block * TILE_VECTORS + m * THREAD_ROWS + own.row;
                let shift = bias(o.bias + vector);
                let live = select(LANES, live_lanes(LANES * vector, o.channels), PATH_EDGES);
                for (var k = 0u; k < live; k++) {
                    // The lane whose turn it is: an index into local arrays that no loop of their length has would take
                    // them out of registers.
                    var sum = vec4(lane(shift, k));
                    for (var other = 0u; other < LANES; other++) {
                        sum += select(vec4(0.0), (*sums)[m][other][v], other == k);
                    }
                    path_cell(sum, o, cell, LANES * vector + k, slice);
                }
            }
        }
    }
}

// Finishes and writes the 2x2 positions of a cell, given row by row, of channel `c`.
fn path_cell(sum: vec4<f32>, o: OutputShape, cell: Place, c: u32, slice: u32) {
    let plane = slice * o.planes + (cell.n * o.tensor_channels + o.first + c) * o.t + cell.t;
    let right = !PATH_EDGES || cell.x + 1u < o.w;
    let below = !PATH_EDGES || cell.y + 1u < o.h;
    let index = (plane * o.h + cell.y) * o.w + cell.x;
    var given = 0.0;
    if PATH_BELOW {
        // Where odd sizes are floored, the last row of Y_H has no row of its own below it, and repeats the last.
        let row = ((cell.n * o.channels + c) * o.t + cell.t) * o.below_h + min(cell.y >> 1u, o.below_h - 1u);
        given = path_below(row * o.below_w + min(cell.x >> 1u, o.below_w - 1u));
    }
    // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
    let top = path_row(sum.xy + given, index, right);
    var bottom = top;
    if below {
        bottom = path_row(sum.zw + given, index + o.w, right);
    }
    if PATH_POOLED {
        let row = cell.y >> 1u;
        let col = cell.x >> 1u;
        if row < o.pooled_h && col < o.pooled_w {
            let mean = 0.25 * (top.x + top.y + bottom.x + bottom.y);
            store_y_p((plane * o.pooled_h + row) * o.pooled_w + col, mean);
        }
    }
}

// Finishes and writes two positions side by side, of which the second may not exist.
fn path_row(sums: vec2<f32>, index: u32, right: bool) -> vec2<f32> {
    if PATH_PAIRED {
        var values = sums;
        if !PATH_PARTIAL {
            let wanted = sums + path_residual_2(index);
            values = vec2(activate(wanted.x, shape.slope), activate(wanted.y, shape.slope));
        }
        path_store_2(index, values);
        return values;
    }
    let left = path_element(sums.x, index);
    if right {
        return vec2(left, path_element(sums.y, index + 1u));
    }
    return vec2(left);
}

fn path_element(sum: f32, index: u32) -> f32 {
    if PATH_PARTIAL {
        path_store(index, sum);
        return sum;
    }
    let value = activate(sum + path_residual(index), shape.slope);
    path_store(index, value);
    return value;
}
