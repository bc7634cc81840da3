// In place of direct/tile_high: the sums of L->H for a tile of Y_H, at the resolution at which L->H is computed.

#import direct/tiles

const ROWS: u32 = FROM_LOW_ROWS;
const COLS: u32 = FROM_LOW_COLS;
const VECTORS: u32 = HIGH_VECTORS;
alias Sums = SumsFromLow;
