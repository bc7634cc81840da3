// What the files of winograd/input share: the uniform, V, and where windows lie.

#import tensors/output as v
#import winograd/transform_4

const WORKGROUP: u32 = 64u;

// The inputs of one path.
struct Feed {
    workgroups: u32,
    threads: u32, // row_threads * padded channels
    row_threads: u32, // threads along a row of V
    tiles: u32, // n * t * rows * cols
    rows: u32, // Winograd tiles along h and w
    cols: u32,
    channels: u32,
    t: u32,
    source_h: u32, // size of the tensor
    source_w: u32,
    map_h: u32, // size of what is convolved: the tensor, or its means
    map_w: u32,
    v_first: u32, // where the feed begins in V, and the distances between points and between channels, in Values
    v_point: u32,
    v_channel: u32,
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

@group(0) @binding(0) var<uniform> shape: Shape;

// Where the window of a Winograd tile begins, and in which plane. Windows of channels that are padding are not `live`:
// they are zero.
struct Place {
    plane: u32,
    y: i32,
    x: i32,
    live: bool,
}

// A row of a window.
alias Line = array<f32, WINDOW>;
