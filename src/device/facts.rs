//! What the planner needs to know about a device.

use super::rates::Rates;
use crate::error::Error;
use crate::precision::{Dtype, Precision};

/// What the planner needs to know about a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceFacts {
    /// The limits the device was created with.
    pub limits: wgpu::Limits,
    /// The features the device was created with.
    pub features: wgpu::Features,
    /// Whether it is a software device, which has narrow vectors and no latency to hide.
    pub software: bool,
    /// Rows, columns and depth of the largest square matrices that the device's matrix units multiply, with f16 factors
    /// and f32 sums: 8 or 16. `None` if the device has no such units, lacks `SHADER_F16` or
    /// `EXPERIMENTAL_COOPERATIVE_MATRIX`, or if the adapter's facts were not given, because only the adapter knows.
    pub matrix: Option<u32>,
    /// The fewest and the most threads of a subgroup, both powers of two.
    pub subgroup_sizes: [u32; 2],
    /// Whether sums of products may be taken weight by weight, the order that GPUs run fastest. OpenGL drivers of Mesa
    /// before 26 compile that order wrongly (`docs/decisions.md`).
    pub weight_by_weight: bool,
    /// The most iterations of loops that a thread runs, all loops together, if the driver ends loops then. Mesa's software
    /// drivers before 25 do (`docs/decisions.md`).
    pub loop_iterations: Option<u32>,
    /// How fast it is. It decides the estimates of plans, and the number of slices of
    /// [`Strategy::SplitK`](crate::Strategy::SplitK): an engine with other rates may refuse a plan.
    pub rates: Rates,
}

/// The features that octconv uses if they are there. It needs none of them.
const USEFUL_FEATURES: wgpu::Features = wgpu::Features::SHADER_F16
    .union(wgpu::Features::SHADER_INT64)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);

/// Those of them that change no kernel.
const NOT_OF_KERNELS: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::PIPELINE_CACHE);

/// What of a device decides which kernels there are for a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abilities {
    software: bool,
    features: wgpu::Features,
    matrix: Option<u32>,
    subgroup_sizes: [u32; 2],
    weight_by_weight: bool,
    invocations: u32,
    shared_bytes: u32,
    buffers: u32,
}

impl Abilities {
    /// Those that matter to layers of these types: only layers in f16 run on matrix units and in packed arithmetic.
    pub(crate) fn for_types(self, precision: Precision) -> Self {
        let of_matrices = wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        match (precision.activations, precision.weights) {
            (Dtype::F16, _) => self,
            (Dtype::F32, weights) => {
                let halves = if weights == Dtype::F16 { wgpu::Features::empty() } else { wgpu::Features::SHADER_F16 };
                Self { features: self.features - of_matrices - halves, matrix: None, ..self }
            }
        }
    }
}

impl Abilities {
    /// Features and units, in a form for files, without tabs and line breaks.
    pub(crate) fn features(&self) -> String {
        let flags = [
            (wgpu::Features::SHADER_F16, " f16"),
            (wgpu::Features::SHADER_INT64, " int64"),
            (wgpu::Features::SUBGROUP, " subgroups"),
            (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, " matrices"),
        ];
        let mut text = if self.software { "software" } else { "gpu" }.to_string();
        flags.iter().filter(|(feature, _)| self.features.contains(*feature)).for_each(|(_, name)| text += name);
        if let Some(side) = self.matrix {
            let [least, most] = self.subgroup_sizes;
            text += &format!(" {side}x{side} in {least}..{most}");
        }
        text + if self.weight_by_weight { "" } else { " by channel" }
    }

    /// Limits, likewise.
    pub(crate) fn limits(&self) -> String {
        let Self { invocations, shared_bytes, buffers, .. } = self;
        format!("i{invocations} s{shared_bytes} b{buffers}")
    }
}

impl Default for DeviceFacts {
    /// A GPU with wgpu's default limits and no features, as an embedder gets it without asking for more.
    fn default() -> Self {
        Self {
            limits: wgpu::Limits::default(),
            features: wgpu::Features::empty(),
            software: false,
            matrix: None,
            subgroup_sizes: [wgpu::MINIMUM_SUBGROUP_MIN_SIZE, wgpu::MAXIMUM_SUBGROUP_MAX_SIZE],
            weight_by_weight: true,
            loop_iterations: None,
            rates: Rates::NOMINAL,
        }
    }
}

impl DeviceFacts {
    /// The facts that a device knows itself. Add those of its adapter with [`DeviceFacts::with_adapter`].
    pub fn of(device: &wgpu::Device) -> Self {
        Self::new(device.limits(), device.features(), &device.adapter_info())
    }

    /// The facts of a device with all limits of this adapter, and those of its features that octconv uses.
    pub fn of_adapter(adapter: &wgpu::Adapter) -> Self {
        let features = adapter.features() & USEFUL_FEATURES;
        Self::new(adapter.limits(), features, &adapter.get_info()).with_adapter(&AdapterFacts::of(adapter))
    }

