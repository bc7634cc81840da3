//! A network at a size, on a device: every dispatch, and every buffer. Pure, so that it can be made and asked anywhere.

use super::graph::{Graph, GraphNode, INPUT_ID, Kind, Task, ValueId, ValueShape};
use super::memory::{self, Lifetime};
use super::pooled::Pooled;
use crate::device::{DeviceFacts, check_size};
use crate::dims::{Dims, InputSize};
use crate::error::Error;
use crate::kernels::Step;
use crate::kernels::job::{Operand, Slice, TensorId};
use crate::kernels::packing::Packing;
use crate::kernels::{Access, Types, excite, global_pool, linear, pool, scale, softmax, window_pool};
use crate::layer::{Activation, Frequency, Rows, Spec};
use crate::plan::Choices;
use crate::plan::{Family, Options, Plan, Strategy, Variant};
use crate::precision::{Dtype, Precision};

/// What a caller wants of a network beside its description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkOptions {
    /// What is stored and summed in which type. Vectors are f32 in any case.
    pub precision: Precision,
    /// Nodes whose values stay readable to the end, at the price of memory.
    pub keep: Vec<String>,
}

impl NetworkOptions {
    /// What all layers have in common.
    pub(super) fn layer(&self) -> Options {
        Options { precision: self.precision, ..Options::default() }
    }

    pub(super) fn types(&self, facts: &DeviceFacts) -> Types {
        Types::new(self.precision, facts)
    }
}

/// Host data that a step reads, made once for all sizes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Params {
    /// A convolution's weights.
    Conv(Packing),
    /// Factors and shifts of a norm.
    Norm(Frequency),
    /// Both products of an excitation.
    Excite,
    /// A matrix.
    Linear(Dtype),
}

/// A dispatch with what it binds.
#[derive(Clone, Debug)]
pub(crate) struct PlannedStep {
    /// Which node it works for.
    pub(crate) node: usize,
    pub(crate) step: Step,
    pub(crate) params: Option<Params>,
    /// Whose params those are: another node where a stem and its pool are one.
    pub(crate) params_of: usize,
    /// What lies behind each id of the step but the params.
    pub(crate) tensors: Vec<(TensorId, Span)>,
}

/// Bytes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) tensor: usize,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Where a map's frequency, or a vector, lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Of all channels of `slice`.
    pub(crate) span: Span,
    pub(crate) dims: Dims,
    pub(crate) slice: Slice,
}

impl Part {
    fn is_whole(&self) -> bool {
        self.slice == Slice::whole(self.dims.c)
    }
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) high: Option<Part>,
    pub(crate) low: Option<Part>,
    /// pool of the high part, where somebody wants it.
    pub(crate) pooled: Option<Part>,
    pub(crate) vector: Option<Part>,
}

/// A network cut into dispatches for a size and a device.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    pub(crate) graph: Graph,
    pub(crate) options: NetworkOptions,
    /// Of the device that it was planned for.
    facts: DeviceFacts,
    pub(crate) size: InputSize,
    pub(crate) shapes: Vec<ValueShape>,
    pub(crate) places: Vec<Place>,
    pub(crate) steps: Vec<PlannedStep>,
    layers: Vec<PlannedLayer>,
    /// Where each tensor lies, and bytes of each buffer.
    pub(crate) memory: memory::Assignment,
    live_bytes: u64,
}

/// A convolution of a network, as it stands there.
#[derive(Clone, Debug)]
struct PlannedLayer {
    node: usize,
    size: InputSize,
    options: Options,
    variant: Variant,
    tuned: bool,
}

/// A convolution of a network with all that decides its plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkLayer<'a> {
    /// The name of its node.
    pub node: &'a str,
    /// What it computes.
    pub spec: &'a Spec,
    /// The size of its input.
    pub size: InputSize,
    /// Its types, slices, and whether it reads and writes pooled maps.
    pub options: Options,
    /// What it runs.
    pub variant: Variant,
    /// Whether that was measured to be the fastest, and not estimated.
    pub tuned: bool,
}

impl NetworkPlan {
    /// Plans `graph` for an input of `size`. Errors name the node, unless they are about the input or the options.
    pub fn new(graph: &Graph, size: InputSize, options: &NetworkOptions, facts: &DeviceFacts) -> Result<Self, Error> {
        Self::with_choices(graph, size, options, facts, &Choices::default())
    }

