// As shaders/winograd_row.wgsl, of a tensor whose rows are words of two columns, with
//
//   fn path_load_2(i: u32) -> vec2<f32>      its elements i and i + 1, i even
//   const PATH_SPAN: u32                     columns of the map that a word has: 2 without averages, 1 with one
//   const PATH_AHEAD: u32                    columns of the first word before the window: 0, or 1 of a window that
//                                            begins at an odd column
//   const PATH_WORDS: u32                    words under a row of the window
//
// A word lies wholly inside or outside of the map, whose width PATH_SPAN divides.

const PATH_SUB: u32 = 1u << PATH_LEVEL;

// Row i of the window at a place.
fn path_row(f: Feed, place: Place, i: u32) -> Line {
    let row = place.y + i32(i);
    let row_in = place.live && row >= 0 && row < i32(f.map_h);
    let inside_h = u32(clamp(row, 0, i32(f.map_h) - 1));
    var words: array<vec2<f32>, PATH_WORDS>;
    for (var k = 0u; k < PATH_WORDS; k++) {
        let col = place.x + i32(k * PATH_SPAN) - i32(PATH_AHEAD);
        let inside_w = u32(clamp(col, 0, i32(f.map_w - PATH_SPAN)));
        var word = vec2(0.0);
        for (var a = 0u; a < PATH_SUB; a++) {
            // Beyond an odd edge the neighbour again, as there.
            let at = (place.plane * f.source_h + min(inside_h * PATH_SUB + a, f.source_h - 1u)) * f.source_w;
            word += path_load_2(at + inside_w * PATH_SUB);
        }
        words[k] = select(vec2(0.0), word, row_in && col >= 0 && col < i32(f.map_w));
    }
    var line: Line;
    for (var j = 0u; j < WINDOW; j++) {
        if PATH_LEVEL == 0u {
            let at = j + PATH_AHEAD;
            line[j] = words[at / PATH_SPAN][at % PATH_SPAN];
        } else {
            let word = words[j / PATH_SPAN];
            line[j] = 0.25 * (word.x + word.y);
        }
    }
    return line;
}
