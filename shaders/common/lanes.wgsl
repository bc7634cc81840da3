// Vectors of output channels. The host replaces LANES and Lane together; common/lanes_1 has vectors of one.

const LANES: u32 = 4u;
alias Lane = vec4<f32>;

// Channel k of a vector.
fn lane(v: Lane, k: u32) -> f32 {
    return v[k];
}

// How many of the LANES channels from `first` on exist. Epilogues loop up to this count, not up to LANES: drivers do
// not unroll a loop whose length is not constant, so they compile its body once, not four times.
fn live_lanes(first: u32, channels: u32) -> u32 {
    return min(LANES, max(channels, first) - first);
}
