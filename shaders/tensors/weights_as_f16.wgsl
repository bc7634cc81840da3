// In place of tensors/weights: vectors of LANES f16, which are returned as f16. Biases are f32.

enable f16;

#import common/lanes

alias Weights = vec4<f16>;

// [elements], as the packing lays them out. Both variables are the same buffer.
@group(0) @binding(1) var<storage, read> weights: array<Weights>;
@group(0) @binding(2) var<storage, read> biases: array<Lane>;

fn weight(i: u32) -> Weights {
    return weights[i];
}

fn bias(i: u32) -> Lane {
    return biases[i];
}
