// One of the four convolutions of staged/staged.
//
// The convolution reads the map S: the tensor after LEVEL poolings. For the position (y, x) of frame t
//
//   sums[oc] += sum over q, r, s, c of  W[oc][c][q][r][s] * S[n][c][t'][y * STRIDE + r*dh - ph][x * STRIDE + s*dw - pw]
//
// K = taps x input channels. An iteration takes SLAB channels of one tap. It reads TILE_VECTORS vectors of weights and
// TILE_CELLS cells of inputs per channel into registers. Then it multiplies the previous slab, so loads are under way
// during the products. At last it writes what it has read into the half of the workgroup memory that is not in use. One
// barrier per iteration is enough.
//
// Operands: source [n][c_in][source_t][source_h][source_w]; weights [block][q][r][s][c_in][oc], which are read in
// order.
//
// The host guarantees: SLAB * TILE_VECTORS and SLAB * TILE_CELLS are divisible by WORKGROUP, and WORKGROUP by
// TILE_CELLS; all sizes of PathShape are at least 1; PADDED, unless every tap of every position lies inside of the map.
// If PAIRED, source_w is even. If PAIRED at LEVEL 0, there is one tap along w, and each output reads its own column.

#import staged/products
#import staged/tile
#import tensors/input as source

// 2x2 means between the tensor and the convolution: 0, 1 or 2.
const LEVEL: u32 = 0u;
// Stride over the map S.
const STRIDE: u32 = 1u;
// Two elements of a row are read as one word.
const PAIRED: bool = false;
// The last slab has fewer than SLAB channels.
const RAGGED: bool = false;

// An element of S is the mean of SIDE x SIDE elements of the tensor.
const SIDE: u32 = 1u << LEVEL;
const MEAN: f32 = 1.0 / f32(SIDE * SIDE);

// Inputs that a thread has read: by load, row and column of the cell. They are sums below each element of S, which
// become means when they are written.
alias Read = array<array<array<f32, 2>, 2>, CELL_LOADS>;

// Where the inputs of a cell's four positions lie for one tap, and which of them exist.
struct Footprint {
    begin: u32, // of the frame in channel 0
    rows: array<array<u32, SIDE>, 2>, // distances from `begin`, by row of the cell
    cols: array<array<u32, SIDE>, 2>, // distances from the begin of a row, by column of the cell
    row_exists: array<bool, 2>,
    col_exists: array<bool, 2>,
    words: array<u32, 2>, // the first word of each row of the cell, if PAIRED
}

fn accumulate(sums: ptr<function, Sums>, p: PathShape, o: OutputShape, own: Owner, local: u32, slice: u32) {
    let channel_size = p.source_t * (p.source_h * p.source_w);
    // The cell whose inputs this thread reads, and the first channel of a slab in which it reads them.
    let cell = place_of(o, own.tile * TILE_CELLS + local % TILE_CELLS);
    let channel = local / TILE_CELLS;

    let slabs = slabs_of(p.slabs, slice, shape.slices);
    var tap = vec3(0u);
    var half = 0u; // of the workgroup memory: the one that is written next
    // The pass after the last tap reads nothing. It multiplies the last slab.
    for (var i = 0u; i <= p.taps; i++) {
        var at = footprint(p, o, cell, tap);
        tap = next_tap(tap);

        let reads = i < p.taps;
        let end = select(slabs.x + 1u, slabs.y, reads);
        var weights_at = first_weight(p, own, i, slabs.x);
        var plane = at.begin + (slabs.x * SLAB + channel) * channel_size;
        for (var slab = slabs.x; slab < end; slab++) {
            var next_w = array<Factors, WEIGHT_LOADS>();
            var next_x = Read();
            let left = p.c_in - slab * SLAB;
            if reads {
                next_w = read_weights(weights_at, left, local, RAGGED);
                read_inputs(&next_x, &at, plane, channel_size, channel, left);
                weights_at += min(SLAB, left) * TILE_VECTORS;
                plane += SLAB * channel_size;
            }
            if i > 0u || slab > slabs.x {
                multiply(sums, 1u - half, own);
            }
            // Loaded values are first used here, after the products: no thread waits for them earlier.
            if reads {
                write_weights(&next_w, half, left, local, RAGGED);
                write_inputs(&next_x, &at, half, channel, left, local);
            }
            half = 1u - half;
            workgroupBarrier();
        }
    }
}

