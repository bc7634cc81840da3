//! The packed weights of one path.
//!
//! Their layout is `[group][block][kt][outer h][outer w][c_in][inner h][inner w][oc]`, in f32 or f16. The kernel is
//! divided into outer h x outer w inner kernels.
//!
//! For matrix units a block has as many channels as a matrix has rows, `side`. The layout is
//! `[block][kt][h][w][c_in / side][oc][c_in % side]`: one matrix after the other, each row by row. Input channels are
//! padded with zeros to whole slabs of matrices.

use super::blocks::Blocks;
use super::element::{check_range, push};
use crate::error::Error;
use crate::layer::{Path, Spec, Weights};
use crate::precision::Dtype;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathPacking {
    pub(crate) path: Path,
    pub(crate) blocks: Blocks,
    /// Taps of the inner kernel along h and w.
    pub(crate) inner: [u32; 2],
}

/// The weights of a path in the order of a checkpoint, and the affine map after the convolution, to fold into them.
struct Source<'a> {
    weights: &'a [f32],
    affine: Vec<(f64, f64)>,
    /// c_in, kt, kh and kw.
    shape: [usize; 4],
}

impl Source<'_> {
    fn check(&self, tensor: &'static str, dtype: Dtype) -> Result<(), Error> {
        let per_channel = self.shape.iter().product::<usize>().max(1);
        for (channel, (kernel, affine)) in self.weights.chunks(per_channel).zip(&self.affine).enumerate() {
            // An infinite weight stays one, and hides no other.
            let finite = kernel.iter().filter(|w| w.is_finite());
            let largest = finite.fold(0.0, |most: f32, w| most.max(w.abs()));
            check_range(tensor, channel, f64::from(largest) * affine.0, dtype)?;
        }
        Ok(())
    }

    /// The weight of an output channel, an input channel and a tap; zero if one of the channels is padding.
    fn weight(&self, channel: Option<u32>, c: usize, [q, r, s]: [usize; 3]) -> f64 {
        let [c_in, kt, kh, kw] = self.shape;
        channel.filter(|_| c < c_in).map_or(0.0, |oc| {
            let oc = oc as usize;
            let weight = self.weights[(((oc * c_in + c) * kt + q) * kh + r) * kw + s];
            f64::from(weight) * self.affine[oc].0
        })
    }
}

impl PathPacking {
    /// Number of input channels with their padding.
    fn padded(&self, c_in: u32, matrix_slab: Option<u32>) -> u32 {
        c_in.next_multiple_of(matrix_slab.map_or(1, |slab| slab * self.blocks.block))
    }

    /// Number of elements in the buffer.
    pub(super) fn elements(&self, spec: &Spec, matrix_slab: Option<u32>) -> u64 {
        let [_, c_in, kt, kh, kw] = spec.weight_shape(self.path);
        let taps = [kt, kh, kw].map(u64::from).iter().product::<u64>();
        self.blocks.slots() * u64::from(self.padded(c_in, matrix_slab)) * taps
    }

    /// Appends the path to a packed buffer.
    pub(super) fn pack(
        &self,
        spec: &Spec,
        weights: &Weights,
        matrix_slab: Option<u32>,
        dtype: Dtype,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let [_, c_in, kt, kh, kw] = spec.weight_shape(self.path);
        let source = Source {
            weights: weights.path(self.path).unwrap_or_default(),
            affine: weights.affine(spec, self.path.output()),
            shape: [c_in, kt, kh, kw].map(|d| d as usize),
        };
        source.check(self.path.weight_name(), dtype)?;
        let channels: Vec<_> = self.blocks.channels().collect();
        let padded = self.padded(c_in, matrix_slab) as usize;
        let mut write = |channel, c, tap| push(source.weight(channel, c, tap), dtype, out);
        for block in channels.chunks(self.blocks.block as usize) {
            for q in 0..kt as usize {
                match matrix_slab {
                    Some(_) => write_matrices(block, padded, q, [kh, kw].map(|d| d as usize), &mut write),
                    None => self.write_inner_kernels(block, q, source.shape, &mut write),
                }
            }
        }
        Ok(())
    }

    /// Writes one block of output channels at one tap along t, inner kernel by inner kernel.
    fn write_inner_kernels(
        &self,
        block: &[Option<u32>],
        q: usize,
        [c_in, _, kh, kw]: [usize; 4],
        write: &mut impl FnMut(Option<u32>, usize, [usize; 3]),
    ) {
        let [inner_h, inner_w] = self.inner.map(|d| d as usize);
        for (r, s) in product(kh / inner_h, kw / inner_w) {
            for c in 0..c_in {
                for (dr, ds) in product(inner_h, inner_w) {
                    let tap = [q, r * inner_h + dr, s * inner_w + ds];
                    block.iter().for_each(|&channel| write(channel, c, tap));
                }
            }
        }
    }
}

/// Writes one block of output channels at one tap along t, matrix by matrix.
fn write_matrices(
    block: &[Option<u32>],
    padded: usize,
    q: usize,
    [kh, kw]: [usize; 2],
    write: &mut impl FnMut(Option<u32>, usize, [usize; 3]),
) {
    let side = block.len();
    for (r, s) in product(kh, kw) {
        for first in (0..padded).step_by(side) {
            for &channel in block {
                (first..first + side).for_each(|c| write(channel, c, [q, r, s]));
            }
        }
    }
}

fn product(rows: usize, cols: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |r| (0..cols).map(move |c| (r, c)))
}
