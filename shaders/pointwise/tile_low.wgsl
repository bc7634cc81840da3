// In place of pointwise/tile_high: the tile of Y_L.

#import pointwise/shape

const ROWS: u32 = CELL_ROWS;
const COLS: u32 = CELL_COLS;
const VECTORS: u32 = LOW_VECTORS;
alias Sums = SumsOfLow;
