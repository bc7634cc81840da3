//! The magnitude to which the rounding errors of a Winograd convolution are proportional.

use super::tensor::Tensor;
use crate::dims::Dims;
use crate::winograd::{Transform, sandwich};

/// W of `src/winograd.rs`, for a convolution of stride 1 with kernels `[c_out][c_in][3][3]` and zero padding. No
/// element of `source` is negative.
pub(super) fn magnitude(
    transform: &Transform,
    source: &Tensor,
    kernels: &[f64],
    c_out: u32,
    padding: [u32; 2],
) -> Tensor {
    let Dims { n, c: c_in, t, h, w } = source.dims;
    let dims = Dims { n, c: c_out, t, h: h + 2 * padding[0] - 2, w: w + 2 * padding[1] - 2 };
    let (window, tile) = (transform.input.len(), transform.output.len());
    let points: Vec<_> = kernels.chunks_exact(9).map(|g| sandwich(transform.kernel, g, f64::abs)).collect();
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
                    sandwich(transform.input, &d, f64::abs)
                })
                .collect();
            for oc in 0..c_out as usize {
                let mut sums = vec![0.0; window * window];
                for (v, u) in inputs.iter().zip(&points[oc * c_in as usize..]) {
                    sums.iter_mut().zip(v).zip(u).for_each(|((sum, v), u)| *sum += v * u);
                }
                let made = sandwich(transform.output, &sums, f64::abs);
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
