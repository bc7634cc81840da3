//! Host twins of `shaders/winograd_*.wgsl`: dense 3x3 convolutions in three dispatches or four, at stride 1, or of maps
//! that stride 2 has pooled.
//!
//! Inputs at the points of their tiles, V; a matrix product for each point, M; outputs from those. The products at both
//! resolutions are one dispatch, unless so few tiles are at low resolution that they are cut differently. V and M lie in
//! scratch, in f32 whatever the type of activations. `src/winograd.rs` has the transforms.

mod input;
mod multiply;
mod output;

use super::Types;
use super::family::{Family, Refusal, Request, names, next_scratch};
use super::wgsl::{Source, vector};
use crate::device::{DeviceFacts, check_size};
use crate::dims::Extent;
use crate::error::Error;
use crate::kernels::Step;
use crate::kernels::job::{Job, OutputJob, PathJob, TensorId};
use crate::layer::{Path, Spec, TimeAxis};
use crate::precision::Dtype;

/// `shaders/winograd_input.wgsl` and the two that follow it: dense layers of 3x3 whose strides are averages.
pub(crate) struct Winograd;

impl Family for Winograd {
    fn name(&self) -> &'static str {
        "winograd"
    }

    fn tiles(&self) -> &'static [&'static str] {
        static NAMES: [&str; TILES.len()] = names(&TILES);
        &NAMES
    }

    fn transformed_outputs(&self, tile: &str) -> Option<u32> {
        TILES.iter().find(|(name, _)| *name == tile).map(|(_, tile)| tile.outputs)
    }

    fn step(&self, _request: &Request) -> Result<Step, Refusal> {
        Err("a Winograd convolution takes the strategy transform".into())
    }

    fn check_transform(&self, request: &Request) -> Result<(), Refusal> {
        let Request { facts, spec, types, job, tile } = *request;
        let tile = named(tile, facts).ok_or("the device has no use for such a tile")?;
        refusal(spec, types, job, tile).map_or(Ok(()), |reason| Err(reason.into()))
    }

    fn transform(&self, request: &Request, first_scratch: usize, scratch: &mut Vec<u64>) -> Result<Vec<Step>, Refusal> {
        let Request { facts, spec, types, job, tile } = *request;
        let tile = named(tile, facts).ok_or("the device has no use for such a tile")?;
        Ok(steps(facts, spec, types, job, tile, |words| next_scratch(first_scratch, scratch, words))?)
    }
}

pub(crate) use input::Constants as InputConstants;
pub(crate) use multiply::Constants as MultiplyConstants;
pub(crate) use output::Constants as OutputConstants;

/// How the products are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    /// Outputs of a Winograd tile along an axis: 2 or 4.
    pub(crate) outputs: u32,
    /// Whether workgroups have channels and threads tiles, or the other way round.
    pub(crate) rows_are_channels: bool,
    /// What a thread has of the tiles or channels that go to threads: 2, or a multiple of 4.
    pub(crate) columns: u32,
    /// What it has of those that go to workgroups: a multiple of 4.
    pub(crate) rows: u32,
}

impl Tile {
    /// Columns that lie in one vector.
    fn lanes(self) -> u32 {
        self.columns.min(4)
    }

    /// The tiles of a map that are taken at once, where there are so many: as many as named if threads have them; if
    /// workgroups do, about as many in each, since what is taken beyond the last is wasted.
    fn tiles_at_once(self, tiles: u64) -> u32 {
        if self.rows_are_channels {
            return self.columns;
        }
        let blocks = tiles.div_ceil(u64::from(self.rows)).max(1);
        tiles.div_ceil(blocks).next_multiple_of(4).max(4) as u32
    }

    /// The same, taking so many tiles at once.
    fn taking(self, tiles: u32) -> Self {
        if self.rows_are_channels { self } else { Self { rows: tiles, ..self } }
    }
}

const fn tile(outputs: u32, rows_are_channels: bool, columns: u32, rows: u32) -> Tile {
    Tile { outputs, rows_are_channels, columns, rows }
}

