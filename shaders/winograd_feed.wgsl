// One feed of shaders/winograd_input.wgsl, as a template: the host instantiates it by renaming `path_` and `PATH_`, and
// writes in front of each instance
//
//   fn path_load(i: u32) -> f32       element i of the tensor that the feed reads
//   const PATH_LEVEL: u32             how many 2x2 averages lie between it and the convolution: 0, 1

const PATH_SUB: u32 = 1u << PATH_LEVEL;
const PATH_MEAN: f32 = 1.0 / f32(PATH_SUB * PATH_SUB);

fn path_feed(f: Feed, workgroup: u32, local: u32) {
    let thread = workgroup * WORKGROUP + local;
    if thread >= f.threads {
        return;
    }
    let tile = thread % f.tiles;
    let c = thread / f.tiles;
    let image = tile / (f.cols * f.rows);
    let y = i32(tile / f.cols % f.rows * TILE) - i32(shape.padding_h);
    let x = i32(tile % f.cols * TILE) - i32(shape.padding_w);
    let live = c < f.channels;
    let plane = ((image / f.t) * f.channels + min(c, f.channels - 1u)) * f.t + image % f.t;

    var row_at: array<array<u32, PATH_SUB>, WINDOW>;
    var col_at: array<array<u32, PATH_SUB>, WINDOW>;
    var row_in: array<bool, WINDOW>;
    var col_in: array<bool, WINDOW>;
    for (var i = 0u; i < WINDOW; i++) {
        let row = y + i32(i);
        let col = x + i32(i);
        row_in[i] = live && row >= 0 && row < i32(f.map_h);
        col_in[i] = col >= 0 && col < i32(f.map_w);
        let inside_h = u32(clamp(row, 0, i32(f.map_h) - 1));
        let inside_w = u32(clamp(col, 0, i32(f.map_w) - 1));
        for (var k = 0u; k < PATH_SUB; k++) {
            // Beyond an odd edge the neighbour again, so that the mean of four equals the mean of those that exist.
            row_at[i][k] = (plane * f.source_h + min(inside_h * PATH_SUB + k, f.source_h - 1u)) * f.source_w;
            col_at[i][k] = min(inside_w * PATH_SUB + k, f.source_w - 1u);
        }
    }

    // The points along h of each column of the window.
    var columns: array<array<Value, WINDOW>, WINDOW>;
    for (var j = 0u; j < WINDOW; j++) {
        var line: array<Value, WINDOW>;
        for (var i = 0u; i < WINDOW; i++) {
            var sum = 0.0;
            for (var a = 0u; a < PATH_SUB; a++) {
                for (var b = 0u; b < PATH_SUB; b++) {
                    sum += path_load(row_at[i][a] + col_at[j][b]);
                }
            }
            // select and not a product with zero: what lies at the clamped address may be infinite.
            line[i] = select(0.0, sum * PATH_MEAN, row_in[i] && col_in[j]);
        }
        columns[j] = to_points(line);
    }
    var at = f.points + c * f.channel_stride + tile;
    for (var i = 0u; i < WINDOW; i++) {
        var line: array<Value, WINDOW>;
        for (var j = 0u; j < WINDOW; j++) {
            line[j] = columns[j][i];
        }
        let points = to_points(line);
        for (var j = 0u; j < WINDOW; j++) {
            v[at] = points[j];
            at += f.point_stride;
        }
    }
}