    fn new(limits: wgpu::Limits, features: wgpu::Features, info: &wgpu::AdapterInfo) -> Self {
        Self {
            limits,
            features,
            software: info.device_type == wgpu::DeviceType::Cpu,
            matrix: None,
            subgroup_sizes: subgroup_sizes(info),
            weight_by_weight: info.backend != wgpu::Backend::Gl
                || mesa(&info.driver_info).is_none_or(|major| major >= 26),
            loop_iterations: loop_iterations(info),
            rates: Rates::of_class(info),
        }
    }

    /// Adds the facts that only the adapter knows, if the device's features allow their use.
    pub fn with_adapter(self, adapter: &AdapterFacts) -> Self {
        use wgpu::CooperativeScalarType::{F16, F32};
        let needs = wgpu::Features::SHADER_F16 | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let shapes = adapter.cooperative_matrices.iter().filter(|shape| {
            let square = shape.m_size == shape.n_size && shape.n_size == shape.k_size;
            // WGSL has the types coop_mat8x8 and coop_mat16x16.
            square && matches!(shape.m_size, 8 | 16) && (shape.ab_type, shape.cr_type) == (F16, F32)
        });
        let matrix = shapes.map(|shape| shape.m_size).max().filter(|_| self.features.contains(needs));
        Self { matrix, ..self }
    }

    /// Whether devices of these and of other facts can run the same kernels, however fast.
    #[cfg(feature = "network")]
    pub(crate) fn run_the_same(&self, other: &Self) -> bool {
        *self == Self { rates: self.rates, ..other.clone() }
    }

    /// Everything of the device that decides which kernels there are for a layer.
    pub(crate) fn abilities(&self) -> Abilities {
        let limits = &self.limits;
        Abilities {
            software: self.software,
            features: self.features & USEFUL_FEATURES.difference(NOT_OF_KERNELS),
            matrix: self.matrix,
            subgroup_sizes: self.subgroup_sizes,
            weight_by_weight: self.weight_by_weight,
            invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            shared_bytes: limits.max_compute_workgroup_storage_size,
            buffers: limits.max_storage_buffers_per_shader_stage,
        }
    }

    /// Refuses threads whose loops the driver would end too early. `what` is the subject of the error.
    pub(crate) fn check_iterations(&self, what: impl std::fmt::Display, needs: u64) -> Result<(), Error> {
        match self.loop_iterations.map(u64::from) {
            Some(allowed) if needs > allowed => {
                let what = format!("{what}, in iterations of a thread's loops,");
                Err(Error::Limit { what, needs, limit: "the most that this driver runs", allowed })
            }
            _ => Ok(()),
        }
    }

    /// Whether threads that share a sum of `terms`, so many each, stay well within what the driver runs.
    #[cfg(feature = "network")]
    pub(crate) fn runs_all(&self, terms: u32) -> bool {
        self.loop_iterations.is_none_or(|most| terms <= most / 2)
    }

    /// Threads that run in step. A GPU's wave has 32 or 64, a software device's vector 4 or 8.
    fn vector(&self) -> u32 {
        if self.software { 8 } else { 32 }
    }

    /// What kernels load and store at once.
    pub(crate) fn words(&self) -> Words {
        match (self.software, self.features.contains(wgpu::Features::SHADER_INT64)) {
            (false, _) => Words::Vectors,
            (true, true) => Words::Integers,
            (true, false) => Words::Elements,
        }
    }

    /// The size of a workgroup that serves outputs with these numbers of threads: the largest one that leaves at most a
    /// tenth more threads idle than the best.
    pub(crate) fn workgroup_for(&self, threads: impl IntoIterator<Item = u64>) -> u32 {
        let threads: Vec<u64> = threads.into_iter().collect();
        let allowed = self.limits.max_compute_invocations_per_workgroup.min(self.limits.max_compute_workgroup_size_x);
        let smallest = self.vector();
        let padded = |size: u32| threads.iter().map(|t| t.next_multiple_of(u64::from(size))).sum::<u64>();
        let sizes = [64, 32, 16, 8].into_iter().filter(|&size| size >= smallest && size <= allowed);
        let least = sizes.clone().map(padded).min().unwrap_or(0);
        sizes.into_iter().find(|&size| padded(size) * 10 <= least * 11).unwrap_or(allowed.clamp(1, 64))
    }
}

/// The fewest and the most threads of a subgroup. wgpu gives 4 and 64 for all of Metal, but Apple's own GPUs have 32
/// (philipturner/metal-benchmarks on GitHub).
fn subgroup_sizes(info: &wgpu::AdapterInfo) -> [u32; 2] {
    match info.backend {
        wgpu::Backend::Metal if info.name.starts_with("Apple ") => [32; 2],
        _ => [info.subgroup_min_size, info.subgroup_max_size],
    }
}

/// What [`DeviceFacts::loop_iterations`] says.
fn loop_iterations(info: &wgpu::AdapterInfo) -> Option<u32> {
    let software = info.device_type == wgpu::DeviceType::Cpu;
    (software && mesa(&info.driver_info).is_some_and(|major| major < 25)).then_some(65_535)
}

