//! How fast a device is, as far as the planner needs to know.

/// How fast a device is: what the planner's estimate counts with.
///
/// An engine begins with the rates of a class of devices ([`Rates::of_class`]). `Roofline::rates` gives measured ones.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Multiply-adds of f32 per second.
    pub multiply_adds: f64,
    /// Multiply-adds of f16 with sums of f16 per second, by ordinary arithmetic.
    pub packed: f64,
    /// Multiply-adds of f16 with sums of f32 per second, by matrix units. It does not matter on devices without them.
    pub matrix: f64,
    /// Bytes per second from and to memory.
    pub bandwidth: f64,
    /// Bytes per second that all threads together load from caches.
    pub cache: f64,
    /// Seconds of a dispatch that does almost nothing, among many of them.
    pub launch: f64,
    /// Seconds of a load that depends on the load before, from a cache that all threads share.
    pub latency: f64,
    /// The threads that fill the device: more of them do no more per second.
    pub threads: u64,
}

impl Rates {
    /// Of no GPU in particular: 128 processors of 2 GHz, each with 8 waves of 32 threads at once and 32 bytes per cycle
    /// from its cache.
    pub(crate) const NOMINAL: Self = Self {
        multiply_adds: 8.192e12,
        packed: 2.0 * 8.192e12,
        matrix: 5.0 * 8.192e12,
        bandwidth: 400e9,
        cache: 8.192e12,
        launch: 4e-6,
        latency: 200e-9,
        threads: 128 * 8 * 32,
    };

    /// Of lavapipe on this many cores. It emulates packed f16 and matrix units.
    fn software(cores: u64) -> Self {
        let cores = cores.clamp(1, 1024);
        let each = cores as f64;
        Self {
            multiply_adds: 45e9 * each,
            packed: 6e9 * each,
            matrix: 3e9 * each,
            // Eight cores are enough for the memory of a desktop computer.
            bandwidth: 6.25e9 * each.min(8.0),
            cache: 25e9 * each,
            launch: 20e-6,
            latency: 50e-9,
            threads: 8 * cores,
        }
    }

    /// Of no device in particular: a software device or a GPU.
    pub(crate) fn of_kind(software: bool) -> Self {
        if software {
            Self::software(std::thread::available_parallelism().map_or(2, |cores| cores.get() as u64))
        } else {
            Self::NOMINAL
        }
    }

    /// Of the class of devices that an adapter belongs to, by vendor and kind. These are what data sheets of a device in
    /// the middle of the class say, measured on none; those of software devices are lavapipe's on as many cores as the
    /// process may use. A device of no known class has those of no GPU in particular.
    pub fn of_class(info: &wgpu::AdapterInfo) -> Self {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu};
        let rates = |multiply_adds: f64, [packed, matrix]: [f64; 2], bandwidth: f64, launch: f64, threads: u64| Self {
            multiply_adds,
            packed: packed * multiply_adds,
            matrix: matrix * multiply_adds,
            bandwidth,
            // A byte per multiply-add: 32 bytes per cycle where a processor has 32 lanes.
            cache: multiply_adds,
            launch,
            threads,
            ..Self::NOMINAL
        };
        match (info.device_type, info.vendor) {
            (Cpu, _) => Self::of_kind(true),
            (DiscreteGpu, NVIDIA) => rates(10e12, [1.0, 4.0], 450e9, 3e-6, 64 << 10),
            (DiscreteGpu, AMD) => rates(10e12, [2.0, 4.0], 450e9, 4e-6, 64 << 10),
            (DiscreteGpu, INTEL) => rates(8e12, [2.0, 8.0], 450e9, 6e-6, 32 << 10),
            _ if info.vendor == APPLE || info.name.starts_with("Apple ") => {
                rates(2e12, [1.0, 1.0], 150e9, 6e-6, 16 << 10)
            }
            (_, QUALCOMM) => Self { latency: 400e-9, ..rates(0.8e12, [2.0, 2.0], 60e9, 15e-6, 12 << 10) },
            (_, ARM) => Self { latency: 400e-9, ..rates(0.6e12, [2.0, 2.0], 40e9, 20e-6, 10 << 10) },
            (IntegratedGpu, AMD | INTEL) => rates(1e12, [2.0, 4.0], 60e9, 6e-6, 8 << 10),
            _ => Self::NOMINAL,
        }
    }

    /// These rates, with others in place of those that are no positive numbers, or more threads than any device has.
    pub(crate) fn or(self, other: Self) -> Self {
        let pick = |own: f64, other: f64| if own.is_finite() && own > 0.0 { own } else { other };
        Self {
            multiply_adds: pick(self.multiply_adds, other.multiply_adds),
            packed: pick(self.packed, other.packed),
            matrix: pick(self.matrix, other.matrix),
            bandwidth: pick(self.bandwidth, other.bandwidth),
            cache: pick(self.cache, other.cache),
            launch: pick(self.launch, other.launch),
            latency: pick(self.latency, other.latency),
            threads: if (1..=MOST_THREADS).contains(&self.threads) { self.threads } else { other.threads },
        }
    }

    /// One line of text, for keeping them.
    pub fn to_line(self) -> String {
        // A whole pattern, so that the compiler names a new field here.
        let Self { multiply_adds, packed, matrix, bandwidth, cache, launch, latency, threads } = self;
        let numbers = [multiply_adds, packed, matrix, bandwidth, cache, launch, latency];
        let numbers: Vec<_> = numbers.iter().map(|number| format!("{number:e}")).collect();
        format!("{} {threads}", numbers.join(" "))
    }

    /// Reads what [`Self::to_line`] wrote. `None` for anything else.
    pub fn from_line(line: &str) -> Option<Self> {
        let (numbers, threads) = line.rsplit_once(' ')?;
        let numbers: Vec<f64> = numbers.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[multiply_adds, packed, matrix, bandwidth, cache, launch, latency] = numbers.as_slice() else {
            return None;
        };
        let threads = threads.parse().ok()?;
        let rates = Self { multiply_adds, packed, matrix, bandwidth, cache, launch, latency, threads };
        (rates == rates.or(Self::NOMINAL)).then_some(rates)
    }
}

