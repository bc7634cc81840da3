// The tile of Y_H, for H->H.

#import pointwise/shape

const ROWS: u32 = FINE_ROWS;
const COLS: u32 = FINE_COLS;
const VECTORS: u32 = HIGH_VECTORS;
alias Sums = SumsOfHigh;
