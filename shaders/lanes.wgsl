// How many of the LANES channels from `first` on exist. Epilogues loop to this count and not to LANES: a loop whose
// length is not a constant stays a loop, and a quarter of the code is compiled.
fn live_lanes(first: u32, channels: u32) -> u32 {
    return min(LANES, max(channels, first) - first);
}