fn footprint(p: PathShape, o: OutputShape, cell: Place, tap: vec3<u32>) -> Footprint {
    let plane_size = p.source_h * p.source_w;
    let frame = i32(cell.t * shape.stride_t + tap.x * shape.dilation_t) - i32(shape.padding_t);
    let image = cell.n * p.c_in * (p.source_t * plane_size);
    var at: Footprint;
    at.begin = image + u32(clamp(frame, 0, i32(p.source_t) - 1)) * plane_size;
    for (var i = 0u; i < 2u; i++) {
        let y = min(cell.y + i, o.h - 1u) * STRIDE + tap.y * shape.dilation_h;
        let x = min(cell.x + i, o.w - 1u) * STRIDE + tap.z * shape.dilation_w;
        let row = i32(y) - i32(shape.padding_h);
        let col = i32(x) - i32(shape.padding_w);
        at.row_exists[i] = !PADDED || (frame >= 0 && frame < i32(p.source_t) && row >= 0 && row < i32(p.map_h));
        at.col_exists[i] = !PADDED || (col >= 0 && col < i32(p.map_w));
        for (var k = 0u; k < SIDE; k++) {
            let inside_y = u32(clamp(row, 0, i32(p.map_h) - 1));
            let inside_x = u32(clamp(col, 0, i32(p.map_w) - 1));
            at.rows[i][k] = below(inside_y, k, p.pooled_h, p.source_h) * p.source_w;
            at.cols[i][k] = below(inside_x, k, p.pooled_w, p.source_w);
        }
    }
    for (var i = 0u; i < 2u; i++) {
        at.words[i] = (at.rows[i][0] + at.cols[0][0]) >> 1u;
    }
    return at;
}

// Row (or column) k of the SIDE that element `index` of S averages. At an odd edge the neighbour stands in for an
// element that does not exist, so that the mean of four is the mean of those that exist.
fn below(index: u32, k: u32, pooled_size: u32, size: u32) -> u32 {
    if LEVEL == 2u {
        return min(2u * min(2u * index + (k >> 1u), pooled_size - 1u) + (k & 1u), size - 1u);
    }
    if LEVEL == 1u {
        return min(2u * index + k, size - 1u);
    }
    return index;
}

// Reads a thread's part of a slab of inputs: its cell in every CHANNELS_AT_ONCEth channel, starting at `channel`. The
// frame of that channel begins at `plane`. Channel 0 stands in for channels that do not exist.
fn read_inputs(
    read: ptr<function, Read>,
    at: ptr<function, Footprint>,
    plane: u32,
    channel_size: u32,
    channel: u32,
    left: u32,
) {
    for (var l = 0u; l < CELL_LOADS; l++) {
        let c = l * CHANNELS_AT_ONCE;
        let begin = select((*at).begin, plane + c * channel_size, !RAGGED || c + channel < left);
        for (var i = 0u; i < 2u; i++) {
            if PAIRED && LEVEL == 0u {
                let word = source_load_word((begin >> 1u) + (*at).words[i]);
                (*read)[l][i][0] = word.x;
                (*read)[l][i][1] = word.y;
                continue;
            }
            for (var j = 0u; j < 2u; j++) {
                (*read)[l][i][j] = sum_below(at, begin, i, j);
            }
        }
    }
}

// The sum of the elements below position (i, j) of a cell.
fn sum_below(at: ptr<function, Footprint>, begin: u32, i: u32, j: u32) -> f32 {
    var sum = 0.0;
    for (var a = 0u; a < SIDE; a++) {
        for (var b = 0u; b < SIDE; b++) {
            let index = begin + (*at).rows[i][a] + (*at).cols[j][b];
            if !PAIRED {
                sum += source_load(index);
            } else if (b & 1u) == 0u {
                let word = source_load_word(index >> 1u);
                sum += word.x + word.y;
            }
        }
    }
    return sum;
}

fn write_inputs(
    read: ptr<function, Read>,
    at: ptr<function, Footprint>,
    half: u32,
    channel: u32,
    left: u32,
    local: u32,
) {
    for (var l = 0u; l < CELL_LOADS; l++) {
        let channel_exists = !RAGGED || l * CHANNELS_AT_ONCE + channel < left;
        var x = Factors();
        for (var i = 0u; i < 2u; i++) {
            for (var j = 0u; j < 2u; j++) {
                // select, not a product with zero: the element at the clamped address may be infinite.
                let exists = channel_exists && (*at).row_exists[i] && (*at).col_exists[j];
                x[2u * i + j] = select(Factor(0.0), Factor((*read)[l][i][j] * MEAN), exists);
            }
        }
        tile_x[half * (SLAB * TILE_CELLS) + l * WORKGROUP + local] = x;
    }
}
