// The tile of Y_H: that of H->H, and of the output.

#import direct/tiles

const ROWS: u32 = HIGH_ROWS;
const COLS: u32 = HIGH_COLS;
const VECTORS: u32 = HIGH_VECTORS;
alias Sums = SumsOfHigh;
