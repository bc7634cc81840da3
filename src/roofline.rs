//! Measures what a device can do at most: multiply-adds and bytes per second, and what a dispatch costs.
//!
//! The probes are `shaders/probes/`. Each figure is the fastest of several configurations and rounds, because nothing
//! should exceed a roof.

use std::fmt;

use crate::context::Context;
use crate::device::{DeviceFacts, Rates};
use crate::engine::Dispatch;
use crate::error::Error;
use crate::kernels::job::TensorId;
use crate::kernels::probe::{Probe, WORKGROUP, Walk};
use crate::precision::Dtype;

/// What [`Roofline::measure_async`] measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Only what bounds layers with factors and sums of these types, in the configurations that are usually the
    /// fastest. Takes a second or two.
    Brief {
        /// The type of activations and weights.
        factors: Dtype,
        /// The narrowest type of sums, as in [`Precision::sums`](crate::Precision::sums).
        sums: Dtype,
    },
    /// Every configuration and every kind of arithmetic that the device has.
    Full,
}

/// A measured rate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rate {
    /// Operations or bytes per second.
    pub per_second: f64,
    /// The configuration that reached it.
    pub configuration: String,
}

/// How fast a device multiplies and adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Arithmetic {
    /// The type of the factors.
    pub factors: Dtype,
    /// The type of the sums.
    pub sums: Dtype,
    /// Rows, columns and depth of the matrices of a matrix unit. `None` for ordinary arithmetic.
    pub matrix: Option<u32>,
    /// Floating-point operations per second. A multiply-add counts as two.
    pub rate: Rate,
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.matrix {
            Some(side) => write!(f, "{side}x{side} matrices, {} into {}", self.factors, self.sums),
            None => write!(f, "{} multiply-adds", self.factors),
        }
    }
}

/// What a device can do at most, as measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Roofline {
    /// Arithmetic of f32 first, then what else was measured.
    pub arithmetic: Vec<Arithmetic>,
    /// Bytes read per second, of a buffer that is only read.
    pub read: Rate,
    /// Bytes read and written per second, of a buffer that is copied.
    pub copy: Rate,
    /// Bytes of the buffer that was read or copied.
    pub buffer_bytes: u64,
    /// Seconds of a dispatch that does almost nothing, in a pass of many such dispatches.
    pub launch: f64,
    /// What bounds no layer, but decides which kernels are fast. It is measured with [`Effort::Full`].
    pub fabric: Option<Fabric>,
}

/// How a device feeds its arithmetic, as measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fabric {
    /// Bytes per second that all threads together load from caches.
    pub cache: Rate,
    /// Seconds of a load that depends on the load before. What is loaded lies in a buffer of 1 MiB.
    pub latency: f64,
    /// The threads that fill the device: eight times those with which it does nine tenths of its multiply-adds, because
    /// these wait for nothing, and layers wait for loads.
    pub threads: u64,
}

/// What decides the least time of some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// Its multiply-adds.
    Arithmetic,
    /// The bytes that it must move.
    Memory,
    /// Neither: both take less time than an empty dispatch.
    Launch,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arithmetic => "arithmetic",
            Self::Memory => "memory",
            Self::Launch => "launch",
        })
    }
}

impl Roofline {
    /// Measures the context's device. Submits and waits, for one to fifteen seconds; without timestamps for up to half
    /// a minute. Uses at most 512 MiB of its
    /// memory; in browsers, which run on phones too, 256 MiB.
    ///
    /// # Errors
    ///
    /// [`Error::Gpu`] if the device refuses something; [`Error::OutOfMemory`] and [`Error::DeviceLost`].
    pub async fn measure_async(context: &Context, effort: Effort) -> Result<Self, Error> {
        let prober = Prober::new(context, effort).await?;
        let mut arithmetic = vec![prober.multiply_adds(Dtype::F32).await?];
        let facts = context.engine().facts();
        let half = |wanted| wanted == Dtype::F16;
        let [halves, sums_of_halves] = match effort {
            Effort::Full => [true; 2],
            Effort::Brief { factors, sums } => [half(factors), half(sums)],
        };
        if sums_of_halves && facts.features.contains(wgpu::Features::SHADER_F16) {
            arithmetic.push(prober.multiply_adds(Dtype::F16).await?);
        }
        for (side, sums) in matrix_shapes(context) {
            if halves && (sums == Dtype::F32 || sums_of_halves) {
                let matrices = prober.matrices(side, sums).await?;
                // 0 if no configuration could be counted.
                if matrices.rate.per_second > 0.0 {
                    arithmetic.push(matrices);
                }
            }
        }
        let (read, copy, buffer_bytes) = prober.memory().await?;
        // Measured again a second or so later, because other programs on the machine may have disturbed the first time.
        let again = prober.multiply_adds(Dtype::F32).await?;
        if again.rate.per_second > arithmetic[0].rate.per_second {
            arithmetic[0] = again;
        }
        let fabric = match effort {
            Effort::Full => Some(prober.fabric(arithmetic[0].rate.per_second).await?),
            Effort::Brief { .. } => None,
        };
        Ok(Self { arithmetic, read, copy, buffer_bytes, launch: prober.launch().await?, fabric })
    }

