//! The work of the kernel, for the estimate.

use super::recipe::Constants;
use super::tile::{LANES, Tile};
use super::uniform::Shape;
use crate::device::Part;
use crate::layer::Path;

/// The threads, which all do the same work.
pub(super) fn part(constants: &Constants, shape: &Shape) -> Part {
    let Constants { types, tile, paired, unroll, .. } = *constants;
    let Tile { high_vectors, low_vectors, .. } = tile;
    let has = |path: Path| u64::from(constants.paths[path as usize]);
    let cells = u64::from(tile.cells());
    let fine = 4 * cells;
    let [high_channels, low_channels] = [high_vectors, low_vectors].map(|vectors| u64::from(vectors * LANES));
    let low_read = if constants.low_is_fine { fine } else { cells };
    let [high_in, low_in] = [shape.high_in, shape.low_in].map(u64::from);
    let [high_iterations, low_iterations] = [high_in / u64::from(unroll[0]), low_in / u64::from(unroll[1])];
    // Sums to which an input channel adds.
    let of_high = has(Path::HH) * fine * high_channels + has(Path::HL) * cells * low_channels;
    let of_low = has(Path::LH) * low_read * high_channels + has(Path::LL) * cells * low_channels;
    // Weights of an input channel.
    let high_weights = has(Path::HH) * high_channels + has(Path::HL) * low_channels;
    let low_weights = has(Path::LH) * high_channels + has(Path::LL) * low_channels;
    // Elements per load or store.
    let at_once = |paired: bool| types.elements_a_load(paired);
    Part {
        threads: u64::from(shape.tiles) * u64::from(constants.workgroup) * u64::from(shape.blocks),
        multiplies: high_in * of_high + low_in * of_low,
        loads: ((high_in * fine) << (2 * constants.high_level)) / at_once(paired.x_h)
            + low_in * low_read / at_once(paired.x_l),
        uniform_loads: (high_in * high_weights + low_in * low_weights) / types.weights_a_load(LANES),
        stores: fine * high_channels / at_once(paired.y_h) + cells * low_channels / at_once(paired.y_l),
        carried: high_iterations * of_high + low_iterations * of_low,
        ..Part::default()
    }
}
