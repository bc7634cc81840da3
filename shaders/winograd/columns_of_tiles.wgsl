// Which side of a product is the columns, and which is the rows, in winograd/multiply. Here Winograd tiles are the
// columns, and output channels are the rows.
//
// All files in place of this one declare the same names. A Column is a vector of columns. column(i) is vector i of V
// and row(i) is vector i of U, or the other way round.

#import tensors/vectors_in as v
#import tensors/weights

alias Column = VVector;

fn column(i: u32) -> Column {
    return v_load(i);
}

fn row(i: u32) -> vec4<f32> {
    return weight(i);
}
