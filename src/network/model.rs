//! A network on a device. Its weights are packed once; its inferences are bound to buffers.

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
#[derive(Debug)]
pub struct Model {
    engine: Engine,
    graph: Graph,
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
    plan: NetworkPlan,
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
    /// device yet.
    ///
    /// # Errors
    ///
    /// Those of [`Checkpoint::fit`].
    pub fn new(engine: &Engine, graph: Graph, checkpoint: Checkpoint) -> Result<Self, Error> {
        let checkpoint = Arc::new(checkpoint.fit(&graph)?);
        Ok(Self {
            engine: engine.clone(),
            graph,
            checkpoint,
            params: Mutex::default(),
            failures: AtomicUsize::new(engine.failures()),
        })
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

    /// Plans an inference for this device, with the variants that are tuned for it. Creates nothing on the device.
    ///
    /// # Errors
    ///
    /// Those of [`NetworkPlan::new`].
    pub fn plan(&self, size: InputSize, options: &NetworkOptions) -> Result<NetworkPlan, Error> {
        NetworkPlan::with_choices(&self.graph, size, options, self.engine.facts(), self.engine.choices())
    }

    /// Makes missing pipelines and packed weights, and buffers and bind groups. Takes milliseconds to seconds, and
    /// calls `progress` after every dispatch.
    ///
    /// # Errors
    ///
    /// - [`Error::Plan`] for a plan of another network or for a device with other facts. [`Model::plan`] makes a
    ///   right one.
    /// - [`Error::Node`] if weights cannot be folded, for example if the variance of a batch norm is negative; if a
    ///   weight is larger than its type holds; or if the device refuses something for a node. In browsers also for a node that
    ///   reads one map twice, with [`NetworkOptions::one_buffer`] or
    ///   [`EngineOptions::read_write`](crate::EngineOptions::read_write).
    /// - [`Error::Gpu`] if the device refuses a buffer, [`Error::OutOfMemory`] and [`Error::DeviceLost`]. The model keeps
    ///   what it has packed until then: see [`Model::forget_weights`].
    pub fn compile(&self, plan: NetworkPlan, progress: impl FnMut(Progress)) -> Result<Inference, Error> {
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
    pub async fn compile_async(
        &self,
        plan: NetworkPlan,
        mut progress: impl AsyncFnMut(Progress) -> bool,
    ) -> Result<Option<Inference>, Error> {
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
        plan: NetworkPlan,
        places: &[TensorBinding<'_>],
        progress: impl FnMut(Progress),
    ) -> Result<Inference, Error> {
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
    fn begin(&self, plan: NetworkPlan, buffers: Vec<(wgpu::Buffer, u64)>, own: bool) -> Result<Unfinished, Error> {
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
    /// and two timestamps. Returns the nodes that have any dispatches, in the order of their spans.
    ///
    /// # Errors
    ///
    /// [`Error::Feature`] for timestamps on a device without the feature; [`Error::Argument`] if the query set has no
    /// timestamps, or no room for two of each node. Then nothing is recorded.
    pub fn record_marked(&self, pass: &mut wgpu::ComputePass<'_>, marks: Marks<'_>) -> Result<Vec<&str>, Error> {
        let spans: Vec<_> = self.plan.steps.chunk_by(|a, b| a.node == b.node).collect();
        let mut marker = Marker::new(marks, self.plan.facts.features, spans.len(), pass)?;
        let mut dispatches = self.dispatches.as_slice();
        let mut names = Vec::with_capacity(spans.len());
        for span in spans {
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
