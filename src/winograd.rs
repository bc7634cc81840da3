//! Winograd's minimal filtering for kernels of 3x3: the transforms, and how they change rounding errors.
//!
//! F(m x m, 3x3) makes a Winograd tile of m x m outputs Y from n x n inputs d, where n = m + 2, and a kernel g:
//!
//!   Y = A^T [ sum over c of (G g G^T) * (B^T d B) ] A          (* element by element)
//!
//! That takes n x n multiplications per channel instead of 9 m^2. B^T, G and A^T follow from the n - 1 points at which
//! polynomials are multiplied, and infinity. The points are 0, 1, -1 for m = 2, and 0, P, -P, Q, -Q for m = 4.
//!
//! # Rounding
//!
//! Let W = |A^T| [ sum over c of (|G| |g| |G^T|) * (|B^T| |d| |B|) ] |A|. Each of the three transforms is two matrix
//! products. The rounding errors of a matrix product are small against the same product of absolute values, and so are
//! those of the sum over c. To first order the error of an output is therefore at most
//!
//!   (2 b + w + k + 2 a) u W
//!
//! (Higham, Accuracy and Stability of Numerical Algorithms, section 3; Barabasz et al., 2020, for these transforms).
//! Here u is the unit roundoff; b and a are the additions and multiplications in a line of B^T and of A^T; w is the
//! rounding of G g G^T when it is stored, because it is computed in f64; and k belongs to a sum over c. Constants are
//! exact: P and Q are binary fractions of few digits.
//!
//! On random numbers, W is about 7 (m = 2) and 39 (m = 4) times the sum of |w * x|, but the errors found are only .6
//! and 1.7 times that of the plain sum. P = 5/8 and Q = 3/2 were chosen for this: the usual 1 and 2 give W = 76, and
//! 3.6 times the error of the plain sum.

/// The matrices of F(m x m, 3x3).
#[derive(Debug)]
pub(crate) struct Transform {
    /// B^T, n x n.
    pub(crate) input: &'static [&'static [f64]],
    /// G, n x 3.
    pub(crate) kernel: &'static [&'static [f64]],
    /// A^T, m x n.
    #[cfg_attr(not(feature = "verify"), allow(dead_code, reason = "shaders have it; hosts bound errors by it"))]
    pub(crate) output: &'static [&'static [f64]],
}

const F2: Transform = Transform {
    input: &[&[1.0, 0.0, -1.0, 0.0], &[0.0, 1.0, 1.0, 0.0], &[0.0, -1.0, 1.0, 0.0], &[0.0, -1.0, 0.0, 1.0]],
    kernel: &[&[1.0, 0.0, 0.0], &[0.5, 0.5, 0.5], &[0.5, -0.5, 0.5], &[0.0, 0.0, 1.0]],
    output: &[&[1.0, 1.0, 1.0, 0.0], &[0.0, 1.0, -1.0, 1.0]],
};

const P: f64 = 0.625;
const Q: f64 = 1.5;
const PP: f64 = P * P;
const QQ: f64 = Q * Q;
/// Of a point: the product of its distances to the other points.
const AT_0: f64 = PP * QQ;
const AT_P: f64 = 2.0 * PP * (PP - QQ);
const AT_Q: f64 = 2.0 * QQ * (QQ - PP);

const F4: Transform = Transform {
    input: &[
        &[PP * QQ, 0.0, -(PP + QQ), 0.0, 1.0, 0.0],
        &[0.0, -P * QQ, -QQ, P, 1.0, 0.0],
        &[0.0, P * QQ, -QQ, -P, 1.0, 0.0],
        &[0.0, -Q * PP, -PP, Q, 1.0, 0.0],
        &[0.0, Q * PP, -PP, -Q, 1.0, 0.0],
        &[0.0, PP * QQ, 0.0, -(PP + QQ), 0.0, 1.0],
    ],
    kernel: &[
        &[1.0 / AT_0, 0.0, 0.0],
        &[1.0 / AT_P, P / AT_P, PP / AT_P],
        &[1.0 / AT_P, -P / AT_P, PP / AT_P],
        &[1.0 / AT_Q, Q / AT_Q, QQ / AT_Q],
        &[1.0 / AT_Q, -Q / AT_Q, QQ / AT_Q],
        &[0.0, 0.0, 1.0],
    ],
    output: &[
        &[1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        &[0.0, P, -P, Q, -Q, 0.0],
        &[0.0, PP, PP, QQ, QQ, 0.0],
        &[0.0, P * PP, -P * PP, Q * QQ, -Q * QQ, 1.0],
    ],
};

impl Transform {
    /// The transform for 2 or 4 outputs along an axis.
    pub(crate) fn of(outputs: u32) -> &'static Self {
        if outputs == 2 { &F2 } else { &F4 }
    }

    /// Points of a Winograd tile: n x n.
    pub(crate) fn points(&self) -> usize {
        self.input.len() * self.input.len()
    }

    /// G g G^T for a kernel g `[3][3]`.
    pub(crate) fn kernel(&self, kernel: &[f64; 9]) -> Vec<f64> {
        sandwich(self.kernel, kernel, |v| v)
    }

    /// 2 b + w + 2 a of the module's documentation. b and a are 4: no value in a line of either transform is rounded
    /// more often.
    #[cfg(feature = "context")]
    pub(crate) const ROUNDINGS: f64 = 2.0 * 4.0 + 1.0 + 2.0 * 4.0;
}

/// M x M^T, row by row, where `value` is applied to every element of M and x first.
pub(crate) fn sandwich(matrix: &[&[f64]], x: &[f64], value: impl Fn(f64) -> f64 + Copy) -> Vec<f64> {
    let columns = matrix[0].len();
    let dot =
        |row: &[f64], x: &mut dyn Iterator<Item = f64>| row.iter().zip(x).map(|(m, x)| value(*m) * value(x)).sum();
    // The product of every row of M with each column of x.
    let half: Vec<Vec<f64>> = matrix
        .iter()
        .map(|row| (0..columns).map(|j| dot(row, &mut x.iter().skip(j).step_by(columns).copied())).collect())
        .collect();
    half.iter().flat_map(|line| matrix.iter().map(move |row| dot(row, &mut line.iter().copied()))).collect()
}
