// How one path's inputs are gathered for shaders/matrix.wgsl, as a template: the host instantiates it for hh, hl, lh and
// ll by renaming `path_` and `PATH_`, and writes in front of each instance
//
//   fn path_load(i: u32) -> array<f16, SPAN>     SPAN elements of the tensor that the path reads, from i * SPAN on
//   const PATH_WHOLE: bool                       whether its channels are whole slabs
//
// A thread takes RUN channels, from share * RUN on, of a step's slab, for each of its spans of positions.

fn path_fetch(held: ptr<function, Held>, places: ptr<function, Places>, p: PathShape, at: Cursor, share: u32) {
    let plane_size = p.source_h * p.source_w;
    let channel_size = p.source_t * plane_size;
    let first = at.slab * SLAB + share * RUN;
    for (var i = 0u; i < HELD; i++) {
        let place = (*places)[i];
        let frame = i32(place.t * shape.stride_t + at.kt * shape.dilation_t) - i32(shape.padding_t);
        let row = i32(place.y * p.stride + at.r * shape.dilation_h) - i32(shape.padding_h);
        let col = i32(place.x * p.stride + at.s * shape.dilation_w) - i32(shape.padding_w);
        // As unsigned numbers those below zero are large.
        let inside = u32(frame) < p.source_t && u32(row) < p.source_h && u32(col) < p.source_w;
        let plane = (place.n * p.channels + first) * channel_size + u32(frame) * plane_size;
        let begin = (plane + u32(row) * p.source_w + u32(col)) / SPAN;
        for (var u = 0u; u < RUN; u++) {
            let there = inside && (PATH_WHOLE || first + u < p.channels);
            let loaded = path_load(select(0u, begin + u * (channel_size / SPAN), there));
            for (var k = 0u; k < SPAN; k++) {
                // select and not a product with zero: what lies elsewhere may be infinite.
                (*held)[i][u][k] = select(0.0h, loaded[k], there);
            }
        }
    }
}
