// In place of common/lanes: vectors of one output channel.

const LANES: u32 = 1u;
alias Lane = f32;

fn lane(v: Lane, k: u32) -> f32 {
    return v;
}

fn live_lanes(first: u32, channels: u32) -> u32 {
    return min(LANES, max(channels, first) - first);
}