    /// [`Roofline::measure_async`], which it blocks on.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn measure(context: &Context, effort: Effort) -> Result<Self, Error> {
        pollster::block_on(Self::measure_async(context, effort))
    }

    /// The most floating-point operations per second with factors and sums that are no narrower than these types. A
    /// multiply-add counts as two.
    pub fn flops(&self, factors: Dtype, sums: Dtype) -> f64 {
        let fits = |a: &&Arithmetic| {
            (a.sums == Dtype::F32 || sums == Dtype::F16) && (a.factors == Dtype::F32 || factors == Dtype::F16)
        };
        self.arithmetic.iter().filter(fits).map(|a| a.rate.per_second).fold(0.0, f64::max)
    }

    /// The rates for [`EngineOptions::rates`](crate::EngineOptions::rates). What was not measured is as in `class`, such as
    /// the rates of the engine's facts. `side` is [`DeviceFacts::matrix`].
    pub fn rates(&self, class: &Rates, side: Option<u32>) -> Rates {
        let of = |factors, sums, matrix| {
            let mut same = self.arithmetic.iter().filter(|a| (a.factors, a.sums, a.matrix) == (factors, sums, matrix));
            same.next().map(|a| a.rate.per_second / 2.0)
        };
        let mut rates = *class;
        let measured = [
            (&mut rates.multiply_adds, of(Dtype::F32, Dtype::F32, None)),
            (&mut rates.packed, of(Dtype::F16, Dtype::F16, None)),
            (&mut rates.matrix, side.and_then(|_| of(Dtype::F16, Dtype::F32, side))),
            (&mut rates.bandwidth, Some(self.bandwidth())),
            (&mut rates.launch, Some(self.launch)),
            (&mut rates.cache, self.fabric.as_ref().map(|fabric| fabric.cache.per_second)),
            (&mut rates.latency, self.fabric.as_ref().map(|fabric| fabric.latency)),
        ];
        for (rate, measured) in measured {
            *rate = measured.unwrap_or(*rate);
        }
        rates.threads = self.fabric.as_ref().map_or(rates.threads, |fabric| fabric.threads);
        rates.or(*class)
    }

    /// The most bytes per second, by reading or by copying.
    pub fn bandwidth(&self) -> f64 {
        self.read.per_second.max(self.copy.per_second)
    }

    /// The least seconds that work with these multiply-adds and moved bytes can take, and what decides it. `factors`
    /// and `sums` are the narrowest types that may be used. The seconds do not include launches.
    pub fn bound(&self, macs: u64, bytes: u64, factors: Dtype, sums: Dtype) -> (f64, Bound) {
        let arithmetic = 2.0 * macs as f64 / self.flops(factors, sums);
        let memory = bytes as f64 / self.bandwidth();
        let (seconds, bound) =
            if arithmetic >= memory { (arithmetic, Bound::Arithmetic) } else { (memory, Bound::Memory) };
        (seconds, if seconds < self.launch { Bound::Launch } else { bound })
    }
}

/// Names and WGSL sources of all probes, for readers and other compilers. Devices may lack features for some.
pub fn sources() -> Vec<(String, String)> {
    let mut probes = vec![Probe::Read, Probe::Copy, Probe::Follow];
    for dtype in [Dtype::F32, Dtype::F16] {
        probes.extend(CHAINS.map(|chains| Probe::MultiplyAdd { dtype, chains }));
        for side in [8, 16] {
            probes.extend(MATRIX_CHAINS.map(|chains| Probe::Matrices { side, sums: dtype, chains }));
        }
    }
    probes.into_iter().map(Probe::kernel).map(|kernel| (kernel.name(), kernel.source())).collect()
}

/// Side and type of sums of the matrices that can be measured: square, of f16 factors, with types in WGSL, and usable
/// on the device.
fn matrix_shapes(context: &Context) -> Vec<(u32, Dtype)> {
    use wgpu::{CooperativeScalarType as Scalar, Features};
    let engine = context.engine();
    let needs = Features::SHADER_F16 | Features::SUBGROUP | Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let mut shapes = Vec::new();
    for shape in &engine.adapter_facts().cooperative_matrices {
        let sums = match shape.cr_type {
            Scalar::F16 => Dtype::F16,
            Scalar::F32 => Dtype::F32,
            _ => continue,
        };
        let square = shape.m_size == shape.n_size && shape.n_size == shape.k_size && matches!(shape.m_size, 8 | 16);
        let wanted = square && shape.ab_type == Scalar::F16 && engine.facts().features.contains(needs);
        if wanted && !shapes.contains(&(shape.m_size, sums)) {
            shapes.push((shape.m_size, sums));
        }
    }
    shapes
}

