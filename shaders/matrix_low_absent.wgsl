// What stands in for shaders/matrix_low.wgsl where L->H is not replicated, or done before.

fn sum_from_low(
    starts: ptr<function, Starts>,
    o: OutputShape,
    first_cell: u32,
    first_row: u32,
    has_piece: bool,
    local: u32,
    slice: u32,
) {
}
