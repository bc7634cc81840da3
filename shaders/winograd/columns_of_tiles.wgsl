// Which side of a product has columns, and which has rows, in winograd/multiply: here Winograd tiles are columns, and output
// channels are rows.
//
// All files in place of this one declare the same: a Column is a vector of columns; column(i) and row(i) are vector i of V
// and of U, or the other way round.

#import tensors/vectors_in as v
#import tensors/weights

alias Column = VVector;

fn column(i: u32) -> Column {
    return v_load(i);
}

fn row(i: u32) -> vec4<f32> {
    return weight(i);
}
