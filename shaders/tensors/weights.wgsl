// Packed weights of f32, in vectors of LANES output channels.
//
// All files in place of this one have the same two functions: weight(i) returns vector i of the weights; bias(i)
// returns vector i of the biases, which lie in the same buffer and are always f32. The host sets LANES and Lane of
// common/lanes to match.

#import common/lanes

// [elements], as the packing lays them out.
@group(0) @binding(1) var<storage, read> weights: array<Lane>;

fn weight(i: u32) -> Lane {
    return weights[i];
}

fn bias(i: u32) -> Lane {
    return weights[i];
}
