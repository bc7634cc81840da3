// Winograd convolution, the last of three dispatches: the outputs of each tile from the sums at its points.
//
//   Y_H = activate(A^T M_HH A + replicate(A^T M_LH A) + bias_h + residual_h)
//   Y_L = activate(A^T M_L A + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   where the layer writes it
//
// Mapping. The workgroups before `low.first` make Y_H, the others Y_L; a thread makes one tile of one channel, tiles
// running fastest. A tile of Y_H lies over a quarter of a tile at low resolution: a thread makes that quarter of L->H's
// outputs on its own, from the points that enter it.
//
// Operands: M of each product [a][row][column], as shaders/winograd_multiply.wgsl writes it; biases of H, then of L.
//
// The host guarantees: tiles that cover the outputs; a row and a column of L->H's outputs below each of Y_H's.

struct Sums {
    first: u32, // where they begin, and the strides from point to point, tile to tile and channel to channel
    point: u32,
    tile: u32,
    channel: u32,
}

struct Output {
    first: u32, // its first workgroup
    threads: u32, // tiles * channels
    tiles: u32, // n * t * rows * cols
    rows: u32, // tiles along h and w
    cols: u32,
    t: u32,
    h: u32,
    w: u32,
    bias: u32,
    tensor_channels: u32, // channels of the tensor, and where the layer's begin
    first_channel: u32,
    unused: u32,
    sums: Sums,
}

struct Shape {
    high: Output,
    low: Output,
    from_low: Sums,
    from_low_rows: u32, // tiles at low resolution
    from_low_cols: u32,
    pooled_h: u32,
    pooled_w: u32,
    grid_x: u32,
    workgroups: u32,
    slope: f32,
    unused: u32,
}

alias Outputs = array<array<f32, TILE>, TILE>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    if HAS_HIGH && workgroup < shape.low.first {
        high(workgroup * WORKGROUP + local);
    } else if HAS_LOW && workgroup < shape.workgroups {
        low((workgroup - shape.low.first) * WORKGROUP + local);
    }
}

// A^T M A of one tile.
fn outputs(s: Sums, tile: u32, channel: u32) -> Outputs {
    var at = s.first + tile * s.tile + channel * s.channel;
    // The sums along w of each row of points.
    var rows: array<array<f32, TILE>, WINDOW>;
    for (var i = 0u; i < WINDOW; i++) {
        var line: array<f32, WINDOW>;
        for (var j = 0u; j < WINDOW; j++) {
            line[j] = m[at];
            at += s.point;
        }
        rows[i] = from_points(line);
    }
    var y: Outputs;
    for (var j = 0u; j < TILE; j++) {
        var line: array<f32, WINDOW>;
        for (var i = 0u; i < WINDOW; i++) {
            line[i] = rows[i][j];
        }
        let column = from_points(line);
        for (var i = 0u; i < TILE; i++) {
            y[i][j] = column[i];
        }
    }
    return y;
}

// The quarter of a tile of L->H that lies under tile (row, col) of an image of Y_H.
fn from_low(image: u32, row: u32, col: u32, channel: u32) -> array<array<f32, TILE / 2u>, TILE / 2u> {
    let s = shape.from_low;
    let lower = (row & 1u) != 0u;
    let right = (col & 1u) != 0u;
    let tile = (image * shape.from_low_rows + (row >> 1u)) * shape.from_low_cols + (col >> 1u);
    let corner = (row & 1u) * WINDOW + (col & 1u);
    let at = s.first + corner * s.point + tile * s.tile + channel * s.channel;
    var rows: array<array<f32, TILE / 2u>, WINDOW - 1u>;
    for (var i = 0u; i < WINDOW - 1u; i++) {
        var line: array<f32, WINDOW - 1u>;
        for (var j = 0u; j < WINDOW - 1u; j++) {
            line[j] = m[at + (i * WINDOW + j) * s.point];
        }
        rows[i] = half_from_points(line, right);
    }
    var y: array<array<f32, TILE / 2u>, TILE / 2u>;
    for (var j = 0u; j < TILE / 2u; j++) {
        var line: array<f32, WINDOW - 1u>;
        for (var i = 0u; i < WINDOW - 1u; i++) {
            line[i] = rows[i][j];
        }
        let column = half_from_points(line, lower);
        for (var i = 0u; i < TILE / 2u; i++) {
            y[i][j] = column[i];
        }
    }
    return y;
}

fn high(thread: u32) {
    let o = shape.high;
    if thread >= o.threads {
        return;
    }
    let tile = thread % o.tiles;
    let channel = thread / o.tiles;
    let col = tile % o.cols;
    let row = tile / o.cols % o.rows;
    let image = tile / (o.cols * o.rows);
    let y = row * TILE;
    let x = col * TILE;

    var sums: Outputs;
    if HAS_LH {
        let below = from_low(image, row, col, channel);
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                sums[i][j] = below[i >> 1u][j >> 1u];
            }
        }
    }
    if HAS_HH {
        let own = outputs(o.sums, tile, channel);
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                sums[i][j] += own[i][j];
            }
        }
    }
    let shift = bias(o.bias + channel);
    let plane = ((image / o.t) * o.tensor_channels + o.first_channel + channel) * o.t + image % o.t;
    for (var i = 0u; i < TILE; i++) {
        for (var j = 0u; j < TILE; j++) {
            if y + i < o.h && x + j < o.w {
                let index = (plane * o.h + y + i) * o.w + x + j;
                sums[i][j] = activate(sums[i][j] + shift + load_residual_h(index), shape.slope);
                store_y_h(index, sums[i][j]);
            }
        }
    }
    if WRITES_Y_P {
        for (var i = 0u; i < TILE / 2u; i++) {
            for (var j = 0u; j < TILE / 2u; j++) {
                let pooled_y = (y >> 1u) + i;
                let pooled_x = (x >> 1u) + j;
                if pooled_y < shape.pooled_h && pooled_x < shape.pooled_w {
                    // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
                    let right = x + 2u * j + 1u < o.w;
                    let below = y + 2u * i + 1u < o.h;
                    let a = sums[2u * i][2u * j];
                    let b = select(a, sums[2u * i][2u * j + 1u], right);
                    let c = select(a, sums[2u * i + 1u][2u * j], below);
                    let d = select(select(b, c, below), sums[2u * i + 1u][2u * j + 1u], right && below);
                    store_y_p((plane * shape.pooled_h + pooled_y) * shape.pooled_w + pooled_x, 0.25 * (a + b + c + d));
                }
            }
        }
    }
}

fn low(thread: u32) {
    let o = shape.low;
    if thread >= o.threads {
        return;
    }
    let tile = thread % o.tiles;
    let channel = thread / o.tiles;
    let image = tile / (o.cols * o.rows);
    let y = tile / o.cols % o.rows * TILE;
    let x = tile % o.cols * TILE;
    let sums = outputs(o.sums, tile, channel);
    let shift = bias(o.bias + channel);
    let plane = ((image / o.t) * o.tensor_channels + o.first_channel + channel) * o.t + image % o.t;
    for (var i = 0u; i < TILE; i++) {
        for (var j = 0u; j < TILE; j++) {
            if y + i < o.h && x + j < o.w {
                let index = (plane * o.h + y + i) * o.w + x + j;
                store_y_l(index, activate(sums[i][j] + shift + load_residual_l(index), shape.slope));
            }
        }
    }
}