/// A thread's tiles (t) and channels (c), those first that threads are counted along. More tiles suit large maps, more
/// channels small ones.
pub(crate) const TILES: [(&str, Tile); 14] = [
    ("4x4-4t16c", tile(4, true, 4, 16)),
    ("4x4-8t8c", tile(4, true, 8, 8)),
    ("4x4-8c8t", tile(4, false, 8, 8)),
    ("4x4-4c16t", tile(4, false, 4, 16)),
    ("4x4-2t32c", tile(4, true, 2, 32)),
    ("4x4-8t16c", tile(4, true, 8, 16)),
    ("4x4-8c16t", tile(4, false, 8, 16)),
    ("2x2-4t16c", tile(2, true, 4, 16)),
    ("2x2-8t8c", tile(2, true, 8, 8)),
    ("2x2-8c8t", tile(2, false, 8, 8)),
    ("2x2-4c16t", tile(2, false, 4, 16)),
    ("2x2-2t32c", tile(2, true, 2, 32)),
    ("2x2-8t16c", tile(2, true, 8, 16)),
    ("2x2-8c16t", tile(2, false, 8, 16)),
];

/// The most sums of a thread on a GPU, which keeps them in registers, and the fewest columns: with two, a quarter of the
/// loop is scalar loads.
const MAX_SUMS_OF_GPU: u32 = 64;
const MIN_COLUMNS_OF_GPU: u32 = 4;

/// Channels that a thread takes at a time; those of the input are padded to a multiple.
const UNROLL: u32 = 4;

/// The named tile, where the device has a use for it.
pub(crate) fn named(name: &str, facts: &DeviceFacts) -> Option<Tile> {
    let on_gpu = |tile: &Tile| tile.rows * tile.columns <= MAX_SUMS_OF_GPU && tile.columns >= MIN_COLUMNS_OF_GPU;
    let fits = |tile: &Tile| facts.software || on_gpu(tile);
    TILES.iter().find(|&(other, tile)| *other == name && fits(tile)).map(|&(_, tile)| tile)
}

/// Why these kernels cannot do `job`, or nothing.
pub(crate) fn refusal(spec: &Spec, types: Types, job: &Job, tile: Tile) -> Option<&'static str> {
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
        // The bound on the error of an output would be a fiftieth of the sum of its terms.
        Some("tiles of 4x4 need weights in f32: they magnify the rounding of f16")
    } else {
        None
    }
}

/// Tiles of a resolution, and the parts of V that belong to it.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// Tiles along h and w.
    rows: u32,
    cols: u32,
    /// All tiles: of each image of the batch and each frame.
    tiles: u32,
    /// How many of them a thread or a workgroup of the product takes.
    at_once: u32,
    /// Elements of a row of V, of all tiles and padding: an even number.
    row: u32,
    /// Channels of V, those of each feed padded.
    depth: u32,
    /// Where its part of V begins.
    first: u32,
}

/// One of the matrix products.
#[derive(Clone, Copy, Debug)]
struct Product {
    /// Paths of which it is the sum, in the order of V's channels.
    paths: [Option<Path>; 2],
    level: Level,
    /// Channels of the input that it takes.
    depth: u32,
    channels: u32,
    /// Channels with their padding.
    padded: u32,
    /// Where its part of M begins.
    first: u32,
}

/// What the dispatches agree on.
struct Layout {
    tile: Tile,
    high: Level,
    low: Level,
    /// Y_H, without L->H if that is at low resolution; Y_L; and L->H at low resolution.
    products: [Option<Product>; 3],
    /// Channels of X_L at low resolution, with their padding.
    low_channels: u32,
    v: TensorId,
    m: TensorId,
    /// Elements of V and M.
    v_elements: u64,
    m_elements: u64,
}

impl Layout {
    /// Points of a tile.
    fn points(&self) -> u32 {
        (self.tile.outputs + 2) * (self.tile.outputs + 2)
    }
}

fn padded(channels: u32) -> u32 {
    channels.next_multiple_of(UNROLL)
}

