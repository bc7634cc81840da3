//! Opens and owns a device, for programs that have none: picks an adapter, uploads, runs, reads back, times.
//!
//! Unlike the rest of the library, this part submits and waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use futures_channel::oneshot;
use web_time::Instant;

#[cfg(not(target_arch = "wasm32"))]
use super::cache::Cache;
use crate::device::{AdapterFacts, DeviceFacts, DeviceIdentity, Rates};
#[cfg(not(target_arch = "wasm32"))]
use crate::engine::Scopes;
use crate::engine::{Engine, EngineOptions, Layer, one_line};
use crate::error::Error;
use crate::memory::with_room;
use crate::plan::Tuned;
use crate::precision::Dtype;

/// How to open a [`Context`].
#[derive(Clone, Debug, Default)]
pub struct ContextOptions {
    /// Asks for wgpu's default limits and no features, as embedders' devices often have.
    pub default_device: bool,
    /// Asks for those of these features that the adapter has and octconv uses. `None`: all of them, or none with
    /// `default_device`. Tuned variants are found again on devices with the same features.
    pub features: Option<wgpu::Features>,
    /// Asks for these limits. `None`: the adapter's own, or wgpu's defaults with `default_device`.
    pub limits: Option<wgpu::Limits>,
    /// Whether kernels keep wgpu's bounds checks: see [`EngineOptions::checked`].
    pub checked: Option<bool>,
    /// Whether kernels are chosen as for a software device: see [`EngineOptions::software`].
    pub software: Option<bool>,
    /// The fewest and the most threads of a subgroup: see [`EngineOptions::subgroup_sizes`].
    pub subgroup_sizes: Option<[u32; 2]>,
    /// Whether all tensors are bound as if kernels wrote them: see [`EngineOptions::read_write`].
    pub read_write: bool,
    /// How fast the device is: see [`EngineOptions::rates`]. `None`: as the cache has it, if there is one.
    pub rates: Option<Rates>,
    /// The tuned variants to follow. `None`: those of the cache, if there is one.
    pub tuned: Option<Arc<Tuned>>,
    /// Who the device is, if it does not say so itself: see [`EngineOptions::identity`].
    pub identity: Option<DeviceIdentity>,
    /// Where tuned variants are read from, and the driver's compiled pipelines read and kept if it supports that. Browsers
    /// have no folders: keep [`Tuned::to_bytes`] there yourself.
    #[cfg(not(target_arch = "wasm32"))]
    pub cache: Option<Cache>,
}

#[cfg(not(target_arch = "wasm32"))]
impl ContextOptions {
    /// Completes an engine's options with what the cache knows of the device, and with the driver's pipelines.
    fn follow_cache(
        &self,
        mut options: EngineOptions,
        device: &wgpu::Device,
        is_software: bool,
        identity: Option<&DeviceIdentity>,
    ) -> Result<(EngineOptions, Option<KeptPipelines>), Error> {
        let Some(cache) = &self.cache else { return Ok((options, None)) };
        // What stands for another kind of device has the rates of that kind.
        let own = self.software.is_none_or(|software| software == is_software);
        options.tuned = options.tuned.or_else(|| identity.map(|identity| Arc::new(cache.tuned(identity))));
        options.rates = options.rates.or_else(|| identity.filter(|_| own).and_then(|device| cache.rates(device)));
        let pipelines = KeptPipelines::open(cache, device)?;
        options.pipeline_cache = pipelines.as_ref().map(|pipelines| pipelines.driver.clone());
        Ok((options, pipelines))
    }
}

/// An adapter, its device and queue, and an engine for them.
#[derive(Debug)]
pub struct Context {
    adapter: wgpu::Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    engine: Engine,
    identity: Option<DeviceIdentity>,
    #[cfg(not(target_arch = "wasm32"))]
    pipelines: Option<KeptPipelines>,
    /// Why the device is lost, if it is.
    lost: Arc<Mutex<Option<String>>>,
    /// Held while inputs are written, work is submitted and outputs are copied, so that threads do not mix theirs.
    turn: Mutex<()>,
}

