//! How much work a dispatch is, and how long it takes on a nominal device.
//!
//! There are two nominal devices. [`Rates`] say how fast the device at hand is, and the nominal one what costs how much of
//! that.
//!
//! The *software device* runs 8 threads as the lanes of a vector, one vector after another on each core. It
//! fetches the elements of each lane one by one, so loads cost most, from workgroup memory too. It keeps sums in
//! memory, so every iteration of a loop fetches and masks each of them. At a barrier it switches from one vector to the
//! next. It emulates matrix units and packed f16. Its numbers are those of lavapipe on x86-64 with 256-bit vectors,
//! taken from its machine code and its times.
//!
//! The *GPU* issues one instruction per cycle and processor, for a wave of 32 threads. It hides the latency of loads
//! behind other waves, if there are any: a processor holds 8. Its costs are in cycles per wave:
//! - A multiply-add takes 1. What other arithmetic takes follows from the rates.
//! - What a load or a store takes follows from the rate of the caches.
//! - A load that all threads of a wave share takes 1 to 4 for four scalars, depending on whether it has a path of its
//!   own.
//! - A load of four elements per thread from workgroup memory takes 2, because adjacent threads share some of them.

use super::facts::{DeviceFacts, Words};
use super::rates::Rates;

/// The waves that a processor of a GPU holds at once, and the threads of a wave.
const RESIDENT: f64 = 8.0;
const WAVE: u64 = 32;

/// The multiply-adds per second of the software device whose cycles [`Work::on_software`] counts, on two cores.
const SOFTWARE: f64 = 90e9;

/// The work of one dispatch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// The kinds of threads.
    pub(crate) parts: Vec<Part>,
    /// Bytes of all tensors and weights, each counted once.
    pub(crate) bytes: u64,
}

/// Threads of a dispatch that all do the same work. Everything but `threads` is per thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// Threads, including idle ones of each workgroup.
    pub(crate) threads: u64,
    /// Multiply-adds.
    pub(crate) multiplies: u64,
    /// Multiply-adds of f16, of which one instruction can do two.
    pub(crate) packed_multiplies: u64,
    /// Its share of the multiply-adds of matrix units.
    pub(crate) matrix_multiplies: u64,
    /// Loads from an address of its own.
    pub(crate) loads: u64,
    /// Loads of a word from an address that its workgroup shares.
    pub(crate) uniform_loads: u64,
    /// Stores.
    pub(crate) stores: u64,
    /// Sums that one iteration of a loop hands to the next, counted in every iteration.
    pub(crate) carried: u64,
    /// Loads of four elements from workgroup memory.
    pub(crate) shared_loads: u64,
    /// Barriers.
    pub(crate) barriers: u64,
}

impl Part {
    /// Adds work to each thread. The number of threads stays as it is.
    pub(crate) fn add(&mut self, more: Self) {
        // A whole pattern, so that the compiler names a new field here.
        let Self {
            threads: _,
            multiplies,
            packed_multiplies,
            matrix_multiplies,
            loads,
            uniform_loads,
            stores,
            carried,
            shared_loads,
            barriers,
        } = more;
        self.multiplies += multiplies;
        self.packed_multiplies += packed_multiplies;
        self.matrix_multiplies += matrix_multiplies;
        self.loads += loads;
        self.uniform_loads += uniform_loads;
        self.stores += stores;
        self.carried += carried;
        self.shared_loads += shared_loads;
        self.barriers += barriers;
    }
}

impl Work {
    /// The work of threads that each make one element out of `loads` others.
    pub(crate) fn elementwise(threads: u64, loads: u64, bytes: u64) -> Self {
        Self { parts: vec![Part { threads, multiplies: loads, loads, stores: 1, ..Part::default() }], bytes }
    }

    /// Microseconds on a device.
    pub(crate) fn estimate(&self, facts: &DeviceFacts) -> f64 {
        if facts.software { self.on_software(&facts.rates, facts.words()) } else { self.on_gpu(&facts.rates) }
    }

    fn on_software(&self, rates: &Rates, words: Words) -> f64 {
        // A 64-bit integer holds two weights, an element one.
        let uniform_load = if words == Words::Integers { 3.3 } else { 2.2 };
        let cycles = |part: &Part| {
            let each = 1.4 * part.multiplies as f64
                + 10.0 * part.packed_multiplies as f64
                + 8.0 * part.matrix_multiplies as f64
                + 12.5 * part.loads as f64
                + uniform_load * part.uniform_loads as f64
                + 0.28 * part.carried as f64
                + 85.0 * part.stores as f64
                + 50.0 * part.shared_loads as f64
                + 400.0 * part.barriers as f64
                + 100.0;
            part.threads.div_ceil(8) as f64 * each
        };
        let cycles_a_microsecond = 6000.0 * rates.multiply_adds / SOFTWARE;
        // A dispatch with threads for every core takes twice the time of an empty one to set up.
        let launch = 2e6 * rates.launch;
        let memory = self.bytes as f64 / (1e-6 * rates.bandwidth);
        launch + self.parts.iter().map(cycles).sum::<f64>() / cycles_a_microsecond + memory
    }

    fn on_gpu(&self, rates: &Rates) -> f64 {
        let processors = (rates.threads as f64 / (RESIDENT * WAVE as f64)).max(1.0);
        let cycles_a_microsecond = 1e-6 * rates.multiply_adds / (WAVE as f64 * processors);
        let latency = 1e6 * rates.latency * cycles_a_microsecond;
        let [packed, matrix] = [rates.packed, rates.matrix].map(|rate| rates.multiply_adds / rate);
        // Four bytes for each thread.
        let access = 4.0 * rates.multiply_adds / rates.cache;
        let issued = |part: &Part| {
            part.multiplies as f64
                + packed * part.packed_multiplies as f64
                + matrix * part.matrix_multiplies as f64
                + access * part.loads as f64
                + 0.5 * part.uniform_loads as f64
                + 2.0 * part.shared_loads as f64
                + 40.0 * part.barriers as f64
                + access * part.stores as f64
                + 100.0
        };
        // A wave without others to hide its latency still has several loads under way at once.
        let alone = |part: &Part| issued(part) + latency * (part.loads as f64 / 16.0 + 2.0);
        let waves = |part: &Part| part.threads.div_ceil(WAVE) as f64;
        let all: f64 = self.parts.iter().map(waves).sum();
        // Waves of all kinds run side by side, `at_once` at a time. Each round takes their mean time, and all rounds
        // together at least the time of the longest wave.
        let rounds = |cycles: &dyn Fn(&Part) -> f64, at_once: f64| {
            let present = || self.parts.iter().filter(|part| part.threads > 0);
            let total: f64 = present().map(|part| cycles(part) * waves(part)).sum();
            let longest = present().map(cycles).fold(0.0, f64::max);
            (total / all.max(1.0) * (all / at_once).ceil()).max(longest)
        };
        let cycles = rounds(&issued, processors).max(rounds(&alone, processors * RESIDENT));
        let compute = cycles / cycles_a_microsecond;
        1e6 * rates.launch + compute.max(self.bytes as f64 / (1e-6 * rates.bandwidth))
    }
}
