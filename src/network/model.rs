//! A network on a device. Its weights are packed once; its inferences are bound to buffers.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::checkpoint::Checkpoint;
use super::graph::{Graph, INPUT_ID, ValueId};
use super::pack::pack;
use super::plan::{NetworkOptions, NetworkPlan, Params, Part, PlannedStep};
use crate::dims::InputSize;
use crate::engine::{Dispatch, Engine, Marker, Marks, TensorBinding, TensorView, record_some};
use crate::error::Error;
use crate::kernels::job::TensorId;
use crate::precision::Dtype;

/// A network with its weights on a device. Inferences of all sizes share weights and pipelines.
///
/// The weights stay on the host too, as long as the model or another one that [`Model::on`] made: 4 bytes for each element of
/// [`Graph::tensors`].
pub struct Model {
    engine: Engine,
    graph: Arc<Graph>,
    checkpoint: Arc<Checkpoint>,
    /// The weights that are packed so far, with the index of their node.
    params: Mutex<Vec<(usize, Params, wgpu::Buffer)>>,
    /// What [`Engine::failures`] was when they were made.
    failures: AtomicUsize,
}

/// How far [`Model::compile`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Dispatches that are ready.
    pub done: usize,
    /// All dispatches of the inference.
    pub of: usize,
}

/// A network bound to buffers for one size, ready to be recorded any number of times.
#[derive(Debug)]
pub struct Inference {
    plan: Arc<NetworkPlan>,
    /// Buffers, and where the inference's bytes begin in each.
    buffers: Vec<(wgpu::Buffer, u64)>,
    /// Whether the buffers are the inference's own.
    own: bool,
    /// The uniforms of all dispatches.
    shapes: wgpu::Buffer,
    dispatches: Vec<Dispatch>,
}

/// An inference some of whose dispatches are ready.
struct Unfinished {
    inference: Inference,
    /// Where the uniforms of each dispatch begin.
    offsets: Vec<u64>,
}

/// Where a value of an inference lies.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ValueView<'a> {
    /// A map.
    Map {
        /// The high frequency. `None` if it has no channels.
        high: Option<TensorView<'a>>,
        /// The low frequency. `None` if it has no channels.
        low: Option<TensorView<'a>>,
    },
    /// One vector per sample.
    Vector(TensorView<'a>),
}

impl Model {
    /// Gives a network the weights of `checkpoint`, in any dialect that `docs/networks.md` lists. Puts nothing on the
    /// device yet. A shared checkpoint is copied unless it has exactly the network's tensors, under this project's names.
    ///
    /// # Errors
    ///
    /// Those of [`Checkpoint::fit`].
    pub fn new(engine: &Engine, graph: Graph, checkpoint: impl Into<Arc<Checkpoint>>) -> Result<Self, Error> {
        let checkpoint = match Arc::try_unwrap(checkpoint.into()) {
            Ok(own) => Arc::new(own.fit(&graph)?),
            Err(shared) => match shared.fitted(&graph)? {
                Cow::Borrowed(_) => shared,
                Cow::Owned(fitted) => Arc::new(fitted),
            },
        };
        Ok(Self::with(engine, Arc::new(graph), checkpoint))
    }

    /// The same network on another engine, for example that of a new device after the loss of this one. It shares the
    /// weights on the host, and nothing on the device.
    pub fn on(&self, engine: &Engine) -> Self {
        Self::with(engine, self.graph.clone(), self.checkpoint.clone())
    }

    fn with(engine: &Engine, graph: Arc<Graph>, checkpoint: Arc<Checkpoint>) -> Self {
        let failures = AtomicUsize::new(engine.failures());
        Self { engine: engine.clone(), graph, checkpoint, params: Mutex::default(), failures }
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The weights, under this project's names.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Bytes of weights that are on the device so far.
    pub fn weight_bytes(&self) -> u64 {
        self.params.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(.., buffer)| buffer.size()).sum()
    }

