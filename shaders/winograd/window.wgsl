// The windows of a feed, read element by element.
//
// All files in place of this one have the same function: line_of(f, place, i) is row i of the window at a place, with
// zeros outside of the map.
//
// Operands: the tensor of the feed, [n][channels][t][source_h][source_w].

#import tensors/input as source
#import winograd/input_shape

// Number of 2x2 means between the tensor and the map: 0 or 1.
const LEVEL: u32 = 0u;
// A position of the map is the mean of SIDE x SIDE elements.
const SIDE: u32 = 1u << LEVEL;
const MEAN: f32 = 1.0 / f32(SIDE * SIDE);

fn line_of(f: Feed, place: Place, i: u32) -> Line {
    let row = place.y + i32(i);
    let row_in = place.live && row >= 0 && row < i32(f.map_h);
    let inside_h = u32(clamp(row, 0, i32(f.map_h) - 1));
    var line: Line;
    for (var j = 0u; j < WINDOW; j++) {
        let col = place.x + i32(j);
        let inside_w = u32(clamp(col, 0, i32(f.map_w) - 1));
        var sum = 0.0;
        for (var a = 0u; a < SIDE; a++) {
            // At an odd edge the neighbour stands in, so that the mean of four is the mean of those that exist.
            let at = (place.plane * f.source_h + min(inside_h * SIDE + a, f.source_h - 1u)) * f.source_w;
            for (var b = 0u; b < SIDE; b++) {
                sum += source_load(at + min(inside_w * SIDE + b, f.source_w - 1u));
            }
        }
        // select, not a product with zero: the element at the clamped address may be infinite.
        line[j] = select(0.0, sum * MEAN, row_in && col >= 0 && col < i32(f.map_w));
    }
    return line;
}
