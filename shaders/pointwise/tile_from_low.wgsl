// In place of pointwise/tile_high: the sums of L->H for a tile of Y_H, at the resolution of X_L.

#import pointwise/shape

const ROWS: u32 = X_L_ROWS;
const COLS: u32 = X_L_COLS;
const VECTORS: u32 = HIGH_VECTORS;
alias Sums = SumsFromLow;