    /// Forgets the packed weights, so that they go with the last inference that has them. Later inferences pack again. For a
    /// program that sees many sizes, whose weights may be packed in different ways, or that is short of memory.
    pub fn forget_weights(&self) {
        self.params.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Frees the packed weights on the device now. Its inferences must not be submitted afterwards; later ones pack again.
    /// For browsers: there what is dropped keeps its memory until garbage is collected, and elsewhere it does not.
    pub fn destroy(&self) {
        let mut params = self.params.lock().unwrap_or_else(PoisonError::into_inner);
        params.drain(..).for_each(|(.., buffer)| buffer.destroy());
    }

    /// Plans an inference for this device, with the variants that are tuned for it. Creates nothing on the device. Takes
    /// tens of milliseconds for a large network: keep plans by size.
    ///
    /// # Errors
    ///
    /// Those of [`NetworkPlan::new`].
    pub fn plan(&self, size: InputSize, options: &NetworkOptions) -> Result<NetworkPlan, Error> {
        NetworkPlan::with_choices(&self.graph, size, options, self.engine.facts(), self.engine.choices())
    }

    /// Makes missing pipelines and packed weights, and buffers and bind groups. Takes milliseconds to seconds, and
    /// calls `progress` after every dispatch. Inferences can share a plan in an [`Arc`]; its owner also has it if this fails.
    ///
    /// An inference is compiled by one thread. Threads may compile several at once, of one model or of several on one engine,
    /// such as one for each size: a pipeline that two of them need is made by one, and the other waits for it.
    ///
    /// # Errors
    ///
    /// - [`Error::Plan`] for a plan of another network or for a device with other facts. [`Model::plan`] makes a
    ///   right one.
    /// - [`Error::Node`] if weights cannot be folded, for example if the variance of a batch norm is negative; if a
    ///   weight is larger than its type holds; or if the device refuses something for a node. In browsers also for a node that
    ///   reads one map twice, with [`NetworkOptions::one_buffer`] or
    ///   [`EngineOptions::read_write`](crate::EngineOptions::read_write).
    /// - [`Error::Gpu`] if the device refuses a buffer, [`Error::OutOfMemory`] and [`Error::DeviceLost`]; inside of
    ///   [`Error::Node`] if they come while a node is made, so ask [`Error::cause`]. The model keeps what it has packed until
    ///   then: see [`Model::forget_weights`].
    pub fn compile(
        &self,
        plan: impl Into<Arc<NetworkPlan>>,
        progress: impl FnMut(Progress),
    ) -> Result<Inference, Error> {
        let plan = plan.into();
        let buffers = self.activations(&plan)?;
        self.bind(self.begin(plan, buffers, true)?, progress)
    }

    /// Makes the buffers of a plan, if it is this network's and this device's.
    fn activations(&self, plan: &NetworkPlan) -> Result<Vec<(wgpu::Buffer, u64)>, Error> {
        let device = self.engine.device();
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let count = plan.memory.bytes.len();
        let buffers = plan.memory.bytes.iter().enumerate().map(|(i, &size)| {
            let label = format!("octconv activations {i}");
            let descriptor = wgpu::BufferDescriptor { label: Some(&label), size, usage, mapped_at_creation: false };
            let operation = format!("creating buffer {} of {count} for activations, of {size} bytes", i + 1);
            self.engine.scoped(&operation, || device.create_buffer(&descriptor)).map(|buffer| (buffer, 0))
        });
        plan.check_fits(&self.graph, self.engine.facts())?;
        buffers.collect()
    }

    /// As [`Model::compile`], and awaits `progress` after every dispatch, which can let others run meanwhile. If it returns
    /// false, there is no inference; what was packed and compiled so far stays.
    ///
    /// # Errors
    ///
    /// Those of [`Model::compile`]. In a browser, await [`Engine::settled`] too.
    ///
    /// # Examples
    ///
    /// An executor that moves work between threads needs a closure that is `async move`: the future is `Send` then.
    ///
    /// ```
    /// use octconv::Error;
    /// use octconv::network::{Inference, Model, NetworkPlan};
    ///
    /// fn compile(model: &Model, plan: NetworkPlan) -> impl Future<Output = Result<Option<Inference>, Error>> + Send {
    ///     model.compile_async(plan, async move |progress| progress.done <= progress.of)
    /// }
    /// ```
    pub async fn compile_async(
        &self,
        plan: impl Into<Arc<NetworkPlan>>,
        mut progress: impl AsyncFnMut(Progress) -> bool,
    ) -> Result<Option<Inference>, Error> {
        let plan = plan.into();
        let buffers = self.activations(&plan)?;
        let mut unfinished = self.begin(plan, buffers, true)?;
        while let Some(done) = self.bind_next(&mut unfinished)? {
            if !progress(done).await {
                unfinished.inference.destroy();
                return Ok(None);
            }
        }
        Ok(Some(unfinished.inference))
    }

    /// As [`Model::compile`], with activations where the caller wants them: a place for each buffer of
    /// [`NetworkPlan::buffer_bytes`]. They can all be in one buffer of the caller's, if the plan is made with
    /// [`NetworkOptions::one_buffer`]. Buffers have the usage `STORAGE`; and `COPY_SRC` and `COPY_DST` for
    /// what reads and writes them through a [`Context`](crate::Context). Two inferences may have the same memory if one is
    /// submitted behind the other, and its answer is read before.
    ///
    /// # Errors
    ///
    /// Those of [`Model::compile`]; [`Error::Argument`] if there are more or fewer places than buffers, and [`Error::Binding`]
    /// for one that has no room.
    pub fn compile_at(
        &self,
        plan: impl Into<Arc<NetworkPlan>>,
        places: &[TensorBinding<'_>],
        progress: impl FnMut(Progress),
    ) -> Result<Inference, Error> {
        let plan = plan.into();
        plan.check_fits(&self.graph, self.engine.facts())?;
        let bytes = &plan.memory.bytes;
        if places.len() != bytes.len() {
            let allowed = format!("must be {}, as many as the plan has buffers", bytes.len());
            return Err(Error::argument("places", places.len(), allowed));
        }
        self.engine.check_places("activations", places, bytes)?;
        let buffers = places.iter().map(|place| (place.buffer.clone(), place.offset)).collect();
        self.bind(self.begin(plan, buffers, false)?, progress)
    }

    fn bind(&self, mut unfinished: Unfinished, mut progress: impl FnMut(Progress)) -> Result<Inference, Error> {
        while let Some(done) = self.bind_next(&mut unfinished)? {
            progress(done);
        }
        Ok(unfinished.inference)
    }

    /// Begins to bind a plan to its buffers, each from an offset on. `own`: whether they are this inference's alone.
    fn begin(&self, plan: Arc<NetworkPlan>, buffers: Vec<(wgpu::Buffer, u64)>, own: bool) -> Result<Unfinished, Error> {
        let (shapes, offsets) = self.engine.uniforms(plan.steps.iter().map(|planned| &planned.step))?;
        let dispatches = Vec::with_capacity(plan.steps.len());
        Ok(Unfinished { inference: Inference { plan, buffers, own, shapes, dispatches }, offsets })
    }

    /// Makes the next dispatch. `None` if all are there. If it fails, the activations are freed.
    fn bind_next(&self, unfinished: &mut Unfinished) -> Result<Option<Progress>, Error> {
        self.make_next(unfinished).inspect_err(|_| unfinished.inference.destroy())
    }

    fn make_next(&self, unfinished: &mut Unfinished) -> Result<Option<Progress>, Error> {
        let Unfinished { inference: Inference { plan, buffers, shapes, dispatches, .. }, offsets } = unfinished;
        let next = dispatches.len();
        let (Some(planned), Some(&offset)) = (plan.steps.get(next), offsets.get(next)) else { return Ok(None) };
        let at = |index: usize| {
            let node = self.graph.nodes[index].name.clone();
            move |error| Error::Node { node, error: Box::new(error) }
        };
        // One node may do the work of another, whose weights they are.
        let params = planned.params.as_ref().map(|params| self.params(planned.params_of, params));
        let params = params.transpose().map_err(at(planned.params_of))?;
        let dispatch = self.dispatch(plan, planned, params.as_ref(), buffers, shapes, offset);
        dispatches.push(dispatch.map_err(at(planned.node))?);
        Ok(Some(Progress { done: dispatches.len(), of: plan.steps.len() }))
    }

    fn dispatch(
        &self,
        plan: &NetworkPlan,
        planned: &PlannedStep,
        params: Option<&wgpu::Buffer>,
        buffers: &[(wgpu::Buffer, u64)],
        shapes: &wgpu::Buffer,
        offset: u64,
    ) -> Result<Dispatch, Error> {
        let step = &planned.step;
        let binding =
            |buffer, offset, size| wgpu::BufferBinding { buffer, offset, size: std::num::NonZeroU64::new(size) };
        let uniform = binding(shapes, offset, step.shape.len() as u64);
        self.engine.dispatch(step, uniform, |id| {
            if id == TensorId::Weights {
                return params.map(wgpu::Buffer::as_entire_buffer_binding);
            }
            let &(_, span) = planned.tensors.iter().find(|(other, _)| *other == id)?;
            let spot = plan.memory.spots.get(span.tensor)?;
            // Binds the tensor and not the whole buffer, because checked kernels clamp indices to what is bound.
            let (buffer, first) = buffers.get(spot.buffer)?;
            Some(binding(buffer, first + spot.offset + span.offset, span.bytes))
        })
    }

    /// Forgets all buffers if the device has refused something since they were made, which may be one of them.
    fn forget_unusable(&self) {
        let failures = self.engine.failures();
        if self.failures.swap(failures, Ordering::Relaxed) != failures {
            self.params.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// The packed weights that a node's steps read. Packs them if they are not packed yet.
    fn params(&self, node: usize, params: &Params) -> Result<wgpu::Buffer, Error> {
        let lock = || self.params.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |entry: &&(usize, Params, wgpu::Buffer)| entry.0 == node && entry.1 == *params;
        self.forget_unusable();
        if let Some((.., buffer)) = lock().iter().find(known) {
            return Ok(buffer.clone());
        }
        let bytes = pack(&self.graph, &self.checkpoint, node, params)?;
        let label = format!("octconv weights {}", self.graph.nodes[node].name);
        let buffer = self.engine.buffer_with(&label, wgpu::BufferUsages::STORAGE, &bytes)?;
        let mut all = lock();
        // Another thread may have packed them meanwhile.
        if let Some((.., theirs)) = all.iter().find(known) {
            return Ok(theirs.clone());
        }
        all.push((node, params.clone(), buffer.clone()));
        Ok(buffer)
    }
}

/// Without the weights.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("Model");
        all.field("network", &self.graph.network.name);
        all.field("nodes", &self.graph.len());
        all.field("tensors", &self.checkpoint.tensors.len());
        all.field("weight_bytes", &self.weight_bytes());
        all.finish_non_exhaustive()
    }
}

impl Inference {
    /// The plan it was compiled from.
    pub fn plan(&self) -> &NetworkPlan {
        &self.plan
    }

    /// Frees its memory on the device now, but for activations in the caller's buffers. It must not be submitted afterwards,
    /// and what was submitted before is not disturbed. For browsers: there what is dropped keeps its memory until
    /// garbage is collected, and elsewhere it does not.
    pub fn destroy(&self) {
        self.shapes.destroy();
        if self.own {
            self.buffers.iter().for_each(|(buffer, _)| buffer.destroy());
        }
    }

    /// The memory of all activations.
    #[cfg(feature = "verify")]
    pub(crate) fn activations(&self) -> impl Iterator<Item = &wgpu::Buffer> {
        self.buffers.iter().map(|(buffer, _)| buffer)
    }

    /// Records all dispatches into the caller's pass. Changes the pass's pipeline and bind group 0.
    ///
    /// The pass must be of the engine's device. wgpu reports another one where the caller finishes the encoder: nothing
    /// here can tell them apart.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.record_range(pass, 0..self.dispatches.len());
    }

    /// Records those dispatches whose numbers are in the range: for measuring, or to spread an inference over frames. They
    /// are in the order of [`NetworkPlan::trace`]. The range may reach beyond the last one.
    pub fn record_range(&self, pass: &mut wgpu::ComputePass<'_>, range: std::ops::Range<usize>) {
        record_some(&self.dispatches, range, pass);
    }

    /// Records as [`Inference::record`] does, with marks around the dispatches of each node: a debug group of the node's name,
    /// and two timestamps. Returns the nodes that have any dispatches, in the order of their spans, of which there are
    /// [`NetworkPlan::spans`].
    ///
    /// # Errors
    ///
    /// [`Error::Feature`] for timestamps on a device without the feature; [`Error::Argument`] if the query set has no
    /// timestamps, or no room for two of each node. Then nothing is recorded.
    pub fn record_marked(&self, pass: &mut wgpu::ComputePass<'_>, marks: Marks<'_>) -> Result<Vec<&str>, Error> {
        let count = self.plan.spans();
        let mut marker = Marker::new(marks, self.plan.facts.features, count, pass)?;
        let mut dispatches = self.dispatches.as_slice();
        let mut names = Vec::with_capacity(count);
        for span in self.plan.by_node() {
            let (own, rest) = dispatches.split_at(span.len().min(dispatches.len()));
            dispatches = rest;
            let name = self.plan.graph.nodes[span[0].node].name.as_str();
            marker.span(name, |pass| own.iter().for_each(|dispatch| dispatch.record(pass)));
            names.push(name);
        }
        Ok(names)
    }

    /// Where to write the input before a submission.
    pub fn input(&self) -> Option<TensorView<'_>> {
        match self.view(INPUT_ID)? {
            ValueView::Map { high, .. } => high,
            ValueView::Vector(_) => None,
        }
    }

