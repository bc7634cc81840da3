//! Embedding: plan, pack, bind, record, on a device that belongs to somebody else.
//!
//! Nothing here submits, polls, blocks, prints or installs a callback. Everything is `Send + Sync`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Error;
use crate::kernels::{Access, Kernel};
use crate::packing::Packing;
use crate::plan::{DeviceFacts, Options, Plan, Step, TensorId};
use crate::spec::{Dims, InputSize, Spec};
use crate::tuned::{Choices, DeviceIdentity, Tuned};
use crate::weights::Weights;

/// The environment variable that makes kernels run checked: set and not `0`.
pub const CHECKED_VARIABLE: &str = "OCTCONV_CHECKED";

/// Facts of the adapter that its device does not know.
#[derive(Clone, Debug, Default)]
pub struct AdapterFacts {
    /// The matrix shapes of `Adapter::cooperative_matrix_properties`.
    pub cooperative_matrices: Vec<wgpu::CooperativeMatrixProperties>,
}

impl AdapterFacts {
    /// Reads them from the adapter.
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        Self { cooperative_matrices: adapter.cooperative_matrix_properties() }
    }
}

/// How an [`Octconv`] makes its kernels.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Keeps wgpu's bounds checks in the kernels: several times slower, for hunting a bug. `None` follows the
    /// environment variable `OCTCONV_CHECKED`.
    pub checked: Option<bool>,
    /// Whether kernels are chosen and made as for a software device (`true`) or a GPU (`false`), whatever the device is:
    /// for testing on a software device what GPUs run. `None` is what the device says of itself. What is tuned so has the
    /// name of the device all the same: do not keep it.
    pub software: Option<bool>,
    /// The fewest and the most threads of a subgroup, powers of two, where that is known better than the device says it:
    /// Metal's says 4 to 64 of all, while Apple's GPUs have 32. The matrix kernel gives each subgroup its part: with more
    /// threads than there are some only gather, with fewer results are wrong.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// Facts of the adapter, if known.
    pub adapter: AdapterFacts,
    /// What has been measured to be the fastest, of this device among others; the planner's estimate decides the rest.
    pub tuned: Option<Arc<Tuned>>,
    /// A pipeline cache of the device, for drivers that compile faster what they have compiled before.
    pub pipeline_cache: Option<wgpu::PipelineCache>,
}

/// The entry point for engines: kernels for one device, shared by all its layers. Cheap to clone.
///
/// ```no_run
/// # fn embed(device: &wgpu::Device, pass: &mut wgpu::ComputePass, x: &wgpu::Buffer, y_h: &wgpu::Buffer,
/// #          y_l: &wgpu::Buffer, w_hh: &[f32], w_hl: &[f32]) -> Result<(), octconv::Error> {
/// use octconv::{EngineOptions, InputSize, Octconv, Options, Spec, Tensors, Weights};
///
/// let octconv = Octconv::new(device, EngineOptions::default());
/// let spec = Spec::builder(64, 64).alpha(0.0, 0.5).kernel([3, 3]).same_padding().build()?;
/// let plan = octconv.plan(&spec, InputSize::image(1, 56, 56), &Options::default())?;
/// let weights = octconv.pack(&plan, &Weights { w_hh: Some(w_hh), w_hl: Some(w_hl), ..Default::default() })?;
/// let tensors = Tensors { x_h: Some(x.into()), y_h: Some(y_h.into()), y_l: Some(y_l.into()), ..Default::default() };
/// let layer = octconv.bind(&plan, &weights, &tensors)?;
/// layer.record(pass);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Octconv {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    device: wgpu::Device,
    facts: DeviceFacts,
    adapter: AdapterFacts,
    checked: bool,
    choices: Choices,
    pipeline_cache: Option<wgpu::PipelineCache>,
    pipelines: Mutex<HashMap<Kernel, Pipeline>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// Where a tensor lies: contiguous from `offset` on, which is in bytes and a multiple of the device's
/// `min_storage_buffer_offset_alignment`.
#[derive(Clone, Copy, Debug)]
pub struct TensorBinding<'a> {
    /// A buffer with the usage `STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// Bytes before the first element.
    pub offset: u64,
}

impl<'a> From<&'a wgpu::Buffer> for TensorBinding<'a> {
    fn from(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0 }
    }
}

