//! Winograd's minimal filtering for kernels of 3x3: the transforms, and what they do to rounding errors.
//!
//! F(m x m, 3x3) makes a tile of m x m outputs from a window of n x n inputs d, n = m + 2, and a kernel g as
//!
//!   Y = A^T [ sum over c of (G g G^T) * (B^T d B) ] A          (* element by element)
//!
//! with n x n multiplications a channel in place of 9 m^2. B^T, G and A^T belong to n - 1 points and infinity, at which
//! polynomials are multiplied: 0, 1, -1 for m = 2; 0, P, -P, Q, -Q for m = 4.
//!
//! # Rounding
//!
//! Let W = |A^T| [ sum over c of (|G| |g| |G^T|) * (|B^T| |d| |B|) ] |A|. Each of the three transforms is two products
//! with a matrix, whose rounding errors are small against the same product of absolute values; so are those of the sum
//! over c. To first order the error of an output is therefore at most (2 b + w + k + 2 a) u W (Higham, Accuracy and
//! Stability of Numerical Algorithms, section 3; Barabasz et al., 2020, for these transforms), with u the unit roundoff,
//! b and a the additions and multiplications in a line of B^T and of A^T, w that of storing G g G^T, which is made in
//! f64, and k that of a sum over c. Constants are exact: P and Q are binary fractions of few digits.
//!
//! Where W is about 7 (m = 2) and 39 (m = 4) times the sum of |w * x|, on random numbers, the error found is .6 and 1.7
//! times that of the plain sum: P = 5/8 and Q = 3/2 were chosen for it, since the usual 1 and 2 make it 3.6 times
//! (W 76).

#[cfg(feature = "verify")]
use crate::reference::Tensor;
#[cfg(feature = "verify")]
use crate::spec::Dims;

/// The matrices of F(m x m, 3x3).
#[derive(Debug)]
pub(crate) struct Transform {
    /// B^T, n x n.
    input: &'static [&'static [f64]],
    /// G, n x 3.
    kernel: &'static [&'static [f64]],
    /// A^T, m x n.
    #[cfg_attr(not(feature = "verify"), allow(dead_code, reason = "shaders have it; hosts bound errors by it"))]
    output: &'static [&'static [f64]],
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
/// The products of a point's distances to the others.
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
    /// That of tiles of 2 or of 4 outputs along an axis.
    pub(crate) fn of(outputs: u32) -> &'static Self {
        if outputs == 2 { &F2 } else { &F4 }
    }

    /// Points of a tile.
    pub(crate) fn points(&self) -> usize {
        self.input.len() * self.input.len()
    }

    /// G g G^T for a kernel [3][3].
    pub(crate) fn kernel(&self, kernel: &[f64; 9]) -> Vec<f64> {
        sandwich(self.kernel, kernel, |v| v)
    }

    /// 2 b + w + 2 a of the module's documentation: any way through a line of either transform has at most four.
    #[cfg(feature = "context")]
    pub(crate) const ROUNDINGS: f64 = 2.0 * 4.0 + 1.0 + 2.0 * 4.0;

    /// W of the module's documentation, for a convolution of stride 1 with kernels `[c_out][c_in][3][3]` and zero
    /// padding. `source` is not negative.
    #[cfg(feature = "verify")]
    pub(crate) fn magnitude(&self, source: &Tensor, kernels: &[f64], c_out: u32, padding: [u32; 2]) -> Tensor {
        let Dims { n, c: c_in, t, h, w } = source.dims;
        let dims = Dims { n, c: c_out, t, h: h + 2 * padding[0] - 2, w: w + 2 * padding[1] - 2 };
        let (window, tile) = (self.input.len(), self.output.len());
        let points: Vec<_> = kernels.chunks_exact(9).map(|g| sandwich(self.kernel, g, f64::abs)).collect();
        let mut data = vec![0.0; dims.elements() as usize];
        let tiles = |size: u32| (0..size as usize).step_by(tile);
        let images = (0..n as usize).flat_map(|n| (0..t as usize).map(move |t| (n, t)));
        for (n, t) in images {
            for (y, x) in tiles(dims.h).flat_map(|y| tiles(dims.w).map(move |x| (y, x))) {
                let inputs: Vec<_> = (0..c_in as usize)
                    .map(|c| {
                        let plane = source.plane(n, c, t);
                        let at = |i: usize| {
                            let row = (y + i / window).checked_sub(padding[0] as usize)?;
                            let col = (x + i % window).checked_sub(padding[1] as usize)?;
                            ((row as u32) < h && (col as u32) < w).then(|| plane[row * w as usize + col])
                        };
                        let d: Vec<_> = (0..window * window).map(|i| at(i).unwrap_or(0.0)).collect();
                        sandwich(self.input, &d, f64::abs)
                    })
                    .collect();
                for oc in 0..c_out as usize {
                    let mut sums = vec![0.0; window * window];
                    for (v, u) in inputs.iter().zip(&points[oc * c_in as usize..]) {
                        sums.iter_mut().zip(v).zip(u).for_each(|((sum, v), u)| *sum += v * u);
                    }
                    let made = sandwich(self.output, &sums, f64::abs);
                    let plane = ((n * c_out as usize + oc) * dims.t as usize + t) * (dims.h * dims.w) as usize;
                    for (i, value) in made.into_iter().enumerate() {
                        let (row, col) = (y + i / tile, x + i % tile);
                        if row < dims.h as usize && col < dims.w as usize {
                            data[plane + row * dims.w as usize + col] = value;
                        }
                    }
                }
            }
        }
        Tensor { dims, data }
    }
}

/// M x M^T, row by row, of `value` of every element.
fn sandwich(matrix: &[&[f64]], x: &[f64], value: impl Fn(f64) -> f64 + Copy) -> Vec<f64> {
    let columns = matrix[0].len();
    let dot =
        |row: &[f64], x: &mut dyn Iterator<Item = f64>| row.iter().zip(x).map(|(m, x)| value(*m) * value(x)).sum();
    // Of every row of M, its product with each column of x.
    let half: Vec<Vec<f64>> = matrix
        .iter()
        .map(|row| (0..columns).map(|j| dot(row, &mut x.iter().skip(j).step_by(columns).copied())).collect())
        .collect();
    half.iter().flat_map(|line| matrix.iter().map(move |row| dot(row, &mut line.iter().copied()))).collect()
}
