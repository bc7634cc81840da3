// A region of a storage texture = a map in the size of the region, times a scale, plus an offset.
//
//   texel[y][x][c] = (sum of w_y w_x X[c][y'][x']) * scale[c] + offset[c]
//                    over the elements around the place of (y, x); without BILINEAR the nearest alone, which weighs 1
//
// One channel becomes red, green and blue alike. Alpha is 1 without a channel for it.
//
// Mapping. A thread makes a texel.
//
// Operands: X, a frame of a tensor [n][c][t][h_in][w_in], whose first element has the index `first`; the texture, of which the region
// is written that begins at `left` and `top`.
//
// The host guarantees: threads = rows * w of the region; the region lies in the texture; X has CHANNELS channels: 1, 3 or 4; what
// `common/axis` wants.

#import common/axis
#import common/nan
#import tensors/input as x

const WORKGROUP: u32 = 64u;
const CHANNELS: u32 = 3u;
const BILINEAR: bool = false;
// What a channel of the texture holds: 0 every f32, 1 what f16 holds, 2 numbers from 0 to 1.
const HOLDS: u32 = 2u;

struct Shape {
    threads: u32,
    grid_x: u32,
    w: u32, // columns of the region
    first: u32,
    channel: u32, // elements of X from a channel to the next
    left: u32,
    top: u32,
    h_in: u32,
    w_in: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
    rows: Axis,
    cols: Axis,
    scale: vec4<f32>,
    offset: vec4<f32>,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// [height][width], one mip level of one layer. The host replaces the format.
@group(0) @binding(2) var texels: texture_storage_2d<rgba8unorm, write>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    let row = thread / shape.w;
    let col = thread % shape.w;
    var values = vec4<f32>(0.0, 0.0, 0.0, 1.0);
    for (var c = 0u; c < CHANNELS; c++) {
        values[c] = fitting(value_at(shape.first + c * shape.channel, row, col) * shape.scale[c] + shape.offset[c]);
    }
    if CHANNELS == 1u {
        values = vec4(values.xxx, 1.0);
    }
    textureStore(texels, vec2(shape.left + col, shape.top + row), values);
}

// The value for a texel, of the channel that begins at index `first`.
fn value_at(first: u32, row: u32, col: u32) -> f32 {
    if !BILINEAR {
        let x_row = first + nearest(shape.rows, row, shape.h_in) * shape.w_in;
        return x_load(x_row + nearest(shape.cols, col, shape.w_in));
    }
    let rows = around(shape.rows, row, shape.h_in);
    let cols = around(shape.cols, col, shape.w_in);
    let top = first + rows.first * shape.w_in;
    let bottom = first + rows.second * shape.w_in;
    let upper = dot(cols.weights, vec2(x_load(top + cols.first), x_load(top + cols.second)));
    let lower = dot(cols.weights, vec2(x_load(bottom + cols.first), x_load(bottom + cols.second)));
    return dot(rows.weights, vec2(upper, lower));
}

// The nearest number that the texture holds. A NaN stays one, or becomes 0 where there is none.
fn fitting(v: f32) -> f32 {
    switch HOLDS {
        case 1u: {
            return between(v, -65504.0, 65504.0);
        }
        case 2u: {
            return select(clamp(v, 0.0, 1.0), 0.0, is_nan(v));
        }
        default: {
            return v;
        }
    }
}
