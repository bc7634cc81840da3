// Gathers the inputs of one path of matrix/matrix.
//
// Operands: source [n][c_in][source_t][source_h][source_w], in words.

#import matrix/input as source
#import matrix/tile

// The path's channels fill whole slabs.
const WHOLE: bool = false;

// Gathers THREAD_CHANNELS channels of the slab, starting at share * THREAD_CHANNELS, for each of the thread's words.
fn gather(gathered: ptr<function, Gathered>, places: ptr<function, Places>, p: PathShape, at: Cursor, share: u32) {
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    let first = at.slab * SLAB + share * THREAD_CHANNELS;
    for (var i = 0u; i < THREAD_WORDS; i++) {
        let place = (*places)[i];
        let frame = i32(place.t * shape.stride_t + at.q * shape.dilation_t) - i32(shape.padding_t);
        let row = i32(place.y * p.stride + at.r * shape.dilation_h) - i32(shape.padding_h);
        let col = i32(place.x * p.stride + at.s * shape.dilation_w) - i32(shape.padding_w);
        // Numbers below zero are large as unsigned numbers.
        let inside = u32(frame) < p.source_t && u32(row) < p.source_h && u32(col) < p.source_w;
        let plane = (place.n * p.c_in + first) * channel_size + u32(frame) * plane_size;
        let begin = (plane + u32(row) * p.source_w + u32(col)) / WORD;
        for (var u = 0u; u < THREAD_CHANNELS; u++) {
            let exists = inside && (WHOLE || first + u < p.c_in);
            let loaded = source_load(select(0u, begin + u * (channel_size / WORD), exists));
            for (var k = 0u; k < WORD; k++) {
                // select, not a product with zero: what was loaded instead may be infinite.
                (*gathered)[i][u][k] = select(0.0h, loaded[k], exists);
            }
        }
    }
}
