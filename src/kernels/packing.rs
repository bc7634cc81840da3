//! How weights lie in the buffer that a kernel reads, and the packing of a checkpoint's tensors into it.
//!
//! A packed buffer holds the biases of Y_H, then of Y_L, in f32, `[block][oc]`; then the kernel of each path,
//! `[group][block][kt][outer h][outer w][c_in][inner h][inner w][oc]` in f32 or f16. A block is `vectors * lanes`
//! output channels of one group; the last block of a group is padded with zeros. An *inner* kernel is the part of the
//! kernel that shares one window of the input; outer x inner is the kernel.
//!
//! For matrix units a block is the rows of a matrix, and a path is `[block][kt][h][w][c_in / side][oc][c_in % side]`, one
//! matrix after the other in rows, its input channels padded with zeros to whole slabs of matrices.
//!
//! Kernels at the points of a Winograd transform lie behind those, `[point][block][c_in][oc]`.

use half::f16;

use crate::layer::Weights;
use crate::layer::{Frequency, Path, Spec};
use crate::precision::Dtype;
use crate::winograd::Transform;

/// Everything about a packed buffer that a kernel depends on. Independent of the input's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packing {
    pub(crate) dtype: Dtype,
    /// Output channels that are adjacent in the buffer: 1, 2 or 4. For matrices, of the biases alone.
    pub(crate) lanes: u32,
    /// Where the paths are matrices of blocks x blocks: how many of them, side by side, the channels of a tap fill up.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathPacking {
    pub(crate) path: Path,
    pub(crate) blocks: Blocks,
    /// Taps along h and w that share a window.
    pub(crate) inner: [u32; 2],
}

impl PathPacking {
    /// Input channels with their padding.
    fn padded(&self, c_in: u32, matrix_slab: Option<u32>) -> u32 {
        c_in.next_multiple_of(matrix_slab.map_or(1, |slab| slab * self.blocks.block))
    }
}

/// The kernels of paths into one output at the points of their tiles, one path's input channels behind another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PointsPacking {
    pub(crate) paths: Vec<Path>,
    pub(crate) blocks: Blocks,
    /// Outputs of a tile along an axis, 2 or 4.
    pub(crate) outputs: u32,
    /// The input channels of each path are padded with zeros to a multiple of this.
    pub(crate) unroll: u32,
}

impl PointsPacking {
    /// Elements in the buffer.
    fn elements(&self, spec: &Spec) -> u64 {
        let depth = |path: &Path| u64::from(spec.weight_shape(*path)[1].next_multiple_of(self.unroll));
        let slots = u64::from(self.blocks.count()) * u64::from(self.blocks.block);
        Transform::of(self.outputs).points() as u64 * slots * self.paths.iter().map(depth).sum::<u64>()
    }
}

/// The output channels of one output, cut into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) groups: u32,
    /// Output channels of one group.
    pub(crate) group_channels: u32,
    /// Blocks of one group; the last may be padded, or stand wholly for padding.
    pub(crate) group_blocks: u32,
    /// Output channels of a block.
    pub(crate) block: u32,
}

impl Blocks {
    /// All blocks.
    pub(crate) fn count(self) -> u32 {
        self.groups * self.group_blocks
    }

