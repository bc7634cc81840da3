// The last dispatch of a Winograd convolution: the outputs of each Winograd tile from the sums at its points.
//
//   Y_H = activate(A^T M_H A + replicate(A^T M_LH A) + bias_h + residual_h)
//   Y_L = activate(A^T M_L A + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   if the layer writes it
//
// M_H has all products at high resolution. At stride 1, M_LH has those of L->H at low resolution.
//
// Mapping. A workgroup makes part of Y_H or of Y_L, in turns. A thread makes one Winograd tile of PARTS channels. If
// PARTS is 1, Winograd tiles run fastest. If not, the channels lie side by side in M and are one Value, and channels
// run fastest. Either way, adjacent threads load from adjacent addresses. A Winograd tile of Y_H lies over a quarter of
// a Winograd tile at low resolution. A thread makes only that quarter of the outputs of L->H, from the points that it
// needs.
//
// Operands: biases of Y_H, then of Y_L; M of each product [a][row][column], as winograd/multiply writes it; residuals
// and outputs [n][tensor_channels][t][h][w]; Y_P [n][tensor_channels][t][pooled_h][pooled_w].
//
// The host guarantees: Winograd tiles cover the outputs; there is a row and a column of outputs of L->H below each one
// of Y_H; if PAIRED_P, Winograd tiles are 4x4 outputs, and pooled rows have even length.

#import common/means
#import common/turns
#import tensors/input as biases
#import tensors/input as m
#import tensors/output as y_p
#import winograd/finish as high
#import winograd/finish as low
#import winograd/output_shape

const WORKGROUP: u32 = 64u;
const HAS_HIGH: bool = true;
const HAS_LOW: bool = true;
// Whether Y_H has sums at high resolution, and sums of L->H at low resolution.
const HAS_HIGH_SUMS: bool = true;
const HAS_LOW_SUMS: bool = true;
const WRITES_Y_P: bool = false;
// Y_P is written two columns at once.
const PAIRED_P: bool = false;

// A thread's Winograd tile, and its Value of channels.
struct Place {
    tile: u32,
    value: u32,
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
        make_high(turn.index * WORKGROUP + local);
    } else if HAS_LOW && turn.kind == 1u {
        make_low(turn.index * WORKGROUP + local);
    }
}

fn make_high(thread: u32) {
    let o = shape.high;
    if thread >= o.threads {
        return;
    }
    let place = place_of(o, thread);
    let col = place.tile % o.cols;
    let row = place.tile / o.cols % o.rows;
    let image = place.tile / (o.cols * o.rows);
    var each = apart(high_sums(o, place, image, row, col));
    for (var k = 0u; k < PARTS; k++) {
        let channel = place.value * PARTS + k;
        // If the number of channels is odd, one channel of the last Value does not exist.
        if PARTS == 1u || channel < o.channels {
            let plane = plane_of(o, image, channel);
            let shift = biases_load(o.bias + channel);
            each[k] = high_finish_tile(o, plane, row * TILE, col * TILE, shift, each[k]);
            if WRITES_Y_P {
                store_pooled(plane, row * TILE, col * TILE, each[k]);
            }
        }
    }
}

fn make_low(thread: u32) {
    let o = shape.low;
    if thread >= o.threads {
        return;
    }
    let place = place_of(o, thread);
    let image = place.tile / (o.cols * o.rows);
    let top = place.tile / o.cols % o.rows * TILE;
    let left = place.tile % o.cols * TILE;
    var each = apart(outputs_of(o.sums, place));
    for (var k = 0u; k < PARTS; k++) {
        let channel = place.value * PARTS + k;
        if PARTS == 1u || channel < o.channels {
            let shift = biases_load(o.bias + channel);
            each[k] = low_finish_tile(o, plane_of(o, image, channel), top, left, shift, each[k]);
        }
    }
}

fn place_of(o: Output, thread: u32) -> Place {
    if PARTS == 1u {
        return Place(thread % o.tiles, thread / o.tiles);
    }
    let values = (o.channels + PARTS - 1u) / PARTS;
    return Place(thread / values, thread % values);
}

fn plane_of(o: Output, image: u32, channel: u32) -> u32 {
    return ((image / o.t) * o.tensor_channels + o.first_channel + channel) * o.t + image % o.t;
}