/// The caller's tensors: exactly those that the specification and the options call for.
///
/// Inputs may share buffers with each other, and outputs with each other where they do not overlap; an output must not
/// share a buffer with an input, since WebGPU tracks whole buffers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tensors<'a> {
    /// X_H `[n, c_H, t, h, w]`, read.
    pub x_h: Option<TensorBinding<'a>>,
    /// X_L `[n, c_L, t, h/2, w/2]`, read.
    pub x_l: Option<TensorBinding<'a>>,
    /// pool(X_H), read with [`Options::pooled_input`].
    pub x_p: Option<TensorBinding<'a>>,
    /// Added to Y_H, of its shape, read.
    pub residual_h: Option<TensorBinding<'a>>,
    /// Added to Y_L, of its shape, read.
    pub residual_l: Option<TensorBinding<'a>>,
    /// Y_H, written.
    pub y_h: Option<TensorBinding<'a>>,
    /// Y_L, written.
    pub y_l: Option<TensorBinding<'a>>,
    /// pool(Y_H), written with [`Options::pooled_output`].
    pub y_p: Option<TensorBinding<'a>>,
}

impl<'a> Tensors<'a> {
    /// Sets a tensor by its name, as [`Plan::tensors`] lists them.
    pub fn set(&mut self, name: &'static str, binding: TensorBinding<'a>) -> Result<(), Error> {
        let slot = match name {
            "x_h" => &mut self.x_h,
            "x_l" => &mut self.x_l,
            "x_p" => &mut self.x_p,
            "residual_h" => &mut self.residual_h,
            "residual_l" => &mut self.residual_l,
            "y_h" => &mut self.y_h,
            "y_l" => &mut self.y_l,
            "y_p" => &mut self.y_p,
            _ => {
                let names = CALLERS_TENSORS.map(TensorId::name).join(", ");
                return Err(Error::argument("tensor", name, format!("must be one of {names}")));
            }
        };
        *slot = Some(binding);
        Ok(())
    }

    fn get(&self, id: TensorId) -> Option<TensorBinding<'a>> {
        match id {
            TensorId::XH => self.x_h,
            TensorId::XL => self.x_l,
            TensorId::XP => self.x_p,
            TensorId::ResidualH => self.residual_h,
            TensorId::ResidualL => self.residual_l,
            TensorId::YH => self.y_h,
            TensorId::YL => self.y_l,
            TensorId::YP => self.y_p,
            TensorId::Weights | TensorId::Scratch(_) => None,
        }
    }
}

const CALLERS_TENSORS: [TensorId; 8] = [
    TensorId::XH,
    TensorId::XL,
    TensorId::XP,
    TensorId::ResidualH,
    TensorId::ResidualL,
    TensorId::YH,
    TensorId::YL,
    TensorId::YP,
];

/// Weights on the device, as the kernels of a plan read them. Plans for other sizes often read the same packing.
#[derive(Clone, Debug)]
pub struct PackedWeights {
    spec: Spec,
    parts: Vec<(Packing, wgpu::Buffer)>,
}

impl PackedWeights {
    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|(_, buffer)| buffer.size()).sum()
    }
}

/// A layer bound to its tensors, ready to be recorded any number of times.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) dispatches: Vec<Dispatch>,
}

#[derive(Clone, Debug)]
pub(crate) struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 2],
}

impl Dispatch {
    pub(crate) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

impl Layer {
    /// Records the layer's dispatches into the caller's pass. Leaves its pipeline and bind group 0 set.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.dispatches.iter().for_each(|dispatch| dispatch.record(pass));
    }

    /// Number of dispatches that [`Layer::record`] records.
    pub fn dispatches(&self) -> usize {
        self.dispatches.len()
    }
}

