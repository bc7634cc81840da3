//! Host twin of `shaders/excite.wgsl`: the two small matrices of a squeeze-and-excitation block.

use super::wgsl::Source;
use super::{Kernel, reduction_workgroup};
use crate::error::Error;
use crate::plan::{DeviceFacts, Dtype, Grid, Step, TensorId};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    workgroup: u32,
    reduced: u32,
    parts: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    n: u32,
    grid_x: u32,
    channels: u32,
    unused: u32,
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        format!("excite {}", self.reduced)
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(Dtype::F32, self.workgroup);
        source.constant("REDUCED", self.reduced);
        source.constant("PARTS", self.parts);
        source.input("x");
        source.input("weights");
        source.output("y", true);
        source.file(include_str!("../../shaders/excite.wgsl"));
        source
    }
}

/// From the means (`XH`, `[n][channels]`) to the factors (`YH`, of the same shape), with weights as [`pack`] lays them
/// out (`Weights`). All f32.
pub(crate) fn step(facts: &DeviceFacts, n: u32, channels: u32, reduced: u32) -> Result<Step, Error> {
    let needs = u64::from(reduced) * 4;
    let allowed = u64::from(facts.limits.max_compute_workgroup_storage_size);
    if needs > allowed {
        let what = format!("an excitation with {reduced} reduced channels, in bytes of workgroup memory,");
        return Err(Error::Limit { what, needs, limit: "max_compute_workgroup_storage_size", allowed });
    }
    let workgroup = reduction_workgroup(facts, 256, 4);
    let parts = (workgroup / reduced).max(1);
    let grid = Grid::fold(u64::from(n), facts)?;
    let shape = Shape { n, grid_x: grid.x, channels, unused: 0 };
    Ok(Step {
        kernel: Kernel::Excite(Constants { workgroup, reduced, parts }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![TensorId::XH, TensorId::Weights, TensorId::YH],
        grid,
        packing: None,
    })
}

/// A matrix `[outputs][inputs]` and its bias `[outputs]`.
pub(crate) type Affine<'a> = (&'a [f32], &'a [f32]);

/// Both matrices transposed, each with its bias behind it. The rows of `excite` may come in several parts, H's, then L's.
pub(crate) fn pack(squeeze: Affine<'_>, excite: &[Affine<'_>]) -> Vec<u8> {
    let reduced = squeeze.1.len();
    let channels = squeeze.0.len() / reduced.max(1);
    let columns = |i: usize| squeeze.0.chunks_exact(channels).map(move |row| row[i]);
    let rows = || excite.iter().flat_map(|(weight, _)| weight.chunks_exact(reduced));
    (0..channels)
        .flat_map(columns)
        .chain(squeeze.1.iter().copied())
        .chain((0..reduced).flat_map(|k| rows().map(move |row| row[k])))
        .chain(excite.iter().flat_map(|(_, bias)| bias.iter().copied()))
        .flat_map(f32::to_le_bytes)
        .collect()
}
