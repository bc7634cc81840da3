// A part of the files of one path: the window of inputs from which a thread makes its tile.

#import direct/shape
#import direct/tile_high as tile

alias Sums = TileSums;

// The inner kernel, whose taps share a window: the whole kernel, a row of it, or one tap.
const INNER_H: u32 = 1u;
const INNER_W: u32 = 1u;
const TAPS: u32 = INNER_H * INNER_W;
// Stride over the map that is convolved.
const STRIDE: u32 = 1u;
// Input channels whose windows are read together.
const UNROLL: u32 = 1u;

// Distance between adjacent outputs in the window. With one tap along an axis, the window only has what that tap reads,
// whatever the stride.
const WINDOW_STRIDE_H: u32 = select(STRIDE, 1u, INNER_H == 1u);
const WINDOW_STRIDE_W: u32 = select(STRIDE, 1u, INNER_W == 1u);
const WINDOW_H: u32 = (TILE_ROWS - 1u) * WINDOW_STRIDE_H + INNER_H;
const WINDOW_W: u32 = (TILE_COLS - 1u) * WINDOW_STRIDE_W + INNER_W;

// By channel, row and column.
alias Window = array<array<array<Factor, WINDOW_W>, WINDOW_H>, UNROLL>;

// The weights of one tap, by channel and vector, if each thread has weights of its own.
alias OwnWeights = array<array<Factors, TILE_VECTORS>, UNROLL>;
