// What a feed of shaders/winograd_input.wgsl reads of a tile, element by element, as a template with `path_` and `PATH_` as
// in shaders/winograd_feed.wgsl, and
//
//   fn path_load(i: u32) -> f32       element i of the tensor that the feed reads

const PATH_SUB: u32 = 1u << PATH_LEVEL;
const PATH_MEAN: f32 = 1.0 / f32(PATH_SUB * PATH_SUB);

// Row i of the window at a place.
fn path_row(f: Feed, place: Place, i: u32) -> Line {
    let row = place.y + i32(i);
    let row_in = place.live && row >= 0 && row < i32(f.map_h);
    let inside_h = u32(clamp(row, 0, i32(f.map_h) - 1));
    var line: Line;
    for (var j = 0u; j < WINDOW; j++) {
        let col = place.x + i32(j);
        let inside_w = u32(clamp(col, 0, i32(f.map_w) - 1));
        var sum = 0.0;
        for (var a = 0u; a < PATH_SUB; a++) {
            // Beyond an odd edge the neighbour again, so that the mean of four equals the mean of those that exist.
            let at = (place.plane * f.source_h + min(inside_h * PATH_SUB + a, f.source_h - 1u)) * f.source_w;
            for (var b = 0u; b < PATH_SUB; b++) {
                sum += path_load(at + min(inside_w * PATH_SUB + b, f.source_w - 1u));
            }
        }
        // select and not a product with zero: what lies at the clamped address may be infinite.
        line[j] = select(0.0, sum * PATH_MEAN, row_in && col >= 0 && col < i32(f.map_w));
    }
    return line;
}