/// The driver's compiled pipelines, and the cache that keeps them.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug)]
struct KeptPipelines {
    cache: Cache,
    key: String,
    driver: wgpu::PipelineCache,
}

#[cfg(not(target_arch = "wasm32"))]
impl KeptPipelines {
    /// Starts from the cache's data, or empty. `None` if the backend has no pipeline cache.
    fn open(cache: &Cache, device: &wgpu::Device) -> Result<Option<Self>, Error> {
        let key = pipelines_key(&device.adapter_info());
        let Some(key) = key.filter(|_| device.features().contains(wgpu::Features::PIPELINE_CACHE)) else {
            return Ok(None);
        };
        let data = cache.pipelines(&key);
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: Some("octconv"), data: data.as_deref(), fallback: true };
        // SAFETY: `save` got the data from `PipelineCache::get_data` for an adapter with the same key, and the checksum
        // says that it is unchanged. wgpu and the driver check their headers for version and device.
        let create = || unsafe { device.create_pipeline_cache(&descriptor) };
        let driver = Scopes::new(device).scoped("creating a pipeline cache", create)?;
        Ok(Some(Self { cache: cache.clone(), key, driver }))
    }

    fn save(&self) -> Result<(), Error> {
        match self.driver.get_data() {
            // The file has these bytes already.
            Some(data) if self.cache.pipelines(&self.key).is_some_and(|kept| kept == data) => Ok(()),
            Some(data) => self.cache.keep_pipelines(&self.key, &data),
            None => Ok(()),
        }
    }
}

/// The name of the file with a driver's compiled pipelines. wgpu's key has vendor and device alone, and two drivers of one adapter
/// would replace each other's file.
#[cfg(not(target_arch = "wasm32"))]
fn pipelines_key(info: &wgpu::AdapterInfo) -> Option<String> {
    let key = wgpu::util::pipeline_cache_key(info)?;
    Some(DeviceIdentity::of(info).map_or(key.clone(), |identity| format!("{key}-{}", identity.file_stem())))
}

/// Bytes on their way to the host.
struct Copied {
    staging: wgpu::Buffer,
    /// Whether they can be read.
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

/// The bytes of so many elements, if a buffer has them.
fn tensor_bytes(buffer: &wgpu::Buffer, elements: u64, dtype: Dtype) -> Result<u64, Error> {
    elements.checked_mul(dtype.bytes()).filter(|&bytes| bytes <= buffer.size()).ok_or_else(|| {
        let most = buffer.size() / dtype.bytes();
        Error::argument("elements", elements, format!("must be at most {most}, as many {dtype} as the buffer holds"))
    })
}

/// Refuses what cannot be copied from a buffer.
fn check_range(buffer: &wgpu::Buffer, offset: u64, size: u64) -> Result<(), Error> {
    for (name, value) in [("offset", offset), ("size", size)] {
        if value % wgpu::COPY_BUFFER_ALIGNMENT != 0 {
            return Err(Error::argument(name, value, "must be a multiple of 4"));
        }
    }
    let left = buffer.size().checked_sub(offset).ok_or_else(|| {
        Error::argument("offset", offset, format!("must be at most {}, the size of the buffer", buffer.size()))
    })?;
    if size > left {
        let allowed = format!("must be at most {left}, the bytes of the buffer from offset {offset} on");
        return Err(Error::argument("size", size, allowed));
    }
    Ok(())
}

/// What [`Context::read`] does, for errors.
const READING: &str = "reading back";

/// What a failing submission is called.
const SUBMITTING: &str = "submitting";

/// What [`Context::wait`] does, for errors.
const WAITING: &str = "waiting";

/// What to do if no adapter is found.
const INSTALL_HINT: &str = if cfg!(target_arch = "wasm32") {
    "this browser has no WebGPU, or has it switched off, or does not allow it for this graphics card or this page, which \
     must come from https or localhost"
} else if cfg!(target_os = "linux") {
    "install a Vulkan driver (the software one: apt-get install mesa-vulkan-drivers), or see WGPU_BACKEND"
} else {
    "install the driver of the graphics card, or see WGPU_BACKEND"
};

/// The wgpu instance that the environment asks for, with `WGPU_BACKEND` and wgpu's other variables.
pub fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env())
}

