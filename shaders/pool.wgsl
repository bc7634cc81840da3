// pool(X): the mean of every 2x2 block of every plane; a thread makes ROWS x COLS means.
//
//   P[plane][y][x] = mean of X[plane][2y..2y+2][2x..2x+2], of the elements that exist at an odd edge
//
// The host guarantees: `threads` blocks of means; pooled sizes of half the sizes of X, rounded up or down; X_PAIRED only for
// rows of X of even length, Y_PAIRED for those of P.

struct Shape {
    threads: u32, // planes * rows * cols
    grid_x: u32,
    rows: u32, // blocks of means along a plane's axes
    cols: u32,
    h: u32,
    w: u32,
    pooled_h: u32,
    pooled_w: u32,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let x = COLS * (thread % shape.cols);
    let y = ROWS * (thread / shape.cols % shape.rows);
    let plane = thread / (shape.cols * shape.rows);
    for (var i = 0u; i < ROWS; i++) {
        if y + i >= shape.pooled_h {
            break;
        }
        let row = 2u * (y + i);
        let top = (plane * shape.h + row) * shape.w;
        let bottom = (plane * shape.h + min(row + 1u, shape.h - 1u)) * shape.w;
        var means: array<f32, COLS>;
        for (var j = 0u; j < COLS; j++) {
            let left = 2u * min(x + j, shape.pooled_w - 1u);
            if X_PAIRED {
                let sums = load_x_2(top + left) + load_x_2(bottom + left);
                means[j] = 0.25 * (sums.x + sums.y);
            } else {
                let right = min(left + 1u, shape.w - 1u);
                means[j] = 0.25 * (load_x(top + left) + load_x(top + right) + load_x(bottom + left) + load_x(bottom + right));
            }
        }
        let at = (plane * shape.pooled_h + y + i) * shape.pooled_w + x;
        if Y_PAIRED {
            store_y_2(at, vec2(means[0], means[1]));
        } else {
            for (var j = 0u; j < COLS; j++) {
                if x + j < shape.pooled_w {
                    store_y(at + j, means[j]);
                }
            }
        }
    }
}