/// Multiply-adds per round and chain of multiply_add.wgsl, and products per round and chain of multiply_matrices.wgsl.
const STEPS: [u64; 2] = [32, 4];

/// Numbers of chains: enough to hide the latency of a multiply-add, and few enough for the registers. Software devices
/// have 16 registers.
const CHAINS: [u32; 4] = [8, 10, 12, 16];

/// The same for matrices. A GPU's registers hold fewer of them.
const MATRIX_CHAINS: [u32; 3] = [2, 4, 8];

/// The different left matrices of multiply_matrices.wgsl. No number of chains exceeds it.
const LEFTS: u32 = 16;

/// Operations of a round of multiply_matrices.wgsl. `subgroups` of a workgroup is what the device has counted; `None` if it cannot
/// be true.
fn matrix_flops(side: u32, chains: u32, workgroups: u32, subgroups: u32) -> Option<u64> {
    let products = STEPS[1] * u64::from(chains) * u64::from(workgroups) * u64::from(subgroups);
    (1..=WORKGROUP).contains(&subgroups).then(|| 2 * products * u64::from(side).pow(3))
}

/// Elements per round and thread of read.wgsl and copy.wgsl. An element is four f32.
const ELEMENTS_A_ROUND: u32 = 8;

/// Bytes of such an element.
const ELEMENT: u64 = 16;

/// Seconds that a timed pass should take: much longer than the clock's steps and a launch.
const PASS: f64 = 0.008;

/// How many times the way there and back a pass should take, if the host's clock times it; and the most seconds of that.
const WAYS: f64 = 10.0;
const MOST_SECONDS: f64 = 0.5;

struct Prober<'a> {
    context: &'a Context,
    effort: Effort,
    /// Seconds from submitting a pass to hearing that it is done, which the host's clock adds to each. It may be a tenth of a
    /// second in a browser.
    way: f64,
}

impl<'a> Prober<'a> {
    async fn new(context: &'a Context, effort: Effort) -> Result<Self, Error> {
        Ok(Self { context, effort, way: context.way_async().await? })
    }