/// All adapters of the backends that the environment asks for.
pub async fn list_adapters() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    instance().enumerate_adapters(backends).await
}

/// All adapters of the backends that the environment asks for. Blocks.
#[cfg(not(target_arch = "wasm32"))]
pub fn adapters() -> Vec<wgpu::Adapter> {
    pollster::block_on(list_adapters())
}

impl Context {
    /// Opens a device.
    ///
    /// Takes the adapter that `WGPU_ADAPTER_NAME`, `WGPU_BACKEND` and `WGPU_POWER_PREF` name, or else the default one.
    /// Unless `options` say otherwise, the device has the adapter's limits, and those of its features that octconv
    /// uses.
    ///
    /// # Errors
    ///
    /// - [`Error::NoAdapter`] if there is no adapter.
    /// - [`Error::Argument`] if no adapter has the name that `WGPU_ADAPTER_NAME` asks for.
    /// - [`Error::Gpu`] if the adapter refuses the device, such as for limits that it does not have, or a pipeline cache.
    pub async fn open(options: &ContextOptions) -> Result<Self, Error> {
        let adapter = pick_adapter().await?;
        let facts = DeviceFacts::of_adapter(&adapter);
        let (required_features, required_limits) = match options.default_device {
            true => (wgpu::Features::empty(), wgpu::Limits::default()),
            false => (facts.features, facts.limits),
        };
        let required_features = options.features.map_or(required_features, |features| features & facts.features);
        let required_limits = options.limits.clone().unwrap_or(required_limits);
        let experimental_features = match required_features.intersects(wgpu::Features::all_experimental_mask()) {
            // SAFETY: the only experimental feature in USEFUL_FEATURES is the cooperative matrix. Only this crate's
            // shaders use it: in control flow that is uniform in a subgroup, in shapes that the adapter lists, and on
            // buffers whose sizes the host has checked.
            true => unsafe { wgpu::ExperimentalFeatures::enabled() },
            false => wgpu::ExperimentalFeatures::disabled(),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("octconv"),
            required_features,
            required_limits,
            experimental_features,
            ..Default::default()
        };
        let failed = |error| Error::Gpu { operation: "opening the device".into(), message: one_line(error) };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(failed)?;
        let identity = DeviceIdentity::of(&device.adapter_info()).or_else(|| options.identity.clone());
        let engine_options = EngineOptions {
            checked: options.checked,
            software: options.software,
            subgroup_sizes: options.subgroup_sizes,
            adapter: AdapterFacts::of(&adapter),
            rates: options.rates,
            identity: options.identity.clone(),
            tuned: options.tuned.clone(),
            read_write: options.read_write,
            pipeline_cache: None,
        };
        #[cfg(not(target_arch = "wasm32"))]
        let (engine_options, pipelines) =
            options.follow_cache(engine_options, &device, facts.software, identity.as_ref())?;
        let engine = Engine::new(&device, engine_options);
        let lost = Arc::new(Mutex::new(None));
        let why = lost.clone();
        device.set_device_lost_callback(move |reason, message| {
            let message = match reason {
                wgpu::DeviceLostReason::Destroyed => "it was destroyed".into(),
                wgpu::DeviceLostReason::Unknown => message.trim().to_string(),
            };
            *why.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        });
        Ok(Self {
            adapter,
            device,
            queue,
            engine,
            identity,
            #[cfg(not(target_arch = "wasm32"))]
            pipelines,
            lost,
            turn: Mutex::default(),
        })
    }