/// The dispatches that do `job`, which [`refusal`] has let pass. `allocate` makes scratch of so many words of 32 bits.
pub(crate) fn steps(
    facts: &DeviceFacts,
    spec: &Spec,
    types: Types,
    job: &Job,
    tile: Tile,
    mut allocate: impl FnMut(u64) -> TensorId,
) -> Result<Vec<Step>, Error> {
    let channels = |path: Path| job.path(path).map_or(0, |p: &PathJob| p.source.dims.c);
    // At stride 2 Y_H has the resolution of X_L, which is not pooled for it.
    let upsamples = job.path(Path::LH).is_some_and(|path| path.sampling.upsample);
    let [lh_high, lh_low] = if upsamples { [0, channels(Path::LH)] } else { [channels(Path::LH), 0] };
    let high_depth = padded(channels(Path::HH)) + padded(lh_high);
    let low_channels = padded(channels(Path::LL).max(lh_low));
    let channels_at_once = if tile.rows_are_channels { tile.rows } else { tile.columns };
    let points = u64::from((tile.outputs + 2) * (tile.outputs + 2));

    let mut v_elements = 0;
    let mut level = |images: u32, extent: Extent, depth: u32| {
        let (rows, cols) = (extent.h.div_ceil(tile.outputs), extent.w.div_ceil(tile.outputs));
        let tiles = u64::from(images) * u64::from(rows) * u64::from(cols);
        let at_once = tile.tiles_at_once(tiles);
        let row = tiles.next_multiple_of(u64::from(at_once));
        let first = v_elements;
        v_elements += points * u64::from(depth) * row;
        check_size("the inputs of a Winograd transform", v_elements, 4 * v_elements, facts)?;
        Ok(Level { rows, cols, tiles: tiles as u32, at_once, row: row as u32, depth, first: first as u32 })
    };
    let high_dims = job.high.map(|o| o.y.dims);
    let low_dims = job.low.map(|o| o.y.dims);
    let images = high_dims.or(low_dims).map_or(1, |dims| dims.n * dims.t);
    let high = match high_dims {
        Some(dims) => level(images, dims.extent(), high_depth)?,
        None => Level::default(),
    };
    let low_extent = low_dims.map(|dims| dims.extent()).or(job.low_extent.filter(|_| upsamples));
    let low = match low_extent {
        Some(extent) => level(images, extent, low_channels + padded(channels(Path::HL)))?,
        None => Level::default(),
    };

    let mut m_elements = 0;
    let mut product = |paths: [Option<Path>; 2], level: Level, depth: u32, output: Option<OutputJob>| {
        let paths = paths.map(|path| job.path(path?).map(|p| p.weights));
        let Some(output) = output.filter(|_| paths.iter().any(Option::is_some)) else { return Ok(None) };
        let channels = output.y.dims.c;
        let padded = channels.next_multiple_of(channels_at_once);
        let first = m_elements;
        m_elements += points * u64::from(padded) * u64::from(level.row);
        check_size("the products of a Winograd transform", m_elements, 4 * m_elements, facts)?;
        Ok(Some(Product { paths, level, depth, channels, padded, first: first as u32 }))
    };
    // The first of a pair is the one whose channels come first in V.
    let lh = Some(Path::LH);
    let products = [
        product([Some(Path::HH), lh.filter(|_| !upsamples)], high, high.depth, job.high)?,
        product([Some(Path::LL), Some(Path::HL)], low, low.depth, job.low)?,
        product([lh.filter(|_| upsamples), None], low, low_channels, job.high)?,
    ];
    let (v, m) = (allocate(v_elements), allocate(m_elements));
    let layout = Layout { tile, high, low, products, low_channels, v, m, v_elements, m_elements };
    let mut steps = vec![input::step(facts, spec, types, job, &layout)?];
    let mut left: Vec<&Product> = layout.products.iter().flatten().collect();
    while let Some(first) = left.first() {
        let at_once = first.level.at_once;
        let (alike, others) = left.into_iter().partition::<Vec<_>, _>(|product| product.level.at_once == at_once);
        steps.push(multiply::step(facts, spec, types, &layout, &alike, tile.taking(at_once))?);
        left = others;
    }
    steps.push(output::step(facts, spec, types, job, &layout)?);
    Ok(steps)
}

/// The transforms of tiles with so many outputs along an axis, of so many at once: `Value` is a vector of them.
fn transforms(source: &mut Source, outputs: u32, lanes: u32) {
    source.line(&format!("alias Value = {};", vector(lanes)));
    source.file(match outputs {
        2 => include_str!("../../../shaders/winograd_2.wgsl"),
        _ => include_str!("../../../shaders/winograd_4.wgsl"),
    });
}
