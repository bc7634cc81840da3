//! Embedding: plans, packs, binds and records layers on a device that the caller owns.
//!
//! Nothing here submits, polls, blocks, prints or installs a callback. Everything is `Send + Sync`.
use super::layer::{Dispatch, Layer, PackedPart, PackedWeights};
use super::pipelines::{Pipeline, Pipelines};
use super::scope::{Scopes, not_mapped};
use super::tensors::{TensorBinding, Tensors, check_place, validate_tensors};
use crate::device::{AdapterFacts, DeviceFacts, DeviceIdentity, Rates};
use crate::dims::{Dims, InputSize};
use crate::error::{BindingProblem, Error, PlanMismatch, Presence};
use crate::kernels::Step;
use crate::kernels::job::TensorId;
use crate::kernels::packing::Packing;
use crate::layer::{Spec, Weights};
use crate::plan::{Choices, Options, Plan, Tuned, one_after_the_other};
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The environment variable that keeps bounds checks, if it is set and neither empty nor `0`.
const CHECKED_VARIABLE: &str = "OCTCONV_CHECKED";

/// How an [`Engine`] makes its kernels.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Whether kernels keep wgpu's bounds checks. They are then several times slower: use it to find a bug. `None`
    /// follows the environment variable `OCTCONV_CHECKED`.
    pub checked: Option<bool>,
    /// Whether kernels are chosen and made for a software device (`true`) or a GPU (`false`). `None` follows what the
    /// device says about itself. Use it to test on a software device what GPUs run. Do not keep what is tuned with it,
    /// because it would be kept under the name of the real device.
    pub software: Option<bool>,
    /// The fewest and the most threads of a subgroup, both powers of two, if you know better than the device. Metal for
    /// example says 4 to 64 for every device, but Apple's GPUs have 32. The matrix kernel counts on the most threads:
    /// if subgroups have fewer, some of them make no outputs; if they have more, results are wrong.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// How fast the device is, for the estimate that chooses kernels. `None`: as devices of its class are
    /// ([`Rates::of_class`]), which also stands in for a rate that is no positive number. `Roofline::rates` gives measured
    /// ones.
    pub rates: Option<Rates>,
    /// Facts of the adapter. Without them, matrix units are not used.
    pub adapter: AdapterFacts,
    /// Who the device is, if it does not say so itself: see [`DeviceIdentity::of_measured`]. It decides which of the tuned
    /// variants are this device's.
    pub identity: Option<DeviceIdentity>,
    /// The variants that were measured to be the fastest, on this device and others. The planner's estimate decides for
    /// other layers.
    pub tuned: Option<Arc<Tuned>>,
    /// Binds all tensors as if kernels wrote them, for engines that keep track of their buffers in that way. Without it only
    /// those are bound so that lie in one buffer with something that their dispatch writes. Weights never are, so with it no
    /// tensor may lie in a buffer of weights.
    ///
    /// WebGPU forbids that a dispatch binds the same bytes twice if it binds them as written, and browsers check that. So
    /// there a layer whose inputs overlap, or a network with a node that reads one map twice, such as a sum of a map and
    /// itself, is [`BindingProblem::Alias`](crate::BindingProblem::Alias). Native devices take it.
    pub read_write: bool,
    /// A pipeline cache of the device, which lets some drivers compile faster what they have compiled before.
    pub pipeline_cache: Option<wgpu::PipelineCache>,
}