    /// As [`NetworkPlan::new`], with what has been tuned for the device: see [`Choices::plan`].
    pub fn with_choices(
        graph: &Graph,
        size: InputSize,
        options: &NetworkOptions,
        facts: &DeviceFacts,
        choices: &Choices,
    ) -> Result<Self, Error> {
        if options.precision.activations == Dtype::F16 && !facts.features.contains(wgpu::Features::SHADER_F16) {
            return Err(Error::Feature { what: "f16 activations", feature: "SHADER_F16" });
        }
        let shapes = graph.shapes(size)?;
        for name in &options.keep {
            if graph.find(name).is_none() {
                return Err(Error::argument("keep", name, "must be the name of a node"));
            }
        }
        let mut planner = Planner {
            graph,
            options,
            facts,
            choices,
            shapes: &shapes,
            pooled: Pooled::new(graph, &shapes, options, facts),
            places: vec![Place::default(); shapes.len()],
            tensors: Vec::new(),
            steps: Vec::new(),
            layers: Vec::new(),
            largest: 0,
        };
        planner.place_concats();
        for id in 0..shapes.len() {
            planner.place(id);
        }
        planner.largest = planner.tensors.iter().copied().max().unwrap_or(0);
        planner.check_sizes(planner.places[INPUT_ID], "the input")?;
        let mut index = 0;
        while let Some(node) = graph.nodes.get(index) {
            let inner = |error: Error| Error::Node { node: node.name.clone(), error: Box::new(error) };
            match planner.stem(index).map_err(inner)? {
                0 => planner.node(index).map(|()| index += 1).map_err(inner)?,
                planned => index += planned,
            }
        }
        let Planner { places, tensors, steps, layers, .. } = planner;
        let alignment = u64::from(facts.limits.min_storage_buffer_offset_alignment.max(4));
        let lifetimes = lifetimes(graph, options, &places, &tensors, &steps);
        let live_bytes = memory::live_bytes(&lifetimes);
        let memory = memory::assign(&lifetimes, alignment, facts.limits.max_buffer_size);
        let (graph, options, facts) = (graph.clone(), options.clone(), facts.clone());
        Ok(Self { graph, options, facts, size, shapes, places, steps, layers, memory, live_bytes })
    }

    /// Refuses a plan of another network, or for a device of which other facts hold: its kernels, which check no bounds,
    /// would find other weights than they were made for, or other limits.
    pub(crate) fn check_fits(&self, graph: &Graph, facts: &DeviceFacts) -> Result<(), Error> {
        let (name, wanted) = (&self.graph.network.name, &graph.network.name);
        let problem = if name != wanted {
            format!("its network is {name}, and the model's {wanted}")
        } else if self.graph.network != graph.network {
            format!("its network has the name {name}, as the model's, but another description")
        } else if self.facts.limits != facts.limits {
            "it was made for a device with other limits".into()
        } else if self.facts.features != facts.features {
            format!("it was made for the features {:?}, and the device has {:?}", self.facts.features, facts.features)
        } else if self.facts.software == facts.software && self.facts != *facts {
            "it was made for a device with other matrix units or subgroups".into()
        } else if self.facts != *facts {
            format!("it was made for software being {}, and the device's is {}", self.facts.software, facts.software)
        } else {
            return Ok(());
        };
        Err(Error::Plan { problem })
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The size it was planned for.
    pub fn size(&self) -> InputSize {
        self.size
    }

    /// The shapes of all values, the input's first, then one a node.
    pub fn shapes(&self) -> &[ValueShape] {
        &self.shapes
    }

    /// Number of dispatches of an inference.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }

    /// Each dispatch: the name of its node, and its kernel.
    pub fn trace(&self) -> Vec<(&str, String)> {
        let row = |step: &PlannedStep| (self.graph.nodes[step.node].name.as_str(), step.step.kernel.name());
        self.steps.iter().map(row).collect()
    }

    /// The convolutions in order.
    pub fn layers(&self) -> impl Iterator<Item = NetworkLayer<'_>> {
        self.layers.iter().filter_map(|&PlannedLayer { node, size, options, variant, tuned }| {
            let node = &self.graph.nodes[node];
            let Task::Conv { spec, .. } = &node.task else { return None };
            Some(NetworkLayer { node: &node.name, spec, size, options, variant, tuned })
        })
    }

