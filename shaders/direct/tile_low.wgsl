// In place of direct/tile_high: the tile of Y_L.

#import direct/tiles

const ROWS: u32 = LOW_ROWS;
const COLS: u32 = LOW_COLS;
const VECTORS: u32 = LOW_VECTORS;
alias Sums = SumsOfLow;
