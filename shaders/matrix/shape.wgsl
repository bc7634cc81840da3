// The uniform of matrix/matrix.

struct PathShape {
    c_in: u32,
    slabs: u32, // of a tap
    source_t: u32, // of the tensor that the path reads
    source_h: u32,
    source_w: u32,
    stride: u32,
    // Where the weights begin, counted in matrices so that drivers see the alignment, and load them in wide words.
    weights: u32,
    row_size: u32, // matrices of SIDE output channels, over all taps and slabs
}

struct OutputShape {
    tensor_c: u32, // channels of the whole tensor
    first_c: u32, // the tensor's channel that is the layer's first
    c_out: u32, // channels that the layer makes
    t: u32,
    h: u32,
    w: u32,
    counted_rows: u32, // rows of cells that are counted per frame
    counted_cols: u32, // cells that are counted per row
    cells: u32, // n * t * counted_rows * counted_cols
    blocks: u32, // of output channels, one per workgroup
    bias: u32, // where the biases begin
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
    stride_t: u32,
    kernel_t: u32,
    kernel_h: u32,
    kernel_w: u32,
    padding_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_t: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32,
    slices: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