    /// The kernels and WGSL sources in the order of their dispatches, as they go to the device.
    pub fn sources(&self) -> Vec<(String, String)> {
        self.steps.iter().map(|step| (step.step.kernel.name(), step.step.kernel.source())).collect()
    }

    /// The dispatches of each stage that the network names, in order; what follows the last is one more, unless empty.
    pub fn stages(&self) -> Vec<Stage> {
        let ends = self.graph.network.stages.iter().filter_map(|name| Some((name.as_str(), self.graph.find(name)?)));
        let mut stages = Vec::new();
        let (mut node, mut step) = (0, 0);
        for (name, end) in ends.chain([("end", self.graph.nodes.len())]) {
            let behind = self.steps.partition_point(|step| step.node < end);
            // A stage whose dispatches are all part of the next one's is no stage of its own.
            if end > node && behind > step {
                stages.push(Stage { name: name.to_owned(), nodes: node..end, steps: step..behind });
                (node, step) = (end, behind);
            }
        }
        stages
    }

    /// Bytes that hold values at once, at most: what no allocation can do without. Input and answer are among them.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Bytes of all buffers of activations: input, answer, pooled copies and scratch among them.
    pub fn activation_bytes(&self) -> u64 {
        self.memory.bytes.iter().sum()
    }
}

/// A part of a network between two nodes that end stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The node that ends it.
    pub name: String,
    /// Its nodes.
    pub nodes: std::ops::Range<usize>,
    /// Its dispatches.
    pub steps: std::ops::Range<usize>,
}

/// The most bands that a stem is cut into: each is two dispatches, and does a row or two again.
const MAX_BANDS: u32 = 4;

struct Planner<'a> {
    graph: &'a Graph,
    options: &'a NetworkOptions,
    facts: &'a DeviceFacts,
    choices: &'a Choices,
    shapes: &'a [ValueShape],
    pooled: Pooled,
    places: Vec<Place>,
    /// Bytes of each.
    tensors: Vec<u64>,
    steps: Vec<PlannedStep>,
    layers: Vec<PlannedLayer>,
    /// Bytes of the largest value, which a layer's scratch must not exceed: it would decide what the network needs.
    largest: u64,
}