impl Octconv {
    /// Kernels for `device`. Creates nothing yet.
    pub fn new(device: &wgpu::Device, options: EngineOptions) -> Self {
        let identity = DeviceIdentity::of(&device.adapter_info());
        let choices = options.tuned.as_ref().and_then(|tuned| tuned.choices(&identity));
        let variable = || std::env::var_os(CHECKED_VARIABLE).is_some_and(|value| value != "0" && !value.is_empty());
        let facts = DeviceFacts::of(device).with_adapter(&options.adapter);
        Self {
            shared: Arc::new(Shared {
                device: device.clone(),
                facts: DeviceFacts {
                    software: options.software.unwrap_or(facts.software),
                    subgroup_sizes: options.subgroup_sizes.unwrap_or(facts.subgroup_sizes),
                    ..facts
                },
                adapter: options.adapter,
                checked: options.checked.unwrap_or_else(variable),
                choices: choices.cloned().unwrap_or_default(),
                pipeline_cache: options.pipeline_cache,
                pipelines: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// What the planner knows of the device.
    pub fn facts(&self) -> &DeviceFacts {
        &self.shared.facts
    }

    /// What the caller told of the adapter.
    pub fn adapter_facts(&self) -> &AdapterFacts {
        &self.shared.adapter
    }

    /// Whether kernels keep wgpu's bounds checks.
    pub fn is_checked(&self) -> bool {
        self.shared.checked
    }

    /// Number of pipelines made so far; layers with the same specialisation share one.
    pub fn pipelines(&self) -> usize {
        self.shared.pipelines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets all pipelines, whose memory is free once no layer uses them. Bound layers keep theirs.
    pub fn forget_pipelines(&self) {
        self.shared.pipelines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What is tuned for this device.
    pub fn choices(&self) -> &Choices {
        &self.shared.choices
    }

    /// Plans a layer for this device. Pure: see [`Choices::plan`].
    pub fn plan(&self, spec: &Spec, size: InputSize, options: &Options) -> Result<Plan, Error> {
        self.shared.choices.plan(spec, size, options, &self.shared.facts)
    }

    /// Makes the pipelines of a plan, which takes milliseconds to seconds, unless they exist. [`Octconv::bind`] does
    /// it too; call this to choose when.
    pub fn compile(&self, plan: &Plan) -> Result<(), Error> {
        plan.steps.iter().try_for_each(|step| self.pipeline(step).map(drop))
    }

    /// Folds batch norm, lays the weights out as the plan's kernels read them, and puts them on the device.
    pub fn pack(&self, plan: &Plan, weights: &Weights) -> Result<PackedWeights, Error> {
        weights.validate(&plan.spec)?;
        let parts = plan.packings().into_iter().map(|packing| {
            let bytes = packing.pack(&plan.spec, weights);
            let buffer = self.buffer_with("octconv weights", wgpu::BufferUsages::STORAGE, &bytes)?;
            Ok((packing.clone(), buffer))
        });
        Ok(PackedWeights { spec: plan.spec.clone(), parts: parts.collect::<Result<_, Error>>()? })
    }

    /// Binds the caller's tensors. Makes the pipelines that are missing, small uniform buffers, and scratch maps where
    /// the plan has them.
    pub fn bind(&self, plan: &Plan, weights: &PackedWeights, tensors: &Tensors) -> Result<Layer, Error> {
        let packings = plan.packings();
        let same = weights.parts.len() == packings.len()
            && weights.parts.iter().zip(&packings).all(|((packed, _), wanted)| packed == *wanted)
            && Some(&weights.spec).is_some_and(|spec| same_weights(spec, &plan.spec));
        if !same {
            let list = |packings: &[&Packing]| packings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let packed: Vec<_> = weights.parts.iter().map(|(packing, _)| packing).collect();
            return Err(Error::Packing { packed: list(&packed), plan: list(&packings) });
        }
        self.validate_tensors(plan, tensors)?;

        let scratch = plan.scratch.iter().map(|&dims| {
            let size = tensor_bytes(plan, dims);
            let descriptor = wgpu::BufferDescriptor {
                label: Some("octconv scratch"),
                size,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            };
            scoped(&self.shared.device, "creating a scratch map", || self.shared.device.create_buffer(&descriptor))
        });
        let scratch = scratch.collect::<Result<Vec<_>, Error>>()?;
        let shapes: HashMap<TensorId, Dims> = plan.interface().into_iter().map(|(id, dims, _)| (id, dims)).collect();

        let mut packed = weights.parts.iter().map(|(_, buffer)| buffer);
        let mut dispatches = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let uniform = self.uniform(step)?;
            // Some kernels bind them twice, as elements of two types.
            let weights = step.packing.as_ref().and_then(|_| packed.next());
            dispatches.push(self.dispatch(step, uniform.as_entire_binding(), |id| match id {
                TensorId::Weights => weights.map(|buffer| buffer.as_entire_binding()),
                TensorId::Scratch(i) => scratch.get(i).map(|buffer| buffer.as_entire_binding()),
                id => tensors.get(id).zip(shapes.get(&id)).map(|(tensor, &dims)| {
                    wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: tensor.buffer,
                        offset: tensor.offset,
                        size: std::num::NonZeroU64::new(tensor_bytes(plan, dims)),
                    })
                }),
            })?);
        }
        Ok(Layer { dispatches })
    }

    /// The uniform of a step, in a buffer of its own.
    pub(crate) fn uniform(&self, step: &Step) -> Result<wgpu::Buffer, Error> {
        self.buffer_with("octconv shape", wgpu::BufferUsages::UNIFORM, &step.shape)
    }

    /// Binds a step to its uniform and to the resources that `bind` has for its tensors.
    pub(crate) fn dispatch<'a>(
        &self,
        step: &Step,
        uniform: wgpu::BindingResource<'a>,
        mut bind: impl FnMut(TensorId) -> Option<wgpu::BindingResource<'a>>,
    ) -> Result<Dispatch, Error> {
        let Pipeline { pipeline, layout } = self.pipeline(step)?;
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: uniform }];
        for (&id, binding) in step.tensors.iter().zip(1..) {
            let missing = Error::Presence { tensor: id.name(), found: "missing", wants: "needs" };
            entries.push(wgpu::BindGroupEntry { binding, resource: bind(id).ok_or(missing)? });
        }
        let name = step.kernel.name();
        let label = format!("octconv {name}");
        let descriptor = wgpu::BindGroupDescriptor { label: Some(&label), layout: &layout, entries: &entries };
        let bind_group = scoped(&self.shared.device, &format!("binding {name}"), || {
            self.shared.device.create_bind_group(&descriptor)
        })?;
        Ok(Dispatch { pipeline, bind_group, grid: [step.grid.x, step.grid.y] })
    }

