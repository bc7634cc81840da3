//! Winograd convolutions: dense layers of 3x3, at stride 1, or at stride 2 if maps are pooled first. They take three or
//! four dispatches.
//!
//! The first dispatch makes V: the inputs at the points of all Winograd tiles. The next one makes M: a matrix product
//! for each point. The last dispatch makes the outputs from M. The products of both resolutions are one dispatch. But
//! if low resolution has so few Winograd tiles that its products are cut differently, they are two. V and M are in
//! scratch, and always in f32. `src/winograd.rs` has the transforms, `shaders/winograd/` has the kernels.

mod input;
mod layout;
mod lowering;
mod multiply;
mod output;
mod recipe;
mod tile;
mod uniform;
mod work;

use tile::{TILES, Tile};

use super::family::{Family, Refusal, Request};
use super::step::Step;
use crate::dims::Extent;
use crate::layer::{Path, TimeAxis};
use crate::precision::Dtype;

/// The family `winograd`.
pub(crate) struct Winograd;

impl Family for Winograd {
    fn name(&self) -> &'static str {
        "winograd"
    }

    fn tiles(&self) -> &'static [&'static str] {
        TILES.names()
    }

    fn transformed_outputs(&self, tile: &str) -> Option<u32> {
        TILES.find(tile).map(|tile| tile.outputs)
    }

    fn step(&self, _request: &Request) -> Result<Step, Refusal> {
        Err("a Winograd convolution needs the strategy transform".into())
    }

    fn check_transform(&self, request: &Request) -> Result<(), Refusal> {
        let tile = tile_of(request)?;
        refusal(request, tile).map_or(Ok(()), |reason| Err(reason.into()))
    }

    fn transform(&self, request: &Request, first_scratch: usize, scratch: &mut Vec<u64>) -> Result<Vec<Step>, Refusal> {
        let tile = tile_of(request)?;
        Ok(lowering::steps(request, tile, first_scratch, scratch)?)
    }
}

/// The requested tile, if it suits the device.
fn tile_of(request: &Request) -> Result<Tile, Refusal> {
    let tile = TILES.find(request.tile).filter(|tile| tile.suits(request.facts));
    tile.ok_or("the device has no use for this tile".into())
}

/// Why these kernels cannot do a job, or nothing.
fn refusal(request: &Request, tile: Tile) -> Option<&'static str> {
    let Request { spec, types, job, .. } = *request;
    let dense = job.paths.iter().flatten().all(|path| spec.path_groups(path.weights) == 1);
    let image = TimeAxis { dilation: spec.time().dilation, ..TimeAxis::IMAGE };
    let repeats = job.high.zip(job.low_extent).is_some_and(|(high, low)| {
        let Extent { h, w } = high.y.dims.extent();
        2 * low.h < h || 2 * low.w < w
    });
    if spec.kernel() != [3, 3] || spec.time() != image {
        Some("Winograd needs a kernel of 3x3, and 1 in time without stride or padding")
    } else if spec.dilation() != [1, 1] {
        Some("Winograd needs a dilation of 1")
    } else if job.paths.iter().flatten().any(|path| path.sampling.step > 1) {
        Some("Winograd cannot stride, only average first")
    } else if !dense {
        Some("Winograd needs one group")
    } else if repeats && job.path(Path::LH).is_some_and(|path| path.sampling.upsample) {
        Some("Winograd cannot repeat the last row of L->H, as floored odd sizes do")
    } else if tile.outputs == 4 && types.weights == Dtype::F16 {
        // With f16, the error of an output could be a fiftieth of the sum of its terms.
        Some("tiles of 4x4 need weights in f32: they magnify the rounding of f16")
    } else {
        None
    }
}
