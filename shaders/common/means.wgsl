// Means of 2x2 blocks, which are given row by row: (top left, top right, bottom left, bottom right).

fn mean_of(block: vec4<f32>) -> f32 {
    return 0.25 * (block.x + block.y + block.z + block.w);
}

// The mean of the positions that exist, at an edge of odd size: `right` says whether the right column exists, `below`
// whether the lower row does. The neighbour stands in for what does not exist, which leaves the mean as it is.
fn mean_of_existing(block: vec4<f32>, right: bool, below: bool) -> f32 {
    let top = vec2(block.x, select(block.x, block.y, right));
    let bottom = vec2(block.z, select(block.z, block.w, right));
    return mean_of(vec4(top, select(top, bottom, below)));
}