    fn validate_tensors(&self, plan: &Plan, tensors: &Tensors) -> Result<(), Error> {
        let interface = plan.interface();
        for id in CALLERS_TENSORS {
            let wanted = interface.iter().any(|&(wanted, ..)| wanted == id);
            match (tensors.get(id).is_some(), wanted) {
                (true, false) => {
                    return Err(Error::Presence { tensor: id.name(), found: "given", wants: "does not use" });
                }
                (false, true) => {
                    return Err(Error::Presence { tensor: id.name(), found: "missing", wants: "needs" });
                }
                _ => {}
            }
        }
        let bound: Vec<_> = interface
            .into_iter()
            .filter_map(|(id, dims, written)| Some((id, dims, written, tensors.get(id)?)))
            .collect();
        let alignment = u64::from(self.shared.facts.limits.min_storage_buffer_offset_alignment);
        for &(id, dims, _, TensorBinding { buffer, offset }) in &bound {
            let problem = |problem: String| Err(Error::Binding { tensor: id.name(), problem });
            if !buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
                return problem(format!("its buffer has the usage {:?}, which must include STORAGE", buffer.usage()));
            }
            if offset % alignment != 0 {
                return problem(format!("its offset is {offset}, which must be a multiple of {alignment}"));
            }
            let needs = tensor_bytes(plan, dims);
            if offset.checked_add(needs).is_none_or(|end| end > buffer.size()) {
                let size = buffer.size();
                return problem(format!(
                    "its {needs} bytes of {dims} from offset {offset} on exceed a buffer of {size}"
                ));
            }
        }
        for (i, &(id, dims, written, tensor)) in bound.iter().enumerate() {
            for &(other_id, other_dims, other_written, other) in &bound[..i] {
                if tensor.buffer != other.buffer {
                    continue;
                }
                if written != other_written {
                    let problem =
                        format!("it shares a buffer with {}; an output and an input may not", other_id.name());
                    return Err(Error::Binding { tensor: id.name(), problem });
                }
                let end = |tensor: &TensorBinding, dims| tensor.offset + tensor_bytes(plan, dims);
                let apart = end(&tensor, dims) <= other.offset || end(&other, other_dims) <= tensor.offset;
                if written && !apart {
                    let problem = format!("it overlaps with {} in their buffer", other_id.name());
                    return Err(Error::Binding { tensor: id.name(), problem });
                }
            }
        }
        Ok(())
    }

    /// The pipeline of a step, made if it is not there yet.
    pub(crate) fn pipeline(&self, step: &Step) -> Result<Pipeline, Error> {
        let lock = || self.shared.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = lock().get(&step.kernel) {
            return Ok(pipeline.clone());
        }
        // Compiled outside of the lock, so that threads can compile at once; who comes second uses the first's.
        let pipeline = self.create_pipeline(&step.kernel)?;
        Ok(lock().entry(step.kernel.clone()).or_insert(pipeline).clone())
    }

    fn create_pipeline(&self, kernel: &Kernel) -> Result<Pipeline, Error> {
        let device = &self.shared.device;
        let name = kernel.name();
        let label = format!("octconv {name}");
        let label = Some(label.as_str());
        let buffer = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let mut entries = vec![buffer(0, wgpu::BufferBindingType::Uniform)];
        for (access, binding) in kernel.accesses().into_iter().zip(1..) {
            let read_only = access == Access::Read;
            entries.push(buffer(binding, wgpu::BufferBindingType::Storage { read_only }));
        }
        scoped(&self.shared.device, &format!("compiling {name}"), || {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &[Some(&layout)],
                ..Default::default()
            });
            let module = self.create_module(label, kernel.source());
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: self.shared.pipeline_cache.as_ref(),
            });
            Pipeline { pipeline, layout }
        })
    }

    /// The one place where shader modules are made, of sources that come from this crate's shaders alone.
    ///
    /// Unless the engine is checked, kernels run without bounds checks. Their loops are bounded by sizes in their
    /// uniform, and their indices stay inside of their tensors for every uniform that a plan holds. Of a layer,
    /// `Spec::shapes` and `Plan::check_limits` bound all sizes, `Packing::offsets` places the weights, and
    /// `validate_tensors` has checked that each binding is as large as its tensor. Of a network, `NetworkPlan::new`
    /// checks every map, vector and matrix in the same way, and `Model::compile` takes plans of its own network and
    /// device alone and binds as many bytes. The test suite also runs with checks on (`OCTCONV_CHECKED=1`), and guards
    /// every output with sentinels.
    fn create_module(&self, label: Option<&str>, source: String) -> wgpu::ShaderModule {
        let descriptor = wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.into()) };
        if self.shared.checked {
            return self.shared.device.create_shader_module(descriptor);
        }
        // SAFETY: all sources are this crate's. Loops end at, and indices stay inside, what `Spec::shapes`,
        // `Plan::check_limits` and `NetworkPlan::new` bound; `validate_tensors` and `Model::compile` bind as many bytes;
        // `roofline.rs` makes its buffers for what its probes touch. The suite also runs checked (OCTCONV_CHECKED=1),
        // and guards every output with sentinels.
        unsafe { self.shared.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }

    /// A buffer with contents, written without a queue.
    pub(crate) fn buffer_with(
        &self,
        label: &str,
        usage: wgpu::BufferUsages,
        bytes: &[u8],
    ) -> Result<wgpu::Buffer, Error> {
        let descriptor = wgpu::BufferDescriptor {
            label: Some(label),
            size: (bytes.len() as u64).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT),
            usage,
            mapped_at_creation: true,
        };
        let operation = format!("creating {label} of {} bytes", bytes.len());
        let buffer = scoped(&self.shared.device, &operation, || self.shared.device.create_buffer(&descriptor))?;
        let mut view = buffer.slice(..).get_mapped_range_mut().map_err(|error| failed(&operation, error))?;
        view.slice(..bytes.len()).copy_from_slice(bytes);
        drop(view);
        buffer.unmap();
        Ok(buffer)
    }
}

