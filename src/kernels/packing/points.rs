//! Weights at the points of a Winograd transform: `[point][block][c_in][oc]`.

use super::blocks::Blocks;
use super::element::{check_range, push};
use crate::error::Error;
use crate::layer::{Path, Spec, Weights};
use crate::precision::Dtype;
use crate::winograd::Transform;

/// The weights of the paths into one output, transformed to the points of Winograd tiles: the input channels of the
/// first path, then those of the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PointsPacking {
    pub(crate) paths: Vec<Path>,
    pub(crate) blocks: Blocks,
    /// Outputs of a Winograd tile along an axis, 2 or 4.
    pub(crate) outputs: u32,
    /// The input channels of each path are padded with zeros to a multiple of this.
    pub(crate) unroll: u32,
}

impl PointsPacking {
    /// Number of elements in the buffer.
    pub(super) fn elements(&self, spec: &Spec) -> u64 {
        let depth = |path: &Path| u64::from(spec.weight_shape(*path)[1].next_multiple_of(self.unroll));
        Transform::of(self.outputs).points() as u64 * self.blocks.slots() * self.paths.iter().map(depth).sum::<u64>()
    }

    /// Appends the points to a packed buffer.
    pub(super) fn pack(&self, spec: &Spec, weights: &Weights, dtype: Dtype, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut transformed = Vec::new();
        for &path in &self.paths {
            let inputs = self.transform(spec, weights, path);
            for (channel, kernel) in inputs.iter().flat_map(|kernels| kernels.iter().enumerate()) {
                let largest = kernel.iter().flatten().fold(0.0, |most: f64, w| most.max(w.abs()));
                check_range(path.weight_name(), channel, largest, dtype)?;
            }
            transformed.extend(inputs);
        }
        let channels: Vec<_> = self.blocks.channels().collect();
        for point in 0..Transform::of(self.outputs).points() {
            for block in channels.chunks(self.blocks.block as usize) {
                for inputs in &transformed {
                    for channel in block {
                        let kernel = channel.and_then(|oc| inputs[oc as usize].as_ref());
                        push(kernel.map_or(0.0, |kernel| kernel[point]), dtype, out);
                    }
                }
            }
        }
        Ok(())
    }

    /// The weights of a path by input and output channel: those at all points, or `None` if the input channel is
    /// padding.
    fn transform(&self, spec: &Spec, weights: &Weights, path: Path) -> Vec<Vec<Option<Vec<f64>>>> {
        let transform = Transform::of(self.outputs);
        let [c_out, c_in, ..] = spec.weight_shape(path).map(|d| d as usize);
        let source = weights.path(path).unwrap_or_default();
        let affine = weights.affine(spec, path.output());
        let kernel = |oc: usize, c: usize| {
            let kernel = source.chunks_exact(9).nth(oc * c_in + c).filter(|_| c < c_in)?;
            let kernel = kernel.first_chunk::<9>()?;
            Some(transform.kernel(&kernel.map(|w| f64::from(w) * affine[oc].0)))
        };
        let padded = c_in.next_multiple_of(self.unroll as usize);
        (0..padded).map(|c| (0..c_out).map(|oc| kernel(oc, c)).collect()).collect()
    }
}
