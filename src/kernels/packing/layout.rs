//! The whole packed buffer: what it contains, where, and how it is written.

use std::fmt;

use super::blocks::Blocks;
use super::element::{check_range, push};
use super::paths::PathPacking;
use super::points::PointsPacking;
use crate::error::Error;
use crate::layer::{Frequency, Spec, Weights};
use crate::memory::with_room;
use crate::precision::Dtype;

/// Everything about a packed buffer that a kernel depends on. It does not depend on the size of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) dtype: Dtype,
    /// Output channels that are adjacent in the buffer: 1, 2 or 4. If the paths are matrices, this is for biases only.
    pub(crate) lanes: u32,
    /// If the paths are matrices, of as many rows and columns as a block has channels: the matrices of a slab. The
    /// input channels of a tap are padded to whole slabs.
    pub(crate) matrix_slab: Option<u32>,
    /// The outputs whose biases come first in the buffer.
    pub(crate) biases: Vec<BiasPacking>,
    /// The paths, which come after the biases.
    pub(crate) paths: Vec<PathPacking>,
    /// Kernels at the points of a Winograd transform, which come last.
    pub(crate) points: Vec<PointsPacking>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BiasPacking {
    /// The output whose bias it is. `None` packs zeros, for a partial sum to which another dispatch adds the bias.
    pub(crate) of: Option<Frequency>,
    pub(crate) blocks: Blocks,
}

/// Where the parts of a packed buffer begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    /// Where each bias begins, in vectors of `lanes` f32.
    pub(crate) biases: Vec<u32>,
    /// Where each path begins, in vectors of `lanes` weights, or in matrices.
    pub(crate) paths: Vec<u32>,
    /// Where each [`PointsPacking`] begins, in vectors of `lanes` weights.
    pub(crate) points: Vec<u32>,
    /// Size of the whole buffer.
    pub(crate) bytes: u64,
}

impl Packing {
    /// Bytes of a vector of weights.
    fn lane_bytes(&self) -> u64 {
        self.dtype.bytes() * u64::from(self.lanes)
    }

    /// Bytes of the unit in which the offset of a path is counted: a vector of weights, or a matrix.
    fn unit_bytes(&self, path: &PathPacking) -> u64 {
        let elements = self.matrix_slab.map_or(self.lanes, |_| path.blocks.block.pow(2));
        self.dtype.bytes() * u64::from(elements)
    }

    pub(crate) fn offsets(&self, spec: &Spec) -> Offsets {
        let mut bytes = 0u64;
        let mut biases = Vec::new();
        for bias in &self.biases {
            biases.push((bytes / (4 * u64::from(self.lanes))) as u32);
            bytes += 4 * bias.blocks.slots();
        }
        let mut paths = Vec::new();
        for path in &self.paths {
            bytes = bytes.next_multiple_of(self.unit_bytes(path));
            paths.push((bytes / self.unit_bytes(path)) as u32);
            bytes += path.elements(spec, self.matrix_slab) * self.dtype.bytes();
        }
        let mut points = Vec::new();
        for transformed in &self.points {
            points.push((bytes / self.lane_bytes()) as u32);
            bytes += transformed.elements(spec) * self.dtype.bytes();
            bytes = bytes.next_multiple_of(self.lane_bytes());
        }
        Offsets { biases, paths, points, bytes: bytes.next_multiple_of(16).max(16) }
    }

    /// Writes weights in this layout. They must have been validated.
    ///
    /// # Errors
    ///
    /// Those of [`check_range`](super::check_range), and [`Error::OutOfMemory`].
    pub(crate) fn pack(&self, spec: &Spec, weights: &Weights) -> Result<Vec<u8>, Error> {
        let offsets = self.offsets(spec);
        let mut out = with_room(offsets.bytes, "packing weights")?;
        for bias in &self.biases {
            let affine = bias.of.map(|frequency| weights.affine(spec, frequency));
            for channel in bias.blocks.channels() {
                let value = channel.zip(affine.as_ref()).map_or(0.0, |(c, affine)| affine[c as usize].1);
                if let (Some(frequency), Some(channel)) = (bias.of, channel) {
                    check_range(bias_name(frequency), channel as usize, value, Dtype::F32)?;
                }
                push(value, Dtype::F32, &mut out);
            }
        }
        for (path, &offset) in self.paths.iter().zip(&offsets.paths) {
            out.resize(offset as usize * self.unit_bytes(path) as usize, 0);
            path.pack(spec, weights, self.matrix_slab, self.dtype, &mut out)?;
        }
        for (points, &offset) in self.points.iter().zip(&offsets.points) {
            out.resize(offset as usize * self.lane_bytes() as usize, 0);
            points.pack(spec, weights, self.dtype, &mut out)?;
        }
        out.resize(offsets.bytes as usize, 0);
        Ok(out)
    }
}

fn bias_name(frequency: Frequency) -> &'static str {
    match frequency {
        Frequency::High => "bias_h",
        Frequency::Low => "bias_l",
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.matrix_slab {
            Some(slab) => write!(f, "{} in matrices, {slab} per slab", self.dtype)?,
            None => write!(f, "{} x{}", self.dtype, self.lanes)?,
        }
        for PathPacking { path, blocks, inner } in &self.paths {
            write!(
                f,
                " {path:?}[{}x{} of {}, taps {}x{}]",
                blocks.count(),
                blocks.block,
                blocks.groups,
                inner[0],
                inner[1]
            )?;
        }
        for PointsPacking { paths, blocks, outputs, unroll } in &self.points {
            let (count, block) = (blocks.count(), blocks.block);
            write!(f, " {paths:?}[{count}x{block}, tiles {outputs}x{outputs}, by {unroll}]")?;
        }
        Ok(())
    }
}
