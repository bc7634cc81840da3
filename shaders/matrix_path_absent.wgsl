// What stands in for shaders/matrix_path.wgsl where the layer does not have the path.

fn path_fetch(held: ptr<function, Held>, places: ptr<function, Places>, p: PathShape, at: Cursor, share: u32) {
}
