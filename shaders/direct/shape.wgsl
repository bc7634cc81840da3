// What all files of the direct kernel share: its uniform, and the constants of the whole dispatch.

#import common/lanes

const WORKGROUP: u32 = 64u;
// Threads that lie side by side along the output channels of a block: the whole workgroup, or 1 if its threads lie
// along the positions.
const ACROSS: u32 = 1u;
// Whether taps can lie in the padding.
const MASKED: bool = true;
// Whether input channels are cut into slices, each of which makes partial sums.
const SLICED: bool = false;
// The order of products. If true, output channel by output channel: a software device keeps this order, and has few
// sums in use at a time. If false, in the order of the weights: a GPU then holds few weights at a time.
const CHANNEL_BY_CHANNEL: bool = false;

// The type of products, f32 or f16, and a vector of LANES of them.
alias Factor = f32;
alias Factors = Lane;

struct PathShape {
    group_channels: u32, // input channels of one group
    source_channels: u32, // the tensor that the path reads
    source_t: u32,
    source_h: u32,
    source_w: u32,
    half_h: u32, // the source after one pooling
    half_w: u32,
    map_h: u32, // the source after LEVEL poolings: what is convolved
    map_w: u32,
    last_h: u32, // the last row and column of outputs; those beyond read the same inputs as the last
    last_w: u32,
    outer_h: u32, // inner kernels in the kernel, along h and w
    outer_w: u32,
    weights: u32, // where the weights begin, in Factors
    unused_a: u32,
    unused_b: u32,
}

struct OutputShape {
    tensor_channels: u32,
    t: u32,
    h: u32,
    w: u32,
    rows: u32, // tiles along h and w
    cols: u32,
    threads: u32, // n * t * rows * cols
    blocks: u32, // blocks of all groups; a workgroup makes one
    group_channels: u32, // output channels of one group
    group_blocks: u32, // blocks of one group
    bias: u32, // where the biases begin, in Lanes
    pooled_h: u32,
    pooled_w: u32,
    first_channel: u32, // the tensor's channel that is the layer's first
    first_row: u32, // the row of the layer's output that is the tensor's first
    slice_planes: u32, // planes of the partial sums of one slice
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
    kernel_t: u32,
    stride_t: u32,
    padding_t: u32,
    dilation_t: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_h: u32,
    dilation_w: u32,
    slope: f32, // of leaky ReLU
    slices: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// Which outputs a thread makes.
struct Owner {
    n: u32,
    t: u32,
    y: u32, // row and column of its tile, counted in tiles
    x: u32,
    group: u32,
    block: u32, // of all groups
    across: u32, // its number among the ACROSS threads that share the block
    slice: u32, // of the input channels
}