/// The number before the first point of the version of Mesa that a driver names, if it is Mesa.
fn mesa(driver_info: &str) -> Option<u32> {
    let version = driver_info.split_once("Mesa ")?.1;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Facts that an adapter knows and its device does not.
#[derive(Clone, Debug, Default)]
pub struct AdapterFacts {
    /// The matrix shapes of `Adapter::cooperative_matrix_properties`.
    pub cooperative_matrices: Vec<wgpu::CooperativeMatrixProperties>,
}

impl AdapterFacts {
    /// Asks the adapter.
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        Self { cooperative_matrices: adapter.cooperative_matrix_properties() }
    }
}

/// Refuses a buffer that cannot be bound whole, or that has more elements than 32-bit indices reach.
pub(crate) fn check_size(
    what: impl std::fmt::Display,
    elements: u64,
    bytes: u64,
    facts: &DeviceFacts,
) -> Result<(), Error> {
    let index = u64::from(u32::MAX / 2);
    if elements > index {
        let limit = "the number of elements that 32-bit indices reach";
        return Err(Error::Limit { what: what.to_string(), needs: elements, limit, allowed: index });
    }
    let binding = facts.limits.max_storage_buffer_binding_size.min(facts.limits.max_buffer_size);
    if bytes > binding {
        let (what, limit) = (format!("{what}, in bytes,"), "max_storage_buffer_binding_size");
        return Err(Error::Limit { what, needs: bytes, limit, allowed: binding });
    }
    Ok(())
}

/// What kernels load and store at once besides single elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Words {
    /// Nothing: they take the elements of a vector one by one.
    Elements,
    /// Integers of 64 bits, or of 32 bits for two halves. They need `SHADER_INT64`. They help a software device,
    /// because it fetches and bounds-checks every scalar of a WGSL vector on its own.
    Integers,
    /// WGSL's vectors.
    #[default]
    Vectors,
}

#[cfg(test)]
mod tests {
    use super::{DeviceFacts, loop_iterations, mesa, subgroup_sizes};
    use crate::error::Error;

    #[test]
    fn subgroups_of_apples_gpus_have_32_threads() {
        let of = |backend, name: &str| {
            let info = wgpu::AdapterInfo::new(wgpu::DeviceType::IntegratedGpu, backend);
            let (subgroup_min_size, subgroup_max_size) = (4, 64);
            subgroup_sizes(&wgpu::AdapterInfo { name: name.into(), subgroup_min_size, subgroup_max_size, ..info })
        };
        assert_eq!(of(wgpu::Backend::Metal, "Apple M1 Pro"), [32; 2]);
        assert_eq!(of(wgpu::Backend::Metal, "AMD Radeon Pro 5500M"), [4, 64]);
        assert_eq!(of(wgpu::Backend::Vulkan, "Apple M1 Pro"), [4, 64]);
    }

    #[test]
    fn old_software_drivers_of_mesa_end_loops() {
        let of = |kind, backend, driver: &str| {
            let info = wgpu::AdapterInfo::new(kind, backend);
            loop_iterations(&wgpu::AdapterInfo { driver_info: driver.into(), ..info })
        };
        let (cpu, gpu) = (wgpu::DeviceType::Cpu, wgpu::DeviceType::DiscreteGpu);
        assert_eq!(of(cpu, wgpu::Backend::Vulkan, "Mesa 22.3.6 (LLVM 15.0.6)"), Some(65_535));
        assert_eq!(of(cpu, wgpu::Backend::Gl, "4.5 (Core Profile) Mesa 24.2.8"), Some(65_535));
        assert_eq!(of(cpu, wgpu::Backend::Vulkan, "Mesa 25.0.7-2+deb13u1 (LLVM 19.1.7)"), None);
        assert_eq!(of(gpu, wgpu::Backend::Vulkan, "Mesa 22.3.6"), None);
        assert_eq!(of(cpu, wgpu::Backend::Vulkan, "SwiftShader driver-5.0.0"), None);
        let facts = DeviceFacts { loop_iterations: Some(65_535), ..DeviceFacts::default() };
        assert_eq!(facts.check_iterations("a sum", 65_535), Ok(()));
        assert!(matches!(facts.check_iterations("a sum", 65_536), Err(Error::Limit { needs: 65_536, .. })));
        assert_eq!(DeviceFacts::default().check_iterations("a sum", u64::MAX), Ok(()));
    }

    #[test]
    fn versions_of_mesa() {
        assert_eq!(mesa("4.5 (Core Profile) Mesa 22.3.6"), Some(22));
        assert_eq!(mesa("OpenGL ES 3.2 Mesa 26.1.6-1~bpo13+1 (LLVM 19.1.7)"), Some(26));
        assert_eq!(mesa("Mesa 23.0.0-devel (git-1a2b)"), Some(23));
        for other in ["", "Mesa", "Mesa git", "3.1 ANGLE", "4.6.0 NVIDIA 550.54"] {
            assert_eq!(mesa(other), None, "{other}");
        }
    }
}
