// Winograd convolution, its first dispatch: the inputs at the points of their tiles.
//
//   V[a][c][tile] = (B^T d B)[a]      d the WINDOW x WINDOW inputs of channel c under a tile, zero outside of the map
//
// There is a feed for each path, an instance of shaders/winograd_feed.wgsl, but that L->H at stride 1 has L->L's: X_H,
// and at stride 2 X_L, at high resolution; X_L and pool(X_H) at low resolution. The channels of a resolution are stacked.
// A thread makes all points of TILES tiles of one channel; tiles run fastest, so that what threads store lies side by
// side. What it has of its tiles at a point is one Value.
//
// Operands: X [n][c][t][h][w]; V of each resolution [a][c][tile], channels of each feed padded with zeros to a multiple
// of 4.
//
// The host guarantees: kernel 3x3, dilation 1, maps that are convolved at stride 1; tiles that cover the outputs; rows of V
// as long as all tiles, and a multiple of TILES.

struct Feed {
    workgroups: u32,
    threads: u32, // across * padded channels
    across: u32, // threads along a row of V
    tiles: u32, // n * t * rows * cols
    rows: u32, // tiles along h and w
    cols: u32,
    channels: u32,
    t: u32,
    source_h: u32,
    source_w: u32,
    map_h: u32, // what is convolved: the source, or its mean
    map_w: u32,
    points: u32, // where its part of V begins, and strides, in Values
    point_stride: u32, // from one point to the next
    channel_stride: u32,
    unused: u32,
}

struct Shape {
    hh: Feed,
    hl: Feed,
    lh: Feed,
    ll: Feed,
    grid_x: u32,
    padding_h: u32,
    padding_w: u32,
    unused: u32,
}

// Where a tile's window begins, and in which plane; only a live one has values, others are zeros.
struct Place {
    plane: u32,
    y: i32,
    x: i32,
    live: bool,
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    let counts = vec4(shape.hh.workgroups, shape.hl.workgroups, shape.lh.workgroups, shape.ll.workgroups);
    if workgroup >= sum_of(counts) {
        return;
    }
    let turn = turn_of(workgroup, counts);
    if HAS_HH && turn.kind == 0u {
        hh_feed(shape.hh, turn.index, local);
    } else if HAS_HL && turn.kind == 1u {
        hl_feed(shape.hl, turn.index, local);
    } else if HAS_LH && turn.kind == 2u {
        lh_feed(shape.lh, turn.index, local);
    } else if HAS_LL && turn.kind == 3u {
        ll_feed(shape.ll, turn.index, local);
    }
}
