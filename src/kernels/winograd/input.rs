//! The first dispatch: makes V from all inputs of a job.

use super::layout::{Layout, Resolution, padded};
use super::recipe::{FeedConstants, InputConstants, tiles_per_thread};
use super::uniform::{Feed, InputShape};
use super::work;
use crate::device::{Part, Work};
use crate::error::Error;
use crate::kernels::family::Request;
use crate::kernels::job::{Job, PathJob, TensorId};
use crate::kernels::step::{Grid, Kernel, Step};
use crate::kernels::types::ELEMENTWISE_WORKGROUP;
use crate::layer::{Path, Spec};

/// What a feed reads, and where it writes.
struct Source<'a> {
    path: &'a PathJob,
    resolution: Resolution,
    /// The channel of V that is its first.
    channel: u32,
}

/// The sources of the feeds, in the order of [`Path::ALL`].
fn sources<'a>(job: &'a Job, layout: &Layout) -> [Option<Source<'a>>; 4] {
    let [hh, hl, lh, ll] = Path::ALL.map(|path| job.path(path));
    let source = |path: Option<&'a PathJob>, resolution, channel| path.map(|path| Source { path, resolution, channel });
    let lh = match lh {
        // At low resolution, L->H shares the feed of L->L if there is one.
        Some(path) if path.sampling.upsample => source(lh.filter(|_| ll.is_none()), layout.low, 0),
        _ => source(lh, layout.high, hh.map_or(0, |hh| padded(hh.source.dims.c))),
    };
    [source(hh, layout.high, 0), source(hl, layout.low, layout.low_channels), lh, source(ll, layout.low, 0)]
}

impl Source<'_> {
    /// The uniform of the feed, if a thread has this many Winograd tiles.
    fn feed(&self, spec: &Spec, tiles: u32) -> Feed {
        let Self { path, resolution, channel } = *self;
        let source = path.source.dims;
        let map = if path.sampling.level > 0 { source.pooled(spec.rounding()) } else { source };
        let row_threads = resolution.tiles.div_ceil(tiles);
        let threads = row_threads * padded(source.c);
        Feed {
            workgroups: threads.div_ceil(ELEMENTWISE_WORKGROUP),
            threads,
            row_threads,
            tiles: resolution.tiles,
            rows: resolution.rows,
            cols: resolution.cols,
            channels: source.c,
            t: source.t,
            source_h: source.h,
            source_w: source.w,
            map_h: map.h,
            map_w: map.w,
            v_first: (resolution.first + channel * resolution.row) / tiles,
            v_point: resolution.depth * resolution.row / tiles,
            v_channel: resolution.row / tiles,
            unused: 0,
        }
    }
}

/// The feeds of a job, and the tensors that they read.
#[derive(Default)]
struct Feeds {
    inputs: Vec<TensorId>,
    /// For each input, whether it is read two columns at a time.
    paired: Vec<bool>,
    /// In the order of [`Path::ALL`].
    constants: [Option<FeedConstants>; 4],
    shapes: [Feed; 4],
    parts: Vec<Part>,
    /// Bytes of all inputs.
    bytes: u64,
}

impl Feeds {
    fn new(request: &Request, layout: &Layout, odd: bool) -> Self {
        let mut feeds = Self::default();
        for (slot, source) in sources(request.job, layout).iter().enumerate() {
            if let Some(source) = source {
                feeds.add(request, layout, odd, slot, source);
            }
        }
        feeds
    }

    fn add(&mut self, request: &Request, layout: &Layout, odd: bool, slot: usize, source: &Source) {
        let Request { spec, types, .. } = *request;
        let (operand, level) = (source.path.source, source.path.sampling.level);
        let known = self.inputs.iter().position(|&other| other == operand.id);
        let input = known.unwrap_or_else(|| {
            self.inputs.push(operand.id);
            self.paired.push(types.paired(operand.dims));
            self.bytes += operand.dims.elements() * types.activations.bytes();
            self.inputs.len() - 1
        });
        let shape = source.feed(spec, tiles_per_thread(types.words));
        self.constants[slot] = Some(FeedConstants { input, level });
        self.shapes[slot] = shape;
        self.parts.push(work::of_feed(types, layout.tile, shape.workgroups, operand.dims, level, odd));
    }
}

/// The dispatch that makes V.
pub(super) fn step(request: &Request, layout: &Layout) -> Result<Step, Error> {
    let [padding_h, padding_w] = request.spec.padding();
    let odd = padding_w % 2 != 0;
    let feeds = Feeds::new(request, layout, odd);
    let workgroups: u64 = feeds.shapes.iter().map(|feed| u64::from(feed.workgroups)).sum();
    let grid = Grid::of_threads(workgroups * u64::from(ELEMENTWISE_WORKGROUP), request.facts)?;
    let [hh, hl, lh, ll] = feeds.shapes;
    let shape = InputShape { hh, hl, lh, ll, grid_x: grid.x, padding_h, padding_w, unused: 0 };
    let constants =
        InputConstants { types: request.types, tile: layout.tile, paired: feeds.paired, odd, feeds: feeds.constants };
    let mut tensors = feeds.inputs;
    tensors.push(layout.v);
    let work = Work { parts: feeds.parts, bytes: 4 * layout.v_elements + feeds.bytes };
    Ok(Step { work, ..Step::new(Kernel::recipe(constants.name(), constants.recipe()), &shape, tensors, grid) })
}
