// Winograd's transforms along one axis, F(4, 3): 4 outputs from a window of 6 inputs and a kernel of 3 taps. The points
// are 0, P, -P, Q, -Q and infinity. `src/winograd.rs` derives the matrices.
//
// P = 5/8 and Q = 3/2 halve the error of sums, compared with the usual 1 and 2, and make every constant exact in f32.

#import winograd/values

// Outputs of a Winograd tile along an axis, and inputs under them.
const TILE: u32 = 4u;
const WINDOW: u32 = 6u;
const P: f32 = 0.625;
const Q: f32 = 1.5;
const PP: f32 = P * P;
const QQ: f32 = Q * Q;

// B^T d: transforms a window of inputs to the points.
fn to_points(d: array<Value, WINDOW>) -> array<Value, WINDOW> {
    let p_even = d[4] - QQ * d[2];
    let p_odd = P * (d[3] - QQ * d[1]);
    let q_even = d[4] - PP * d[2];
    let q_odd = Q * (d[3] - PP * d[1]);
    return array<Value, WINDOW>(
        PP * QQ * d[0] - (PP + QQ) * d[2] + d[4],
        p_even + p_odd,
        p_even - p_odd,
        q_even + q_odd,
        q_even - q_odd,
        PP * QQ * d[1] - (PP + QQ) * d[3] + d[5],
    );
}

// A^T m: transforms sums at the points to the outputs of a Winograd tile.
fn from_points(m: array<Value, WINDOW>) -> array<Value, TILE> {
    let p_sum = m[1] + m[2];
    let p_difference = m[1] - m[2];
    let q_sum = m[3] + m[4];
    let q_difference = m[3] - m[4];
    return array<Value, TILE>(
        m[0] + p_sum + q_sum,
        P * p_difference + Q * q_difference,
        PP * p_sum + QQ * q_sum,
        P * PP * p_difference + Q * QQ * q_difference + m[5],
    );
}

// The first half of the outputs of a Winograd tile, from all points but the last. Or, if `second`, the second half,
// from all points but the first.
fn half_from_points(m: array<Value, WINDOW - 1u>, second: bool) -> array<Value, TILE / 2u> {
    // The sums at P, -P, Q and -Q. If `second`, m begins with the point P.
    let p_plus = select(m[1], m[0], second);
    let p_minus = select(m[2], m[1], second);
    let q_plus = select(m[3], m[2], second);
    let q_minus = select(m[4], m[3], second);
    let p_sum = p_plus + p_minus;
    let p_difference = p_plus - p_minus;
    let q_sum = q_plus + q_minus;
    let q_difference = q_plus - q_minus;
    return array<Value, TILE / 2u>(
        select(m[0] + p_sum + q_sum, PP * p_sum + QQ * q_sum, second),
        select(P * p_difference + Q * q_difference, P * PP * p_difference + Q * QQ * q_difference + m[4], second),
    );
}