    /// Opens a device as [`Context::open`] does. Blocks.
    ///
    /// # Errors
    ///
    /// Those of [`Context::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(options: &ContextOptions) -> Result<Self, Error> {
        pollster::block_on(Self::open(options))
    }

    /// The context with another engine for its device, for tests. Not part of the public interface.
    #[cfg(feature = "verify")]
    #[doc(hidden)]
    pub fn with_engine(self, engine: Engine) -> Self {
        Self { engine, ..self }
    }

    /// The adapter.
    pub fn adapter(&self) -> &wgpu::Adapter {
        &self.adapter
    }

    /// The device. Its callback for losing it is the context's: with another one, the context does not know of a loss.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// The queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// The engine for the device.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The name under which tuned variants and rates of the device are kept; `None` if it says nothing about itself, and
    /// the options neither.
    pub fn identity(&self) -> Option<DeviceIdentity> {
        self.identity.clone()
    }

    /// Writes the driver's compiled pipelines into the cache. Does nothing if there is no cache, or if the driver does
    /// not give its pipelines away. Call it after all layers have run once, because some drivers compile only then.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn save_pipelines(&self) -> Result<(), Error> {
        self.pipelines.as_ref().map_or(Ok(()), KeptPipelines::save)
    }

    /// A buffer for a tensor of `elements`, without contents. It can be bound and read back.
    ///
    /// # Errors
    ///
    /// [`Error::Gpu`] if it is larger than the device's limits; [`Error::OutOfMemory`] and [`Error::DeviceLost`].
    pub fn tensor(&self, elements: u64, dtype: Dtype) -> Result<wgpu::Buffer, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.buffer("octconv tensor", elements.saturating_mul(dtype.bytes()), usage)
    }

    fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, Error> {
        let size = bytes.checked_next_multiple_of(4).unwrap_or(bytes).max(4);
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let operation = format!("creating an {label} of {size} bytes");
        self.scoped(&operation, || self.device.create_buffer(&descriptor))
    }

    /// A buffer with these elements, converted to `dtype`.
    ///
    /// # Errors
    ///
    /// Those of [`Context::tensor`].
    pub fn upload(&self, values: &[f32], dtype: Dtype) -> Result<wgpu::Buffer, Error> {
        let buffer = self.tensor(values.len() as u64, dtype)?;
        self.write(&buffer, 0, values, dtype)?;
        Ok(buffer)
    }

    /// Writes elements into a buffer from byte `offset` on, converted to `dtype`, before what is submitted next.
    pub(crate) fn write(&self, buffer: &wgpu::Buffer, offset: u64, values: &[f32], dtype: Dtype) -> Result<(), Error> {
        /// Few, so that converting takes little host memory.
        const PART: usize = 1 << 22;
        values.chunks(PART).zip(0..).try_for_each(|(part, i)| {
            let offset = offset + i * PART as u64 * dtype.bytes();
            self.write_bytes(buffer, offset, &encode(part, dtype))
        })
    }

    /// Writes bytes into a buffer from byte `offset` on, before what is submitted next.
    pub(crate) fn write_bytes(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let operation = format!("writing {} bytes to the device", bytes.len());
        self.scoped(&operation, || self.queue.write_buffer(buffer, offset, bytes))
    }

    /// Submits the layers in order in one compute pass, and waits for it.
    ///
    /// # Errors
    ///
    /// Those of [`Context::run_pass_async`].
    pub async fn run_async(&self, layers: &[&Layer]) -> Result<(), Error> {
        self.run_pass_async(|pass| layers.iter().for_each(|layer| layer.record(pass))).await
    }

    /// Submits what `record` records in one compute pass, and waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Gpu`] if the device refuses what is recorded; [`Error::OutOfMemory`] and [`Error::DeviceLost`].
    pub async fn run_pass_async(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Result<(), Error> {
        self.submit(record, None)?;
        self.wait().await
    }

    /// Reads `elements` of type `dtype` from byte `offset` of a buffer on, as f32. Waits for the device.
    ///
    /// # Errors
    ///
    /// Those of [`Context::read_bytes_async`], with [`Error::Argument`] for `elements` in place of `size`.
    pub async fn read_async(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        elements: u64,
        dtype: Dtype,
    ) -> Result<Vec<f32>, Error> {
        let bytes = tensor_bytes(buffer, elements, dtype)?;
        self.read_mapped(buffer, offset, bytes.next_multiple_of(4), |read| {
            let mut values = with_room(elements, READING)?;
            decode_into(&read[..bytes as usize], dtype, &mut values);
            Ok(values)
        })
        .await
    }

    /// Reads `size` bytes of a buffer from byte `offset` on. Waits for the device.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `offset` or `size` is not a multiple of 4, or the buffer ends before; [`Error::Gpu`] if
    /// the buffer has no usage `COPY_SRC`; [`Error::OutOfMemory`] and [`Error::DeviceLost`]. The buffer must be of this
    /// context's device.
    pub async fn read_bytes_async(&self, buffer: &wgpu::Buffer, offset: u64, size: u64) -> Result<Vec<u8>, Error> {
        self.read_mapped(buffer, offset, size, |read| {
            let mut bytes = with_room(size, READING)?;
            bytes.extend_from_slice(read);
            Ok(bytes)
        })
        .await
    }

    /// Reads as [`Context::read_bytes_async`] does, and returns what `take` makes of the bytes.
    async fn read_mapped<T>(
        &self,
        buffer: &wgpu::Buffer,
        offset: u64,
        size: u64,
        take: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        check_range(buffer, offset, size)?;
        let copied = self.copy_out(&[(buffer, offset, size)])?;
        self.wait().await?;
        match copied.into_iter().next().flatten() {
            Some(copied) => self.take_copied(copied, take).await,
            None => take(&[]),
        }
    }

    /// Submits copies of parts of buffers to where the host can read them: buffers, offsets and sizes. `None` for a part without
    /// bytes.
    fn copy_out(&self, parts: &[(&wgpu::Buffer, u64, u64)]) -> Result<Vec<Option<Copied>>, Error> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let mut copies = Vec::with_capacity(parts.len());
        for &(.., size) in parts {
            copies.push(if size > 0 { Some(self.buffer("octconv staging", size, usage)?) } else { None });
        }
        self.scoped(READING, || {
            let mut encoder = self.encoder();
            for (&(buffer, offset, size), staging) in parts.iter().zip(&copies) {
                if let Some(staging) = staging {
                    encoder.copy_buffer_to_buffer(buffer, offset, staging, 0, size);
                }
            }
            self.queue.submit([encoder.finish()]);
            let map = |staging: wgpu::Buffer| {
                let (sender, mapped) = oneshot::channel();
                staging.map_async(wgpu::MapMode::Read, .., move |outcome| drop(sender.send(outcome)));
                Copied { staging, mapped }
            };
            copies.into_iter().map(|staging| staging.map(map)).collect()
        })
    }

    /// What `take` makes of the bytes of a copy. Call it when the device has been waited for.
    async fn take_copied<T>(
        &self,
        Copied { staging, mapped }: Copied,
        take: impl FnOnce(&[u8]) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let failed = |message: String| Error::Gpu { operation: READING.into(), message };
        let mapped = mapped.await;
        self.check_lost(READING)?;
        mapped.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        let view = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
        let taken = take(&view);
        drop(view);
        // A browser would free it when it collects garbage, and does not count a GPU's memory.
        staging.destroy();
        taken
    }

    /// Submits what `record` records in one compute pass, then reads tensors, each from a byte offset of a buffer on, and
    /// waits. All is submitted before this waits for the first time: no other call of this function on this context comes
    /// between, of any thread.
    ///
    /// # Errors
    ///
    /// Those of [`Context::read_async`].
    pub async fn run_and_read_async(
        &self,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
        reads: &[(&wgpu::Buffer, u64, u64, Dtype)],
    ) -> Result<Vec<Vec<f32>>, Error> {
        self.write_run_and_read_async(|| Ok(()), record, reads).await
    }

    /// The same, after `write`, which writes inputs.
    pub(crate) async fn write_run_and_read_async(
        &self,
        write: impl FnOnce() -> Result<(), Error>,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
        reads: &[(&wgpu::Buffer, u64, u64, Dtype)],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut sizes = Vec::with_capacity(reads.len());
        for &(buffer, offset, elements, dtype) in reads {
            let bytes = tensor_bytes(buffer, elements, dtype)?;
            check_range(buffer, offset, bytes.next_multiple_of(4))?;
            sizes.push(bytes);
        }
        let parts = reads.iter().zip(&sizes).map(|(&(buffer, offset, ..), bytes)| {
            // Copies are of whole words.
            (buffer, offset, bytes.next_multiple_of(4))
        });
        let parts: Vec<_> = parts.collect();
        self.run_and_take(write, record, &parts, |i, read| {
            let (.., elements, dtype) = reads[i];
            let mut values = with_room(elements, READING)?;
            decode_into(&read[..sizes[i] as usize], dtype, &mut values);
            Ok(values)
        })
        .await
    }

    /// Submits what `record` records in one compute pass, then reads parts of buffers, and waits once: buffers, offsets and sizes.
    #[cfg(feature = "verify")]
    pub(crate) async fn run_and_read_bytes_async(
        &self,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
        parts: &[(&wgpu::Buffer, u64, u64)],
    ) -> Result<Vec<Vec<u8>>, Error> {
        parts.iter().try_for_each(|&(buffer, offset, size)| check_range(buffer, offset, size))?;
        self.run_and_take(
            || Ok(()),
            record,
            parts,
            |_, read| {
                let mut bytes = with_room(read.len() as u64, READING)?;
                bytes.extend_from_slice(read);
                Ok(bytes)
            },
        )
        .await
    }

    /// The same, and returns what `take` makes of the bytes of each part.
    async fn run_and_take<T>(
        &self,
        write: impl FnOnce() -> Result<(), Error>,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
        parts: &[(&wgpu::Buffer, u64, u64)],
        mut take: impl FnMut(usize, &[u8]) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        // The caller's function may submit too, so it is called before the turn begins.
        let commands = self.engine.scoped(SUBMITTING, || self.recorded(record, None))?;
        let submit = || {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            write()?;
            self.engine.scoped(SUBMITTING, || self.queue.submit([commands]))?;
            self.copy_out(parts)
        };
        let copies = submit()?;
        self.wait().await?;
        let mut all = Vec::with_capacity(copies.len());
        for (i, copied) in copies.into_iter().enumerate() {
            all.push(match copied {
                Some(copied) => self.take_copied(copied, |read| take(i, read)).await?,
                None => take(i, &[])?,
            });
        }
        Ok(all)
    }

    /// Runs the layers once, in one pass, and measures the time. Waits for the device.
    ///
    /// # Errors
    ///
    /// Those of [`Context::run_pass_async`].
    pub async fn time_async(&self, layers: &[&Layer]) -> Result<Timing, Error> {
        self.time_pass_async(|pass| layers.iter().for_each(|layer| layer.record(pass))).await
    }

    /// Runs what `record` records in one pass, and measures the time. Waits for the device.
    ///
    /// # Errors
    ///
    /// Those of [`Context::run_pass_async`].
    pub async fn time_pass_async(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>)) -> Result<Timing, Error> {
        let descriptor =
            wgpu::QuerySetDescriptor { label: Some("octconv timestamps"), ty: wgpu::QueryType::Timestamp, count: 2 };
        let queries = match self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            true => Some(self.scoped("creating timestamps", || self.device.create_query_set(&descriptor))?),
            false => None,
        };
        let start = Instant::now();
        self.submit(record, queries.as_ref())?;
        self.wait().await?;
        let host = start.elapsed().as_secs_f64();
        let device = match &queries {
            Some(queries) => Some(self.resolve(queries).await?),
            None => None,
        };
        Ok(Timing { device, host })
    }

    /// Seconds from submitting a pass to hearing that it is done: the least of a few empty passes. [`Timing::host`] has them in
    /// each pass. In a browser it may be a tenth of a second.
    ///
    /// # Errors
    ///
    /// Those of [`Context::time_pass_async`].
    pub async fn way_async(&self) -> Result<f64, Error> {
        // The first ones wake the device.
        const EMPTY_PASSES: usize = 5;
        let mut way = f64::INFINITY;
        for _ in 0..EMPTY_PASSES {
            way = way.min(self.time_pass_async(|_| ()).await?.host);
        }
        Ok(way)
    }

    async fn resolve(&self, queries: &wgpu::QuerySet) -> Result<f64, Error> {
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = self.buffer("octconv timestamps", 16, usage)?;
        self.scoped("resolving timestamps", || {
            let mut encoder = self.encoder();
            encoder.resolve_query_set(queries, 0..2, &resolved, 0);
            self.queue.submit([encoder.finish()]);
        })?;
        let bytes = self.read_bytes_async(&resolved, 0, 16).await?;
        resolved.destroy();
        queries.destroy();
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        Ok(ticks[1].saturating_sub(ticks[0]) as f64 * f64::from(self.queue.get_timestamp_period()) * 1e-9)
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("octconv") })
    }

    fn submit(
        &self,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
        queries: Option<&wgpu::QuerySet>,
    ) -> Result<(), Error> {
        self.engine.scoped(SUBMITTING, || self.queue.submit([self.recorded(record, queries)])).map(drop)
    }

    fn recorded(
        &self,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
        queries: Option<&wgpu::QuerySet>,
    ) -> wgpu::CommandBuffer {
        let mut encoder = self.encoder();
        let timestamp_writes = queries.map(|query_set| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        });
        let descriptor = wgpu::ComputePassDescriptor { label: Some("octconv"), timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        record(&mut pass);
        drop(pass);
        encoder.finish()
    }

    /// Waits for all that was submitted. Natively that blocks: nothing else polls the device. In a browser it yields.
    async fn wait(&self) -> Result<(), Error> {
        if cfg!(target_arch = "wasm32") {
            let (sender, receiver) = oneshot::channel();
            self.queue.on_submitted_work_done(move || {
                let _ = sender.send(());
            });
            // If the browser forgets to answer, what follows finds out.
            let _ = receiver.await;
            let settled = self.engine.settled().await;
            self.check_lost(WAITING)?;
            return settled;
        }
        self.poll(WAITING, wgpu::PollType::wait_indefinitely())
    }

    /// As the engine's function of this name, but a lost device is an error too: wgpu reports that to no scope.
    fn scoped<T>(&self, operation: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
        let created = self.engine.scoped(operation, create)?;
        self.poll(operation, wgpu::PollType::Poll)?;
        Ok(created)
    }

    /// Polls the device, which is when wgpu says that it was destroyed.
    fn poll(&self, operation: &str, poll: wgpu::PollType) -> Result<(), Error> {
        // If the driver loses the device during the poll, wgpu panics after it has called back.
        let polled = catch_unwind(AssertUnwindSafe(|| self.device.poll(poll)));
        self.check_lost(operation)?;
        let operation = operation.to_string();
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Error::Gpu { operation, message: error.to_string() }),
            Err(_) => Err(Error::DeviceLost { operation, message: "wgpu panicked".into() }),
        }
    }

    fn check_lost(&self, operation: &str) -> Result<(), Error> {
        match self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(message) => Err(Error::DeviceLost { operation: operation.into(), message }),
            None => Ok(()),
        }
    }
}

