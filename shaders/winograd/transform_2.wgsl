// In place of winograd/transform_4: the transforms of F(2, 3). The points are 0, 1, -1 and infinity.

#import winograd/values

const TILE: u32 = 2u;
const WINDOW: u32 = 4u;

// B^T d: transforms a window of inputs to the points.
fn to_points(d: array<Value, WINDOW>) -> array<Value, WINDOW> {
    return array<Value, WINDOW>(d[0] - d[2], d[2] + d[1], d[2] - d[1], d[3] - d[1]);
}

// A^T m: transforms sums at the points to the outputs of a Winograd tile.
fn from_points(m: array<Value, WINDOW>) -> array<Value, TILE> {
    return array<Value, TILE>(m[0] + m[1] + m[2], m[1] - m[2] + m[3]);
}

// The first half of the outputs of a Winograd tile, from all points but the last. Or, if `second`, the second half,
// from all points but the first.
fn half_from_points(m: array<Value, WINDOW - 1u>, second: bool) -> array<Value, TILE / 2u> {
    return array<Value, TILE / 2u>(select(m[0] + m[1] + m[2], m[0] - m[1] + m[2], second));
}