    /// Seconds that a timed pass should take.
    fn pass(&self) -> f64 {
        match self.context.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            true => PASS,
            false => (WAYS * self.way).clamp(PASS, MOST_SECONDS),
        }
    }

    fn facts(&self) -> &DeviceFacts {
        self.context.engine().facts()
    }

    /// Numbers of workgroups that fill the device. Few are enough for few cores, and each costs time to set up.
    fn fills(&self) -> &'static [u32] {
        match (self.facts().software, self.effort) {
            (true, _) => &[64],
            (false, Effort::Brief { .. }) => &[2048],
            (false, Effort::Full) => &[512, 2048, 8192],
        }
    }

    async fn multiply_adds(&self, dtype: Dtype) -> Result<Arithmetic, Error> {
        let chains = if self.effort == Effort::Full { &CHAINS[..] } else { &CHAINS[1..3] };
        let width = if dtype == Dtype::F16 { 2 } else { 1 };
        let most = self.fills().iter().max().copied().unwrap_or(1);
        let y = self.context.tensor(u64::from(most * WORKGROUP), Dtype::F32)?;
        let mut best = Best::default();
        for &chains in chains {
            for &workgroups in self.fills() {
                let flops_a_round =
                    (2 * width * STEPS[0] * u64::from(chains) * u64::from(workgroups * WORKGROUP)) as f64;
                let dispatch = |rounds| {
                    let probe = Probe::MultiplyAdd { dtype, chains };
                    self.dispatch(probe, Walk { rounds, ..Walk::default() }, workgroups, &[(TensorId::YH, &y)])
                };
                let rate = flops_a_round * self.rounds_a_second(dispatch).await?;
                best.offer(rate, || format!("{chains} chains, {workgroups} workgroups of {WORKGROUP}"));
            }
        }
        Ok(Arithmetic { factors: dtype, sums: dtype, matrix: None, rate: best.rate })
    }

    async fn matrices(&self, side: u32, sums: Dtype) -> Result<Arithmetic, Error> {
        let chains = if self.effort == Effort::Full { &MATRIX_CHAINS[..] } else { &MATRIX_CHAINS[1..] };
        // So small that sums stop growing before they overflow.
        let values: Vec<f32> = (0..LEFTS * side * side).map(|i| ((i * 7) % 13) as f32 / 4096.0).collect();
        let [a, b] = [self.context.upload(&values, Dtype::F16)?, self.context.upload(&values, Dtype::F16)?];
        let count = self.context.tensor(1, Dtype::F32)?;
        let smallest = self.context.adapter().get_info().subgroup_min_size.max(1);
        let mut best = Best::default();
        for &chains in chains {
            for &workgroups in self.fills() {
                let elements = u64::from(WORKGROUP.div_ceil(smallest) * chains * side * side);
                // Fewer workgroups if the sums would take too much memory. They need not fill the device.
                let workgroups = u64::from(workgroups).min(MOST_SUMS / elements).max(1) as u32;
                let y = self.context.tensor(elements * u64::from(workgroups), sums)?;
                let dispatch = |rounds| {
                    let probe = Probe::Matrices { side, sums, chains };
                    let tensors = [(TensorId::XH, &a), (TensorId::XL, &b), (TensorId::YH, &y), (TensorId::YL, &count)];
                    self.dispatch(probe, Walk { rounds, ..Walk::default() }, workgroups, &tensors)
                };
                let rounds_a_second = self.rounds_a_second(dispatch).await?;
                let bytes = self.context.read_bytes_async(&count, 0, 4).await?;
                let subgroups: u32 = bytemuck::pod_read_unaligned(&bytes);
                let Some(flops_a_round) = matrix_flops(side, chains, workgroups, subgroups) else { continue };
                let rate = flops_a_round as f64 * rounds_a_second;
                best.offer(rate, || format!("{chains} chains, {workgroups} workgroups of {subgroups} subgroups"));
            }
        }
        Ok(Arithmetic { factors: Dtype::F16, sums, matrix: Some(side), rate: best.rate })
    }

    async fn memory(&self) -> Result<(Rate, Rate, u64), Error> {
        let [x, y] = self.buffers().await?;
        let measured = self.memory_of(&x, &y).await;
        // A browser would free them when it collects garbage, and does not count a GPU's memory.
        [x, y].iter().for_each(wgpu::Buffer::destroy);
        measured
    }

    async fn memory_of(&self, x: &wgpu::Buffer, y: &wgpu::Buffer) -> Result<(Rate, Rate, u64), Error> {
        let bytes = x.size();
        let tensors = [(TensorId::XH, x), (TensorId::YH, y)];
        // A GPU fetches for neighbouring threads at once. The core of a processor is fastest with long runs.
        let (rounds, forms): (&[u32], &[Form]) = match (self.facts().software, self.effort) {
            (true, Effort::Brief { .. }) => (&[64], &[Form::Runs]),
            (true, Effort::Full) => (&[8, 32, 64, 128], &Form::ALL),
            (false, Effort::Brief { .. }) => (&[8], &[Form::Grid, Form::Blocks]),
            (false, Effort::Full) => (&[2, 8, 32], &Form::ALL),
        };
        let (mut read, mut copy) = (Best::default(), Best::default());
        for &rounds in rounds {
            for form in forms {
                let Some((walk, workgroups)) = form.walk(bytes, rounds) else { continue };
                let name = || format!("{}, {} x 16 bytes a thread", form.name(), rounds * ELEMENTS_A_ROUND);
                let dispatch = |probe| self.dispatch(probe, walk, workgroups, &tensors);
                read.offer(bytes as f64 / self.fastest_of_many(&dispatch(Probe::Read)?, 1).await?, name);
                copy.offer(2.0 * bytes as f64 / self.fastest_of_many(&dispatch(Probe::Copy)?, 1).await?, name);
            }
        }
        Ok((read.rate, copy.rate, bytes))
    }

    /// Two buffers of the same size, a power of two. They are larger than caches, unless the device lacks the memory.
    async fn buffers(&self) -> Result<[wgpu::Buffer; 2], Error> {
        let limits = &self.facts().limits;
        let allowed = limits.max_buffer_size.min(limits.max_storage_buffer_binding_size);
        let wanted = match self.facts().software {
            true => 64 << 20,
            // Phones end pages that take much.
            false if cfg!(target_arch = "wasm32") => 128 << 20,
            false => 256 << 20,
        };
        let mut bytes = 1u64 << wanted.min(allowed).max(SMALLEST).ilog2();
        loop {
            let made = [(); 2].map(|()| self.context.tensor(bytes / 4, Dtype::F32));
            // A browser says only now whether there is room for them.
            let settled = self.context.engine().settled().await;
            let failed = match (made, settled) {
                ([Ok(x), Ok(y)], Ok(())) => return Ok([x, y]),
                (made, settled) => {
                    made.iter().flatten().for_each(wgpu::Buffer::destroy);
                    settled.and(made.into_iter().try_for_each(|made| made.map(drop)))
                }
            };
            match failed {
                Err(error) if bytes <= SMALLEST => return Err(error),
                _ => bytes /= 2,
            }
        }
    }

    /// `most` are the most operations of f32 per second.
    async fn fabric(&self, most: f64) -> Result<Fabric, Error> {
        Ok(Fabric { cache: self.cache().await?, latency: self.latency().await?, threads: self.threads(most).await? })
    }

    async fn cache(&self) -> Result<Rate, Error> {
        let mut best = Best::default();
        // All threads read the same elements, 16 KiB of them.
        let elements = (16 << 10) / ELEMENT as u32;
        let bytes = u64::from(2 * elements) * ELEMENT;
        let x = self.context.tensor(bytes / 4, Dtype::F32)?;
        for &workgroups in self.fills() {
            let y = self.context.tensor(u64::from(workgroups * WORKGROUP), Dtype::F32)?;
            let tensors = [(TensorId::XH, &x), (TensorId::YH, &y)];
            for (thread_distance, distance, name) in [(1, WORKGROUP, "adjacent"), (8, 1, "eight in a row")] {
                let walk = Walk { thread_distance, distance, mask: elements - 1, ..Walk::default() };
                let dispatch = |rounds| self.dispatch(Probe::Read, Walk { rounds, ..walk }, workgroups, &tensors);
                let a_round = u64::from(ELEMENTS_A_ROUND * workgroups * WORKGROUP) * ELEMENT;
                let rate = a_round as f64 * self.rounds_a_second(dispatch).await?;
                best.offer(rate, || format!("{name}, {workgroups} workgroups of {WORKGROUP}"));
            }
        }
        Ok(best.rate)
    }

    async fn latency(&self) -> Result<f64, Error> {
        let x = self.context.tensor(FOLLOWED.into(), Dtype::F32)?;
        let next: Vec<u8> = (0..FOLLOWED).flat_map(|i| follow(i).to_ne_bytes()).collect();
        self.context.write_bytes(&x, 0, &next)?;
        let y = self.context.tensor(u64::from(WORKGROUP), Dtype::F32)?;
        let dispatch = |rounds| {
            let walk = Walk { rounds, ..Walk::default() };
            self.dispatch(Probe::Follow, walk, 1, &[(TensorId::XH, &x), (TensorId::YH, &y)])
        };
        Ok(1.0 / (self.rounds_a_second(dispatch).await? * f64::from(LOADS_A_ROUND)))
    }

    async fn threads(&self, most: f64) -> Result<u64, Error> {
        let largest = self.fills().iter().max().copied().unwrap_or(1);
        let y = self.context.tensor(u64::from(largest * WORKGROUP), Dtype::F32)?;
        let (chains, mut workgroups) = (CHAINS[1], 1);
        // Twice as many each time. The last are those with which the device does its most.
        while workgroups < largest {
            let flops_a_round = (2 * STEPS[0] * u64::from(chains) * u64::from(workgroups * WORKGROUP)) as f64;
            let dispatch = |rounds| {
                let probe = Probe::MultiplyAdd { dtype: Dtype::F32, chains };
                self.dispatch(probe, Walk { rounds, ..Walk::default() }, workgroups, &[(TensorId::YH, &y)])
            };
            if flops_a_round * self.rounds_a_second(dispatch).await? >= 0.9 * most {
                break;
            }
            workgroups *= 2;
        }
        Ok(8 * u64::from(workgroups * WORKGROUP))
    }

    async fn launch(&self) -> Result<f64, Error> {
        let y = self.context.tensor(u64::from(WORKGROUP), Dtype::F32)?;
        let probe = Probe::MultiplyAdd { dtype: Dtype::F32, chains: 10 };
        self.fastest_of_many(&self.dispatch(probe, Walk::default(), 1, &[(TensorId::YH, &y)])?, 256).await
    }

    fn dispatch(
        &self,
        probe: Probe,
        walk: Walk,
        workgroups: u32,
        tensors: &[(TensorId, &wgpu::Buffer)],
    ) -> Result<Dispatch, Error> {
        let engine = self.context.engine();
        let step = probe.step(walk, workgroups);
        let (uniform, _) = engine.uniforms(std::iter::once(&step))?;
        engine.dispatch(&step, uniform.as_entire_buffer_binding(), |id| {
            tensors.iter().find(|(tensor, _)| *tensor == id).map(|(_, buffer)| buffer.as_entire_buffer_binding())
        })
    }

    /// Rounds per second, measured with enough rounds to make a pass long.
    async fn rounds_a_second(&self, dispatch: impl Fn(u32) -> Result<Dispatch, Error>) -> Result<f64, Error> {
        let mut rounds = 16;
        loop {
            let probe = dispatch(rounds)?;
            let seconds = self.seconds(&probe, 1).await?.min(self.seconds(&probe, 1).await?);
            match self.more(rounds, seconds, MOST_ROUNDS) {
                Some(more) => rounds = more,
                None => return Ok(f64::from(rounds) / self.fastest(&probe, 1).await?),
            }
        }
    }

    /// The least seconds per dispatch, with at least `repeats` of them in a pass, and as many as make it long.
    async fn fastest_of_many(&self, dispatch: &Dispatch, mut repeats: u32) -> Result<f64, Error> {
        loop {
            let seconds = self.seconds(dispatch, repeats).await?.min(self.seconds(dispatch, repeats).await?);
            match self.more(repeats, seconds * f64::from(repeats), MOST_REPEATS) {
                Some(more) => repeats = more,
                None => return self.fastest(dispatch, repeats).await,
            }
        }
    }

    /// How many to put into a pass that took `seconds` with `count`. `None` if that is enough, or the most.
    fn more(&self, count: u32, seconds: f64, most: u32) -> Option<u32> {
        let pass = self.pass();
        // Half of the wanted time is enough, so that noise does not cause more passes.
        if seconds >= pass / 2.0 || count >= most {
            return None;
        }
        // The factor is limited, because the first passes also compile and wake the device, and because little is known of what
        // takes less than the way there and back.
        let most_times = if pass > PASS { 16.0 } else { 64.0 };
        let wanted = f64::from(count) * (pass / seconds).min(most_times);
        Some((wanted.ceil() as u32).clamp(count + 1, most))
    }

    /// The least seconds per dispatch over several passes, or over two passes if they take long. A pass has `repeats`
    /// dispatches.
    async fn fastest(&self, dispatch: &Dispatch, repeats: u32) -> Result<f64, Error> {
        const PASSES: u32 = 12;
        const BUDGET: f64 = 0.12;
        let (mut fastest, mut spent) = (f64::INFINITY, 0.0);
        for pass in 0..PASSES {
            if pass >= 2 && spent > BUDGET {
                break;
            }
            let seconds = self.seconds(dispatch, repeats).await?;
            fastest = fastest.min(seconds);
            spent += seconds * f64::from(repeats);
        }
        Ok(fastest)
    }

    async fn seconds(&self, dispatch: &Dispatch, repeats: u32) -> Result<f64, Error> {
        let timing = self.context.time_pass_async(|pass| (0..repeats).for_each(|_| dispatch.record(pass))).await?;
        Ok(timing.without_way(self.way).max(SHORTEST) / f64::from(repeats))
    }
}

