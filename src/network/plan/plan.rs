//! The plan of a network at a size: every dispatch and every buffer. It touches no device, so that it can be made and
//! inspected anywhere.

use std::collections::HashMap;

use super::lifetimes::lifetimes;
use super::lower::{Lowering, PlannedLayer};
use super::memory;
use super::options::NetworkOptions;
use super::place::Placement;
use super::step::{Params, Place, PlannedStep};
use crate::device::DeviceFacts;
use crate::dims::InputSize;
use crate::error::{Error, PlanMismatch};
use crate::layer::Spec;
use crate::network::graph::{Graph, INPUT_ID, ValueShape};
use crate::plan::{Choices, Options, Tuning, Variant, one_after_the_other};
use crate::precision::Dtype;

/// A network at a size, cut into dispatches for a device. Make one with [`Model::plan`](crate::network::Model::plan),
/// or without a device with [`NetworkPlan::new`].
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    pub(crate) graph: Graph,
    pub(crate) options: NetworkOptions,
    /// The facts of the device that it was planned for.
    pub(crate) facts: DeviceFacts,
    pub(crate) size: InputSize,
    pub(crate) shapes: Vec<ValueShape>,
    pub(crate) places: Vec<Place>,
    pub(crate) steps: Vec<PlannedStep>,
    layers: Vec<PlannedLayer>,
    /// Bytes of each tensor.
    #[cfg(feature = "export")]
    pub(crate) tensor_bytes: Vec<u64>,
    /// Where each tensor lies, and the sizes of the buffers.
    pub(crate) memory: memory::Assignment,
    live_bytes: u64,
}

/// A convolution of a network, with everything that decides its plan.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NetworkLayer<'a> {
    /// The name of its node.
    pub node: &'a str,
    /// What it computes.
    pub spec: &'a Spec,
    /// The size of its input.
    pub size: InputSize,
    /// The options that it was planned with: types, slices, and whether it reads and writes pooled maps.
    pub options: Options,
    /// The variant that it runs.
    pub variant: Variant,
    /// Whether the variant was chosen because it was measured to be the fastest, or why not. For a convolution whose map is
    /// made in bands of rows: whether there is such a variant. It runs its bands with another if that one cannot make them.
    pub tuning: Tuning,
}

impl NetworkPlan {
    /// Plans `graph` for an input of `size`, by the planner's estimates. Takes tens of milliseconds for a large network:
    /// keep plans by size.
    ///
    /// # Errors
    ///
    /// [`Error::Node`] if a node cannot be planned; [`Error::Feature`], [`Error::Argument`] or [`Error::Limit`] for
    /// options or an input that the device or the network cannot have.
    pub fn new(graph: &Graph, size: InputSize, options: &NetworkOptions, facts: &DeviceFacts) -> Result<Self, Error> {
        Self::with_choices(graph, size, options, facts, &Choices::default())
    }