impl Planner<'_> {
    fn tensor(&mut self, bytes: u64) -> Span {
        let bytes = bytes.checked_next_multiple_of(4).unwrap_or(u64::MAX).max(4);
        self.tensors.push(bytes);
        Span { tensor: self.tensors.len() - 1, offset: 0, bytes }
    }

    /// A tensor of its own for a map.
    fn own(&mut self, dims: Dims) -> Part {
        let span = self.tensor(dims.elements().saturating_mul(self.options.precision.activations.bytes()));
        Part { span, dims, slice: Slice::whole(dims.c) }
    }

    /// A tensor for both frequencies of a map, one behind the other: they come and go together, and a large buffer that
    /// an all-high map has left then holds both. Two tensors where no buffer would hold both.
    fn own_map(&mut self, high: Option<Dims>, low: Option<Dims>) -> [Option<Part>; 2] {
        let apart = |planner: &mut Self| [high, low].map(|dims| dims.map(|dims| planner.own(dims)));
        let (Some(high), Some(low)) = (high, low) else {
            return apart(self);
        };
        let element = self.options.precision.activations.bytes();
        let bytes =
            |dims: Dims| dims.elements().saturating_mul(element).checked_next_multiple_of(4).unwrap_or(u64::MAX);
        let alignment = u64::from(self.facts.limits.min_storage_buffer_offset_alignment.max(4));
        let offset = bytes(high).checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
        let together = offset.saturating_add(bytes(low));
        // Parts are bound apart, so that how much can be bound at once is no limit to their sum.
        if together > self.facts.limits.max_buffer_size {
            return apart(self);
        }
        let tensor = self.tensor(together).tensor;
        [(high, 0), (low, offset)].map(|(dims, offset)| {
            Some(Part { span: Span { tensor, offset, bytes: bytes(dims) }, dims, slice: Slice::whole(dims.c) })
        })
    }

    fn maps(&self, id: ValueId) -> [Option<Dims>; 2] {
        match self.shapes[id] {
            ValueShape::Map { high, low, .. } => [high, low],
            ValueShape::Vector { .. } => [None, None],
        }
    }

    /// Concatenation without a copy: what is concatenated is written where it belongs, if its maker can write there and
    /// its readers can read there. Later nodes first, so that a concatenation inside of another finds its place.
    fn place_concats(&mut self) {
        let graph = self.graph;
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len() + 1];
        for (index, node) in graph.nodes.iter().enumerate() {
            for &id in node.inputs.iter().chain(&node.residual) {
                readers[id].push(index);
            }
        }
        for index in (0..graph.nodes.len()).rev() {
            let node = &graph.nodes[index];
            if !matches!(node.task, Task::Concat) {
                continue;
            }
            self.place(index + 1);
            let place = self.places[index + 1];
            let mut first = [0, 0];
            for &id in &node.inputs {
                let dims = self.maps(id);
                let within = |part: Option<Part>, dims: Option<Dims>, first: u32| {
                    let slice = |part: Part| Slice { first: part.slice.first + first, of: part.slice.of };
                    part.zip(dims).map(|(part, dims)| Part { span: part.span, dims, slice: slice(part) })
                };
                let spot = Place {
                    high: within(place.high, dims[0], first[0]),
                    low: within(place.low, dims[1], first[1]),
                    ..Place::default()
                };
                for (first, dims) in first.iter_mut().zip(dims) {
                    *first += dims.map_or(0, |dims| dims.c);
                }
                // A second concatenation would be of another tensor, and would have to copy out of this one.
                let concats = readers[id].iter().filter(|&&r| matches!(graph.nodes[r].task, Task::Concat)).count();
                let readable =
                    readers[id].iter().all(|&r| matches!(graph.nodes[r].task, Task::Concat | Task::Norm { .. }));
                // What is read back has to be whole.
                let kept = id == graph.output || self.options.keep.iter().any(|name| name == graph.name(id));
                if id > 0 && concats == 1 && readable && !kept && !self.pooled.kept[id] && self.writes_slices(id) {
                    self.places[id] = spot;
                }
            }
        }
        // One dispatch cannot read and write one buffer.
        for (index, node) in graph.nodes.iter().enumerate() {
            let own = self.places[index + 1];
            let tensors = |place: Place| [place.high, place.low].into_iter().flatten().map(|part| part.span.tensor);
            let mut read = node.inputs.iter().flat_map(|&id| tensors(self.places[id]));
            if !matches!(node.task, Task::Concat) && read.any(|tensor| tensors(own).any(|own| own == tensor)) {
                self.places[index + 1] = Place::default();
            }
        }
    }

    /// Whether the maker of a value can write it as channels of a larger tensor.
    fn writes_slices(&self, id: ValueId) -> bool {
        let node = &self.graph.nodes[id - 1];
        match node.task {
            Task::Conv { .. } | Task::Excite { .. } => node.residual.is_none(),
            Task::Pool { .. } | Task::Norm { .. } | Task::Concat => true,
            Task::GlobalPool | Task::Linear { .. } | Task::Softmax => false,
        }
    }

    /// Gives a value tensors of its own, where it has no place yet.
    fn place(&mut self, id: ValueId) {
        match self.shapes[id] {
            ValueShape::Map { high, low, .. } => {
                if self.places[id].high.is_none() && self.places[id].low.is_none() {
                    [self.places[id].high, self.places[id].low] = self.own_map(high, low);
                }
                if self.pooled.kept[id]
                    && self.places[id].pooled.is_none()
                    && let Some(dims) = high
                {
                    let pooled = dims.pooled(self.graph.network.rounding);
                    if pooled.h > 0 && pooled.w > 0 {
                        self.places[id].pooled = Some(self.own(pooled));
                    }
                }
            }
            ValueShape::Vector { n, c } => {
                if self.places[id].vector.is_none() {
                    let dims = Dims { n, c, t: 1, h: 1, w: 1 };
                    let span = self.tensor(dims.elements().saturating_mul(4));
                    self.places[id].vector = Some(Part { span, dims, slice: Slice::whole(c) });
                }
            }
        }
    }

    /// Refuses maps, which are called `map` in the error, and vectors that the device could not bind or the kernels not
    /// index.
    fn check_sizes(&self, place: Place, map: &str) -> Result<(), Error> {
        for part in [place.high, place.low, place.pooled].into_iter().flatten() {
            let whole = part.dims.with_channels(part.slice.of);
            let bytes = whole.elements().saturating_mul(self.options.precision.activations.bytes());
            check_size(format_args!("{map} of {whole}"), whole.elements(), bytes, self.facts)?;
        }
        place.vector.map_or(Ok(()), |vector| self.check_vector(vector.dims))
    }

    /// As [`Self::check_sizes`], of a vector, which is f32.
    fn check_vector(&self, dims: Dims) -> Result<(), Error> {
        let elements = dims.elements();
        let what = format!("a vector of {}x{}", dims.n, dims.c);
        check_size(&what, elements, elements.saturating_mul(4), self.facts)
    }

    fn push(&mut self, node: usize, step: Step, params: Option<Params>, tensors: Vec<(TensorId, Span)>) {
        self.steps.push(PlannedStep { node, step, params, params_of: node, tensors });
    }

    fn node(&mut self, index: usize) -> Result<(), Error> {
        let node = &self.graph.nodes[index];
        let (input, output) = (self.places[node.inputs[0]], self.places[index + 1]);
        self.check_sizes(output, "a map")?;
        let both = |input: Place| [(input.high, output.high), (input.low, output.low)];
        let mut pooled = false;
        match &node.task {
            Task::Conv { spec, .. } => pooled = self.conv(index, node, spec, input, output)?,
            Task::Pool { kind, window } => {
                for (x, y) in both(input).into_iter().filter_map(|(x, y)| x.zip(y)) {
                    let average = *kind == super::description::PoolKind::Average;
                    let (x, x_tensor, y_tensor) = (operand(TensorId::XH, x), x.span, y.span);
                    let to = operand(TensorId::YH, y);
                    let step = {
                        let job = window_pool::Job { average, window: *window, slice: y.slice, band: None };
                        window_pool::step(self.facts, self.options.types(self.facts), &job, x, to)?
                    };
                    self.push(index, step, None, vec![(TensorId::XH, x_tensor), (TensorId::YH, y_tensor)]);
                }
            }
            Task::Norm { activation } => {
                let frequencies = [Frequency::High, Frequency::Low];
                for part in [output.high, output.low].into_iter().flatten() {
                    let elements = 2 * u64::from(part.dims.c);
                    check_size("the factors and shifts", elements, 4 * elements, self.facts)?;
                }
                for ((x, y), frequency) in both(input).into_iter().zip(frequencies) {
                    let Some((x, y)) = x.zip(y) else { continue };
                    let means = output.pooled.filter(|_| frequency == Frequency::High);
                    let pooled = means.map(|means| means.dims);
                    let (form, activation) = (scale::Form::Channel, *activation);
                    let step = self.scale(&scale::Job { form, activation, pooled, ..copies(x, y) })?;
                    let mut tensors = vec![(TensorId::XH, x.span), (TensorId::YH, y.span)];
                    tensors.extend(means.map(|means| (TensorId::YP, means.span)));
                    self.push(index, step, Some(Params::Norm(frequency)), tensors);
                }
                pooled = true;
            }
            Task::Concat => {
                let mut first = [0, 0];
                for &id in &node.inputs {
                    let from = self.places[id];
                    for (i, (x, y)) in both(from).into_iter().enumerate() {
                        let Some((x, y)) = x.zip(y) else { continue };
                        let slice = Slice { first: y.slice.first + first[i], of: y.slice.of };
                        let y = Part { dims: x.dims, slice, ..y };
                        first[i] += x.dims.c;
                        if (x.span, x.slice) != (y.span, y.slice) {
                            let step = self.scale(&copies(x, y))?;
                            let tensors = vec![(TensorId::XH, x.span), (TensorId::YH, y.span)];
                            self.push(index, step, None, tensors);
                        }
                    }
                }
            }
            Task::Excite { reduced, activation } => {
                // Two inputs, a residual and two outputs are more than some devices bind.
                pooled = node.residual.is_none() || self.facts.limits.max_storage_buffers_per_shader_stage >= 5;
                let output = Place { pooled: output.pooled.filter(|_| pooled), ..output };
                self.excite(index, node, *reduced, *activation, input, output)?;
            }
            Task::GlobalPool => {
                if let Some(vector) = output.vector {
                    self.means(index, input, vector)?;
                }
            }
            Task::Linear { .. } => {
                if let (Some(x), Some(y)) = (input.vector, output.vector) {
                    let bytes = linear::packed_bytes(y.dims.c, x.dims.c, self.options.precision.weights);
                    let elements = linear::padded(u64::from(y.dims.c)).saturating_mul(u64::from(x.dims.c));
                    check_size("the matrix", elements, bytes, self.facts)?;
                    let step = linear::step(self.facts, self.options.precision.weights, y.dims.n, y.dims.c, x.dims.c)?;
                    let tensors = vec![(TensorId::XH, x.span), (TensorId::YH, y.span)];
                    self.push(index, step, Some(Params::Linear(self.options.precision.weights)), tensors);
                }
            }
            Task::Softmax => {
                if let (Some(x), Some(y)) = (input.vector, output.vector) {
                    let step = softmax::step(self.facts, y.dims.n, y.dims.c)?;
                    self.push(index, step, None, vec![(TensorId::XH, x.span), (TensorId::YH, y.span)]);
                }
            }
        }
        if !pooled {
            self.pool(index, output)?;
        }
        Ok(())
    }

    /// pool of a value's high part, where somebody wants it.
    fn pool(&mut self, index: usize, output: Place) -> Result<(), Error> {
        let Some((x, y)) = output.high.zip(output.pooled) else { return Ok(()) };
        let (from, to) = (operand(TensorId::XH, x), operand(TensorId::YH, y));
        let step = pool::step(self.facts, self.options.types(self.facts), from, to)?;
        self.push(index, step, None, vec![(TensorId::XH, x.span), (TensorId::YH, y.span)]);
        Ok(())
    }

    /// A layer; returns whether it also writes the pooled output.
    fn conv(&mut self, index: usize, node: &GraphNode, spec: &Spec, x: Place, y: Place) -> Result<bool, Error> {
        let ValueShape::Map { size, .. } = self.shapes[node.inputs[0]] else { return Ok(false) };
        let residual = node.residual.map(|id| self.places[id]).unwrap_or_default();
        let slice = |part: Option<Part>| part.filter(|part| !part.is_whole()).map(|part| part.slice);
        let options = Options {
            pooled_input: x.pooled.is_some() && self.pooled.read[index],
            pooled_output: y.pooled.is_some(),
            high_slice: slice(y.high),
            low_slice: slice(y.low),
            scratch_limit: Some(self.largest),
            ..self.options.layer()
        };
        let plan = self.choices.plan(spec, size, &options, self.facts)?;
        let (variant, tuned) = (plan.variant(), plan.is_tuned());
        self.layers.push(PlannedLayer { node: index, size, options, variant, tuned });
        let scratch: Vec<Part> = plan.scratch.iter().map(|&dims| self.own(dims)).collect();
        let tensor = |id: TensorId| {
            let part = match id {
                TensorId::XH => x.high,
                TensorId::XL => x.low,
                TensorId::XP => x.pooled,
                TensorId::ResidualH => residual.high,
                TensorId::ResidualL => residual.low,
                TensorId::YH => y.high,
                TensorId::YL => y.low,
                TensorId::YP => y.pooled,
                TensorId::Scratch(i) => scratch.get(i).copied(),
                TensorId::Weights => None,
            };
            part.map(|part| (id, part.span))
        };
        for step in plan.steps {
            let tensors = step.tensors.iter().filter_map(|&id| tensor(id)).collect();
            let params = step.packing.clone().map(Params::Conv);
            self.push(index, step, params, tensors);
        }
        Ok(options.pooled_output)
    }

    /// A plain convolution and the max pool behind it, a band of rows after the other, where the map between them is
    /// larger than all others: a band of it is then all that is ever there. Says how many nodes it has planned.
    fn stem(&mut self, index: usize) -> Result<usize, Error> {
        let graph = self.graph;
        let (Some(conv), Some(pool)) = (graph.nodes.get(index), graph.nodes.get(index + 1)) else { return Ok(0) };
        let (Task::Conv { spec, .. }, Task::Pool { kind, window }) = (&conv.task, &pool.task) else { return Ok(0) };
        let id = index + 1;
        let readers = graph.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.residual));
        let alone = readers.filter(|&&read| read == id).count() == 1 && pool.inputs[0] == id;
        let kept = id == graph.output || self.options.keep.contains(&conv.name);
        let (x, between, y) = (self.places[conv.inputs[0]], self.places[id], self.places[id + 1]);
        let (Some(map), Some(to), None) = (between.high.filter(Part::is_whole), y.high, between.low) else {
            return Ok(0);
        };
        let ValueShape::Map { size, .. } = self.shapes[conv.inputs[0]] else { return Ok(0) };
        if !alone || kept || conv.residual.is_some() || between.pooled.is_some() || x.low.is_some() {
            return Ok(0);
        }
        let others = self.tensors.iter().enumerate().filter(|&(tensor, _)| tensor != map.span.tensor);
        let largest = others.map(|(_, &bytes)| bytes).max().unwrap_or(0);
        let rows_bytes = |rows: u32| map.span.bytes / u64::from(map.dims.h) * u64::from(rows);
        let bands = |count: u32| {
            let height = to.dims.h.div_ceil(count);
            let from = (0..count).map(move |i| i * height).filter(|&first| first < to.dims.h);
            from.map(|first| Rows { first, count: height.min(to.dims.h - first) }).collect::<Vec<_>>()
        };
        let most = |count: u32| bands(count).into_iter().map(|band| window.rows_under(band, map.dims.h).count).max();
        let few = |count: &u32| most(*count).is_some_and(|rows| rows_bytes(rows) <= largest);
        let Some(count) = (1..=MAX_BANDS).find(few).filter(|&count| count > 1) else { return Ok(0) };

        let options = self.options.layer();
        let Ok(mut plan) = self.choices.plan(spec, size, &options, self.facts) else { return Ok(0) };
        if !plan.makes_bands() {
            let Some(family) = Family::all().find(|family| family.kernels().makes_bands()) else { return Ok(0) };
            let direct = Variant { strategy: Strategy::Fused, family, tile: None };
            let Ok(direct) = Plan::new(spec, size, &Options { variant: Some(direct), ..options }, self.facts) else {
                return Ok(0);
            };
            plan = direct;
        }
        let (variant, tuned) = (plan.variant(), plan.is_tuned());
        self.layers.push(PlannedLayer { node: index, size, options, variant, tuned });
        self.largest = largest;
        self.check_sizes(y, "a map")?;
        let average = *kind == super::description::PoolKind::Average;
        let rows = most(count).unwrap_or(map.dims.h);
        let Part { span, dims, .. } = map;
        // The tensor of the whole map becomes that of a band.
        let span = Span { bytes: rows_bytes(rows).next_multiple_of(4), ..span };
        self.tensors[span.tensor] = span.bytes;
        self.places[id] = Place::default();
        for band in bands(count) {
            let under = window.rows_under(band, dims.h);
            let step = plan.band(under.first, Dims { h: under.count, ..dims }, self.facts)?;
            let input = x.high.map(|part| (TensorId::XH, part.span));
            let tensors = [input, Some((TensorId::YH, span))].into_iter().flatten().collect();
            let params = step.packing.clone().map(Params::Conv);
            self.steps.push(PlannedStep { node: index + 1, step, params, params_of: index, tensors });
            let (from, into) = (Operand { id: TensorId::XH, dims }, operand(TensorId::YH, to));
            let job = window_pool::Job { average, window: *window, slice: to.slice, band: Some(band) };
            let step = window_pool::step(self.facts, self.options.types(self.facts), &job, from, into)?;
            self.push(index + 1, step, None, vec![(TensorId::XH, span), (TensorId::YH, to.span)]);
        }
        self.pool(index + 1, y)?;
        Ok(2)
    }

    fn scale(&self, job: &scale::Job) -> Result<Step, Error> {
        scale::step(self.facts, self.options.types(self.facts), job)
    }

    /// The means of a map's channels, H's in front of L's.
    fn means(&mut self, index: usize, x: Place, vector: Part) -> Result<(), Error> {
        let mut first = 0;
        for part in [x.high, x.low].into_iter().flatten() {
            let slice = Slice { first, of: vector.dims.c };
            let step = global_pool::step(self.facts, self.options.precision.activations, part.dims, slice)?;
            self.push(index, step, None, vec![(TensorId::XH, part.span), (TensorId::YH, vector.span)]);
            first += part.dims.c;
        }
        Ok(())
    }

    fn excite(
        &mut self,
        index: usize,
        node: &GraphNode,
        reduced: u32,
        activation: Activation,
        x: Place,
        y: Place,
    ) -> Result<(), Error> {
        let Kind::Map(split) = node.kind else { return Ok(()) };
        let n = [x.high, x.low].into_iter().flatten().map(|part| part.dims.n).max().unwrap_or(1);
        let dims = Dims { n, c: split.channels(), t: 1, h: 1, w: 1 };
        let mut vector =
            || Part { span: self.tensor(dims.elements().saturating_mul(4)), dims, slice: Slice::whole(dims.c) };
        let (means, factors) = (vector(), vector());
        self.check_vector(dims)?;
        let elements = excite::packed_elements(dims.c, reduced);
        check_size("the matrices", elements, elements.saturating_mul(4), self.facts)?;
        self.means(index, x, means)?;
        let step = excite::step(self.facts, n, dims.c, reduced)?;
        let tensors = vec![(TensorId::XH, means.span), (TensorId::YH, factors.span)];
        self.push(index, step, Some(Params::Excite), tensors);

        let residual = node.residual.map(|id| self.places[id]).unwrap_or_default();
        let mut first = 0;
        for (x, y, means, residual) in [(x.high, y.high, y.pooled, residual.high), (x.low, y.low, None, residual.low)] {
            let Some((x, y)) = x.zip(y) else { continue };
            let step = self.scale(&scale::Job {
                form: scale::Form::Sample,
                factors: Slice { first, of: dims.c },
                residual: residual.is_some(),
                activation,
                pooled: means.map(|means| means.dims),
                ..copies(x, y)
            })?;
            let mut tensors = vec![(TensorId::XH, x.span), (TensorId::XP, factors.span), (TensorId::YH, y.span)];
            tensors.extend(residual.map(|residual| (TensorId::ResidualH, residual.span)));
            tensors.extend(means.map(|means| (TensorId::YP, means.span)));
            self.push(index, step, None, tensors);
            first += x.dims.c;
        }
        Ok(())
    }
}