// The sums of all paths for Winograd tile (row, col) of an image of Y_H.
fn high_sums(o: Output, place: Place, image: u32, row: u32, col: u32) -> Outputs {
    var sums: Outputs;
    if HAS_LOW_SUMS {
        let below = quarter_of(image, row, col, place.value);
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                sums[i][j] = below[i >> 1u][j >> 1u];
            }
        }
    }
    if HAS_HIGH_SUMS {
        let own = outputs_of(o.sums, place);
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                sums[i][j] += own[i][j];
            }
        }
    }
    return sums;
}

// A^T M A of one Winograd tile.
fn outputs_of(s: Sums, place: Place) -> Outputs {
    var at = s.first + place.tile * s.tile + place.value * s.channel;
    // Transforms each row of points, then each column of the result.
    var rows: array<array<Value, TILE>, WINDOW>;
    for (var i = 0u; i < WINDOW; i++) {
        var line = array<Value, WINDOW>();
        for (var j = 0u; j < WINDOW; j++) {
            line[j] = m_load(at);
            at += s.point;
        }
        rows[i] = from_points(line);
    }
    var y: Outputs;
    for (var j = 0u; j < TILE; j++) {
        var line = array<Value, WINDOW>();
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

// The quarter of a Winograd tile of L->H that lies below Winograd tile (row, col) of an image of Y_H.
fn quarter_of(image: u32, row: u32, col: u32, value: u32) -> Quarter {
    let s = shape.from_low;
    let lower = (row & 1u) != 0u;
    let right = (col & 1u) != 0u;
    let tile = (image * shape.from_low_rows + (row >> 1u)) * shape.from_low_cols + (col >> 1u);
    let corner = (row & 1u) * WINDOW + (col & 1u);
    let at = s.first + corner * s.point + tile * s.tile + value * s.channel;
    var rows: array<array<Value, TILE / 2u>, WINDOW - 1u>;
    for (var i = 0u; i < WINDOW - 1u; i++) {
        var line = array<Value, WINDOW - 1u>();
        for (var j = 0u; j < WINDOW - 1u; j++) {
            line[j] = m_load(at + (i * WINDOW + j) * s.point);
        }
        rows[i] = half_from_points(line, right);
    }
    var y: Quarter;
    for (var j = 0u; j < TILE / 2u; j++) {
        var line = array<Value, WINDOW - 1u>();
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

// Takes Values apart: the outputs of each channel.
fn apart(sums: Outputs) -> array<Square, PARTS> {
    var each: array<Square, PARTS>;
    for (var k = 0u; k < PARTS; k++) {
        for (var i = 0u; i < TILE; i++) {
            for (var j = 0u; j < TILE; j++) {
                each[k][i][j] = part(sums[i][j], k);
            }
        }
    }
    return each;
}

// Stores the means of 2x2 outputs of a Winograd tile of Y_H, which begins at (top, left) of a plane.
fn store_pooled(plane: u32, top: u32, left: u32, outputs: Square) {
    for (var i = 0u; i < TILE / 2u; i++) {
        let below = top + 2u * i + 1u < shape.high.h;
        var means = array<f32, TILE / 2u>();
        for (var j = 0u; j < TILE / 2u; j++) {
            let right = left + 2u * j + 1u < shape.high.w;
            let upper = vec2(outputs[2u * i][2u * j], outputs[2u * i][2u * j + 1u]);
            let lower = vec2(outputs[2u * i + 1u][2u * j], outputs[2u * i + 1u][2u * j + 1u]);
            means[j] = mean_of_existing(vec4(upper, lower), right, below);
        }
        store_means(plane, (top >> 1u) + i, left >> 1u, means);
    }
}

// Stores means of one row, starting at column `first`.
fn store_means(plane: u32, row: u32, first: u32, means: array<f32, TILE / 2u>) {
    let at = (plane * shape.pooled_h + row) * shape.pooled_w + first;
    if PAIRED_P {
        if row < shape.pooled_h && first < shape.pooled_w {
            y_p_store_2(at, vec2(means[0], means[TILE / 2u - 1u]));
        }
    } else {
        for (var j = 0u; j < TILE / 2u; j++) {
            if row < shape.pooled_h && first + j < shape.pooled_w {
                y_p_store(at + j, means[j]);
            }
        }
    }
}
