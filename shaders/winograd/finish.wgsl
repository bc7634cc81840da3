// Finishes a Winograd tile of Y_H or of Y_L.

#import common/epilogue as self
#import winograd/output_shape

// Adds `shift` to the sums of a Winograd tile of one channel, which begins at (top, left) of a plane. Finishes and
// stores those inside of the map. Returns all outputs; those outside of the map have no meaning.
fn finish_tile(o: Output, plane: u32, top: u32, left: u32, shift: f32, sums: Square) -> Square {
    var outputs = sums;
    for (var i = 0u; i < TILE; i++) {
        let first = (plane * o.h + top + i) * o.w + left;
        if PAIRED {
            for (var j = 0u; j < TILE / 2u; j++) {
                var pair = vec2(outputs[i][2u * j], outputs[i][2u * j + 1u]) + shift;
                if top + i < o.h && left + 2u * j < o.w {
                    pair = finish_2(pair, first + 2u * j, shape.slope);
                }
                outputs[i][2u * j] = pair.x;
                outputs[i][2u * j + 1u] = pair.y;
            }
        } else {
            for (var j = 0u; j < TILE; j++) {
                if top + i < o.h && left + j < o.w {
                    outputs[i][j] = finish(outputs[i][j] + shift, first + j, shape.slope);
                }
            }
        }
    }
    return outputs;
}