/// Elements of the buffer that follow.wgsl reads, a power of two.
const FOLLOWED: u32 = (1 << 20) / 4;

/// Loads per round of follow.wgsl.
const LOADS_A_ROUND: u32 = 16;

/// The element after this one, in an order that meets each of them once and that nothing can guess.
fn follow(i: u32) -> u32 {
    // A linear congruential generator: its period is whole, because the factor is one more than a multiple of four, and
    // the offset is odd.
    i.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) % FOLLOWED
}

/// The fewest bytes of a buffer that is read or copied.
const SMALLEST: u64 = 2 << 20;

/// The most sums that multiply_matrices.wgsl may store.
const MOST_SUMS: u64 = 16 << 20;

/// What a pass takes at least, if the host's clock shows no time besides the way there and back.
const SHORTEST: f64 = 1e-6;

/// The most dispatches of a pass: they are recorded one by one.
const MOST_REPEATS: u32 = 4096;

/// The most rounds of a dispatch: enough for any device, and far below the largest u32.
const MOST_ROUNDS: u32 = 1 << 22;

/// How the threads share a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Neighbouring threads read neighbouring elements. The next round continues behind all threads of the dispatch.
    Grid,
    /// Neighbouring threads read neighbouring elements. The next round continues behind all threads of the workgroup.
    Blocks,
    /// Each thread reads adjacent elements of its own.
    Runs,
}

