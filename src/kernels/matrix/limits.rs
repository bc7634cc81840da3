//! The devices that can run the family, and the limits that must hold.

use super::tile::Tile;
use crate::device::DeviceFacts;
use crate::error::Error;

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
    let limits = &facts.limits;
    for (name, allowed) in [
        ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup),
        ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x),
    ] {
        within("the matrix kernel's workgroup, in threads,", threads, name, allowed)?;
    }
    Ok(threads)
}

pub(super) fn within(what: &str, needs: u32, limit: &'static str, allowed: u32) -> Result<(), Error> {
    match needs <= allowed {
        true => Ok(()),
        false => Err(Error::Limit { what: what.into(), needs: needs.into(), limit, allowed: allowed.into() }),
    }
}
