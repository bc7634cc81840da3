// In place of staged/path, for L->H at stride 1: a convolution at low resolution, with one position per cell. Its sums
// start the sums of all four positions of the cell.
//
// One Factors of inputs has four channels of a cell's position. So there are a quarter as many as in staged/path, and
// some threads may have none to read. Positions beyond the last row or column of L->H repeat the last one.
//
// Operands: source [n][c_in][source_t][source_h][source_w]; weights [block][q][r][s][c_in][oc]. The host guarantees the
// same as for staged/path.

#import staged/tile
#import tensors/input as source

// The last slab has fewer than SLAB channels.
const RAGGED: bool = false;

// The sums of cells, by vector and cell.
alias CellSums = array<array<Lane, CELLS>, VECTORS>;

// Where a cell's input lies for one tap, and whether it exists.
struct Footprint {
    begin: u32, // in channel 0
    exists: bool,
}

fn accumulate(sums: ptr<function, Sums>, p: PathShape, o: OutputShape, own: Owner, local: u32, slice: u32) {
    let channel_size = p.source_t * (p.source_h * p.source_w);
    // The cell whose inputs this thread reads, and the first of the four channels of a slab in which it reads them.
    let cell = place_of(o, own.tile * TILE_CELLS + local % TILE_CELLS);
    let channel = 4u * (local / TILE_CELLS);

    var cell_sums: CellSums;
    let slabs = slabs_of(p.slabs, slice, shape.slices);
    var tap = vec3(0u);
    var half = 0u; // of the workgroup memory: the one that is written next
    // The pass after the last tap reads nothing. It multiplies the last slab.
    for (var i = 0u; i <= p.taps; i++) {
        let at = footprint(p, cell, tap);
        tap = next_tap(tap);

        let reads = i < p.taps;
        let end = select(slabs.x + 1u, slabs.y, reads);
        var weights_at = first_weight(p, own, i, slabs.x);
        var begin = at.begin + (slabs.x * SLAB + channel) * channel_size;
        for (var slab = slabs.x; slab < end; slab++) {
            var next_w = array<Factors, WEIGHT_LOADS>();
            var next_x = array<f32, 4>();
            let left = p.c_in - slab * SLAB;
            if reads {
                next_w = read_weights(weights_at, left, local, RAGGED);
                if channel < SLAB {
                    for (var k = 0u; k < 4u; k++) {
                        let exists = !RAGGED || channel + k < left;
                        next_x[k] = source_load(select(at.begin, begin + k * channel_size, exists));
                    }
                }
                weights_at += min(SLAB, left) * TILE_VECTORS;
                begin += SLAB * channel_size;
            }
            if i > 0u || slab > slabs.x {
                multiply_cells(&cell_sums, 1u - half, own);
            }
            if reads {
                write_weights(&next_w, half, left, local, RAGGED);
                if channel < SLAB {
                    var x = Factors();
                    for (var k = 0u; k < 4u; k++) {
                        let exists = at.exists && (!RAGGED || channel + k < left);
                        x[k] = select(Factor(0.0), Factor(next_x[k]), exists);
                    }
                    tile_x[half * (SLAB * TILE_CELLS) + local] = x;
                }
            }
            half = 1u - half;
            workgroupBarrier();
        }
    }
    replicate(sums, &cell_sums);
}

fn footprint(p: PathShape, cell: Place, tap: vec3<u32>) -> Footprint {
    let plane_size = p.source_h * p.source_w;
    let image = cell.n * p.c_in * (p.source_t * plane_size);
    let frame = i32(cell.t * shape.stride_t + tap.x * shape.dilation_t) - i32(shape.padding_t);
    let row = i32(min(cell.y >> 1u, p.last_h) + tap.y * shape.dilation_h) - i32(shape.padding_h);
    let col = i32(min(cell.x >> 1u, p.last_w) + tap.z * shape.dilation_w) - i32(shape.padding_w);
    let row_exists = frame >= 0 && frame < i32(p.source_t) && row >= 0 && row < i32(p.map_h);
    let begin = image + u32(clamp(frame, 0, i32(p.source_t) - 1)) * plane_size
        + u32(clamp(row, 0, i32(p.map_h) - 1)) * p.source_w + u32(clamp(col, 0, i32(p.map_w) - 1));
    return Footprint(begin, !PADDED || (row_exists && col >= 0 && col < i32(p.map_w)));
}

// Adds the products of the slab in one half of the workgroup memory to the sums of cells.
fn multiply_cells(cell_sums: ptr<function, CellSums>, half: u32, own: Owner) {
    var at_w = half * (SLAB * TILE_VECTORS) + own.row;
    var at_x = half * (SLAB * TILE_CELLS) + own.col;
    for (var four = 0u; four < SLAB / 4u; four++) {
        var x = array<Factors, CELLS>();
        for (var v = 0u; v < CELLS; v++) {
            x[v] = tile_x[at_x + v * THREAD_COLS];
        }
        for (var k = 0u; k < 4u; k++) {
            for (var m = 0u; m < VECTORS; m++) {
                let w = tile_w[at_w + k * TILE_VECTORS + m * THREAD_ROWS];
                for (var v = 0u; v < CELLS; v++) {
                    (*cell_sums)[m][v] += Lane(w) * f32(x[v][k]);
                }
            }
        }
        at_w += 4u * TILE_VECTORS;
        at_x += TILE_CELLS;
    }
}

fn replicate(sums: ptr<function, Sums>, cell_sums: ptr<function, CellSums>) {
    for (var m = 0u; m < VECTORS; m++) {
        for (var k = 0u; k < LANES; k++) {
            for (var v = 0u; v < CELLS; v++) {
                (*sums)[m][k][v] = vec4((*cell_sums)[m][v][k]);
            }
        }
    }
}
