// What a workgroup of staged/staged makes, what each of its threads makes, and the workgroup memory that they share.

#import common/lanes
#import common/slices
#import staged/shape
#import tensors/weights

const WORKGROUP: u32 = 64u;
// Vectors of output channels, and cells, of a workgroup.
const TILE_VECTORS: u32 = 8u;
const TILE_CELLS: u32 = 8u;
// The same of a thread.
const VECTORS: u32 = 1u;
const CELLS: u32 = 1u;
// Input channels of a slab, and the number of them that a thread multiplies at once.
const SLAB: u32 = 16u;
const UNROLL: u32 = 4u;
// Some tap of some position lies outside of the map.
const PADDED: bool = true;

// The type of products: f32 or f16.
alias Factor = f32;
// Four weights or four inputs: 4 output channels; the 4 positions of a cell, or 4 input channels of one position.
alias Factors = vec4<f32>;

// Threads along the channels, and along the cells.
const THREAD_ROWS: u32 = TILE_VECTORS / VECTORS;
const THREAD_COLS: u32 = TILE_CELLS / CELLS;
// Factors that a thread stages per slab.
const WEIGHT_LOADS: u32 = SLAB * TILE_VECTORS / WORKGROUP;
const CELL_LOADS: u32 = SLAB * TILE_CELLS / WORKGROUP;
// Channels whose inputs the threads of a workgroup read at once.
const CHANNELS_AT_ONCE: u32 = WORKGROUP / TILE_CELLS;

// Two halves, each one slab: [half][channel][vector], and [half][channel][cell].
var<workgroup> tile_w: array<Factors, 2u * SLAB * TILE_VECTORS>;
var<workgroup> tile_x: array<Factors, 2u * SLAB * TILE_CELLS>;

// The four positions of a cell, by vector, lane and cell. Each dimension is only indexed by the counter of a loop of
// exactly its length: drivers then unroll the loop, however long, and keep the sums in registers.
alias Sums = array<array<array<vec4<f32>, CELLS>, LANES>, VECTORS>;

// Which part of an output a workgroup makes, and which part of that part a thread makes.
struct Owner {
    tile: u32, // of cells
    block: u32, // of output channels
    row: u32, // row and column of the thread in its workgroup
    col: u32,
}

fn owner_of(o: OutputShape, workgroup: u32, local: u32) -> Owner {
    // Adjacent workgroups have the same positions and other blocks of channels, because they then read the same inputs.
    return Owner(workgroup / o.blocks, workgroup % o.blocks, local / THREAD_COLS, local % THREAD_COLS);
}

// Where a cell lies.
struct Place {
    n: u32,
    t: u32,
    y: u32, // of its first position
    x: u32,
}

// The place of cell `index`. The last cell stands in for cells beyond it, whose sums are not stored.
fn place_of(o: OutputShape, index: u32) -> Place {
    let cell = min(index, o.cells - 1u);
    let row = cell / o.cell_cols;
    let frame = row / o.cell_rows;
    return Place(frame / o.t, frame % o.t, 2u * (row % o.cell_rows), 2u * (cell % o.cell_cols));
}

// The tap after `tap`, (frame, row, column). Taps run along w first, then along h, then along t.
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

// Where the weights of a slab of a tap begin.
fn first_weight(p: PathShape, own: Owner, tap: u32, slab: u32) -> u32 {
    return p.weights + ((own.block * p.taps + tap) * p.c_in + slab * SLAB) * TILE_VECTORS;
}

// Reads a thread's part of a slab of weights, which begins at vector `first`. If the path is `ragged`, the slab may
// have only `left` channels. For the others this reads some weight that exists, and `write_weights` writes zero.
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
