//! The whole packed buffer: what lies in it, where, and how it is written.

use std::fmt;

use super::blocks::Blocks;
use super::element::push;
use super::paths::PathPacking;
use super::points::PointsPacking;
use crate::layer::{Frequency, Spec, Weights};
use crate::precision::Dtype;

/// Everything about a packed buffer that a kernel depends on. Independent of the input's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) dtype: Dtype,
    /// Output channels that are adjacent in the buffer: 1, 2 or 4. For matrices, of the biases alone.
    pub(crate) lanes: u32,
    /// If the paths are matrices of blocks x blocks: how many of them, side by side, the channels of a tap fill up.
    pub(crate) matrix_slab: Option<u32>,
    /// The outputs whose biases lead the buffer.
    pub(crate) biases: Vec<BiasPacking>,
    /// The paths behind them.
    pub(crate) paths: Vec<PathPacking>,
    /// Kernels of 3x3 at the points of a transform.
    pub(crate) points: Vec<PointsPacking>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BiasPacking {
    /// Whose bias; `None` packs zeros (a partial sum that gets its bias elsewhere).
    pub(crate) of: Option<Frequency>,
    pub(crate) blocks: Blocks,
}

/// Where the parts of a packed buffer begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    /// Of each bias, in f32 Lanes.
    pub(crate) biases: Vec<u32>,
    /// Of each path, in Lanes of the weights' type, or in matrices.
    pub(crate) paths: Vec<u32>,
    /// Of the points of each transform, likewise.
    pub(crate) points: Vec<u32>,
    /// Of the whole buffer.
    pub(crate) bytes: u64,
}

impl Packing {
    /// Bytes of one Lane of weights.
    fn lane_bytes(&self) -> u64 {
        self.dtype.bytes() * u64::from(self.lanes)
    }

    /// Bytes of what offsets of a path count: a Lane of weights, or a matrix.
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

    /// Writes validated weights as this packing lays them out.
    pub(crate) fn pack(&self, spec: &Spec, weights: &Weights) -> Vec<u8> {
        let offsets = self.offsets(spec);
        let mut out = Vec::with_capacity(offsets.bytes as usize);
        for bias in &self.biases {
            let affine = bias.of.map(|frequency| weights.affine(spec, frequency));
            for channel in bias.blocks.channels() {
                let value = channel.zip(affine.as_ref()).map_or(0.0, |(c, affine)| affine[c as usize].1);
                push(value, Dtype::F32, &mut out);
            }
        }
        for (path, &offset) in self.paths.iter().zip(&offsets.paths) {
            out.resize(offset as usize * self.unit_bytes(path) as usize, 0);
            path.pack(spec, weights, self.matrix_slab, self.dtype, &mut out);
        }
        for (points, &offset) in self.points.iter().zip(&offsets.points) {
            out.resize(offset as usize * self.lane_bytes() as usize, 0);
            points.pack(spec, weights, self.dtype, &mut out);
        }
        out.resize(offsets.bytes as usize, 0);
        out
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.matrix_slab {
            Some(slab) => write!(f, "{} in matrices, {slab} a slab", self.dtype)?,
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
