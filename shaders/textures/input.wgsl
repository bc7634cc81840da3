// Y = the texels of a region of a texture, in the size of a map, less a mean and divided by a deviation.
//
//   Y[c][y][x] = (sum of w_y w_x texel[y'][x'][c] - mean[c]) / deviation[c]
//                over the texels around the place of (y, x); without BILINEAR the nearest alone, which weighs 1
//
// Mapping. A thread makes all channels of a position.
//
// Operands: the texture, of which the region is used that begins at `left` and `top`; Y, a frame of a tensor [n][c][t][h][w], whose
// first element has the index `first`.
//
// The host guarantees: threads = h * w; the region lies in the texture, which has CHANNELS channels; what
// `common/axis` wants.

#import common/axis
#import common/nan
#import tensors/output as y

const WORKGROUP: u32 = 64u;
const CHANNELS: u32 = 3u;
const BILINEAR: bool = false;
// Red, green and blue are linear in the texture, and in the sRGB curve in Y.
const ENCODES_SRGB: bool = false;

struct Shape {
    threads: u32,
    grid_x: u32,
    w: u32,
    first: u32,
    channel: u32, // elements of Y from a channel to the next
    left: u32,
    top: u32,
    region_h: u32,
    region_w: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
    rows: Axis,
    cols: Axis,
    mean: vec4<f32>,
    deviation: vec4<f32>,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// [height][width], one mip level of one layer.
@group(0) @binding(1) var texels: texture_2d<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let thread = (id.x + id.y * shape.grid_x) * WORKGROUP + local;
    if thread >= shape.threads {
        return;
    }
    var values = (value_at(thread / shape.w, thread % shape.w) - shape.mean) / shape.deviation;
    for (var c = 0u; c < CHANNELS; c++) {
        y_store(shape.first + c * shape.channel + thread, values[c]);
    }
}

fn value_at(row: u32, col: u32) -> vec4<f32> {
    if !BILINEAR {
        return texel(nearest(shape.rows, row, shape.region_h), nearest(shape.cols, col, shape.region_w));
    }
    let rows = around(shape.rows, row, shape.region_h);
    let cols = around(shape.cols, col, shape.region_w);
    let upper = cols.weights.x * texel(rows.first, cols.first) + cols.weights.y * texel(rows.first, cols.second);
    let lower = cols.weights.x * texel(rows.second, cols.first) + cols.weights.y * texel(rows.second, cols.second);
    return rows.weights.x * upper + rows.weights.y * lower;
}

// A texel of the region.
fn texel(row: u32, col: u32) -> vec4<f32> {
    let found = textureLoad(texels, vec2(shape.left + col, shape.top + row), 0u);
    if !ENCODES_SRGB {
        return found;
    }
    return vec4(encoded(found.r), encoded(found.g), encoded(found.b), found.a);
}

// Linear light in the sRGB curve.
fn encoded(v: f32) -> f32 {
    let curve = 1.055 * pow(max(v, 0.0031308), 1.0 / 2.4) - 0.055;
    return select(select(curve, 12.92 * v, v <= 0.0031308), v, is_nan(v));
}