/// The entry point for embedders: kernels for one device, shared by all its layers. Cheap to clone.
///
/// ```no_run
/// # fn embed(device: &wgpu::Device, pass: &mut wgpu::ComputePass, x: &wgpu::Buffer, y_h: &wgpu::Buffer,
/// #          y_l: &wgpu::Buffer, w_hh: &[f32], w_hl: &[f32]) -> Result<(), octconv::Error> {
/// use octconv::{EngineOptions, InputSize, Engine, Options, Spec, Tensors, Weights};
///
/// let engine = Engine::new(device, EngineOptions::default());
/// let spec = Spec::builder(64, 64).alpha(0.0, 0.5).kernel([3, 3]).same_padding().build()?;
/// let plan = engine.plan(&spec, InputSize::image(1, 56, 56), &Options::default())?;
/// let weights = engine.pack(&plan, &Weights { w_hh: Some(w_hh), w_hl: Some(w_hl), ..Default::default() })?;
/// let tensors = Tensors { x_h: Some(x.into()), y_h: Some(y_h.into()), y_l: Some(y_l.into()), ..Default::default() };
/// let layer = engine.bind(&plan, &weights, &tensors)?;
/// layer.record(pass);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    device: wgpu::Device,
    facts: DeviceFacts,
    adapter: AdapterFacts,
    choices: Choices,
    read_write: bool,
    /// Whether the device refuses what [`Step::alias`] finds.
    forbids_aliases: bool,
    pipelines: Pipelines,
    scopes: Scopes,
    failures: AtomicUsize,
}

impl Engine {
    /// An engine for `device`. It creates nothing on the device yet.
    pub fn new(device: &wgpu::Device, options: EngineOptions) -> Self {
        let identity = DeviceIdentity::of(&device.adapter_info()).or(options.identity);
        let choices = options.tuned.as_ref().zip(identity).and_then(|(tuned, identity)| tuned.choices(&identity));
        let variable = || std::env::var_os(CHECKED_VARIABLE).is_some_and(|value| value != "0" && !value.is_empty());
        let facts = DeviceFacts::of(device).with_adapter(&options.adapter);
        let software = options.software.unwrap_or(facts.software);
        let class = if software == facts.software { facts.rates } else { Rates::of_kind(software) };
        Self {
            shared: Arc::new(Shared {
                device: device.clone(),
                facts: DeviceFacts {
                    software,
                    subgroup_sizes: options.subgroup_sizes.unwrap_or(facts.subgroup_sizes),
                    rates: options.rates.unwrap_or(class).or(class),
                    ..facts
                },
                adapter: options.adapter,
                read_write: options.read_write,
                forbids_aliases: is_of_browser(device),
                choices: choices.cloned().unwrap_or_default(),
                pipelines: Pipelines::new(device, options.checked.unwrap_or_else(variable), options.pipeline_cache),
                scopes: Scopes::new(device),
                failures: AtomicUsize::default(),
            }),
        }
    }

    /// An engine for tests, which plans for other facts than the device's own, and gives the device what `translate`
    /// makes of each source. So a device can run what it has no units for. Not part of the public interface.
    ///
    /// # Safety
    ///
    /// What `translate` makes of a source must keep within its bindings, and end, as the source does. The limits of
    /// `facts` must be within the device's.
    #[cfg(feature = "verify")]
    #[doc(hidden)]
    // SAFETY: the caller guarantees what the documentation says.
    pub unsafe fn emulating(
        device: &wgpu::Device,
        facts: DeviceFacts,
        checked: bool,
        translate: fn(String) -> String,
    ) -> Self {
        let pipelines = Pipelines::new(device, checked, None);
        Self {
            shared: Arc::new(Shared {
                device: device.clone(),
                facts,
                adapter: AdapterFacts::default(),
                choices: Choices::default(),
                read_write: false,
                forbids_aliases: is_of_browser(device),
                // SAFETY: the caller says so.
                pipelines: unsafe { pipelines.translated(translate) },
                scopes: Scopes::new(device),
                failures: AtomicUsize::default(),
            }),
        }
    }

    /// The device.
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// What the planner knows about the device.
    pub fn facts(&self) -> &DeviceFacts {
        &self.shared.facts
    }

    /// What the caller said about the adapter.
    pub fn adapter_facts(&self) -> &AdapterFacts {
        &self.shared.adapter
    }

