// In place of winograd/window: the tensor is read two columns at once.
//
// The host guarantees: rows of the tensor have even length, so that a word lies wholly inside or outside of the map.

#import tensors/input as source
#import winograd/input_shape

// As in winograd/window.
const LEVEL: u32 = 0u;
const SIDE: u32 = 1u << LEVEL;
// Columns of the first word that lie in front of the window: 1 if LEVEL is 0 and windows begin at odd columns.
const AHEAD: u32 = 0u;
// Columns of the map that a word makes: 2, or 1 that is the mean of its two elements.
const SPAN: u32 = 2u >> LEVEL;
// Words under a row of a window.
const WORDS: u32 = (AHEAD + WINDOW + SPAN - 1u) / SPAN;

fn line_of(f: Feed, place: Place, i: u32) -> Line {
    let row = place.y + i32(i);
    let row_in = place.live && row >= 0 && row < i32(f.map_h);
    let inside_h = u32(clamp(row, 0, i32(f.map_h) - 1));
    var words: array<vec2<f32>, WORDS>;
    for (var k = 0u; k < WORDS; k++) {
        let col = place.x + i32(k * SPAN) - i32(AHEAD);
        let inside_w = u32(clamp(col, 0, i32(f.map_w - SPAN)));
        var word = vec2(0.0);
        for (var a = 0u; a < SIDE; a++) {
            // At an odd edge the neighbour stands in, as in winograd/window.
            let at = (place.plane * f.source_h + min(inside_h * SIDE + a, f.source_h - 1u)) * f.source_w;
            word += source_load_2(at + inside_w * SIDE);
        }
        words[k] = select(vec2(0.0), word, row_in && col >= 0 && col < i32(f.map_w));
    }
    var line: Line;
    for (var j = 0u; j < WINDOW; j++) {
        if LEVEL == 0u {
            let at = j + AHEAD;
            line[j] = words[at / SPAN][at % SPAN];
        } else {
            let word = words[j / SPAN];
            line[j] = 0.25 * (word.x + word.y);
        }
    }
    return line;
}