/// Seconds that a submission took.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Timing {
    /// On the device, between the start and the end of the pass. `None` if the device has no timestamp queries.
    pub device: Option<f64>,
    /// On the host, from before the submission until the wait is over.
    pub host: f64,
}

impl Timing {
    /// Device time, or host time if there is none.
    pub fn device_or_host(&self) -> f64 {
        self.device.unwrap_or(self.host)
    }

    /// Device time, if the device's clock moved. If not, host time without `way`, which [`Context::way_async`] has measured,
    /// or a tenth of `way`: less than that cannot be told from noise.
    pub fn without_way(&self, way: f64) -> f64 {
        self.device.filter(|&seconds| seconds > 0.0).unwrap_or((self.host - way).max(0.1 * way))
    }
}

async fn pick_adapter() -> Result<wgpu::Adapter, Error> {
    if let Ok(wanted) = std::env::var("WGPU_ADAPTER_NAME") {
        let found = list_adapters().await;
        let names: Vec<_> = found.iter().map(|adapter| adapter.get_info().name).collect();
        let matches = |name: &String| name.to_lowercase().contains(&wanted.to_lowercase());
        return match found.into_iter().zip(&names).find(|(_, name)| matches(name)) {
            Some((adapter, _)) => Ok(adapter),
            None => {
                let allowed = format!("must be part of the name of an adapter; found: {}", names.join(", "));
                Err(Error::argument("WGPU_ADAPTER_NAME", wanted, allowed))
            }
        };
    }
    let power_preference = wgpu::PowerPreference::from_env().unwrap_or(wgpu::PowerPreference::HighPerformance);
    let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
    let adapter = instance().request_adapter(&options).await;
    adapter.map_err(|_| Error::NoAdapter { hint: INSTALL_HINT })
}

