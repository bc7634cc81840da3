//! How large the windows are that a thread holds: which taps share a window, and the windows of how many channels a
//! thread holds at once.

use crate::device::DeviceFacts;
use crate::kernels::types::Types;
use crate::layer::{Sampling, Spec};
use crate::precision::Dtype;

use super::tile::{Tile, Tiles};

/// The most elements of windows that a thread keeps in registers, over all channels that it holds at once. Up to 64
/// sums are in registers too.
const MAX_WINDOW: u32 = 40;

/// The most elements of the window of a row of taps on a software device, which has too few registers for any window:
/// as many as 4x4 outputs need in a stem of 7x7 taps with stride 2.
const MAX_ROWS_OF_SOFTWARE: u32 = 52;

/// The most elements of windows that all threads of a workgroup share, over all channels that are held at once.
const MAX_SHARED: u32 = 64;

/// The most loads of a window whose elements are means of 4 or 16.
const MAX_LOADS: u32 = 64;

/// The most products that are added up in f16: what [`Options::sums`](crate::Options::sums) promises.
const MAX_TERMS_OF_F16: u32 = 32;

/// The most bytes of weights of one tap that a GPU loads per iteration. If weights fill 64 scalar registers, the GPU
/// has to move other values in and out of registers.
const MAX_UNIFORM_BYTES: u64 = 128;

/// The most that a thread takes per iteration.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Elements of the windows of all channels together.
    window: u32,
    /// Elements of the window of a row of taps.
    row: u32,
    /// Products for each sum.
    terms: u32,
    /// Input channels.
    unroll: u32,
}

impl Limits {
    pub(super) fn new(facts: &DeviceFacts, tiles: Tiles, products: Dtype) -> Self {
        let [window, row] = match (tiles.across(), facts.software) {
            (true, _) => [MAX_SHARED; 2],
            (false, true) => [MAX_WINDOW, MAX_ROWS_OF_SOFTWARE],
            (false, false) => [MAX_WINDOW; 2],
        };
        // The more products a sum of f16 has, the less often it is added to one of f32.
        let (terms, unroll) = if products == Dtype::F16 { (MAX_TERMS_OF_F16, 8) } else { (u32::MAX, 4) };
        Self { window, row, terms, unroll }
    }

    /// The inner kernel, as rows and columns of taps: the whole kernel if its window fits into registers, else a row of
    /// it, else one tap. It is always one tap if outputs are `clamped` to the last one.
    pub(super) fn inner_kernel(&self, spec: &Spec, tile: Tile, sampling: Sampling, clamped: bool) -> [u32; 2] {
        let [kh, kw] = spec.kernel();
        let [dh, dw] = spec.dilation();
        let adjacent = |k: u32, d: u32| k == 1 || d == 1;
        if clamped {
            return [1, 1];
        }
        let Sampling { level, step: stride, .. } = sampling;
        let fits = |ih: u32, iw: u32, most: u32| {
            let elements = u64::from(window(tile.rows, ih, stride)) * u64::from(window(tile.cols, iw, stride));
            elements <= u64::from(most)
                && ih * iw <= self.terms
                && (level == 0 || elements << (2 * level) <= u64::from(MAX_LOADS))
        };
        if adjacent(kh, dh) && adjacent(kw, dw) && fits(kh, kw, self.window) {
            [kh, kw]
        } else if adjacent(kw, dw) && fits(1, kw, self.row) {
            [1, kw]
        } else {
            [1, 1]
        }
    }

    /// Number of input channels, of `channels`, whose windows a thread holds at once.
    pub(super) fn unroll(
        &self,
        facts: &DeviceFacts,
        types: Types,
        tile: Tile,
        sampling: Sampling,
        inner: [u32; 2],
        channels: u32,
    ) -> u32 {
        let Sampling { level, step: stride, .. } = sampling;
        let elements = window(tile.rows, inner[0], stride) * window(tile.cols, inner[1], stride);
        let loads = u64::from(elements) << (2 * level);
        let weights = |unroll: u32| u64::from(unroll * tile.channels()) * types.weights.bytes();
        let fits = |&unroll: &u32| {
            channels.is_multiple_of(unroll)
                && u64::from(unroll) * loads <= u64::from(self.window)
                && u64::from(unroll) * u64::from(inner[0] * inner[1]) <= u64::from(self.terms)
                && (facts.software || weights(unroll) <= MAX_UNIFORM_BYTES)
        };
        [self.unroll, 4, 2].into_iter().find(fits).unwrap_or(1)
    }
}

/// Elements of the window of this many outputs and taps, along an axis.
pub(super) fn window(outputs: u32, taps: u32, stride: u32) -> u32 {
    (outputs - 1) * if taps == 1 { 1 } else { stride } + taps
}
