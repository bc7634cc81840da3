//! Host twin of `shaders/winograd_input.wgsl`.

use super::{Layout, Level, padded, transforms};
use crate::device::DeviceFacts;
use crate::device::Words;
use crate::device::{Part, Work};
use crate::error::Error;
use crate::kernels::job::{Job, PathJob, TensorId};
use crate::kernels::wgsl::Source;
use crate::kernels::{Access, ELEMENTWISE_WORKGROUP, Kernel, Types};
use crate::kernels::{Grid, Step};
use crate::layer::{Path, Spec};
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    words: Words,
    outputs: u32,
    /// For each of the inputs whether two columns of it are one word.
    paired: Vec<bool>,
    /// Tiles of a thread, which lie side by side in V.
    tiles: u32,
    /// Whether windows begin at odd columns. Only paired inputs differ by it.
    odd: bool,
    /// Which of the inputs the feed of each path reads, in the order of [`Path::ALL`]; none for a path that is absent,
    /// or shares another's feed.
    feeds: [Option<usize>; 4],
    /// Averages that H->L takes on load.
    mean_level: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Feed {
    workgroups: u32,
    threads: u32,
    across: u32,
    tiles: u32,
    rows: u32,
    cols: u32,
    channels: u32,
    t: u32,
    source_h: u32,
    source_w: u32,
    map_h: u32,
    map_w: u32,
    points: u32,
    point_stride: u32,
    channel_stride: u32,
    unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    feeds: [Feed; 4],
    grid_x: u32,
    padding_h: u32,
    padding_w: u32,
    unused: u32,
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        format!("winograd input {0}x{0}", self.outputs)
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP).with_words(self.words);
        for (i, &paired) in self.paired.iter().enumerate() {
            source.paired_input(&format!("x{i}"), true, paired);
        }
        source.vectors(Access::Write, "v", self.tiles);
        source.constant("TILES", self.tiles);
        transforms(&mut source, self.outputs, self.tiles);
        source.line("alias Line = array<f32, WINDOW>;");
        let together = if self.tiles == 1 { "each[0][j]" } else { "vec2(each[0][j], each[1][j])" };
        source.line(&format!("fn together(each: array<Line, TILES>, j: u32) -> Value {{ return {together}; }}"));
        for (path, feed) in Path::ALL.into_iter().zip(self.feeds) {
            let upper = format!("{path:?}");
            let name = &upper.to_lowercase();
            let level = if path == Path::HL { self.mean_level } else { 0 };
            source.flag(&format!("HAS_{upper}"), feed.is_some());
            source.constant(&format!("{upper}_LEVEL"), level);
            let input = feed.map(|i| format!("x{i}"));
            source.paired_loader(&format!("{name}_load"), input.as_deref());
            if feed.is_some_and(|i| self.paired[i]) {
                let (span, shift) = if level == 0 { (2, u32::from(self.odd)) } else { (1, 0) };
                source.constant(&format!("{upper}_SPAN"), span);
                source.constant(&format!("{upper}_AHEAD"), shift);
                source.constant(&format!("{upper}_WORDS"), words(self.outputs, span, shift));
                source.instance(include_str!("../../../shaders/winograd_row_paired.wgsl"), name);
            } else {
                source.instance(include_str!("../../../shaders/winograd_row.wgsl"), name);
            }
            source.instance(include_str!("../../../shaders/winograd_feed.wgsl"), name);
        }
        source.file(include_str!("../../../shaders/turns.wgsl"));
        source.file(include_str!("../../../shaders/winograd_input.wgsl"));
        source
    }
}

/// Words under a row of a window that begins `shift` columns behind the first word's, of so many columns each.
fn words(outputs: u32, span: u32, shift: u32) -> u32 {
    (outputs + 2 + shift).div_ceil(span)
}

