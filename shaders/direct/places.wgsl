// A part of direct/path: where the elements of a window lie in the tensor, and which of them are padding.
//
// The map that is convolved is the tensor after LEVEL poolings, which happen on load. So each element of the map is the
// mean of SUB x SUB elements of the tensor.

#import direct/shape
#import direct/tile_high as tile
#import direct/window as self

// Number of 2x2 means between the tensor and the convolution: 0, 1 or 2.
const LEVEL: u32 = 0u;
// Elements of the tensor under one element of the map, along one axis.
const SUB: u32 = 1u << LEVEL;

// Whether two elements of a row are read as one word.
const PAIRED: bool = false;
// Columns of the first word that lie in front of the window: 0 or 1.
const AHEAD: u32 = 0u;
// Whether that is so only in every second channel, because planes are of odd size.
const ALTERNATES: bool = false;

// Whether a row of the window is read in words, and the loads, of words or of elements, that a row takes.
const BY_WORD: bool = PAIRED && LEVEL == 0u;
const ROW_LOADS: u32 = select(WINDOW_W, (WINDOW_W + AHEAD + 1u) / 2u, BY_WORD);
// Rows of the window whose loads have a place of their own: all if there is one tap, else one row, to which the begin
// of each row is added.
const PLACED_ROWS: u32 = select(1u, WINDOW_H, TAPS == 1u);

// The rows of a window: where they begin in the tensor for the first channel, and which of them lie inside of the map.
struct Rows {
    at: array<u32, WINDOW_H * SUB>,
    inside: array<bool, WINDOW_H>,
}

// The columns of a window: where they lie in a row, and which of them lie inside of the map.
struct Columns {
    at: array<u32, WINDOW_W * SUB>,
    inside: array<bool, WINDOW_W>,
}

// The loads of a window at level 0: where they lie, in words or in elements, and which of them lie inside of the map.
// `at` counts from the begin of the row, or from the begin of the first channel if TAPS is 1.
struct Loads {
    at: array<array<u32, ROW_LOADS>, PLACED_ROWS>,
    inside: array<bool, ROW_LOADS>,
}

// Row (or column) k of the SUB that element `at` of the map averages. At an odd edge the neighbour stands in for an
// element that does not exist, so that the mean of four is the mean of those that exist.
fn averaged(at: u32, k: u32, half: u32, size: u32) -> u32 {
    if LEVEL == 2u {
        return min(2u * min(2u * at + (k >> 1u), half - 1u) + (k & 1u), size - 1u);
    }
    if LEVEL == 1u {
        return min(2u * at + k, size - 1u);
    }
    return at;
}

// The rows that outputs from row y on read with inner kernel r. Their frame begins at `frame_at`; `frame_inside` says
// whether it exists.
fn rows_of(p: PathShape, y: u32, r: u32, frame_at: u32, frame_inside: bool) -> Rows {
    var rows: Rows;
    for (var i = 0u; i < WINDOW_H; i++) {
        let first = select(y * STRIDE + i, min(y + i, p.last_h) * STRIDE, INNER_H == 1u);
        let row = i32(first + r * INNER_H * shape.dilation_h) - i32(shape.padding_h);
        rows.inside[i] = frame_inside && row >= 0 && row < i32(p.map_h);
        let clamped = u32(clamp(row, 0, i32(p.map_h) - 1));
        for (var k = 0u; k < SUB; k++) {
            rows.at[i * SUB + k] = frame_at + averaged(clamped, k, p.half_h, p.source_h) * p.source_w;
        }
    }
    return rows;
}

// The columns that outputs from column x on read with inner kernel s.
fn columns_of(p: PathShape, x: u32, s: u32) -> Columns {
    var columns: Columns;
    for (var j = 0u; j < WINDOW_W; j++) {
        let first = select(x * STRIDE + j, min(x + j, p.last_w) * STRIDE, INNER_W == 1u);
        let col = i32(first + s * INNER_W * shape.dilation_w) - i32(shape.padding_w);
        columns.inside[j] = col >= 0 && col < i32(p.map_w);
        let clamped = u32(clamp(col, 0, i32(p.map_w) - 1));
        for (var k = 0u; k < SUB; k++) {
            columns.at[j * SUB + k] = averaged(clamped, k, p.half_w, p.source_w);
        }
    }
    return columns;
}

// The loads of outputs from column x on.
fn loads_of(p: PathShape, x: u32, rows: ptr<function, Rows>, columns: ptr<function, Columns>) -> Loads {
    var loads: Loads;
    for (var j = 0u; j < ROW_LOADS; j++) {
        var at = (*columns).at[j * SUB];
        loads.inside[j] = (*columns).inside[j];
        if BY_WORD && ALTERNATES {
            // The last element of an odd plane is the first or the second of its word. No load goes beyond that word.
            at = min(x + 2u * j, p.map_w - 1u) >> 1u;
            loads.inside[j] = true;
        } else if BY_WORD {
            let col = i32(x * STRIDE + 2u * j) - i32(shape.padding_w + AHEAD);
            at = u32(clamp(col, 0, i32(p.map_w) - 2)) >> 1u;
            loads.inside[j] = col >= 0 && col < i32(p.map_w);
        }
        for (var i = 0u; i < PLACED_ROWS; i++) {
            loads.at[i][j] = at;
            if TAPS == 1u {
                loads.at[i][j] += select((*rows).at[i * SUB], (*rows).at[i * SUB] >> 1u, BY_WORD);
            }
        }
    }
    return loads;
}
