// What stands in for shaders/path.wgsl where the layer does not have the path.

const PATH_ACC: u32 = PATH_ROWS * PATH_COLS * PATH_VECTORS;

fn path_accumulate(
    acc: ptr<function, array<Lane, PATH_ACC>>,
    p: PathShape,
    n: u32,
    t: u32,
    group: u32,
    block: u32,
    y: u32,
    x: u32,
) {
}