/// A job that copies, for others to differ from.
fn copies(x: Part, y: Part) -> scale::Job {
    let (form, activation) = (scale::Form::Copy, Activation::None);
    let factors = Slice::whole(0);
    scale::Job { dims: x.dims, x: x.slice, y: y.slice, form, factors, residual: false, activation, pooled: None }
}

fn operand(id: TensorId, part: Part) -> Operand {
    Operand { id, dims: part.dims }
}

/// From which step to which each tensor must keep its contents. The input and the answer are there all the time: an
/// inference can be recorded again without giving the input again.
fn lifetimes(
    graph: &Graph,
    options: &NetworkOptions,
    places: &[Place],
    tensors: &[u64],
    steps: &[PlannedStep],
) -> Vec<Lifetime> {
    let mut lifetimes: Vec<Lifetime> =
        tensors.iter().map(|&bytes| Lifetime { bytes, first: usize::MAX, ..Lifetime::default() }).collect();
    for (at, planned) in steps.iter().enumerate() {
        for (id, access) in planned.step.tensors.iter().zip(planned.step.kernel.accesses()) {
            let Some((_, span)) = planned.tensors.iter().find(|(other, _)| other == id) else { continue };
            let lifetime = &mut lifetimes[span.tensor];
            (lifetime.first, lifetime.last) = (lifetime.first.min(at), at);
            lifetime.accesses.push((at, access == Access::Write));
        }
    }
    for lifetime in &mut lifetimes {
        // What no step uses, such as a part of an input that no layer reads.
        lifetime.first = lifetime.first.min(lifetime.last);
    }
    let kept = options.keep.iter().filter_map(|name| graph.find(name));
    for id in [0, graph.output].into_iter().chain(kept) {
        let Place { high, low, vector, .. } = places[id];
        for part in [high, low, vector].into_iter().flatten() {
            let lifetime = &mut lifetimes[part.span.tensor];
            lifetime.last = steps.len();
            if id == 0 {
                lifetime.first = 0;
            }
        }
    }
    lifetimes
}
