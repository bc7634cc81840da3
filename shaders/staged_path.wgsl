// One of the convolutions of an octave layer, as a template over tiles in workgroup memory: the host instantiates it for
// hh, hl, lh and ll by renaming `path_` and `PATH_`, and writes in front of each instance
//
//   fn path_load(i: u32) -> f32         element i of the tensor that the path reads
//   fn path_load_word(i: u32) -> vec2<f32> elements 2 * i and 2 * i + 1
//   const PATH_LEVEL: u32               how many 2x2 averages lie between the tensor and the convolution: 0, 1, 2
//   const PATH_STEP: u32                stride over the sampled map
//   const PATH_PAIRED: bool             whether two elements of a row are read as one word
//   const PATH_RAGGED: bool             the last slab of channels has fewer than SLAB
//
// Sampled map S = the tensor after PATH_LEVEL poolings. For the position (y, x) of frame t
//
//   sums[oc] += sum over kt, r, s, c of  W[oc][c][kt][r][s] * S[n][c][t'][y*STEP + r*dh - ph][x*STEP + s*dw - pw]
//
// GEMM K = taps by channels. A turn of the loop has one tap and SLAB channels of it: TILE_VECTORS Factors of weights and
// TILE_CELLS cells of inputs a channel, read into registers, then, once the slab before it is used, written into that half
// of the workgroup's memory that nobody reads: one barrier a turn. Reading is under way while the slab before is
// multiplied. Weights [block][kt][r][s][c][oc] are read in order.
//
// The host guarantees: SLAB * TILE_VECTORS and SLAB * TILE_CELLS divisible by WORKGROUP, WORKGROUP by TILE_CELLS; all
// sizes of PathShape at least 1; PADDED unless every tap of every position lies inside of the map. Where PAIRED: source_w
// even; at level 0 one tap, and positions along w that are the source's own.

const PATH_SUB: u32 = 1u << PATH_LEVEL;
const PATH_MEAN: f32 = 1.0 / f32(PATH_SUB * PATH_SUB);

// Row (or column) k of the PATH_SUB that an element of S averages. An element beyond an odd edge is its neighbour
// again, so that the mean of four equals the mean of those that exist.
fn path_under(at: u32, k: u32, half: u32, size: u32) -> u32 {
    if PATH_LEVEL == 2u {
        return min(2u * min(2u * at + (k >> 1u), half - 1u) + (k & 1u), size - 1u);
    }
    if PATH_LEVEL == 1u {
        return min(2u * at + k, size - 1u);
    }
    return at;
}

