// pool(X): the mean of every 2x2 positions of every plane.
//
//   P[plane][y][x] = mean of X[plane][2y..2y+2][2x..2x+2], of the elements that exist at an odd edge
//
// Mapping. A thread makes ROWS x COLS means.
//
// Operands: X [planes][h][w]; P [planes][pooled_h][pooled_w].
//
// The host guarantees: `threads` tiles cover the means; pooled sizes are half of the sizes of X, rounded up or down;
// X_PAIRED only if rows of X have even length, P_PAIRED only if rows of P have.

#import common/means
#import tensors/input as x
#import tensors/output as p

const WORKGROUP: u32 = 64u;
// Means of a thread along h and w.
const ROWS: u32 = 2u;
const COLS: u32 = 2u;
// Whether X and P are moved two columns at a time.
const X_PAIRED: bool = false;
const P_PAIRED: bool = false;

struct Shape {
    threads: u32, // planes * rows * cols
    grid_x: u32,
    rows: u32, // tiles of means along a plane's axes
    cols: u32,
    h: u32,
    w: u32,
    pooled_h: u32,
    pooled_w: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let col = COLS * (thread % shape.cols);
    let row = ROWS * (thread / shape.cols % shape.rows);
    let plane = thread / (shape.cols * shape.rows);
    for (var i = 0u; i < ROWS; i++) {
        if row + i >= shape.pooled_h {
            break;
        }
        make_row(plane, row + i, col);
    }
}

// Makes the means of a row, starting at column `col`.
fn make_row(plane: u32, row: u32, col: u32) {
    let upper = 2u * row;
    let top = (plane * shape.h + upper) * shape.w;
    let bottom = (plane * shape.h + min(upper + 1u, shape.h - 1u)) * shape.w;
    var means: array<f32, COLS>;
    for (var j = 0u; j < COLS; j++) {
        means[j] = mean_at(top, bottom, 2u * min(col + j, shape.pooled_w - 1u));
    }
    let at = (plane * shape.pooled_h + row) * shape.pooled_w + col;
    if P_PAIRED {
        p_store_2(at, vec2(means[0], means[1]));
        return;
    }
    for (var j = 0u; j < COLS; j++) {
        if col + j < shape.pooled_w {
            p_store(at + j, means[j]);
        }
    }
}

// The mean of the two columns from `left` on, in the rows that begin at elements `top` and `bottom`. At an odd edge the
// neighbour stands in for a row or column that does not exist.
fn mean_at(top: u32, bottom: u32, left: u32) -> f32 {
    if X_PAIRED {
        return mean_of_rows(x_load_2(top + left), x_load_2(bottom + left));
    }
    let right = min(left + 1u, shape.w - 1u);
    return mean_of(vec4(x_load(top + left), x_load(top + right), x_load(bottom + left), x_load(bottom + right)));
}