/// Some hundreds of times as many as the largest GPU has.
const MOST_THREADS: u64 = 1 << 26;

/// The numbers of vendors in `wgpu::AdapterInfo`. Metal gives none, but the device's name begins with Apple's.
const NVIDIA: u32 = 0x10de;
const AMD: u32 = 0x1002;
const INTEL: u32 = 0x8086;
const APPLE: u32 = 0x106b;
const QUALCOMM: u32 = 0x5143;
const ARM: u32 = 0x13b5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_rates_of_its_own() {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        let class = |device_type, vendor, name: &str| {
            let info = wgpu::AdapterInfo::new(device_type, wgpu::Backend::Vulkan);
            Rates::of_class(&wgpu::AdapterInfo { vendor, name: name.into(), ..info })
        };
        let classes = [
            class(Cpu, 0x10005, "llvmpipe"),
            class(DiscreteGpu, NVIDIA, ""),
            class(DiscreteGpu, AMD, ""),
            class(DiscreteGpu, INTEL, ""),
            class(IntegratedGpu, 0, "Apple M3 Pro"),
            class(IntegratedGpu, QUALCOMM, ""),
            class(IntegratedGpu, ARM, ""),
            class(IntegratedGpu, AMD, ""),
            class(Other, 0, ""),
        ];
        for (i, rates) in classes.iter().enumerate() {
            assert_eq!(*rates, rates.or(Rates::NOMINAL), "{i}");
            assert!(classes[..i].iter().all(|other| other != rates), "{i}");
        }
        assert_eq!(class(IntegratedGpu, INTEL, ""), class(IntegratedGpu, AMD, ""));
        assert_eq!([class(VirtualGpu, 0x1af4, ""), class(Other, 0, "")], [Rates::NOMINAL; 2]);
    }

    #[test]
    fn rates_that_are_no_positive_numbers_are_replaced() {
        let wrong = Rates { packed: f64::NAN, launch: -1.0, threads: 0, cache: f64::INFINITY, ..Rates::of_kind(true) };
        let Rates { packed, launch, threads, cache, .. } = Rates::NOMINAL;
        assert_eq!(wrong.or(Rates::NOMINAL), Rates { packed, launch, threads, cache, ..Rates::of_kind(true) });
    }

    #[test]
    fn a_line_has_all_rates() {
        let rates = Rates { packed: 1.0 / 3.0, threads: MOST_THREADS, ..Rates::of_kind(true) };
        assert_eq!(Rates::from_line(&rates.to_line()), Some(rates));
        for wrong in [
            "",
            "1 2 3",
            "1 1 1 1 1 1 1 0",
            "1 1 1 1 1 1 nan 1",
            "1 1 1 1 1 1 1 1 1",
            "1 1 1 1 1 1 1 -1",
            "1 1 1 1 1 1 1 67108865",
        ] {
            assert_eq!(Rates::from_line(wrong), None, "{wrong}");
        }
    }
}
