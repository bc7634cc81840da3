// The uniform of staged/staged.

struct PathShape {
    c_in: u32,
    source_t: u32, // of the tensor that the path reads
    source_h: u32,
    source_w: u32,
    pooled_h: u32, // of that tensor after one pooling
    pooled_w: u32,
    map_h: u32, // of that tensor after LEVEL poolings: the map that is convolved
    map_w: u32,
    last_h: u32, // the last row and column that L->H makes; positions beyond repeat them
    last_w: u32,
    weights: u32, // where the weights begin, in vectors
    taps: u32, // of the kernel
    slabs: u32, // of the input channels
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

struct OutputShape {
    c_out: u32, // channels that the layer makes
    tensor_c: u32, // channels of the whole tensor
    first_c: u32, // the tensor's channel that is the layer's first
    t: u32,
    h: u32,
    w: u32,
    cell_rows: u32,
    cell_cols: u32,
    cells: u32, // n * t * cell_rows * cell_cols
    blocks: u32, // of output channels
    bias: u32, // where the biases begin, in vectors of f32
    pooled_h: u32, // of Y_P
    pooled_w: u32,
    given_h: u32, // of the sums of L->H, if an earlier dispatch has made them
    given_w: u32,
    planes: u32, // of one slice's partial sums: n * c_out * t
}

struct Shape {
    hh: PathShape,
    hl: PathShape,
    lh: PathShape,
    ll: PathShape,
    high: OutputShape,
    low: OutputShape,
    grid_x: u32,
    high_workgroups: u32, // of one slice
    workgroups: u32, // of one slice, for both outputs
    kernel_h: u32,
    kernel_w: u32,
    stride_t: u32,
    padding_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_t: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    slices: u32,
    unused_a: u32,
    unused_b: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
