// What stands in for shaders/path.wgsl where the layer does not have the path.

fn path_accumulate(
    acc: ptr<function, array<array<array<array<f32, PATH_COLS>, PATH_ROWS>, LANES>, PATH_VECTORS>>,
    p: PathShape,
    n: u32,
    t: u32,
    group: u32,
    block: u32,
    across: u32,
    y: u32,
    x: u32,
    slice: u32,
) {
}