    /// Plans `graph` for an input of `size`, with the variants that are tuned for the device: see [`Choices::plan`].
    ///
    /// # Errors
    ///
    /// Those of [`NetworkPlan::new`].
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
        let placement = Placement::new(graph, &shapes, options, facts);
        placement.check_sizes(placement.places[INPUT_ID], "the input")?;
        let mut lowering = Lowering::new(placement, choices);
        let mut index = 0;
        while let Some(node) = graph.nodes.get(index) {
            let inner = |error: Error| Error::Node { node: node.name.clone(), error: Box::new(error) };
            match lowering.stem(index).map_err(inner)? {
                0 => lowering.node(index).map(|()| index += 1).map_err(inner)?,
                planned => index += planned,
            }
        }
        let Lowering { placement: Placement { places, tensors, .. }, steps, layers, .. } = lowering;
        let alignment = u64::from(facts.limits.min_storage_buffer_offset_alignment.max(4));
        let lifetimes = lifetimes(graph, options, &places, &tensors, &steps);
        let live_bytes = memory::live_bytes(&lifetimes);
        let memory = memory::assign(&lifetimes, alignment, facts.limits.max_buffer_size, options.one_buffer);
        let (graph, options, facts) = (graph.clone(), options.clone(), facts.clone());
        Ok(Self {
            graph,
            options,
            facts,
            size,
            shapes,
            places,
            steps,
            layers,
            #[cfg(feature = "export")]
            tensor_bytes: tensors,
            memory,
            live_bytes,
        })
    }

    /// Refuses a plan of another network or for a device with other facts. Its kernels check no bounds, and would read
    /// other weights than those they were made for, or exceed the device's limits.
    pub(crate) fn check_fits(&self, graph: &Graph, facts: &DeviceFacts) -> Result<(), Error> {
        let (name, wanted) = (&self.graph.network.name, &graph.network.name);
        let problem = if name != wanted {
            PlanMismatch::Network { plan: name.clone(), model: wanted.clone() }
        } else if self.graph.network != graph.network {
            PlanMismatch::Description(name.clone())
        } else if self.facts.limits != facts.limits {
            PlanMismatch::Limits
        } else if self.facts.features != facts.features {
            PlanMismatch::Features { plan: self.facts.features, device: facts.features }
        } else if self.facts.software == facts.software && !self.facts.run_the_same(facts) {
            PlanMismatch::Units
        } else if self.facts.software != facts.software {
            PlanMismatch::Software { plan: self.facts.software, device: facts.software }
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

    /// The shapes of all values: that of the input, then one per node.
    pub fn shapes(&self) -> &[ValueShape] {
        &self.shapes
    }

    /// Number of nodes that have any dispatches: the spans of
    /// [`Inference::record_marked`](crate::network::Inference::record_marked), which writes two timestamps for each.
    pub fn spans(&self) -> usize {
        self.by_node().count()
    }

    /// The steps, those of one node together.
    pub(crate) fn by_node(&self) -> impl Iterator<Item = &[PlannedStep]> {
        self.steps.chunk_by(|a, b| a.node == b.node)
    }

    /// Number of dispatches of an inference.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }

    /// For each dispatch, in order, the name of its node and of its kernel.
    pub fn trace(&self) -> Vec<(&str, String)> {
        let row = |step: &PlannedStep| (self.graph.nodes[step.node].name.as_str(), step.step.kernel.name());
        self.steps.iter().map(row).collect()
    }

    /// The convolutions, in order. One that is planned together with an upsampling is the octave layer that does the work
    /// of both, and of a sum behind it; it has the name of the last of these nodes.
    pub fn layers(&self) -> impl Iterator<Item = NetworkLayer<'_>> {
        self.layers.iter().map(|layer| self.described(layer))
    }

    /// The layer that has the weights of a node.
    #[cfg(feature = "verify")]
    pub(crate) fn layer_of(&self, index: usize) -> Option<NetworkLayer<'_>> {
        self.layers.iter().find(|layer| layer.weights_of == index).map(|layer| self.described(layer))
    }

    fn described<'a>(&'a self, layer: &'a PlannedLayer) -> NetworkLayer<'a> {
        let PlannedLayer { node, ref spec, size, options, variant, tuning, .. } = *layer;
        NetworkLayer { node: &self.graph.nodes[node].name, spec, size, options, variant, tuning }
    }

    /// For each dispatch, in order, the name of its kernel and its WGSL source. What goes to the device may differ: on
    /// Direct3D aliases are replaced, and what is read is bound as if it were written where it shares a buffer with what is
    /// written.
    pub fn sources(&self) -> Vec<(String, String)> {
        self.steps.iter().map(|step| (step.step.kernel.name(), step.step.kernel.source())).collect()
    }

    /// The workgroups of each dispatch, in order, in x and y.
    pub fn workgroups(&self) -> Vec<[u32; 2]> {
        self.steps.iter().map(|step| [step.step.grid.x, step.step.grid.y]).collect()
    }

    /// The stages that the network names, in order. If dispatches follow the last one, they are one more stage, `end`.
    pub fn stages(&self) -> Vec<Stage> {
        let ends = self.graph.network.stages.iter().filter_map(|name| Some((name.as_str(), self.graph.find(name)?)));
        let mut stages = Vec::new();
        let (mut node, mut step) = (0, 0);
        for (name, end) in ends.chain([("end", self.graph.nodes.len())]) {
            let behind = self.steps.partition_point(|step| step.node < end);
            // A stage without dispatches of its own becomes part of the next one.
            if end > node && behind > step {
                stages.push(Stage { name: name.to_owned(), nodes: node..end, steps: step..behind });
                (node, step) = (end, behind);
            }
        }
        stages
    }

    /// The most bytes of activations that are alive at once, including input and answer. No assignment of buffers needs
    /// less.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Bytes of all buffers of activations, including input, answer, pooled maps and scratch.
    pub fn activation_bytes(&self) -> u64 {
        self.memory.bytes.iter().sum()
    }

    /// Bytes of the packed weights of an inference: what [`Model::weight_bytes`](crate::network::Model::weight_bytes) is after
    /// [`Model::compile`](crate::network::Model::compile), unless the model has weights of other plans too.
    pub fn weights_bytes(&self) -> u64 {
        let mut packed: HashMap<usize, Vec<&Params>> = HashMap::new();
        let mut bytes = 0u64;
        for step in &self.steps {
            let Some(params) = &step.params else { continue };
            let known = packed.entry(step.params_of).or_default();
            if !known.contains(&params) {
                known.push(params);
                bytes = bytes.saturating_add(params.bytes(&self.graph, step.params_of));
            }
        }
        bytes
    }

    /// Bytes of the buffer of uniforms, which each inference has.
    pub fn uniform_bytes(&self) -> u64 {
        let places = one_after_the_other(self.steps.iter().map(|planned| planned.step.shape.len() as u64));
        places.last().map_or(0, |place| place.end).next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT)
    }

    /// Bytes of each buffer of activations. [`Model::compile`](crate::network::Model::compile) makes them, and
    /// [`Model::compile_at`](crate::network::Model::compile_at) takes them from the caller.
    pub fn buffer_bytes(&self) -> &[u64] {
        &self.memory.bytes
    }
}

/// Consecutive nodes of a network, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stage {
    /// The name of its last node, or `end`.
    pub name: String,
    /// The indices of its nodes in [`Network::nodes`](crate::network::Network::nodes).
    pub nodes: std::ops::Range<usize>,
    /// The indices of its dispatches, as in [`NetworkPlan::trace`].
    pub steps: std::ops::Range<usize>,
}
