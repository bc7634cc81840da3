//! What a dispatch asks of a device, and how long that takes on a nominal one.
//!
//! Two machines are modelled. A *software device* runs 8 threads as the lanes of a vector, one vector after another on
//! two cores; it fetches each lane's elements one by one, so loads weigh most, from workgroup memory as from any, and at
//! every turn of a loop fetches and masks each sum, which it keeps in memory; at a barrier it leaves one wave for the next.
//! A *GPU* issues one instruction for a wave of 32 threads a cycle on each of its processors and hides the latency of
//! loads behind other waves, if there are any. Its cache gives a processor 32 bytes a cycle, so a wave's load takes 4; a
//! load that a wave shares takes 1 to 4 for four scalars, as it has a path of its own or not; four elements a thread from
//! workgroup memory, of which adjacent threads share some, 2 beside the products; its matrix units do five times as many
//! multiply-adds, packed f16 twice as many, where a software device emulates both. The numbers are of lavapipe on
//! x86-64 with 256-bit vectors, read off its machine code and its times, and of no GPU in particular.

use super::facts::{DeviceFacts, Words};

/// Processors of the nominal GPU, and the waves that each keeps.
const GPU_PROCESSORS: u64 = 128;
const GPU_RESIDENT: u64 = 8;
const GPU_WAVE: u64 = 32;

/// Threads that fill the nominal GPU.
pub(crate) const GPU_THREADS: u64 = GPU_PROCESSORS * GPU_RESIDENT * GPU_WAVE;

/// What one dispatch asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Kinds of threads, one after the other.
    pub(crate) parts: Vec<Part>,
    /// Bytes of all tensors and weights, each counted once.
    pub(crate) bytes: u64,
}

/// Threads that do the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// Threads, the idle ones of each workgroup included.
    pub(crate) threads: u64,
    /// What each of them does: multiply-adds,
    pub(crate) multiplies: u64,
    /// multiply-adds of f16, which may be two an instruction,
    pub(crate) packed_multiplies: u64,
    /// its share of the multiply-adds of matrix units,
    pub(crate) matrix_multiplies: u64,
    /// loads from an address of its own,
    pub(crate) loads: u64,
    /// loads of a word from an address that its workgroup shares,
    pub(crate) uniform_loads: u64,
    /// stores,
    pub(crate) stores: u64,
    /// sums carried from one turn of a loop to the next, over all turns,
    pub(crate) carried: u64,
    /// loads of four elements from workgroup memory,
    pub(crate) shared_loads: u64,
    /// barriers.
    pub(crate) barriers: u64,
}

impl Part {
    /// Adds what each thread does besides; the threads stay as many as they are.
    pub(crate) fn add(&mut self, more: Self) {
        // A whole pattern, so that a field to come is not forgotten.
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
    /// Threads that make an element each out of `loads` others.
    pub(crate) fn elementwise(threads: u64, loads: u64, bytes: u64) -> Self {
        Self { parts: vec![Part { threads, multiplies: loads, loads, stores: 1, ..Part::default() }], bytes }
    }

    /// Microseconds on the nominal device.
    pub(crate) fn estimate(&self, facts: &DeviceFacts) -> f64 {
        if facts.software { self.on_software(facts.words()) } else { self.on_gpu() }
    }

    fn on_software(&self, words: Words) -> f64 {
        // Of two weights, or of one.
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
        let (cycles_a_microsecond, cores, launch) = (3000.0, 2.0, 40.0);
        let memory = self.bytes as f64 / 12_500.0;
        let compute = self.parts.iter().map(cycles).sum::<f64>() / (cycles_a_microsecond * cores);
        launch + compute + memory
    }

    fn on_gpu(&self) -> f64 {
        let (latency, cycles_a_microsecond) = (400.0, 2000.0);
        let (processors, resident) = (GPU_PROCESSORS as f64, GPU_RESIDENT as f64);
        let (launch, bytes_a_microsecond) = (4.0, 400_000.0);
        let issued = |part: &Part| {
            part.multiplies as f64
                + 0.5 * part.packed_multiplies as f64
                + 0.2 * part.matrix_multiplies as f64
                + 4.0 * part.loads as f64
                + 0.5 * part.uniform_loads as f64
                + 2.0 * part.shared_loads as f64
                + 40.0 * part.barriers as f64
                + 4.0 * part.stores as f64
                + 100.0
        };
        // Of a wave on its own, a few loads are under way at once.
        let alone = |part: &Part| issued(part) + latency * (part.loads as f64 / 16.0 + 2.0);
        let waves = |part: &Part| part.threads.div_ceil(GPU_WAVE) as f64;
        let all: f64 = self.parts.iter().map(waves).sum();
        // Waves of all kinds side by side, so many at a time: their mean over and over, but no less than the longest.
        let rounds = |cycles: &dyn Fn(&Part) -> f64, at_once: f64| {
            let present = || self.parts.iter().filter(|part| part.threads > 0);
            let total: f64 = present().map(|part| cycles(part) * waves(part)).sum();
            let longest = present().map(cycles).fold(0.0, f64::max);
            (total / all.max(1.0) * (all / at_once).ceil()).max(longest)
        };
        let cycles = rounds(&issued, processors).max(rounds(&alone, processors * resident));
        let compute = cycles / cycles_a_microsecond;
        launch + compute.max(self.bytes as f64 / bytes_a_microsecond)
    }
}
