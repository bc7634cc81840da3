//! The limits of a device that a dispatch must keep, and the work that the estimate counts.

use super::tile::{LANES, Tile};
use crate::device::{DeviceFacts, Part};
use crate::error::Error;
use crate::kernels::job::PathJob;
use crate::kernels::step::{within, within_workgroup};
use crate::precision::Dtype;

/// Checks that a tile is within the limits of the device.
pub(super) fn check_limits(facts: &DeviceFacts, tile: Tile, products: Dtype) -> Result<(), Error> {
    within_workgroup(&format!("the tile {tile}, in threads,"), tile.workgroup(), facts)?;
    let what = format!("the tile {tile}, in bytes of workgroup memory,");
    let allowed = facts.limits.max_compute_workgroup_storage_size;
    within(&what, storage(tile, products), "max_compute_workgroup_storage_size", allowed)
}

/// Bytes of workgroup memory: two slabs of weights and inputs.
fn storage(tile: Tile, products: Dtype) -> u32 {
    products.bytes() as u32 * 2 * tile.slab * (tile.channels + tile.positions)
}

/// What a thread does for a path. An iteration takes one of `slabs` slabs of one of `taps` taps; a load, `per_load`
/// inputs.
pub(super) fn path_part(tile: Tile, products: Dtype, path: &PathJob, taps: u32, slabs: u32, per_load: u64) -> Part {
    let iterations = u64::from(taps) * u64::from(slabs);
    let (slab, workgroup) = (u64::from(tile.slab), u64::from(tile.workgroup()));
    let channels = u64::from(tile.thread_channels);
    // If L->H is replicated, a cell has one position.
    let positions_per_cell = if path.sampling.upsample { 1 } else { 4 };
    let positions = u64::from(tile.thread_positions / 4 * positions_per_cell);
    let staged_positions = u64::from(tile.cells() * positions_per_cell);
    let products_per_channel = channels * positions;

    let staged_vectors = u64::from(tile.channels / LANES);
    let staged_inputs = (staged_positions << (2 * path.sampling.level)) / per_load;
    let packed = products == Dtype::F16 && !path.sampling.upsample;
    let (multiplies, packed_multiplies) = match packed {
        // The f16 sum over a slab is added to an f32 sum.
        true => (iterations * products_per_channel, iterations * slab * products_per_channel),
        false => (iterations * slab * products_per_channel, 0),
    };
    Part {
        multiplies,
        packed_multiplies,
        loads: iterations * (slab * (staged_vectors + staged_inputs)).div_ceil(workgroup),
        shared_loads: iterations * slab * (channels + positions) / 4,
        barriers: iterations,
        ..Part::default()
    }
}