/// Runs `create` and returns the error that wgpu raised meanwhile, if any.
///
/// Natively the outcome is there at once. Browsers report it later, which cannot be waited for here: there errors
/// reach the device's uncaptured-error handler, as the embedder's own do.
pub(crate) fn scoped<T>(device: &wgpu::Device, operation: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
    if cfg!(target_arch = "wasm32") {
        return Ok(create());
    }
    let filters = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation];
    let mut scopes = filters.map(|filter| Some(device.push_error_scope(filter)));
    let created = create();
    let mut failure = None;
    for scope in scopes.iter_mut().rev().filter_map(Option::take) {
        let mut outcome = std::pin::pin!(scope.pop());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready(Some(error)) = outcome.as_mut().poll(&mut context) {
            failure = Some(error);
        }
    }
    match failure {
        None => Ok(created),
        Some(error) => Err(failed(operation, error)),
    }
}

/// What wgpu said, in one line: its messages have a paragraph for every cause.
fn failed(operation: &str, error: impl std::fmt::Display) -> Error {
    let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Gpu { operation: operation.into(), message }
}

/// Bytes that a tensor binds: whole words.
fn tensor_bytes(plan: &Plan, dims: Dims) -> u64 {
    (dims.elements() * plan.options.activations.bytes()).next_multiple_of(4)
}

/// Whether weights of one specification can be read by a plan of the other.
fn same_weights(a: &Spec, b: &Spec) -> bool {
    crate::spec::Path::ALL
        .into_iter()
        .all(|path| a.has(path) == b.has(path) && a.weight_shape(path) == b.weight_shape(path))
}
