// Winograd convolution, its last dispatch: the outputs of each tile from the sums at its points.
//
//   Y_H = activate(A^T M_H A + replicate(A^T M_LH A) + bias_h + residual_h)
//   Y_L = activate(A^T M_L A + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   where the layer writes it
//
// M_H has all products at high resolution, M_LH those of L->H at low resolution, as they are at stride 1.
//
// Mapping. Workgroups make Y_H or Y_L, in turn (shaders/turns.wgsl); a thread makes one tile of CHANNELS channels. With
// one channel tiles run fastest; several lie side by side in M and are one Value, of which part(v, k) is channel k's, and
// then channels run fastest, so that what threads load lies side by side. A tile of Y_H lies over a quarter of a tile at
// low resolution: a thread makes that quarter of L->H's outputs on its own, from the points that enter it.
// shaders/winograd_store.wgsl finishes and stores the tiles of Y_H, as high_, and of Y_L, as low_.
//
// Operands: M of each product [a][row][column], as shaders/winograd_multiply.wgsl writes it; biases of H, then of L.
//
// The host guarantees: tiles that cover the outputs; a row and a column of L->H's outputs below each of Y_H's; PAIRED_P
// only for tiles of 4 outputs and pooled rows of even length.

struct Sums {
    first: u32, // where they begin, and the strides from point to point, tile to tile and Value to Value of channels, in Values
    point: u32,
    tile: u32,
    channel: u32,
}

struct Output {
    workgroups: u32,
    threads: u32, // tiles * channels / CHANNELS, rounded up
    tiles: u32, // n * t * rows * cols
    rows: u32, // tiles along h and w
    cols: u32,
    t: u32,
    h: u32,
    w: u32,
    bias: u32,
    tensor_channels: u32, // channels of the tensor, and where the layer's begin
    first_channel: u32,
    channels: u32, // that the layer makes
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
    slope: f32,
    unused_a: u32,
    unused_b: u32,
}

struct Place {
    tile: u32,
    channels: u32,
}

alias Outputs = array<array<Value, TILE>, TILE>;
alias Quarter = array<array<Value, TILE / 2u>, TILE / 2u>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    let counts = vec4(shape.high.workgroups, shape.low.workgroups, 0u, 0u);
    if workgroup >= sum_of(counts) {
        return;
    }
    let turn = turn_of(workgroup, counts);
    if HAS_HIGH && turn.kind == 0u {
        high(turn.index * WORKGROUP + local);
    } else if HAS_LOW && turn.kind == 1u {
        low(turn.index * WORKGROUP + local);
    }
}

// A^T M A of one tile.
fn outputs(s: Sums, tile: u32, channels: u32) -> Outputs {
    var at = s.first + tile * s.tile + channels * s.channel;
    // The sums along w of each row of points.
    var rows: array<array<Value, TILE>, WINDOW>;
    for (var i = 0u; i < WINDOW; i++) {
        var line: array<Value, WINDOW>;
        for (var j = 0u; j < WINDOW; j++) {
            line[j] = load_m(at);
            at += s.point;
        }
        rows[i] = from_points(line);
    }
    var y: Outputs;
    for (var j = 0u; j < TILE; j++) {
        var line: array<Value, WINDOW>;
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
fn from_low(image: u32, row: u32, col: u32, channels: u32) -> Quarter {
    let s = shape.from_low;
    let lower = (row & 1u) != 0u;
    let right = (col & 1u) != 0u;
    let tile = (image * shape.from_low_rows + (row >> 1u)) * shape.from_low_cols + (col >> 1u);
    let corner = (row & 1u) * WINDOW + (col & 1u);
    let at = s.first + corner * s.point + tile * s.tile + channels * s.channel;
    var rows: array<array<Value, TILE / 2u>, WINDOW - 1u>;
    for (var i = 0u; i < WINDOW - 1u; i++) {
        var line: array<Value, WINDOW - 1u>;
        for (var j = 0u; j < WINDOW - 1u; j++) {
            line[j] = load_m(at + (i * WINDOW + j) * s.point);
        }
        rows[i] = half_from_points(line, right);
    }
    var y: Quarter;
    for (var j = 0u; j < TILE / 2u; j++) {
        var line: array<Value, WINDOW - 1u>;
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
    let place = place_of(o, thread);
    let tile = place.tile;
    let channels = place.channels;
    let col = tile % o.cols;
    let row = tile / o.cols % o.rows;
    let image = tile / (o.cols * o.rows);
    let y = row * TILE;
    let x = col * TILE;

    var sums: Outputs;
    if HAS_LOW_SUMS {
        let below = from_low(image, row, col, channels);
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                sums[i][j] = below[i >> 1u][j >> 1u];
            }
        }
    }
    if HAS_HIGH_SUMS {
        let own = outputs(o.sums, tile, channels);
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                sums[i][j] += own[i][j];
            }
        }
    }
    var each = apart(sums);
    for (var k = 0u; k < CHANNELS; k++) {
        let channel = channels * CHANNELS + k;
        // The last Value of an odd number of channels has one beyond them.
        if CHANNELS == 1u || channel < o.channels {
            let plane = plane_of(o, image, channel);
            each[k] = high_store(o, plane, y, x, bias(o.bias + channel), each[k]);
            if WRITES_Y_P {
                store_pooled(plane, y, x, each[k]);
            }
        }
    }
}