    /// Whether kernels keep wgpu's bounds checks.
    pub fn is_checked(&self) -> bool {
        self.shared.pipelines.is_checked()
    }

    /// Number of pipelines that exist. Layers with the same specialised kernel share one.
    pub fn pipelines(&self) -> usize {
        self.shared.pipelines.count()
    }

    /// Forgets all pipelines. Bound layers keep theirs; the memory of the others is freed.
    pub fn forget_pipelines(&self) {
        self.shared.pipelines.forget();
    }

    /// Waits for what the device says about all that this engine and its networks have made since the last call, and
    /// returns the first error. It is the same for clones of the engine.
    ///
    /// Natively errors come from the functions that make things, and this returns at once. A browser reports them later:
    /// there, await this after [`Engine::compile`], [`Engine::pack`], [`Engine::bind`], `Model::compile` and what binds
    /// textures. After an error, what was made since the last call is of no use, and all pipelines are forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::Gpu`] with the browser's message, for example about a shader that it refuses; [`Error::OutOfMemory`].
    pub async fn settled(&self) -> Result<(), Error> {
        let settled = self.shared.scopes.settled().await;
        if settled.is_err() {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            self.forget_pipelines();
        }
        settled
    }

    /// How often [`Engine::settled`] has returned an error. What was made before the last one may be of no use.
    #[cfg(feature = "network")]
    pub(crate) fn failures(&self) -> usize {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Runs `create`, and returns the error that wgpu raised meanwhile, if it is known by now. See [`Engine::settled`].
    pub(crate) fn scoped<T>(&self, operation: &str, create: impl FnOnce() -> T) -> Result<T, Error> {
        self.shared.scopes.scoped(operation, create)
    }

    /// The tuned variants for this device.
    pub fn choices(&self) -> &Choices {
        &self.shared.choices
    }

    /// Plans a layer for this device: with its tuned variant if there is one, or else with the best by estimate.
    /// Creates nothing on the device.
    ///
    /// # Errors
    ///
    /// If the layer cannot have this size or these options, or exceeds the device's limits; or if no variant can run
    /// it.
    pub fn plan(&self, spec: &Spec, size: InputSize, options: &Options) -> Result<Plan, Error> {
        self.shared.choices.plan(spec, size, options, &self.shared.facts)
    }

    /// Makes the pipelines of a plan that do not exist yet, which takes milliseconds to seconds. [`Engine::bind`] does
    /// so too; call this to choose when. Tensors that share a buffer with what is written need pipelines of their own, which
    /// this makes only with [`EngineOptions::read_write`].
    ///
    /// # Errors
    ///
    /// [`Error::Plan`] for a plan of a device with other facts, or the error of planning it for this device;
    /// [`Error::Gpu`] if the device refuses a kernel, and [`Error::OutOfMemory`]. A device that is lost compiles nothing,
    /// and wgpu does not say so here.
    pub fn compile(&self, plan: &Plan) -> Result<(), Error> {
        self.check_fits(plan)?;
        plan.steps.iter().try_for_each(|step| {
            let buffers: Vec<Option<u32>> = vec![None; step.tensors.len()];
            let kernel = step.kernel_in(&buffers, self.shared.read_write);
            self.shared.pipelines.pipeline(&kernel, &self.shared.scopes).map(drop)
        })
    }

    /// Folds batch norm into the weights, lays them out as the plan's kernels read them, and puts them on the device, in
    /// buffers of their own.
    ///
    /// # Errors
    ///
    /// Those of [`Plan::pack`]; [`Error::Gpu`] if the device refuses a buffer, [`Error::OutOfMemory`] and
    /// [`Error::DeviceLost`].
    pub fn pack(&self, plan: &Plan, weights: &Weights) -> Result<PackedWeights, Error> {
        weights.validate(&plan.spec)?;
        let mut packed = PackedWeights { spec: plan.spec.clone(), parts: Vec::new(), own: true };
        for packing in plan.packings() {
            let part = packing.pack(&plan.spec, weights).and_then(|bytes| {
                let buffer = self.buffer_with("octconv weights", wgpu::BufferUsages::STORAGE, &bytes)?;
                Ok(PackedPart { packing: packing.clone(), offset: 0, bytes: buffer.size(), buffer })
            });
            packed.parts.push(part.inspect_err(|_| packed.destroy())?);
        }
        Ok(packed)
    }

    /// Weights that the caller puts on the device: the bytes of [`Plan::pack`], at a place of a buffer. The buffer must not
    /// hold anything that is written by the layers that read them, and with [`EngineOptions::read_write`] none of their
    /// tensors: [`Engine::bind`] refuses that. If other bytes lie there, the layer's results are wrong, but it reads nothing
    /// else.
    ///
    /// # Errors
    ///
    /// [`Error::Binding`] if the weights do not fit there.
    pub fn place_weights(&self, plan: &Plan, at: TensorBinding) -> Result<PackedWeights, Error> {
        check_place("weights", at, plan.weights_bytes(), self.alignment())?;
        let parts = plan.packings().into_iter().zip(plan.weights_places()).map(|(packing, place)| PackedPart {
            packing: packing.clone(),
            buffer: at.buffer.clone(),
            offset: at.offset + place.start,
            bytes: place.end - place.start,
        });
        Ok(PackedWeights { spec: plan.spec.clone(), parts: parts.collect(), own: false })
    }

    /// Refuses places without room for these numbers of bytes, or in parts of one buffer that overlap.
    #[cfg(feature = "network")]
    pub(crate) fn check_places(
        &self,
        name: &'static str,
        places: &[TensorBinding],
        bytes: &[u64],
    ) -> Result<(), Error> {
        let range = |i: usize| places[i].offset..places[i].offset + bytes[i];
        for (i, &at) in places.iter().enumerate() {
            check_place(name, at, bytes[i], self.alignment())?;
            let shares = |&other: &usize| places[other].buffer == at.buffer;
            if (0..i).filter(shares).any(|other| range(i).start < range(other).end && range(other).start < range(i).end)
            {
                return Err(Error::Binding { tensor: name, problem: BindingProblem::Overlap(name) });
            }
        }
        Ok(())
    }

    /// Offsets of tensors in buffers are multiples of this.
    pub(super) fn alignment(&self) -> u64 {
        u64::from(self.shared.facts.limits.min_storage_buffer_offset_alignment)
    }

    /// Binds weights and the caller's tensors. Makes missing pipelines; a uniform buffer of [`Plan::uniform_bytes`]; and
    /// the plan's scratch, unless [`Tensors::scratch`] has a place for it.
    ///
    /// # Errors
    ///
    /// [`Error::Plan`] for a plan of a device with other facts, or the error of planning it for this device;
    /// [`Error::Packing`] for weights that were packed for another plan, [`Error::Presence`] or [`Error::Binding`] for
    /// tensors that do not fit the plan, [`Error::Gpu`] if the device refuses something, [`Error::OutOfMemory`] and
    /// [`Error::DeviceLost`].
    pub fn bind(&self, plan: &Plan, weights: &PackedWeights, tensors: &Tensors) -> Result<Layer, Error> {
        self.check_fits(plan)?;
        if !weights.fits(plan) {
            let packed: Vec<_> = weights.parts.iter().map(|part| &part.packing).collect();
            return Err(Error::Packing {
                packed: describe(&packed, &weights.spec),
                plan: describe(&plan.packings(), &plan.spec),
            });
        }
        let alignment = self.alignment();
        validate_tensors(plan, weights, tensors, alignment, self.shared.read_write)?;
        let mut layer = Layer { dispatches: Vec::new(), features: self.shared.facts.features, own: Vec::new() };
        self.fill(&mut layer, plan, weights, tensors).inspect_err(|_| layer.destroy())?;
        Ok(layer)
    }

    /// Makes what a layer has of its own, and its dispatches. After an error the layer has what was made by then.
    fn fill(&self, layer: &mut Layer, plan: &Plan, weights: &PackedWeights, tensors: &Tensors) -> Result<(), Error> {
        let Layer { dispatches, own, .. } = layer;
        let places = plan.scratch_places();
        // In buffers of their own no dispatch writes to one that it reads.
        for place in places.iter().filter(|_| tensors.scratch.is_none()) {
            own.push(self.scratch(place.end - place.start)?);
        }
        let shapes: HashMap<TensorId, Dims> = plan.interface().into_iter().map(|(id, dims, _)| (id, dims)).collect();
        let (uniforms, offsets) = self.uniforms(plan.steps.iter())?;
        // Behind the scratch, whose buffers are found by their numbers.
        own.push(uniforms.clone());
        let binding =
            |buffer, offset, bytes| Some(wgpu::BufferBinding { buffer, offset, size: NonZeroU64::new(bytes) });
        let mut packed = weights.parts.iter();
        for (step, offset) in plan.steps.iter().zip(offsets) {
            let uniform =
                wgpu::BufferBinding { buffer: &uniforms, offset, size: NonZeroU64::new(step.shape.len() as u64) };
            // Read once per step: some kernels bind their weights twice, as elements of two types.
            let weights = step.packing.as_ref().and_then(|_| packed.next());
            dispatches.push(self.dispatch(step, uniform, |id| {
                match id {
                    TensorId::Weights => weights.and_then(|part| binding(&part.buffer, part.offset, part.bytes)),
                    TensorId::Scratch(i) => match tensors.scratch {
                        None => own.get(i).map(wgpu::Buffer::as_entire_buffer_binding),
                        Some(at) => places
                            .get(i)
                            .and_then(|place| binding(at.buffer, at.offset + place.start, place.end - place.start)),
                    },
                    id => tensors
                        .get(id)
                        .zip(shapes.get(&id))
                        .and_then(|(tensor, &dims)| binding(tensor.buffer, tensor.offset, plan.tensor_bytes(dims))),
                }
            })?);
        }
        Ok(())
    }

    /// Refuses a plan that was made for other facts, so that this device would not run it as it is: the device's own plan
    /// of the same variant must have the same dispatches.
    fn check_fits(&self, plan: &Plan) -> Result<(), Error> {
        let own = Plan::with_variant(&plan.spec, plan.size, &plan.options, &self.shared.facts, plan.variant)?;
        if own.steps == plan.steps && own.scratch == plan.scratch {
            Ok(())
        } else {
            Err(Error::Plan { problem: PlanMismatch::Dispatches })
        }
    }

    /// The uniforms of steps in one buffer, and the offset of each.
    pub(crate) fn uniforms<'s>(
        &self,
        steps: impl Iterator<Item = &'s Step>,
    ) -> Result<(wgpu::Buffer, Vec<u64>), Error> {
        let shapes: Vec<&[u8]> = steps.map(|step| step.shape.as_slice()).collect();
        let places = one_after_the_other(shapes.iter().map(|shape| shape.len() as u64));
        let mut bytes = Vec::new();
        for (shape, place) in shapes.into_iter().zip(&places) {
            bytes.resize(place.start as usize, 0);
            bytes.extend_from_slice(shape);
        }
        let buffer = self.buffer_with("octconv shapes", wgpu::BufferUsages::UNIFORM, &bytes)?;
        Ok((buffer, places.into_iter().map(|place| place.start).collect()))
    }

