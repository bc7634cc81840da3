// In place of pointwise/tile_high: what L->H makes of a tile of Y_H, at the resolution of X_L.

#import pointwise/shape

const ROWS: u32 = X_L_ROWS;
const COLS: u32 = X_L_COLS;
const VECTORS: u32 = HIGH_VECTORS;
alias Sums = SumsFromLow;
