// Means of 2x2 positions, in the order (top left, top right, bottom left, bottom right).
//
// At an edge of odd size the neighbour stands in for a position that does not exist. That gives the mean of the
// positions that exist. A caller that reads one position at a time reads the neighbour twice; mean_of_existing replaces
// positions that have been read already.

fn mean_of(cell: vec4<f32>) -> f32 {
    return 0.25 * (cell.x + cell.y + cell.z + cell.w);
}

// The mean of two rows, column by column.
fn mean_of_rows(top: vec2<f32>, bottom: vec2<f32>) -> f32 {
    let sums = top + bottom;
    return 0.25 * (sums.x + sums.y);
}

// The mean of the positions that exist: `right` says whether the right column does, `below` whether the lower row does.
fn mean_of_existing(cell: vec4<f32>, right: bool, below: bool) -> f32 {
    let top = vec2(cell.x, select(cell.x, cell.y, right));
    let bottom = vec2(cell.z, select(cell.z, cell.w, right));
    return mean_of(vec4(top, select(top, bottom, below)));
}
