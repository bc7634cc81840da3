//! The work of the three kernels, for the estimate.

use super::layout::Product;
use super::recipe::{ahead, tiles_per_thread};
use super::tile::{Tile, UNROLL};
use super::uniform::ProductShape;
use crate::device::Part;
use crate::dims::Dims;
use crate::kernels::job::Job;
use crate::kernels::types::{ELEMENTWISE_WORKGROUP, Types};

/// The work of a feed that reads a tensor with the dims `source`.
pub(super) fn of_feed(types: Types, tile: Tile, workgroups: u32, source: Dims, level: u32, odd: bool) -> Part {
    let tiles = u64::from(tiles_per_thread(types.words));
    let window = u64::from(tile.window());
    let paired = types.paired(source);
    // Elements that are read for a row of a window.
    let row = match paired && level == 0 {
        true => u64::from(tile.window() + ahead(level, odd)).next_multiple_of(2),
        false => window << (2 * level),
    };
    Part {
        threads: u64::from(workgroups) * u64::from(ELEMENTWISE_WORKGROUP),
        // Two multiplies per point and axis.
        multiplies: 4 * window * window * tiles,
        loads: window * (row / types.elements_a_load(paired)) * tiles,
        stores: window * window,
        ..Part::default()
    }
}

/// The work of a product, in workgroups of this many threads.
pub(super) fn of_product(types: Types, tile: Tile, shape: &ProductShape, workgroup: u32) -> Part {
    // V and M are moved in vectors, as weights are.
    let at_once = types.weights_a_load(tile.lanes());
    let [columns, rows, depth] = [tile.columns, tile.rows, shape.depth].map(u64::from);
    Part {
        threads: u64::from(shape.workgroups) * u64::from(workgroup),
        multiplies: depth * columns * rows,
        loads: depth * columns / at_once,
        uniform_loads: depth * rows / at_once,
        stores: columns * rows / at_once,
        carried: depth / u64::from(UNROLL) * columns * rows,
        ..Part::default()
    }
}

/// Bytes of V and M that a product reads and writes.
pub(super) fn product_bytes(tile: Tile, product: &Product) -> u64 {
    let row = u64::from(product.resolution.row);
    4 * u64::from(tile.points()) * row * u64::from(product.depth + product.padded)
}

/// Loads of a thread that makes a Winograd tile of Y_H: of sums at high resolution, and of sums of L->H at low
/// resolution.
pub(super) fn loads_of_high(tile: Tile, high_sums: bool, low_sums: bool) -> u64 {
    let square = |has: bool, side: u32| if has { u64::from(side * side) } else { 0 };
    square(high_sums, tile.window()) + square(low_sums, tile.window() - 1)
}

/// Loads of a thread that makes a Winograd tile of Y_L.
pub(super) fn loads_of_low(tile: Tile) -> u64 {
    u64::from(tile.points())
}

/// The work of an output with the dims `y`, in threads with this many channels and loads.
pub(super) fn of_output(types: Types, tile: Tile, workgroups: u32, y: Dims, channels: u32, loads: u64) -> Part {
    Part {
        threads: u64::from(workgroups) * u64::from(ELEMENTWISE_WORKGROUP),
        multiplies: 3 * loads * u64::from(channels),
        loads: loads + u64::from(channels),
        stores: u64::from(channels * tile.outputs * tile.outputs) / types.elements_a_load(types.paired(y)),
        ..Part::default()
    }
}

/// Bytes of the outputs, residuals and means of a job.
pub(super) fn output_bytes(types: Types, job: &Job) -> u64 {
    let elements = [job.high, job.low].into_iter().flatten().map(|o| {
        o.y.dims.elements() * (1 + u64::from(o.residual.is_some())) + o.pooled.map_or(0, |p| p.dims.elements())
    });
    elements.sum::<u64>() * types.activations.bytes()
}
