// Finishes the sums of an output: stores Y = activate(sums + residual). One instance per output.
//
// Operands: residual and Y [n][c][t][h][w], of the same shape; `index` is an element of both. Each function returns the
// values that it has stored. `slope` is that of leaky ReLU.
//
// At an edge of odd size, functions for two columns or 2x2 positions return the neighbour in place of a position that
// does not exist. So the mean of what they return is the mean of the positions that exist.
//
// The host guarantees: if PAIRED, rows have even length, and `index` is even if two columns are finished at once.
// Callers then do not use `finish` and `finish_from`: an output in pairs can only be stored in pairs.

#import common/activate
#import tensors/input as residual
#import tensors/output as y

// Two columns are read and written at once.
const PAIRED: bool = false;
// Sums are stored without residual and activation: another dispatch adds to them.
const PARTIAL: bool = false;

// One position.
fn finish(sum: f32, index: u32, slope: f32) -> f32 {
    return finish_from(sum, index, index, slope);
}

// One position, if residual and Y differ in shape, so that each has an index of its own.
fn finish_from(sum: f32, residual_index: u32, index: u32, slope: f32) -> f32 {
    var value = sum;
    if !PARTIAL {
        value = activate(sum + residual_load(residual_index), slope);
    }
    y_store(index, value);
    return value;
}

// Two columns, if PAIRED.
fn finish_2(sums: vec2<f32>, index: u32, slope: f32) -> vec2<f32> {
    return finish_2_from(sums, index, index, slope);
}

fn finish_2_from(sums: vec2<f32>, residual_index: u32, index: u32, slope: f32) -> vec2<f32> {
    var values = sums;
    if !PARTIAL {
        let wanted = sums + residual_load_2(residual_index);
        values = vec2(activate(wanted.x, slope), activate(wanted.y, slope));
    }
    y_store_2(index, values);
    return values;
}

// Two columns, PAIRED or not; `right` says whether the second exists.
fn finish_row(sums: vec2<f32>, index: u32, right: bool, slope: f32) -> vec2<f32> {
    if PAIRED {
        return finish_2(sums, index, slope);
    }
    let first = finish(sums.x, index, slope);
    if right {
        return vec2(first, finish(sums.y, index + 1u, slope));
    }
    return vec2(first);
}

// 2x2 positions of an output of width `w`, in the order of rows. `right` and `below` say whether the second column and
// the second row exist.
fn finish_cell(sums: vec4<f32>, index: u32, w: u32, right: bool, below: bool, slope: f32) -> vec4<f32> {
    let top = finish_row(sums.xy, index, right, slope);
    var bottom = top;
    if below {
        bottom = finish_row(sums.zw, index + w, right, slope);
    }
    return vec4(top, bottom);
}
