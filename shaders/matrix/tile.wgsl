// What a workgroup of matrix/matrix makes, what each of its subgroups makes, and the workgroup memory that they share.

enable f16;
enable wgpu_cooperative_matrix;
// naga reports everything that needs uniform control flow under this rule. It treats a branch on any local variable,
// even on the counter of a loop, as not uniform.
diagnostic(off, derivative_uniformity);

#import common/slices
#import matrix/shape

const WORKGROUP: u32 = 64u;
// Rows and columns of a matrix: 8 or 16.
const SIDE: u32 = 16u;
// Rows of pieces, and rows and columns of the matrices of a piece.
const PIECE_ROWS: u32 = 1u;
const MATRIX_ROWS: u32 = 2u;
const MATRIX_COLS: u32 = 2u;
// Matrices along the channels of a slab.
const DEPTH: u32 = 1u;
// Cells in workgroup memory.
const WINDOW: u32 = 16u;
// The cells in workgroup memory serve all taps of a frame.
const WINDOWED: bool = false;
// Columns of a word: 1, 2 or 4.
const WORD: u32 = 1u;
// The padding is odd, so a word of two columns begins in the second column of a cell.
const PAIRS_STRADDLE: bool = false;

alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

const ROWS: u32 = PIECE_ROWS * MATRIX_ROWS; // rows of matrices of a workgroup
const CELLS: u32 = MATRIX_COLS / 2u * SIDE; // of a workgroup
const SLAB: u32 = DEPTH * SIDE; // channels
const SLAB_SIZE: u32 = 4u * WINDOW * SLAB; // elements in workgroup memory
// Slabs in workgroup memory. There is only one window: it is overwritten after it has been multiplied.
const SLABS_KEPT: u32 = select(2u, 1u, WINDOWED);

// Words of one channel of a slab. A thread gathers THREAD_WORDS of these words, in THREAD_CHANNELS channels each. If
// there are fewer words than threads, SHARERS threads share the channels of a word.
const WORDS: u32 = 4u * WINDOW / WORD;
const THREAD_WORDS: u32 = max(WORDS / WORKGROUP, 1u);
const SHARERS: u32 = max(WORKGROUP / WORDS, 1u);
const THREAD_CHANNELS: u32 = SLAB / SHARERS;
// Channels of a stretch, and stretches of a matrix.
const STRETCH: u32 = min(THREAD_CHANNELS, SIDE);
const STRETCHES: u32 = SIDE / STRETCH;
// If pairs straddle cells, a pair that begins in the last cell of a row ends in the first cell of the next row. Both of
// its columns lie in the padding: they are the zeros that belong there. The first column of the pair that begins before
// the first cell of a workgroup goes to the last cell of the window, which no tap reads if pairs straddle.
const SHIFT: u32 = select(0u, 1u, PAIRS_STRADDLE);

// Rows and columns of the sums of a round: channels by (b, cell), one matrix of each subgroup.
const ROUND_ROWS: u32 = PIECE_ROWS * SIDE;
const ROUND_COLS: u32 = 2u * SIDE;

alias Sums = array<array<Sum, MATRIX_COLS>, MATRIX_ROWS>;
// The sums of cells, which L->H makes.
alias CellSums = array<array<Sum, MATRIX_COLS / 2u>, MATRIX_ROWS>;
// What a thread has gathered but not yet put into workgroup memory.
alias Gathered = array<array<array<f16, WORD>, THREAD_CHANNELS>, THREAD_WORDS>;
// Where the words of a thread lie in the map.
alias Places = array<Place, THREAD_WORDS>;

// [slab][matrix of the slab][phase][cell][channel].
var<workgroup> inputs: array<f16, SLABS_KEPT * SLAB_SIZE>;
// [channel][b][cell].
var<workgroup> round_sums: array<f32, ROUND_ROWS * ROUND_COLS>;

