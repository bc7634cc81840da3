//! The work of the kernel, for the estimate.

use super::recipe::{Constants, PathConstants};
use super::tile::Tile;
use super::uniform::{OutputShape, PathShape};
use super::window::window;
use crate::device::Part;
use crate::kernels::types::Types;
use crate::layer::{Frequency, Path, Spec};
use crate::precision::Dtype;

/// The threads of Y_H and those of Y_L, with the workgroups per slice of each.
pub(super) fn parts(
    constants: &Constants,
    spec: &Spec,
    paths: &[PathShape; 4],
    outputs: [(&OutputShape, u64); 2],
    slices: u32,
) -> Vec<Part> {
    let Constants { types, tiles, .. } = *constants;
    let part = |frequency: Frequency, (shape, workgroups): (&OutputShape, u64)| {
        let mut part = Part::default();
        for path in Path::ALL.into_iter().filter(|path| path.output() == frequency) {
            let Some(path_constants) = &constants.paths[path as usize] else { continue };
            let channels = paths[path as usize].group_channels.div_ceil(slices);
            let tile = tiles.of_path(path, constants.replicate_low);
            part.add(path_constants.part(channels, spec, tile, types, constants.products));
        }
        if frequency == Frequency::High && constants.low_sums.is_some() {
            part.loads += u64::from(tiles.high.sums() / 4);
        }
        part.threads = workgroups * u64::from(constants.workgroup * slices);
        part.stores = stores(constants, frequency, shape);
        part
    };
    let [high, low] = outputs;
    vec![part(Frequency::High, high), part(Frequency::Low, low)]
}

/// Stores of a thread.
fn stores(constants: &Constants, frequency: Frequency, shape: &OutputShape) -> u64 {
    let stored = constants.types.of_partial_sums(constants.sliced);
    let output = constants.outputs[frequency as usize].unwrap_or_default();
    let sums = u64::from(constants.tiles.of(frequency).sums());
    let means = if shape.pooled_w > 0 { sums / 4 / stored.elements_a_load(output.pooled_paired) } else { 0 };
    sums / stored.elements_a_load(output.paired) + means
}

impl PathConstants {
    /// What a thread does for the path, over this many input channels.
    fn part(&self, channels: u32, spec: &Spec, tile: Tile, types: Types, products: Dtype) -> Part {
        let [kh, kw] = spec.kernel();
        let outer = u64::from(kh / self.inner[0] * (kw / self.inner[1]));
        // Number of windows; each is of one channel.
        let windows = u64::from(channels * spec.time().kernel) * outer;
        let [rows, cols] = [self.window(tile.rows, 0), self.window(tile.cols, 1)].map(u64::from);
        let elements = rows * cols;
        let loads = match (self.paired, self.level) {
            (true, 0) => 2 * rows * (cols + u64::from(self.ahead)).div_ceil(2),
            (_, level) => elements << (2 * level),
        } / types.elements_a_load(self.paired);
        let taps = u64::from(self.inner[0] * self.inner[1]);
        let inputs = windows * loads;
        let weights = windows * taps * u64::from(tile.channels()) / types.weights_a_load(tile.lanes);
        let (own, shared) = if tile.across { (weights, inputs) } else { (inputs, weights) };
        let sums = u64::from(tile.sums());
        let all = windows * taps * sums;
        let carried = windows / u64::from(self.unroll) * sums;
        // The short sums of f16 are added to those of f32.
        let (multiplies, packed_multiplies) = if products == Dtype::F16 { (carried, all) } else { (all, 0) };
        Part {
            loads: own,
            uniform_loads: shared,
            // Each element of a window is masked, in case it lies in the padding.
            multiplies: multiplies + windows * elements,
            packed_multiplies,
            carried,
            ..Part::default()
        }
    }

    /// Elements of a window along an axis, for this many outputs.
    fn window(&self, outputs: u32, axis: usize) -> u32 {
        window(outputs, self.inner[axis], self.stride)
    }
}