impl Form {
    const ALL: [Self; 3] = [Self::Grid, Self::Blocks, Self::Runs];

    fn name(self) -> &'static str {
        match self {
            Self::Grid => "interleaved over the grid",
            Self::Blocks => "interleaved over a workgroup",
            Self::Runs => "a run a thread",
        }
    }

    /// The steps through a buffer of `bytes`, a power of two, and the number of workgroups that cover it. `None` if it
    /// is too small for one workgroup.
    fn walk(self, bytes: u64, rounds: u32) -> Option<(Walk, u32)> {
        let elements = (bytes / ELEMENT) as u32;
        let thread = rounds * ELEMENTS_A_ROUND;
        let workgroups = elements / (thread * WORKGROUP);
        let (workgroup_distance, thread_distance, distance) = match self {
            Self::Grid => (WORKGROUP, 1, workgroups * WORKGROUP),
            Self::Blocks => (thread * WORKGROUP, 1, WORKGROUP),
            Self::Runs => (thread * WORKGROUP, thread, 1),
        };
        let walk = Walk { rounds, workgroup_distance, thread_distance, distance, ..Walk::default() };
        (workgroups > 0).then_some((walk, workgroups))
    }
}

/// The highest rate so far.
struct Best {
    rate: Rate,
}

impl Default for Best {
    fn default() -> Self {
        Self { rate: Rate { per_second: 0.0, configuration: String::new() } }
    }
}

