// In place of direct/tile_high: what L->H makes of a tile of Y_H, at the resolution of its own.

#import direct/tiles

const ROWS: u32 = FROM_LOW_ROWS;
const COLS: u32 = FROM_LOW_COLS;
const VECTORS: u32 = HIGH_VECTORS;
alias Sums = SumsFromLow;
