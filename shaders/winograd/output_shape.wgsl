// What the files of winograd/output share: the uniform, and the outputs of a Winograd tile.

#import winograd/transform_4

// Where the sums of a product lie in M.
struct Sums {
    first: u32, // where they begin, and distances between points, Winograd tiles and Values of channels, in Values
    point: u32,
    tile: u32,
    channel: u32,
}

struct Output {
    workgroups: u32,
    threads: u32, // tiles * channels / PARTS, rounded up
    tiles: u32, // n * t * rows * cols
    rows: u32, // Winograd tiles along h and w
    cols: u32,
    t: u32,
    h: u32,
    w: u32,
    bias: u32, // where its biases begin
    tensor_channels: u32, // channels of the tensor, and which of them is the layer's first
    first_channel: u32,
    channels: u32, // that the layer makes
    sums: Sums,
}

struct Shape {
    high: Output,
    low: Output,
    from_low: Sums,
    from_low_rows: u32, // Winograd tiles at low resolution
    from_low_cols: u32,
    pooled_h: u32,
    pooled_w: u32,
    grid_x: u32,
    slope: f32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// The outputs of a Winograd tile of one channel.
alias Square = array<array<f32, TILE>, TILE>;