    /// A buffer for a map of scratch.
    fn scratch(&self, size: u64) -> Result<wgpu::Buffer, Error> {
        let (label, usage) = (Some("octconv scratch"), wgpu::BufferUsages::STORAGE);
        let descriptor = wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false };
        let operation = format!("creating scratch of {size} bytes");
        self.scoped(&operation, || self.shared.device.create_buffer(&descriptor))
    }

    /// Binds a step to its uniform and to the buffers that `bind` gives for its tensors. What the step reads may lie in one
    /// buffer with what it writes: then both are bound as if they were written.
    pub(crate) fn dispatch<'a>(
        &self,
        step: &Step,
        uniform: wgpu::BufferBinding<'a>,
        mut bind: impl FnMut(TensorId) -> Option<wgpu::BufferBinding<'a>>,
    ) -> Result<Dispatch, Error> {
        let bound = step
            .tensors
            .iter()
            .map(|&id| bind(id).ok_or(Error::Presence { tensor: id.name(), presence: Presence::Missing }));
        let bound: Vec<_> =
            bound.map(|bound| bound.map(wgpu::BindingResource::Buffer)).collect::<Result<_, Error>>()?;
        self.dispatch_with(step, uniform, bound)
    }

    /// The same, with buffers and textures in the order of their bindings.
    pub(super) fn dispatch_with<'a>(
        &self,
        step: &Step,
        uniform: wgpu::BufferBinding<'a>,
        bound: Vec<wgpu::BindingResource<'a>>,
    ) -> Result<Dispatch, Error> {
        let place = |resource: &wgpu::BindingResource<'a>| match resource {
            wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size }) => {
                let end = size.map_or(buffer.size(), |size| offset + size.get());
                Some((*buffer, *offset..end))
            }
            _ => None,
        };
        let places: Vec<_> = bound.iter().map(place).collect();
        let buffers: Vec<_> = places.iter().map(|place| place.as_ref().map(|(buffer, _)| *buffer)).collect();
        let kernel = &step.kernel_in(&buffers, self.shared.read_write);
        if self.shared.forbids_aliases
            && let Some([first, second]) = step.alias(kernel, &places)
        {
            let problem = BindingProblem::Alias(first.name());
            return Err(Error::Binding { tensor: second.name(), problem });
        }

        let Pipeline { pipeline, layout } = self.shared.pipelines.pipeline(kernel, &self.shared.scopes)?;
        let uniform = wgpu::BindingResource::Buffer(uniform);
        let entry = |(binding, resource)| wgpu::BindGroupEntry { binding, resource };
        let entries: Vec<_> = (0..).zip(std::iter::once(uniform).chain(bound)).map(entry).collect();
        let name = step.kernel.name();
        let label = format!("octconv {name}");
        let descriptor = wgpu::BindGroupDescriptor { label: Some(&label), layout: &layout, entries: &entries };
        let operation = format!("binding {name}");
        let bind_group = self.scoped(&operation, || self.shared.device.create_bind_group(&descriptor))?;
        Ok(Dispatch { pipeline, bind_group, grid: [step.grid.x, step.grid.y] })
    }

    /// A buffer with these contents. It is written while mapped, because the engine has no queue.
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
        let buffer = self.scoped(&operation, || self.shared.device.create_buffer(&descriptor))?;
        let view = buffer.slice(..).get_mapped_range_mut().map_err(|error| not_mapped(&operation, error));
        let mut view = view.inspect_err(|_| buffer.destroy())?;
        view.slice(..bytes.len()).copy_from_slice(bytes);
        drop(view);
        buffer.unmap();
        Ok(buffer)
    }
}

