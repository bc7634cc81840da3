// L->H at stride 1, in place of shaders/staged_path.wgsl: the convolution at low resolution, one position a cell, whose
// sums all four positions of the cell start from.
//
// As shaders/staged_path.wgsl, but the Factors of inputs are four channels of one cell's position, of which there are a
// quarter as many: some threads have none to read. Positions beyond the last row or column of X_L's map repeat the last.

fn path_accumulate(sums: ptr<function, Sums>, p: PathShape, o: OutputShape, own: Owner, local: u32, slice: u32) {
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    let cell = place(o, own.tile * TILE_CELLS + local % TILE_CELLS);
    let channel = 4u * (local / TILE_CELLS);
    let image = cell.n * p.channels * channel_size;

    var below: array<array<Lane, CELLS>, VECTORS>;
    let slabs = slabs_of(p, slice);
    var tap = vec3(0u);
    var half = 0u;
    for (var turn = 0u; turn <= p.taps; turn++) {
        let frame = i32(cell.t * shape.stride_t + tap.x * shape.dilation_t) - i32(shape.padding_t);
        let row = i32(min(cell.y >> 1u, p.last_h) + tap.y * shape.dilation_h) - i32(shape.padding_h);
        let col = i32(min(cell.x >> 1u, p.last_w) + tap.z * shape.dilation_w) - i32(shape.padding_w);
        let row_in = frame >= 0 && frame < i32(p.source_t) && row >= 0 && row < i32(p.map_h);
        let inside = !PADDED || (row_in && col >= 0 && col < i32(p.map_w));
        let first = image + u32(clamp(frame, 0, i32(p.source_t) - 1)) * plane_size
            + u32(clamp(row, 0, i32(p.map_h) - 1)) * p.source_w + u32(clamp(col, 0, i32(p.map_w) - 1));
        tap = next_tap(tap);

        let reads = turn < p.taps;
        let end = select(slabs.x + 1u, slabs.y, reads);
        var weights = p.weights + ((own.block * p.taps + turn) * p.channels + slabs.x * SLAB) * TILE_VECTORS;
        var at = first + (slabs.x * SLAB + channel) * channel_size;
        for (var slab = slabs.x; slab < end; slab++) {
            var next_w: array<Factors, WEIGHT_LOADS>;
            var next_x: array<f32, 4>;
            let left = p.channels - slab * SLAB;
            if reads {
                next_w = read_weights(weights, left, local, PATH_RAGGED);
                if channel < SLAB {
                    for (var k = 0u; k < 4u; k++) {
                        next_x[k] = path_load(select(first, at + k * channel_size, !PATH_RAGGED || channel + k < left));
                    }
                }
                weights += min(SLAB, left) * TILE_VECTORS;
                at += SLAB * channel_size;
            }
            if turn > 0u || slab > slabs.x {
                var at_w = (1u - half) * (SLAB * TILE_VECTORS) + own.row;
                var at_x = (1u - half) * (SLAB * TILE_CELLS) + own.col;
                for (var four = 0u; four < SLAB / 4u; four++) {
                    var x: array<Factors, CELLS>;
                    for (var v = 0u; v < CELLS; v++) {
                        x[v] = tile_x[at_x + v * THREAD_COLS];
                    }
                    for (var k = 0u; k < 4u; k++) {
                        for (var m = 0u; m < VECTORS; m++) {
                            let w = tile_w[at_w + k * TILE_VECTORS + m * THREAD_ROWS];
                            for (var v = 0u; v < CELLS; v++) {
                                below[m][v] += Lane(w) * f32(x[v][k]);
                            }
                        }
                    }
                    at_w += 4u * TILE_VECTORS;
                    at_x += TILE_CELLS;
                }
            }
            if reads {
                write_weights(&next_w, half, left, local, PATH_RAGGED);
                if channel < SLAB {
                    var x: Factors;
                    for (var k = 0u; k < 4u; k++) {
                        x[k] = select(Factor(0.0), Factor(next_x[k]), inside && (!PATH_RAGGED || channel + k < left));
                    }
                    tile_x[half * (SLAB * TILE_CELLS) + local] = x;
                }
            }
            half = 1u - half;
            workgroupBarrier();
        }
    }
    for (var m = 0u; m < VECTORS; m++) {
        for (var k = 0u; k < LANES; k++) {
            for (var v = 0u; v < CELLS; v++) {
                (*sums)[m][k][v] = vec4(below[m][v][k]);
            }
        }
    }
}