fn path_accumulate(sums: ptr<function, Sums>, p: PathShape, o: OutputShape, own: Owner, local: u32, slice: u32) {
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    // The cell whose inputs this thread reads, and the first of its channels of a slab.
    let cell = place(o, own.tile * TILE_CELLS + local % TILE_CELLS);
    let channel = local / TILE_CELLS;
    let image = cell.n * p.channels * channel_size;

    let slabs = slabs_of(p, slice);
    var tap = vec3(0u);
    var half = 0u; // of the workgroup's memory, the one to be written
    // One tap more than there are, without inputs: the last slab is multiplied there.
    for (var turn = 0u; turn <= p.taps; turn++) {
        // Where the cell's inputs for the tap lie in a frame, and which of them are padding.
        let frame = i32(cell.t * shape.stride_t + tap.x * shape.dilation_t) - i32(shape.padding_t);
        let first = image + u32(clamp(frame, 0, i32(p.source_t) - 1)) * plane_size;
        var row_at: array<array<u32, PATH_SUB>, 2>;
        var col_at: array<array<u32, PATH_SUB>, 2>;
        var row_in: array<bool, 2>;
        var col_in: array<bool, 2>;
        for (var i = 0u; i < 2u; i++) {
            let y = min(cell.y + i, o.h - 1u) * PATH_STEP + tap.y * shape.dilation_h;
            let x = min(cell.x + i, o.w - 1u) * PATH_STEP + tap.z * shape.dilation_w;
            let row = i32(y) - i32(shape.padding_h);
            let col = i32(x) - i32(shape.padding_w);
            row_in[i] = !PADDED || (frame >= 0 && frame < i32(p.source_t) && row >= 0 && row < i32(p.map_h));
            col_in[i] = !PADDED || (col >= 0 && col < i32(p.map_w));
            for (var k = 0u; k < PATH_SUB; k++) {
                let inside_y = u32(clamp(row, 0, i32(p.map_h) - 1));
                let inside_x = u32(clamp(col, 0, i32(p.map_w) - 1));
                row_at[i][k] = path_under(inside_y, k, p.half_h, p.source_h) * p.source_w;
                col_at[i][k] = path_under(inside_x, k, p.half_w, p.source_w);
            }
        }
        // The first word of each row of the cell.
        var word_at: array<u32, 2>;
        for (var i = 0u; i < 2u; i++) {
            word_at[i] = (row_at[i][0] + col_at[0][0]) >> 1u;
        }
        tap = next_tap(tap);

        let reads = turn < p.taps;
        let end = select(slabs.x + 1u, slabs.y, reads);
        var weights = p.weights + ((own.block * p.taps + turn) * p.channels + slabs.x * SLAB) * TILE_VECTORS;
        var plane = first + (slabs.x * SLAB + channel) * channel_size;
        for (var slab = slabs.x; slab < end; slab++) {
            var next_w: array<Factors, WEIGHT_LOADS>;
            var next_x: array<array<array<f32, 2>, 2>, CELL_LOADS>;
            let left = p.channels - slab * SLAB;
            if reads {
                next_w = read_weights(weights, left, local, PATH_RAGGED);
                for (var l = 0u; l < CELL_LOADS; l++) {
                    let c = l * CHANNEL_STEP;
                    let at = select(first, plane + c * channel_size, !PATH_RAGGED || c + channel < left);
                    for (var i = 0u; i < 2u; i++) {
                        if PATH_PAIRED && PATH_LEVEL == 0u {
                            let word = path_load_word((at >> 1u) + word_at[i]);
                            next_x[l][i][0] = word.x;
                            next_x[l][i][1] = word.y;
                            continue;
                        }
                        for (var j = 0u; j < 2u; j++) {
                            for (var a = 0u; a < PATH_SUB; a++) {
                                for (var b = 0u; b < PATH_SUB; b++) {
                                    let index = at + row_at[i][a] + col_at[j][b];
                                    if !PATH_PAIRED {
                                        next_x[l][i][j] += path_load(index);
                                    } else if (b & 1u) == 0u {
                                        let word = path_load_word(index >> 1u);
                                        next_x[l][i][j] += word.x + word.y;
                                    }
                                }
                            }
                        }
                    }
                }
                weights += min(SLAB, left) * TILE_VECTORS;
                plane += SLAB * channel_size;
            }
            if turn > 0u || slab > slabs.x {
                multiply(sums, 1u - half, own);
            }
            // What has been read is first looked at here, behind the products.
            if reads {
                write_weights(&next_w, half, left, local, PATH_RAGGED);
                for (var l = 0u; l < CELL_LOADS; l++) {
                    let exists = !PATH_RAGGED || l * CHANNEL_STEP + channel < left;
                    var x: Factors;
                    for (var i = 0u; i < 2u; i++) {
                        for (var j = 0u; j < 2u; j++) {
                            // select and not a product with zero: what lies at the clamped address may be infinite.
                            let live = exists && row_in[i] && col_in[j];
                            x[2u * i + j] = select(Factor(0.0), Factor(next_x[l][i][j] * PATH_MEAN), live);
                        }
                    }
                    tile_x[half * (SLAB * TILE_CELLS) + l * WORKGROUP + local] = x;
                }
            }
            half = 1u - half;
            workgroupBarrier();
        }
    }
}
