// What stands in for shaders/matrix_low.wgsl where L->H is not replicated, or done before.

fn sum_from_low(
    starts: ptr<function, Starts>,
    o: OutputShape,
    first_cell: u32,
    block: u32,
    piece_row: u32,
    local: u32,
    slice: u32,
) {
}