/// Whether a browser checks what the device is given.
fn is_of_browser(device: &wgpu::Device) -> bool {
    device.adapter_info().backend == wgpu::Backend::BrowserWebGpu
}

/// Packings in words, and what else decides whether weights can be shared.
fn describe(packings: &[&Packing], spec: &Spec) -> String {
    let list: Vec<_> = packings.iter().map(ToString::to_string).collect();
    let bias = if spec.has_bias() { "with" } else { "without" };
    format!("{} {bias} bias", list.join(", "))
}

#[cfg(all(test, feature = "context", feature = "network"))]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::kernels::testing::contexts;
    use crate::network::{Checkpoint, Graph, Model, NetworkOptions};
    use crate::precision::Dtype;

    /// An engine that refuses what browsers refuse, if `browser` is true.
    fn engine(context: &Context, browser: bool, read_write: bool) -> Engine {
        let mut engine = Engine::new(context.device(), EngineOptions { read_write, ..EngineOptions::default() });
        Arc::get_mut(&mut engine.shared).unwrap().forbids_aliases = browser;
        engine
    }

    #[test]
    fn browsers_refuse_inputs_that_overlap_and_are_bound_as_written() {
        let context = &contexts()[0];
        let spec = Spec::builder(4, 4).kernel([1, 1]).residual(true, false).build().unwrap();
        let [x, y] = [0, 1].map(|_| context.tensor(64, Dtype::F32).unwrap());
        let bind = |browser, read_write| {
            let engine = engine(context, browser, read_write);
            let plan = engine.plan(&spec, InputSize::image(1, 4, 4), &Options::default()).unwrap();
            let weights = engine.pack(&plan, &Weights { w_hh: Some(&[1.0; 16]), ..Weights::default() }).unwrap();
            let x = Some(TensorBinding::from(&x));
            let tensors = Tensors { x_h: x, residual_h: x, y_h: Some((&y).into()), ..Tensors::default() };
            engine.bind(&plan, &weights, &tensors).map(drop)
        };
        assert_eq!([bind(false, false), bind(true, false), bind(false, true)], [Ok(()), Ok(()), Ok(())]);
        let refused = bind(true, true).unwrap_err();
        assert!(matches!(refused, Error::Binding { problem: BindingProblem::Alias(_), .. }), "{refused}");
        let refused = refused.to_string();
        assert!(refused.contains("x_h") && refused.contains("residual_h"), "{refused}");
    }

    #[test]
    fn browsers_refuse_a_map_that_is_read_twice_and_bound_as_written() {
        const CONV: &str = r#""op": "conv", "input": "a", "channels": 4, "kernel": [1, 1]"#;
        let context = &contexts()[0];
        let compile = |node: &str, browser, read_write, one_buffer| {
            let network = format!(
                r#"{{"name": "twice", "input": {{"channels": 4}}, "output": "b", "nodes": [
                    {{"name": "a", {}}}, {{"name": "b", {node}}}]}}"#,
                CONV.replace(r#""a""#, r#""input""#)
            );
            let graph = Graph::new(&serde_json::from_str(&network).unwrap()).unwrap();
            let checkpoint = Checkpoint::random(&graph, 1);
            let model = Model::new(&engine(context, browser, read_write), graph, checkpoint).unwrap();
            let options = NetworkOptions { one_buffer, ..NetworkOptions::default() };
            let plan = model.plan(InputSize::image(1, 4, 4), &options).unwrap();
            model.compile(plan, |_| {}).map(drop)
        };
        let twice = [
            format!(r#"{CONV}, "residual": "a""#),
            r#""op": "add", "inputs": ["a", "a"]"#.to_owned(),
            r#""op": "attention", "queries": "a", "keys": "a", "values": "a""#.to_owned(),
        ];
        for node in &twice {
            assert_eq!(compile(node, false, true, true), Ok(()), "{node}");
            assert_eq!(compile(node, true, false, false), Ok(()), "{node}");
            for (read_write, one_buffer) in [(true, false), (false, true)] {
                let refused = compile(node, true, read_write, one_buffer).unwrap_err();
                let Error::Node { node: name, error } = &refused else { panic!("{refused}") };
                let is_alias = matches!(**error, Error::Binding { problem: BindingProblem::Alias(_), .. });
                assert!(name == "b" && is_alias, "{node}: {refused}");
            }
        }
        assert_eq!(compile(CONV, true, true, true), Ok(()));
    }
}
