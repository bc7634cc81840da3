// The tile of Y_H: for H->H, and for the output.

#import direct/tiles

const ROWS: u32 = HIGH_ROWS;
const COLS: u32 = HIGH_COLS;
const VECTORS: u32 = HIGH_VECTORS;
alias Sums = SumsOfHigh;
