// In place of matrix/replicated: L->H is not replicated, or an earlier dispatch has made its sums.

#import matrix/tile

fn accumulate(
    cell_sums: ptr<function, CellSums>,
    o: OutputShape,
    first_cell: u32,
    first_row: u32,
    has_piece: bool,
    local: u32,
    slice: u32,
) {
}
