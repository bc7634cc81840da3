// In place of winograd/columns_of_tiles: output channels are the columns, and Winograd tiles are the rows.

#import tensors/vectors_in as v
#import tensors/weights

alias Column = vec4<f32>;

fn column(i: u32) -> Column {
    return weight(i);
}

fn row(i: u32) -> vec4<f32> {
    return v_load(i);
}