fn low(thread: u32) {
    let o = shape.low;
    if thread >= o.threads {
        return;
    }
    let place = place_of(o, thread);
    let tile = place.tile;
    let channels = place.channels;
    let image = tile / (o.cols * o.rows);
    let y = tile / o.cols % o.rows * TILE;
    let x = tile % o.cols * TILE;
    var each = apart(outputs(o.sums, tile, channels));
    for (var k = 0u; k < CHANNELS; k++) {
        let channel = channels * CHANNELS + k;
        if CHANNELS == 1u || channel < o.channels {
            each[k] = low_store(o, plane_of(o, image, channel), y, x, bias(o.bias + channel), each[k]);
        }
    }
}

// The tile and the Value of channels of a thread.
fn place_of(o: Output, thread: u32) -> Place {
    if CHANNELS == 1u {
        return Place(thread % o.tiles, thread / o.tiles);
    }
    let values = (o.channels + CHANNELS - 1u) / CHANNELS;
    return Place(thread / values, thread % values);
}

fn plane_of(o: Output, image: u32, channel: u32) -> u32 {
    return ((image / o.t) * o.tensor_channels + o.first_channel + channel) * o.t + image % o.t;
}

// The outputs of each channel.
fn apart(sums: Outputs) -> array<Square, CHANNELS> {
    var each: array<Square, CHANNELS>;
    for (var k = 0u; k < CHANNELS; k++) {
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                each[k][i][j] = part(sums[i][j], k);
            }
        }
    }
    return each;
}

// The 2x2 means of a tile of Y_H.
fn store_pooled(plane: u32, y: u32, x: u32, outputs: Square) {
    let pooled_x = x >> 1u;
    for (var i = 0u; i < TILE / 2u; i++) {
        let pooled_y = (y >> 1u) + i;
        // Beyond an odd edge the neighbour stands in, which leaves the mean of what exists.
        let below = y + 2u * i + 1u < shape.high.h;
        var means: array<f32, TILE / 2u>;
        for (var j = 0u; j < TILE / 2u; j++) {
            let right = x + 2u * j + 1u < shape.high.w;
            let a = outputs[2u * i][2u * j];
            let b = select(a, outputs[2u * i][2u * j + 1u], right);
            let c = select(a, outputs[2u * i + 1u][2u * j], below);
            let d = select(select(b, c, below), outputs[2u * i + 1u][2u * j + 1u], right && below);
            means[j] = 0.25 * (a + b + c + d);
        }
        let at = (plane * shape.pooled_h + pooled_y) * shape.pooled_w + pooled_x;
        if PAIRED_P {
            if pooled_y < shape.pooled_h && pooled_x < shape.pooled_w {
                store_y_p_2(at, vec2(means[0], means[TILE / 2u - 1u]));
            }
        } else {
            for (var j = 0u; j < TILE / 2u; j++) {
                if pooled_y < shape.pooled_h && pooled_x + j < shape.pooled_w {
                    store_y_p(at + j, means[j]);
                }
            }
        }
    }
}