    /// The channel of each slot of each block, in order; `None` where it is padding.
    fn channels(self) -> impl Iterator<Item = Option<u32>> {
        (0..self.count()).flat_map(move |block| {
            let (group, first) = (block / self.group_blocks, block % self.group_blocks * self.block);
            (first..first + self.block)
                .map(move |oc| (oc < self.group_channels).then_some(group * self.group_channels + oc))
        })
    }
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
            bytes += 4 * u64::from(bias.blocks.count()) * u64::from(bias.blocks.block);
        }
        let mut paths = Vec::new();
        for path in &self.paths {
            bytes = bytes.next_multiple_of(self.unit_bytes(path));
            paths.push((bytes / self.unit_bytes(path)) as u32);
            let [_, c_in, kt, kh, kw] = spec.weight_shape(path.path);
            let slots = u64::from(path.blocks.count()) * u64::from(path.blocks.block);
            let taps = [kt, kh, kw].map(u64::from).iter().product::<u64>();
            bytes += slots * u64::from(path.padded(c_in, self.matrix_slab)) * taps * self.dtype.bytes();
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
                out.extend((value as f32).to_le_bytes());
            }
        }
        for (path, &offset) in self.paths.iter().zip(&offsets.paths) {
            out.resize(offset as usize * self.unit_bytes(path) as usize, 0);
            self.pack_path(spec, weights, path, &mut out);
        }
        for (points, &offset) in self.points.iter().zip(&offsets.points) {
            out.resize(offset as usize * self.lane_bytes() as usize, 0);
            self.pack_points(spec, weights, points, &mut out);
        }
        out.resize(offsets.bytes as usize, 0);
        out
    }

    fn pack_path(&self, spec: &Spec, weights: &Weights, packing: &PathPacking, out: &mut Vec<u8>) {
        let [_, c_in, kt, kh, kw] = spec.weight_shape(packing.path).map(|d| d as usize);
        let [inner_h, inner_w] = packing.inner.map(|d| d as usize);
        let source = weights.path(packing.path).unwrap_or_default();
        let affine = weights.affine(spec, packing.path.output());
        let channels: Vec<_> = packing.blocks.channels().collect();
        let mut push = |channel: Option<u32>, c: usize, t: usize, h: usize, w: usize| {
            let value = channel.filter(|_| c < c_in).map_or(0.0, |oc| {
                let oc = oc as usize;
                let weight = source[(((oc * c_in + c) * kt + t) * kh + h) * kw + w];
                f64::from(weight) * affine[oc].0
            });
            self.push(value, out);
        };
        let side = packing.blocks.block as usize;
        let padded = packing.padded(c_in as u32, self.matrix_slab) as usize;
        for block in channels.chunks(side) {
            for t in 0..kt {
                if self.matrix_slab.is_some() {
                    for (h, w) in product(kh, kw) {
                        for first in (0..padded).step_by(side) {
                            for &channel in block {
                                (first..first + side).for_each(|c| push(channel, c, t, h, w));
                            }
                        }
                    }
                    continue;
                }
                for (r, s) in product(kh / inner_h, kw / inner_w) {
                    for c in 0..c_in {
                        for (dr, ds) in product(inner_h, inner_w) {
                            let (h, w) = (r * inner_h + dr, s * inner_w + ds);
                            block.iter().for_each(|&channel| push(channel, c, t, h, w));
                        }
                    }
                }
            }
        }
    }
}

impl Packing {
    fn push(&self, value: f64, out: &mut Vec<u8>) {
        match self.dtype {
            Dtype::F32 => out.extend((value as f32).to_le_bytes()),
            Dtype::F16 => out.extend(f16::from_f64(value).to_le_bytes()),
        }
    }

    fn pack_points(&self, spec: &Spec, weights: &Weights, packing: &PointsPacking, out: &mut Vec<u8>) {
        let transform = Transform::of(packing.outputs);
        // By path, input channel and output channel: the kernel at all points.
        let transformed: Vec<Vec<Option<Vec<f64>>>> = packing
            .paths
            .iter()
            .flat_map(|&path| {
                let [c_out, c_in, ..] = spec.weight_shape(path).map(|d| d as usize);
                let source = weights.path(path).unwrap_or_default();
                let affine = weights.affine(spec, path.output());
                (0..c_in.next_multiple_of(packing.unroll as usize)).map(move |c| {
                    let kernel = |oc: usize| {
                        let kernel = source.chunks_exact(9).nth(oc * c_in + c).filter(|_| c < c_in)?;
                        let kernel = kernel.first_chunk::<9>()?;
                        Some(transform.kernel(&kernel.map(|w| f64::from(w) * affine[oc].0)))
                    };
                    (0..c_out).map(kernel).collect()
                })
            })
            .collect();
        let channels: Vec<_> = packing.blocks.channels().collect();
        for point in 0..transform.points() {
            for block in channels.chunks(packing.blocks.block as usize) {
                for inputs in &transformed {
                    for channel in block {
                        let kernel = channel.and_then(|oc| inputs[oc as usize].as_ref());
                        self.push(kernel.map_or(0.0, |kernel| kernel[point]), out);
                    }
                }
            }
        }
    }
}

fn product(rows: usize, cols: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |r| (0..cols).map(move |c| (r, c)))
}

impl std::fmt::Display for Packing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
