//! The devices that can run the family, and the limits that must hold.

use super::tile::Tile;
use crate::device::DeviceFacts;
use crate::error::Error;
use crate::kernels::step::within_workgroup;

/// Why the device cannot run this family, or nothing.
pub(super) fn device_refusal(facts: &DeviceFacts) -> Option<&'static str> {
    if !matches!(facts.matrix, Some(8 | 16)) || !facts.features.contains(wgpu::Features::SUBGROUP) {
        Some("the matrix kernel needs a device that multiplies 16x16 or 8x8 matrices of f16 into f32, with subgroups")
    } else if !facts.subgroup_sizes.iter().all(|size| size.is_power_of_two() && *size <= 128) {
        Some("the matrix kernel needs subgroups of 1 to 128 threads, a power of two")
    } else {
        None
    }
}

/// The threads of a workgroup, if the device allows them.
pub(super) fn workgroup(facts: &DeviceFacts, tile: Tile, side: u32) -> Result<u32, Error> {
    // At least `side`, because SIDE adjacent threads finish the cells of a row of a matrix.
    let threads = tile.pieces().saturating_mul(facts.subgroup_sizes[1]).max(side);
    within_workgroup("the matrix kernel's workgroup, in threads,", threads, facts)?;
    Ok(threads)
}