// The matrices of each path, [oc / SIDE][q][r][s][c_in / SIDE][oc % SIDE][c_in % SIDE], after the biases.
@group(0) @binding(1) var<storage, read> weights: array<f16>;
// [c_out] of Y_H, then of Y_L. The same buffer as `weights`.
@group(0) @binding(2) var<storage, read> biases: array<f32>;

// A position of an output, or the first position of a cell.
struct Place {
    n: u32,
    t: u32,
    y: u32,
    x: u32,
}

// Which part of a workgroup's matrices a subgroup makes, if any.
struct Piece {
    exists: bool,
    row: u32,
    col: u32,
}

// The path, tap and slab that an iteration takes.
struct Cursor {
    second: bool, // of the two paths into the output
    q: u32, // frame, row and column of the tap; 0 along an axis if the iteration takes all taps along it
    r: u32,
    s: u32,
    slab: u32,
    slabs: vec2<u32>, // of the path: the first that is taken, and the one after the last
}

// The taps that an iteration takes: rows, columns, and the distances between them.
struct Taps {
    down: u32,
    across: u32,
    dilation_h: u32,
    dilation_w: u32,
}

// Where the weights of an iteration are, in matrices.
struct Factors {
    first: u32,
    next_tap: u32, // from a tap to the next one
    next_row: u32, // from a row of matrices to the next one
}

// The first position of a counted cell.
fn place_of(o: OutputShape, cell: u32) -> Place {
    var place: Place;
    place.x = 2u * (cell % o.counted_cols);
    place.y = 2u * (cell / o.counted_cols % o.counted_rows);
    place.t = cell / (o.counted_cols * o.counted_rows) % o.t;
    place.n = cell / (o.counted_cols * o.counted_rows * o.t);
    return place;
}

// The first position of a word that a thread gathers, for a workgroup whose cells begin with `first_cell`.
fn place_of_word(o: OutputShape, first_cell: u32, word: u32) -> Place {
    let column = word * WORD % (2u * WINDOW);
    // A cell before the first one wraps to a large number. As for cells after the last one, the last one stands in.
    var place = place_of(o, min(first_cell + column / 2u - SHIFT, o.cells - 1u));
    place.y += word * WORD / (2u * WINDOW);
    place.x += column % 2u + SHIFT;
    return place;
}

// The taps of every iteration. Call this once, before the loop: drivers do not move loads of uniforms out of loops.
fn taps_at_once() -> Taps {
    return Taps(
        select(1u, shape.kernel_h, WINDOWED),
        select(1u, shape.kernel_w, WINDOWED),
        shape.dilation_h,
        shape.dilation_w,
    );
}

// Iterations that take the slabs from slabs.x up to but not including slabs.y.
fn iterations_of(slabs: vec2<u32>) -> u32 {
    return shape.kernel_t * select(shape.kernel_h * shape.kernel_w, 1u, WINDOWED) * (slabs.y - slabs.x);
}

// The first matrix of weights that an iteration takes in row `row` of matrices.
fn first_factor(p: PathShape, at: Cursor, row: u32) -> u32 {
    let tap = (at.q * shape.kernel_h + at.r) * shape.kernel_w + at.s;
    return p.weights + row * p.row_size + (tap * p.slabs + at.slab) * DEPTH;
}

// Moves the cursor to what the next iteration takes. Returns whether this was the last of its path.
fn advance(at: ptr<function, Cursor>) -> bool {
    (*at).slab += 1u;
    if (*at).slab < (*at).slabs.y {
        return false;
    }
    (*at).slab = (*at).slabs.x;
    if !WINDOWED {
        (*at).s += 1u;
        if (*at).s < shape.kernel_w {
            return false;
        }
        (*at).s = 0u;
        (*at).r += 1u;
        if (*at).r < shape.kernel_h {
            return false;
        }
        (*at).r = 0u;
    }
    (*at).q += 1u;
    if (*at).q < shape.kernel_t {
        return false;
    }
    (*at).q = 0u;
    (*at).second = true;
    return true;
}
