// The end of a tile in shaders/winograd_output.wgsl, as a template: the host instantiates it by renaming `path_` and
// `PATH_`, and writes in front of each instance
//
//   load_path_residual(i), store_path_y(i, v)         what is added before the activation, if anything, and the output
//   load_path_residual_2(i), store_path_y_2(i, v)     the same for two columns, the first of them even
//   const PATH_PAIRED: bool                           whether outputs and residuals are words of two columns

// Stores the outputs of a tile of one channel from their sums, and returns them.
fn path_store(o: Output, plane: u32, y: u32, x: u32, shift: f32, sums: Square) -> Square {
    var outputs = sums;
    for (var i = 0u; i < TILE; i++) {
        let row = (plane * o.h + y + i) * o.w;
        if PATH_PAIRED {
            var pairs: array<vec2<f32>, TILE / 2u>;
            for (var j = 0u; j < TILE / 2u; j++) {
                pairs[j] = vec2(outputs[i][2u * j], outputs[i][2u * j + 1u]) + shift;
                if y + i < o.h && x + 2u * j < o.w {
                    let index = row + x + 2u * j;
                    pairs[j] += load_path_residual_2(index);
                    pairs[j] = vec2(activate(pairs[j].x, shape.slope), activate(pairs[j].y, shape.slope));
                    store_path_y_2(index, pairs[j]);
                }
                outputs[i][2u * j] = pairs[j].x;
                outputs[i][2u * j + 1u] = pairs[j].y;
            }
        } else {
            for (var j = 0u; j < TILE; j++) {
                if y + i < o.h && x + j < o.w {
                    let index = row + x + j;
                    outputs[i][j] = activate(outputs[i][j] + shift + load_path_residual(index), shape.slope);
                    store_path_y(index, outputs[i][j]);
                }
            }
        }
    }
    return outputs;
}
