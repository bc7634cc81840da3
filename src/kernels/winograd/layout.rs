//! What the dispatches of a job share: Winograd tiles, V, M and the products.

use super::tile::{Tile, UNROLL};
use crate::device::{DeviceFacts, check_size};
use crate::dims::Extent;
use crate::error::Error;
use crate::kernels::family::{Request, next_scratch};
use crate::kernels::job::{Job, OutputJob, TensorId};
use crate::layer::Path;

/// The Winograd tiles of a resolution, and its part of V.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resolution {
    /// Winograd tiles along h and w.
    pub(super) rows: u32,
    pub(super) cols: u32,
    /// All Winograd tiles, over the batch and all frames.
    pub(super) tiles: u32,
    /// Winograd tiles that a thread or a workgroup of the products takes.
    pub(super) at_once: u32,
    /// Elements of a row of V: all Winograd tiles, and padding. An even number.
    pub(super) row: u32,
    /// Channels of V: those of all feeds, each with its padding.
    pub(super) depth: u32,
    /// Where its part of V begins.
    pub(super) first: u32,
}

/// One of the matrix products of a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// The paths whose sum it makes, in the order of V's channels.
    pub(super) paths: [Option<Path>; 2],
    pub(super) resolution: Resolution,
    /// Input channels.
    pub(super) depth: u32,
    /// Output channels.
    pub(super) channels: u32,
    /// Output channels with their padding.
    pub(super) padded: u32,
    /// Where its part of M begins.
    pub(super) first: u32,
}

/// What the dispatches of a job share.
pub(super) struct Layout {
    pub(super) tile: Tile,
    pub(super) high: Resolution,
    pub(super) low: Resolution,
    /// The products of Y_H, of Y_L, and of L->H at low resolution. The last is absent if the first includes L->H.
    pub(super) products: [Option<Product>; 3],
    /// Channels of X_L at low resolution, with their padding.
    pub(super) low_channels: u32,
    pub(super) v: TensorId,
    pub(super) m: TensorId,
    /// Elements of V and M.
    pub(super) v_elements: u64,
    pub(super) m_elements: u64,
}

/// Channels of a feed with their padding.
pub(super) fn padded(channels: u32) -> u32 {
    channels.next_multiple_of(UNROLL)
}

/// Whether L->H is computed at low resolution and replicated. At stride 2 it is not: Y_H has the resolution of X_L.
fn upsamples(job: &Job) -> bool {
    job.path(Path::LH).is_some_and(|path| path.sampling.upsample)
}

impl Layout {
    /// The layout for a job. Adds V and M to the intermediate buffers in `scratch`.
    ///
    /// # Errors
    ///
    /// V or M is too large for the device.
    pub(super) fn new(
        request: &Request,
        tile: Tile,
        first_scratch: usize,
        scratch: &mut Vec<u64>,
    ) -> Result<Self, Error> {
        let job = request.job;
        let channels = |path: Path| job.path(path).map_or(0, |p| p.source.dims.c);
        let upsamples = upsamples(job);
        let [lh_high, lh_low] = if upsamples { [0, channels(Path::LH)] } else { [channels(Path::LH), 0] };
        let low_channels = padded(channels(Path::LL).max(lh_low));

        let mut places = Places { facts: request.facts, tile, job, v_elements: 0, m_elements: 0 };
        let high_extent = job.high.map(|o| o.y.dims.extent());
        let high = places.resolution(high_extent, padded(channels(Path::HH)) + padded(lh_high))?;
        let low_extent = job.low.map(|o| o.y.dims.extent()).or(job.low_extent.filter(|_| upsamples));
        let low = places.resolution(low_extent, low_channels + padded(channels(Path::HL)))?;
        // The first path of a product is the one whose channels come first in V.
        let lh = Some(Path::LH);
        let products = [
            places.product([Some(Path::HH), lh.filter(|_| !upsamples)], high, high.depth, job.high)?,
            places.product([Some(Path::LL), Some(Path::HL)], low, low.depth, job.low)?,
            places.product([lh.filter(|_| upsamples), None], low, low_channels, job.high)?,
        ];
        let Places { v_elements, m_elements, .. } = places;
        let v = next_scratch(first_scratch, scratch, v_elements);
        let m = next_scratch(first_scratch, scratch, m_elements);
        Ok(Self { tile, high, low, products, low_channels, v, m, v_elements, m_elements })
    }

    /// The products, in groups that are cut alike. Each group is one dispatch.
    pub(super) fn groups(&self) -> Vec<Vec<&Product>> {
        let mut groups = Vec::new();
        let mut left: Vec<&Product> = self.products.iter().flatten().collect();
        while let Some(first) = left.first() {
            let at_once = first.resolution.at_once;
            let (alike, others) = left.into_iter().partition(|product| product.resolution.at_once == at_once);
            groups.push(alike);
            left = others;
        }
        groups
    }
}

/// Places the parts of V and of M, one after the other.
struct Places<'a> {
    facts: &'a DeviceFacts,
    tile: Tile,
    job: &'a Job,
    v_elements: u64,
    m_elements: u64,
}

impl Places<'_> {
    /// Places a resolution whose outputs have this extent; `None` if it has no outputs.
    fn resolution(&mut self, extent: Option<Extent>, depth: u32) -> Result<Resolution, Error> {
        let Some(extent) = extent else { return Ok(Resolution::default()) };
        let outputs = self.job.high.or(self.job.low).map(|o| o.y.dims);
        let images = outputs.map_or(1, |dims| dims.n * dims.t);
        let (rows, cols) = (extent.h.div_ceil(self.tile.outputs), extent.w.div_ceil(self.tile.outputs));
        let tiles = u64::from(images) * u64::from(rows) * u64::from(cols);
        let at_once = self.tile.tiles_at_once(tiles);
        let row = tiles.next_multiple_of(u64::from(at_once));
        let first = self.v_elements;
        self.v_elements += u64::from(self.tile.points()) * u64::from(depth) * row;
        let bytes = 4 * self.v_elements;
        check_size("the inputs of a Winograd transform", self.v_elements, bytes, self.facts)?;
        Ok(Resolution { rows, cols, tiles: tiles as u32, at_once, row: row as u32, depth, first: first as u32 })
    }

    /// Places the product of these paths, without those that are absent; `None` if all are.
    fn product(
        &mut self,
        paths: [Option<Path>; 2],
        resolution: Resolution,
        depth: u32,
        output: Option<OutputJob>,
    ) -> Result<Option<Product>, Error> {
        let paths = paths.map(|path| self.job.path(path?).map(|p| p.weights));
        let Some(output) = output.filter(|_| paths.iter().any(Option::is_some)) else { return Ok(None) };
        let channels = output.y.dims.c;
        let padded = channels.next_multiple_of(self.tile.channels());
        let first = self.m_elements;
        self.m_elements += u64::from(self.tile.points()) * u64::from(padded) * u64::from(resolution.row);
        let bytes = 4 * self.m_elements;
        check_size("the products of a Winograd transform", self.m_elements, bytes, self.facts)?;
        Ok(Some(Product { paths, resolution, depth, channels, padded, first: first as u32 }))
    }
}
