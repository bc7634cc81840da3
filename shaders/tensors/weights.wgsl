// Packed weights of f32, in vectors of LANES output channels.
//
// All files in place of this one have the same two functions: weight(i) is vector i of the weights; bias(i) is vector i
// of the biases, in the same buffer and always f32. Each imports
// common/lanes, whose LANES and Lane fit.

#import common/lanes

// [elements], as the packing lays them out.
@group(0) @binding(1) var<storage, read> weights: array<Lane>;

fn weight(i: u32) -> Lane {
    return weights[i];
}

fn bias(i: u32) -> Lane {
    return weights[i];
}