/// The bytes of `values` in `dtype`, padded with zeros to a multiple of 4.
pub(crate) fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    let mut bytes: Vec<u8> = match dtype {
        Dtype::F32 => bytemuck::cast_slice(values).to_vec(),
        Dtype::F16 => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
    };
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The f32 values of `bytes` in `dtype`.
pub(crate) fn decode(bytes: &[u8], dtype: Dtype) -> Vec<f32> {
    let mut values = Vec::new();
    decode_into(bytes, dtype, &mut values);
    values
}

/// Appends the f32 values of `bytes` in `dtype`.
fn decode_into(bytes: &[u8], dtype: Dtype, values: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => values.extend(bytes.as_chunks().0.iter().map(|&value| f32::from_ne_bytes(value))),
        Dtype::F16 => {
            values.extend(bytes.as_chunks().0.iter().map(|&value| half::f16::from_le_bytes(value).to_f32()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_have_files_of_their_own() {
        let info = wgpu::AdapterInfo {
            name: "A".into(),
            vendor: 0x1002,
            device: 0x73bf,
            driver: "radv".into(),
            driver_info: "Mesa 26.1".into(),
            ..wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, wgpu::Backend::Vulkan)
        };
        let own = pipelines_key(&info);
        assert!(own.as_ref().is_some_and(|key| key.starts_with("wgpu_pipeline_cache_vulkan_4098_29631-")), "{own:?}");
        assert_eq!(pipelines_key(&info.clone()), own);
        for (driver, driver_info) in [("amdvlk", "Mesa 26.1"), ("radv", "Mesa 26.2")] {
            let (driver, driver_info) = (driver.into(), driver_info.into());
            assert_ne!(pipelines_key(&wgpu::AdapterInfo { driver, driver_info, ..info.clone() }), own);
        }
    }

    #[test]
    fn the_way_is_taken_off_the_clock_of_the_host_alone() {
        let timing = |device, host| Timing { device, host };
        assert_eq!(timing(Some(0.25), 9.0).without_way(1.0), 0.25);
        assert_eq!(timing(None, 3.0).without_way(1.0), 2.0);
        // A clock of the device that did not move is none.
        assert_eq!(timing(Some(0.0), 3.0).without_way(1.0), 2.0);
        // What is shorter than noise.
        assert_eq!(timing(None, 0.5).without_way(1.0), 0.1);
    }
}