    /// Where the answer is after a submission.
    pub fn output(&self) -> Option<ValueView<'_>> {
        self.view(self.plan.graph.output)
    }

    /// Where the value of a node is after a submission. `None` unless [`NetworkOptions::keep`] names the node or its
    /// value is the answer.
    pub fn value(&self, node: &str) -> Option<ValueView<'_>> {
        let id = self.plan.graph.find(node)?;
        let kept = id == self.plan.graph.output || self.plan.options.keep.iter().any(|name| name == node);
        if kept { self.view(id) } else { None }
    }

    fn view(&self, id: ValueId) -> Option<ValueView<'_>> {
        let place = self.plan.places.get(id)?;
        let tensor = |part: Part, dtype: Dtype| {
            let spot = self.plan.memory.spots.get(part.span.tensor)?;
            let (buffer, first) = self.buffers.get(spot.buffer)?;
            let offset = first + spot.offset + part.span.offset;
            Some(TensorView::new(TensorBinding { buffer, offset }, part.dims, dtype))
        };
        if let Some(vector) = place.vector {
            return Some(ValueView::Vector(tensor(vector, Dtype::F32)?));
        }
        let map = |part: Option<Part>| part.and_then(|part| tensor(part, self.plan.options.precision.activations));
        Some(ValueView::Map { high: map(place.high), low: map(place.low) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineOptions;
    use crate::network::{Network, zoo};

    const SIZE: InputSize = InputSize { n: 1, t: 1, h: 16, w: 16 };

    /// A device that validates and executes nothing.
    fn noop() -> (wgpu::Device, wgpu::Queue, Engine) {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let engine = Engine::new(&device, EngineOptions::default());
        (device, queue, engine)
    }

    /// All kinds of weights. A convolution is planned together with the doubling in front of it.
    fn every_kind() -> Network {
        let description = r#"{"name": "n", "input": {"channels": 3}, "output": "f", "nodes": [
            {"name": "a", "op": "conv", "input": "input", "channels": 8, "alpha": 0.5, "bias": true, "norm": true},
            {"name": "b", "op": "norm", "input": "a"},
            {"name": "c", "op": "excite", "input": "b", "reduced": 3},
            {"name": "s", "op": "conv", "input": "input", "channels": 8, "kernel": [3, 3], "padding": "same"},
            {"name": "u", "op": "upsample", "input": "s", "mode": "nearest", "factor": [2, 2]},
            {"name": "v", "op": "conv", "input": "u", "channels": 4, "kernel": [3, 3], "padding": "same"},
            {"name": "g", "op": "global_pool", "input": "v"},
            {"name": "d", "op": "global_pool", "input": "c"},
            {"name": "k", "op": "concat", "inputs": ["d", "g"]},
            {"name": "e", "op": "linear", "input": "k", "outputs": 5},
            {"name": "f", "op": "linear", "input": "e", "outputs": 5, "bias": false}]}"#;
        serde_json::from_str(description).unwrap()
    }

    fn small() -> (Graph, Checkpoint) {
        let graph = Graph::new(&every_kind()).unwrap();
        let checkpoint = Checkpoint::random(&graph, 1);
        (graph, checkpoint)
    }

    #[test]
    fn a_loss_in_the_middle_is_the_cause() {
        let (device, _queue, engine) = noop();
        let (graph, checkpoint) = small();
        let model = Model::new(&engine, graph, checkpoint).unwrap();
        let plan = Arc::new(model.plan(SIZE, &NetworkOptions::default()).unwrap());
        let lose = |progress: Progress| {
            if progress.done == 1 {
                device.destroy();
            }
        };
        let error = model.compile(plan.clone(), lose).unwrap_err();
        assert!(matches!(&error, Error::Node { .. }), "{error}");
        assert!(matches!(error.cause(), Error::DeviceLost { .. }), "{error}");

        // The plan and the weights are there for another device.
        let (_device, _queue, engine) = noop();
        let again = model.on(&engine);
        assert!(std::ptr::eq(again.checkpoint(), model.checkpoint()) && std::ptr::eq(again.graph(), model.graph()));
        assert_eq!(again.weight_bytes(), 0);
        let [first, second] = [0; 2].map(|_| again.compile(plan.clone(), |_| {}).unwrap());
        assert!(std::ptr::eq(first.plan(), &*plan) && std::ptr::eq(second.plan(), &*plan));
    }

    #[test]
    fn a_shared_checkpoint_is_copied_only_if_it_has_other_names() {
        let (_device, _queue, engine) = noop();
        let (graph, checkpoint) = small();
        let shared = Arc::new(checkpoint.clone());
        let model = Model::new(&engine, graph.clone(), shared.clone()).unwrap();
        assert!(std::ptr::eq(model.checkpoint(), &*shared));
        let tensors = checkpoint.tensors.iter().map(|(name, tensor)| (format!("module.{name}"), tensor.clone()));
        let other = Arc::new(Checkpoint { tensors: tensors.collect() });
        let model = Model::new(&engine, graph.clone(), other.clone()).unwrap();
        assert!(model.checkpoint() == &checkpoint && other.tensors.contains_key("module.f.weight"));
        let mut more = checkpoint.clone();
        more.tensors.insert("more".into(), Default::default());
        let error = Model::new(&engine, graph, Arc::new(more)).unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
    }

    #[test]
    fn a_plan_says_how_many_bytes_and_spans_there_will_be() {
        let (device, _queue, engine) = noop();
        let settings = zoo::Settings { alpha: 0.5, ..Default::default() };
        let mut kinds = std::collections::HashSet::new();
        for network in [every_kind(), zoo::build("cifar-resnet20", &settings).unwrap()] {
            let graph = Graph::new(&network).unwrap();
            let model = Model::new(&engine, graph.clone(), Checkpoint::random(&graph, 1)).unwrap();
            let plan = model.plan(SIZE, &NetworkOptions::default()).unwrap();
            kinds.extend(plan.steps.iter().filter_map(|step| Some(std::mem::discriminant(step.params.as_ref()?))));
            let (weights, uniforms, spans) = (plan.weights_bytes(), plan.uniform_bytes(), plan.spans());
            let inference = model.compile(plan, |_| {}).unwrap();
            assert_eq!((weights, uniforms), (model.weight_bytes(), inference.shapes.size()));
            let mut encoder = device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            assert_eq!(inference.record_marked(&mut pass, Marks::default()).unwrap().len(), spans);
            assert!(spans < inference.plan().dispatches());
        }
        assert_eq!(kinds.len(), 5);
    }

    #[test]
    fn what_is_printed_has_no_weights() {
        let (_device, _queue, engine) = noop();
        let graph = Graph::new(&zoo::build("cifar-resnet20", &Default::default()).unwrap()).unwrap();
        let checkpoint = Checkpoint::random(&graph, 1);
        let text = format!("{:?}", checkpoint.tensors["fc.weight"]);
        assert_eq!(text, "HostTensor { shape: [10, 64], elements: 640, .. }");
        let (text, tensors) = (format!("{checkpoint:?}"), checkpoint.tensors.len());
        assert!(text.len() < 200 * tensors, "{text}");
        let text = format!("{:?}", Model::new(&engine, graph, checkpoint).unwrap());
        let wanted = "Model { network: \"cifar-resnet20\", nodes: ";
        assert!(text.starts_with(wanted) && text.contains("weight_bytes: 0") && text.len() < 200, "{text}");
    }
}
