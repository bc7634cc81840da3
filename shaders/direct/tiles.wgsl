// The tiles that a thread makes: of Y_H, of Y_L, and of L->H at low resolution.
//
// A path or output imports one of direct/tile_high, direct/tile_low and direct/tile_from_low as `tile`. Paths and
// outputs pass each other sums of the types below, because naga treats two aliases of one array as two types.

#import common/lanes

// Rows and columns of positions, and vectors of LANES output channels.
const HIGH_ROWS: u32 = 2u;
const HIGH_COLS: u32 = 2u;
const HIGH_VECTORS: u32 = 1u;
const LOW_ROWS: u32 = 2u;
const LOW_COLS: u32 = 2u;
const LOW_VECTORS: u32 = 1u;

// log2 of the positions of Y_H per position of L->H, along one axis: 1 if L->H is replicated, else 0.
const LOW_SHIFT: u32 = 0u;
const FROM_LOW_ROWS: u32 = HIGH_ROWS >> LOW_SHIFT;
const FROM_LOW_COLS: u32 = HIGH_COLS >> LOW_SHIFT;

// By vector, lane, row and column. Each dimension is only indexed by the counter of a loop of exactly its length:
// drivers then unroll the loop, however long, and keep the sums in registers.
alias SumsOfHigh = array<array<array<array<f32, HIGH_COLS>, HIGH_ROWS>, LANES>, HIGH_VECTORS>;
alias SumsOfLow = array<array<array<array<f32, LOW_COLS>, LOW_ROWS>, LANES>, LOW_VECTORS>;
alias SumsFromLow = array<array<array<array<f32, FROM_LOW_COLS>, FROM_LOW_ROWS>, LANES>, HIGH_VECTORS>;
