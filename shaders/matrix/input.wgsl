// The input of a path of matrix/matrix, in words of one column.
//
// All files in place of this one have the same two functions: load(i) returns the elements of word i, load_one(i)
// returns element i.

enable f16;

// [elements], of any shape.
@group(0) @binding(1) var<storage, read> elements: array<f16>;

fn load(i: u32) -> array<f16, 1> {
    return array(elements[i]);
}

fn load_one(i: u32) -> f16 {
    return elements[i];
}