impl Best {
    fn offer(&mut self, per_second: f64, configuration: impl FnOnce() -> String) {
        if per_second > self.rate.per_second {
            self.rate = Rate { per_second, configuration: configuration() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ContextOptions;

    fn context() -> Context {
        Context::new(&ContextOptions::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn run(context: &Context, probe: Probe, walk: Walk, workgroups: u32, tensors: &[(TensorId, &wgpu::Buffer)]) {
        let prober = Prober { context, effort: Effort::Full, way: 0.0 };
        let dispatch = prober.dispatch(probe, walk, workgroups, tensors).unwrap();
        context.run_pass(|pass| dispatch.record(pass)).unwrap();
    }

    #[test]
    fn chains_multiply_and_add() {
        let context = context();
        for dtype in [Dtype::F32, Dtype::F16] {
            if dtype == Dtype::F16 && !context.device().features().contains(wgpu::Features::SHADER_F16) {
                continue;
            }
            let y = context.tensor(u64::from(WORKGROUP), Dtype::F32).unwrap();
            let probe = Probe::MultiplyAdd { dtype, chains: 10 };
            run(&context, probe, Walk { rounds: 4, ..Walk::default() }, 1, &[(TensorId::YH, &y)]);
            // offset / (1 - factor) of 10 chains: 0.5 / 0.25, or 0.25 / 0.625 with both of them halved.
            let width = if dtype == Dtype::F16 { 2.0 } else { 1.0 };
            for (thread, value) in context.read(&y, 0, u64::from(WORKGROUP), Dtype::F32).unwrap().iter().enumerate() {
                let expected = 10.0 * width * if thread % 2 == 0 { 2.0 } else { 0.4 };
                assert!((value / expected - 1.0).abs() < 4e-3, "{value} is not {expected}");
            }
        }
    }

    #[test]
    fn matrices_are_multiplied() {
        let context = context();
        for (side, sums) in matrix_shapes(&context) {
            let (chains, elements, n) = (4, u64::from(side * side), side as usize);
            let values: Vec<f32> = (0..LEFTS * side * side).map(|i| ((i * 5) % 7) as f32 / 16.0).collect();
            let [a, b] = [(); 2].map(|()| context.upload(&values, Dtype::F16).unwrap());
            let count = context.tensor(1, Dtype::F32).unwrap();
            let y = context.tensor(u64::from(2 * WORKGROUP * chains) * elements, sums).unwrap();
            let tensors = [(TensorId::XH, &a), (TensorId::XL, &b), (TensorId::YH, &y), (TensorId::YL, &count)];
            let probe = Probe::Matrices { side, sums, chains };
            run(&context, probe, Walk { rounds: 1, ..Walk::default() }, 2, &tensors);
            let subgroups: u32 = bytemuck::pod_read_unaligned(&context.read_bytes(&count, 0, 4).unwrap());
            assert!((1..=WORKGROUP).contains(&subgroups));
            let found = context.read(&y, 0, u64::from(2 * subgroups * chains) * elements, sums).unwrap();
            for (matrix, found) in found.chunks_exact(n * n).enumerate() {
                let right = &values[matrix % chains as usize * n * n..];
                for (i, &found) in found.iter().enumerate() {
                    let (row, col) = (i / n, i % n);
                    let product = |left: &[f32]| (0..n).map(|k| left[row * n + k] * right[k * n + col]).sum::<f32>();
                    let expected: f32 = values.chunks_exact(n * n).take(4).map(product).sum();
                    assert!((found - expected).abs() <= 4e-3 * expected, "{found} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn buffers_are_read_and_copied_whole() {
        let context = context();
        let elements = SMALLEST / 4;
        let values: Vec<f32> = (0..elements).map(|i| (i % 8191) as f32).collect();
        let x = context.upload(&values, Dtype::F32).unwrap();
        for form in Form::ALL {
            let (walk, workgroups) = form.walk(SMALLEST, 8).unwrap();
            let y = context.upload(&vec![f32::NAN; values.len()], Dtype::F32).unwrap();
            run(&context, Probe::Copy, walk, workgroups, &[(TensorId::XH, &x), (TensorId::YH, &y)]);
            assert!(context.read(&y, 0, elements, Dtype::F32).unwrap() == values, "{form:?}");
            run(&context, Probe::Read, walk, workgroups, &[(TensorId::XH, &x), (TensorId::YH, &y)]);
            let sums = context.read(&y, 0, u64::from(workgroups * WORKGROUP), Dtype::F32).unwrap();
            let [found, expected] = [&sums, &values].map(|v| v.iter().copied().map(f64::from).sum::<f64>());
            assert!((found / expected - 1.0).abs() < 1e-5, "{form:?}: {found} is not {expected}");
        }
        assert_eq!(Form::Grid.walk(SMALLEST, 1 << 12), None);
    }

    #[test]
    fn a_small_part_is_read_again_and_again() {
        let context = context();
        let values: Vec<f32> = (0..4096).map(|i| (i % 1021) as f32).collect();
        let x = context.upload(&values, Dtype::F32).unwrap();
        let y = context.tensor(u64::from(WORKGROUP), Dtype::F32).unwrap();
        // 64 elements of four f32 from each thread's first one on, from the beginning again after 512 of them.
        let walk = Walk { rounds: 8, thread_distance: 1, distance: 64, mask: 511, ..Walk::default() };
        run(&context, Probe::Read, walk, 1, &[(TensorId::XH, &x), (TensorId::YH, &y)]);
        for (thread, found) in context.read(&y, 0, u64::from(WORKGROUP), Dtype::F32).unwrap().iter().enumerate() {
            let once: f32 = (0..8).map(|k| values[4 * (thread + 64 * k)..][..4].iter().sum::<f32>()).sum();
            assert!((found / (8.0 * once) - 1.0).abs() < 1e-5, "{thread}: {found} is not {}", 8.0 * once);
        }
    }

    #[test]
    fn loads_follow_each_other() {
        let mut met = vec![false; FOLLOWED as usize];
        let mut i = 0;
        for _ in 0..FOLLOWED {
            assert!(!std::mem::replace(&mut met[i as usize], true), "{i} again");
            i = follow(i);
        }
        let context = context();
        let next: Vec<u8> = (0..FOLLOWED).flat_map(|i| follow(i).to_ne_bytes()).collect();
        let x = context.tensor(FOLLOWED.into(), Dtype::F32).unwrap();
        context.write_bytes(&x, 0, &next).unwrap();
        let y = context.tensor(u64::from(WORKGROUP), Dtype::F32).unwrap();
        let walk = Walk { rounds: 3, ..Walk::default() };
        run(&context, Probe::Follow, walk, 1, &[(TensorId::XH, &x), (TensorId::YH, &y)]);
        let bytes = context.read_bytes(&y, 0, 4 * u64::from(WORKGROUP)).unwrap();
        let wanted = (0..3 * LOADS_A_ROUND).fold(0, |i, _| follow(i));
        for found in bytes.chunks_exact(4) {
            assert_eq!(bytemuck::pod_read_unaligned::<u32>(found), wanted);
        }
    }

    #[test]
    fn subgroups_that_cannot_be_are_not_counted() {
        assert_eq!(matrix_flops(16, 8, 8192, 4), Some(2 * 4 * 8 * 8192 * 4 * 4096));
        assert!(matrix_flops(16, 8, 8192, WORKGROUP).is_some());
        for wrong in [0, WORKGROUP + 1, u32::MAX] {
            assert_eq!(matrix_flops(16, 8, 8192, wrong), None);
        }
    }

    #[test]
    fn rates_are_what_was_measured() {
        let rate = |per_second: f64| Rate { per_second, configuration: String::new() };
        let arithmetic = |factors, sums, matrix, flops| Arithmetic { factors, sums, matrix, rate: rate(flops) };
        let roofline = Roofline {
            arithmetic: vec![
                arithmetic(Dtype::F32, Dtype::F32, None, 100.0),
                arithmetic(Dtype::F16, Dtype::F16, Some(16), 700.0),
                arithmetic(Dtype::F16, Dtype::F32, Some(8), 300.0),
                arithmetic(Dtype::F16, Dtype::F32, Some(16), 400.0),
            ],
            read: rate(10.0),
            copy: rate(8.0),
            buffer_bytes: 0,
            launch: 0.5,
            fabric: Some(Fabric { cache: rate(20.0), latency: 0.25, threads: 64 }),
        };
        let class = Rates::of_kind(true);
        let expected = Rates {
            multiply_adds: 50.0,
            matrix: 200.0,
            bandwidth: 10.0,
            cache: 20.0,
            launch: 0.5,
            latency: 0.25,
            threads: 64,
            ..class
        };
        assert_eq!(roofline.rates(&class, Some(16)), expected);
        assert_eq!(roofline.rates(&class, None), Rates { matrix: class.matrix, ..expected });
        let Rates { cache, latency, threads, .. } = class;
        let brief = Roofline { fabric: None, launch: 0.0, ..roofline };
        let wanted = Rates { cache, latency, threads, launch: class.launch, ..expected };
        assert_eq!(brief.rates(&class, Some(16)), wanted);
    }

    #[test]
    fn the_tighter_bound_counts() {
        let rate = |per_second: f64| Rate { per_second, configuration: String::new() };
        let arithmetic = |factors, sums, matrix, flops| Arithmetic { factors, sums, matrix, rate: rate(flops) };
        let roofline = Roofline {
            arithmetic: vec![
                arithmetic(Dtype::F32, Dtype::F32, None, 100.0),
                arithmetic(Dtype::F16, Dtype::F16, None, 1000.0),
                arithmetic(Dtype::F16, Dtype::F32, Some(8), 400.0),
            ],
            read: rate(10.0),
            copy: rate(8.0),
            buffer_bytes: 0,
            launch: 0.5,
            fabric: None,
        };
        let f32_sums = |macs, bytes, factors| roofline.bound(macs, bytes, factors, Dtype::F32);
        // Arithmetic with f16 sums does not count if sums must be f32. Matrices count if factors may be f16.
        assert_eq!(f32_sums(100, 10, Dtype::F32), (2.0, Bound::Arithmetic));
        assert_eq!(f32_sums(400, 10, Dtype::F16), (2.0, Bound::Arithmetic));
        assert_eq!(f32_sums(100, 30, Dtype::F32), (3.0, Bound::Memory));
        assert_eq!(f32_sums(10, 4, Dtype::F32), (0.4, Bound::Launch));
        assert_eq!(roofline.bound(1000, 10, Dtype::F16, Dtype::F16), (2.0, Bound::Arithmetic));
    }
}