/// V of every source of `job`.
pub(super) fn step(facts: &DeviceFacts, spec: &Spec, types: Types, job: &Job, layout: &Layout) -> Result<Step, Error> {
    // The sources of the paths, and the channel of V at which each begins.
    let channels = |path: Path| job.path(path).map_or(0, |p| padded(p.source.dims.c));
    let [hh, hl, lh, ll] = Path::ALL.map(|path| job.path(path));
    let (lh, lh_level, lh_first) = match lh {
        Some(path) if path.sampling.upsample => (lh.filter(|_| ll.is_none()), layout.low, 0),
        _ => (lh, layout.high, channels(Path::HH)),
    };
    let sources: [(Option<&PathJob>, Level, u32); 4] =
        [(hh, layout.high, 0), (hl, layout.low, layout.low_channels), (lh, lh_level, lh_first), (ll, layout.low, 0)];

    // Rows of V are of even length, and a pair of tiles one word.
    let tiles = if types.words == Words::Integers { 2 } else { 1 };
    let [padding_h, padding_w] = spec.padding();
    let odd = padding_w % 2 != 0;
    let mut inputs: Vec<TensorId> = Vec::new();
    let mut paired = Vec::new();
    let mut shapes = [Feed::default(); 4];
    let mut feeds = [None; 4];
    let mut parts = Vec::new();
    let mut bytes = 4 * layout.v_elements;
    let mut workgroups = 0u64;
    let window = u64::from(layout.tile.outputs + 2);
    for (slot, (path, level, channel)) in sources.into_iter().enumerate() {
        let Some(path) = path else { continue };
        let source = path.source.dims;
        let known = inputs.iter().position(|&other| other == path.source.id);
        feeds[slot] = Some(known.unwrap_or_else(|| {
            inputs.push(path.source.id);
            paired.push(types.paired(source));
            bytes += source.elements() * types.activations.bytes();
            inputs.len() - 1
        }));
        let map = if path.sampling.level > 0 { source.pooled(spec.rounding()) } else { source };
        let across = level.tiles.div_ceil(tiles);
        let threads = across * padded(source.c);
        shapes[slot] = Feed {
            workgroups: threads.div_ceil(ELEMENTWISE_WORKGROUP),
            threads,
            across,
            tiles: level.tiles,
            rows: level.rows,
            cols: level.cols,
            channels: source.c,
            t: source.t,
            source_h: source.h,
            source_w: source.w,
            map_h: map.h,
            map_w: map.w,
            points: (level.first + channel * level.row) / tiles,
            point_stride: level.depth * level.row / tiles,
            channel_stride: level.row / tiles,
            unused: 0,
        };
        let count = u64::from(threads.div_ceil(ELEMENTWISE_WORKGROUP));
        workgroups += count;
        let sampling = path.sampling.level;
        let row = match (types.paired(source), sampling) {
            (true, 0) => 2 * u64::from(words(layout.tile.outputs, 2, u32::from(odd))),
            _ => window << (2 * sampling),
        } / types.elements_a_load(types.paired(source));
        parts.push(Part {
            threads: count * u64::from(ELEMENTWISE_WORKGROUP),
            // Two for each point and axis.
            multiplies: 4 * window * window * u64::from(tiles),
            loads: window * row * u64::from(tiles),
            stores: window * window,
            ..Part::default()
        });
    }
    let grid = Grid::fold(workgroups, facts)?;
    let shape = Shape { feeds: shapes, grid_x: grid.x, padding_h, padding_w, unused: 0 };
    let constants = Constants {
        activations: types.activations,
        words: types.words,
        outputs: layout.tile.outputs,
        odd: odd && paired.contains(&true),
        paired,
        tiles,
        feeds,
        mean_level: hl.map_or(0, |path| path.sampling.level),
    };
    inputs.push(layout.v);
    Ok(Step {
        kernel: Kernel::WinogradInput(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: inputs,
        grid,
        packing: None,
        f16_terms: 0,
        work: Work { parts, bytes },
    })
}
