// Octave convolution of any kernel size, of one group, as an implicit GEMM over tiles in workgroup memory.
//
//   Y_H = activate(conv(X_H, W_HH) + replicate(conv(X_L, W_LH)) + bias_h + residual_h)
//   Y_L = activate(conv(X_L, W_LL) + conv(pool(X_H), W_HL) + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   where the layer writes it
//
// GEMM M = output channels, N = positions of the batch, K = taps by input channels, of both paths of an output one after
// the other. A *cell* is 2x2 adjacent positions of an output. The first `high_workgroups` workgroups make Y_H, the others
// Y_L; in both a workgroup makes TILE_VECTORS * LANES channels of TILE_CELLS cells, and a thread VECTORS * LANES channels
// of CELLS cells. K goes through workgroup memory in slabs of SLAB channels of one tap, twice so many as one slab needs,
// so that the next is written while one is used.
//   - L->H at stride 1 is computed at low resolution, a position a cell, and starts the sums of the cell; or an earlier
//     dispatch has done so (PATH_BELOW).
//   - H->L averages X_H while staging, once a workgroup, unless the layer is given pool(X_H).
//   - Where SLICED, the slabs of all inputs are cut into `slices`, and as many times the workgroups make partial sums, one
//     slice's behind the other's, for shaders/reduce.wgsl to add up.
// A thread reads Factors of 4 channels and of 4 positions, which adjacent threads have adjacent: no two threads of a wave
// want different words of one bank at a time.
//
// Operands: X [n][c][t][h][w]; weights [block][kt][r][s][c][oc] of each path, behind the biases [block][oc] of H, of L.
//
// The host guarantees: sizes and weight offsets of `shape` within their buffers; weights padded with zeros to whole
// blocks; WORKGROUP = THREAD_ROWS * THREAD_COLS; no more `slices` than slabs of any path. No thread leaves before the last
// barrier.

struct PathShape {
    channels: u32, // c_in
    source_t: u32,
    source_h: u32,
    source_w: u32,
    half_h: u32, // the source after one pooling
    half_w: u32,
    map_h: u32, // the source after PATH_LEVEL poolings: what is convolved
    map_w: u32,
    last_h: u32, // the last row and column of L->H; those beyond repeat it
    last_w: u32,
    weights: u32, // in Factors
    taps: u32, // of the kernel
    slabs: u32, // of channels
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

struct OutputShape {
    channels: u32, // that the layer writes
    tensor_channels: u32, // and where the layer's begin
    first: u32,
    t: u32,
    h: u32,
    w: u32,
    rows: u32, // of cells
    cols: u32,
    cells: u32, // n * t * rows * cols
    blocks: u32, // of output channels
    bias: u32, // in f32 Lanes
    pooled_h: u32,
    pooled_w: u32,
    below_h: u32, // of the sums of L->H, where they are given
    below_w: u32,
    planes: u32, // of the partial sums of a slice
}

struct Shape {
    hh: PathShape,
    hl: PathShape,
    lh: PathShape,
    ll: PathShape,
    high: OutputShape,
    low: OutputShape,
    grid_x: u32,
    high_workgroups: u32,
    workgroups: u32,
    kernel_h: u32,
    kernel_w: u32,
    stride_t: u32,
    padding_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_t: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    slices: u32,
    unused_a: u32,
    unused_b: u32,
}

const THREAD_ROWS: u32 = TILE_VECTORS / VECTORS;
const THREAD_COLS: u32 = TILE_CELLS / CELLS;
// Factors, which are four weights or inputs, that a thread stages a slab.
const WEIGHT_LOADS: u32 = SLAB * TILE_VECTORS / WORKGROUP;
const CELL_LOADS: u32 = SLAB * TILE_CELLS / WORKGROUP;
// From one channel of a slab whose inputs a thread stages to the next.
const CHANNEL_STEP: u32 = WORKGROUP / TILE_CELLS;

var<workgroup> tile_w: array<Factors, 2u * SLAB * TILE_VECTORS>;
var<workgroup> tile_x: array<Factors, 2u * SLAB * TILE_CELLS>;

// By vector, lane and cell, of the four positions of a cell. Each level is indexed by the counter of a loop of its very
// length: drivers then unroll the loop whatever its size, and the sums are registers.
alias Sums = array<array<array<vec4<f32>, CELLS>, LANES>, VECTORS>;

// Which part of an output a workgroup makes, and which part of that a thread.
struct Owner {
    tile: u32, // of cells
    block: u32, // of output channels
    row: u32, // of the thread among those of its workgroup
    col: u32,
}

// Where a cell lies.
struct Place {
    n: u32,
    t: u32,
    y: u32, // of its first position
    x: u32,
}

// Beyond the last cell the last stands in: what is read for it is not used.
fn place(o: OutputShape, at: u32) -> Place {
    let cell = min(at, o.cells - 1u);
    let row = cell / o.cols;
    let frame = row / o.rows;
    return Place(frame / o.t, frame % o.t, 2u * (row % o.rows), 2u * (cell % o.cols));
}

// The tap behind `tap`: along w, then h, then t.
fn next_tap(tap: vec3<u32>) -> vec3<u32> {
    var next = vec3(tap.x, tap.y, tap.z + 1u);
    if next.z == shape.kernel_w {
        next.z = 0u;
        next.y += 1u;
    }
    if next.y == shape.kernel_h {
        next.y = 0u;
        next.x += 1u;
    }
    return next;
}

// A thread's part of a slab of weights from Factors `first` on. Of a `ragged` path only `left` channels may be there; what
// stands in for others are other Factors, which `write_weights` drops.
fn read_weights(first: u32, left: u32, local: u32, ragged: bool) -> array<Factors, WEIGHT_LOADS> {
    var read: array<Factors, WEIGHT_LOADS>;
    for (var i = 0u; i < WEIGHT_LOADS; i++) {
        let at = i * WORKGROUP + local;
        read[i] = weight(first + select(at, min(at, left * TILE_VECTORS - 1u), ragged));
    }
    return read;
}

fn write_weights(read: ptr<function, array<Factors, WEIGHT_LOADS>>, half: u32, left: u32, local: u32, ragged: bool) {
    for (var i = 0u; i < WEIGHT_LOADS; i++) {
        let at = i * WORKGROUP + local;
        tile_w[half * (SLAB * TILE_VECTORS) + at] = select(Factors(), (*read)[i], !ragged || at < left * TILE_VECTORS);
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var workgroup = id.x + id.y * shape.grid_x;
    var slice = 0u;
    if SLICED {
        slice = workgroup / shape.workgroups;
        workgroup %= shape.workgroups;
    }
    if slice >= shape.slices {
        // Beyond the last.
    } else if workgroup < shape.high_workgroups {
        high(workgroup, local, slice);
    } else if workgroup < shape.workgroups {
        low(workgroup - shape.high_workgroups, local, slice);
    }
}

fn owner(o: OutputShape, workgroup: u32, local: u32) -> Owner {
    // The blocks of channels over the same positions follow one another: they read the same inputs.
    return Owner(workgroup / o.blocks, workgroup % o.blocks, local / THREAD_COLS, local % THREAD_COLS);
}

// The slabs of channels of a slice, from the first to the one behind the last: as many as in any other, or one more. The
// slice is no part of Owner: all threads of a workgroup have the same, which has to be seen where a barrier depends on it.
fn slabs_of(p: PathShape, slice: u32) -> vec2<u32> {
    if SLICED {
        return p.slabs * vec2(slice, slice + 1u) / shape.slices;
    }
    return vec2(0u, p.slabs);
}

fn high(workgroup: u32, local: u32, slice: u32) {
    let own = owner(shape.high, workgroup, local);
    var sums: Sums;
    lh_accumulate(&sums, shape.lh, shape.high, own, local, slice);
    hh_accumulate(&sums, shape.hh, shape.high, own, local, slice);
    high_finish(&sums, shape.high, own, slice);
}

fn low(workgroup: u32, local: u32, slice: u32) {
    let own = owner(shape.low, workgroup, local);
    var sums: Sums;
    ll_accumulate(&sums, shape.ll, shape.low, own, local, slice);
    hl_accumulate(&sums, shape.hl, shape.low, own, local, slice);
    low_finish(&sums, shape.low, own, slice);
}
