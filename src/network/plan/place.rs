//! Decides where each value lies: in tensors of its own, or in channels of a concatenation.

use super::options::NetworkOptions;
use super::pooled::Pooled;
use super::roles::Role;
use super::step::{Part, Place, Span};
use super::together::roles;
use crate::device::{DeviceFacts, check_size};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::Slice;
use crate::network::graph::{Graph, Kind, Task, ValueId, ValueShape};

/// The places of all values, and the tensors that hold them.
pub(super) struct Placement<'a> {
    pub(super) graph: &'a Graph,
    pub(super) options: &'a NetworkOptions,
    pub(super) facts: &'a DeviceFacts,
    pub(super) shapes: &'a [ValueShape],
    pub(super) pooled: Pooled,
    /// For each value, whether a caller sees it.
    pub(super) kept: Vec<bool>,
    /// For each node, what becomes of it.
    pub(super) roles: Vec<Role>,
    pub(super) places: Vec<Place>,
    /// Bytes of each tensor.
    pub(super) tensors: Vec<u64>,
}

impl<'a> Placement<'a> {
    /// Places every value.
    pub(super) fn new(
        graph: &'a Graph,
        shapes: &'a [ValueShape],
        options: &'a NetworkOptions,
        facts: &'a DeviceFacts,
    ) -> Self {
        let kept = options.kept(graph);
        let roles = roles(graph, shapes, &kept);
        let pooled = Pooled::new(graph, shapes, options, facts);
        let places = vec![Place::default(); shapes.len()];
        let mut placement = Self { graph, options, facts, shapes, pooled, kept, roles, places, tensors: Vec::new() };
        placement.place_concats();
        for id in 0..shapes.len() {
            if !placement.is_hidden(id) {
                placement.place(id);
            }
        }
        placement
    }

    /// Whether a value is never made.
    fn is_hidden(&self, id: ValueId) -> bool {
        id > 0 && matches!(self.roles[id - 1], Role::Hidden)
    }

    /// The values that a node reads, as it is planned.
    fn reads(&self, index: usize) -> Vec<ValueId> {
        self.roles[index].reads(&self.graph.nodes[index])
    }

    pub(super) fn tensor(&mut self, bytes: u64) -> Span {
        let bytes = bytes.checked_next_multiple_of(4).unwrap_or(u64::MAX).max(4);
        self.tensors.push(bytes);
        Span { tensor: self.tensors.len() - 1, offset: 0, bytes }
    }

    /// A new tensor for one frequency of a map.
    pub(super) fn own(&mut self, dims: Dims) -> Part {
        let span = self.tensor(dims.elements().saturating_mul(self.options.precision.activations.bytes()));
        Part { span, dims, slice: Slice::whole(dims.c) }
    }

    /// A new tensor for both frequencies of a map, one behind the other. They have the same lifetime, and together they
    /// fit into the place that a map without low frequency has left. If no buffer can hold both, they get two tensors.
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
        // The frequencies are bound one by one, so only the size of a buffer limits both together.
        if together > self.facts.limits.max_buffer_size {
            return apart(self);
        }
        let tensor = self.tensor(together).tensor;
        [(high, 0), (low, offset)].map(|(dims, offset)| {
            Some(Part { span: Span { tensor, offset, bytes: bytes(dims) }, dims, slice: Slice::whole(dims.c) })
        })
    }

    fn maps(&self, id: ValueId) -> [Option<Dims>; 2] {
        self.shapes[id].parts()
    }

    /// Places inputs of concatenations in the concatenation's tensor, so that they need not be copied, if their makers
    /// can write and their readers can read a slice. Goes from the last node to the first, because the place of an
    /// outer concatenation decides that of an inner one.
    fn place_concats(&mut self) {
        let graph = self.graph;
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); graph.nodes.len() + 1];
        for index in 0..graph.nodes.len() {
            self.reads(index).into_iter().for_each(|id| readers[id].push(index));
        }
        for index in (0..graph.nodes.len()).rev() {
            let node = &graph.nodes[index];
            if !matches!((&node.task, node.kind), (Task::Concat, Kind::Map(_))) || self.is_hidden(index + 1) {
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
                // If two concatenations read the value, it can lie in neither without a copy for the other.
                let concats = readers[id].iter().filter(|&&r| matches!(graph.nodes[r].task, Task::Concat)).count();
                let itself = |r: usize| matches!(self.roles[r], Role::Itself);
                let readable = readers[id].iter().all(|&r| itself(r) && reads_slices(&graph.nodes[r].task));
                // A value that is read back must not be a slice.
                let whole = self.kept[id] || self.pooled.kept[id];
                if id > 0 && concats == 1 && readable && !whole && self.writes_slices(id) {
                    self.places[id] = spot;
                }
            }
        }
        // A dispatch cannot read and write the same buffer.
        for (index, node) in graph.nodes.iter().enumerate() {
            let own = self.places[index + 1];
            let tensors = |place: Place| [place.high, place.low].into_iter().flatten().map(|part| part.span.tensor);
            let mut read = self.reads(index).into_iter().flat_map(|id| tensors(self.places[id]));
            if !matches!(node.task, Task::Concat) && read.any(|tensor| tensors(own).any(|own| own == tensor)) {
                self.places[index + 1] = Place::default();
            }
        }
    }

    /// Whether the maker of a value can write it as a slice of a larger tensor.
    fn writes_slices(&self, id: ValueId) -> bool {
        let node = &self.graph.nodes[id - 1];
        if let Role::Layer(layer) = &self.roles[id - 1] {
            return layer.residual.is_none();
        }
        match node.task {
            Task::Conv { .. } | Task::Excite { .. } => node.residual.is_none(),
            Task::Pool { .. }
            | Task::Upsample { .. }
            | Task::Norm { .. }
            | Task::Activation { .. }
            | Task::Gate
            | Task::Add { .. }
            | Task::Attention { .. }
            | Task::Concat => true,
            Task::GlobalPool | Task::Linear { .. } | Task::Softmax => false,
        }
    }

    /// Gives a value tensors of its own, if it has no place yet.
    fn place(&mut self, id: ValueId) {
        match self.shapes[id] {
            ValueShape::Map { high, low, .. } => {
                if self.places[id].high.is_none() && self.places[id].low.is_none() {
                    [self.places[id].high, self.places[id].low] = self.own_map(high, low);
                }
                if self.pooled.kept[id]
                    && self.places[id].pooled.is_none()
                    && let Some(pooled) = high.and_then(|dims| dims.pooled_if_any(self.graph.network.rounding))
                {
                    self.places[id].pooled = Some(self.own(pooled));
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

    /// Refuses maps and vectors that the device cannot bind or the kernels cannot index. `map` is the name of a map in
    /// the error.
    pub(super) fn check_sizes(&self, place: Place, map: &str) -> Result<(), Error> {
        for part in [place.high, place.low, place.pooled].into_iter().flatten() {
            let whole = part.dims.with_channels(part.slice.of);
            let bytes = whole.elements().saturating_mul(self.options.precision.activations.bytes());
            check_size(format_args!("{map} of {whole}"), whole.elements(), bytes, self.facts)?;
        }
        place.vector.map_or(Ok(()), |vector| self.check_vector(vector.dims))
    }

    /// Refuses a vector that the device cannot bind or the kernels cannot index. Vectors are f32.
    pub(super) fn check_vector(&self, dims: Dims) -> Result<(), Error> {
        let elements = dims.elements();
        let what = format!("a vector of {}x{}", dims.n, dims.c);
        check_size(&what, elements, elements.saturating_mul(4), self.facts)
    }
}

/// Whether a node can read a map that is a slice of a larger tensor.
fn reads_slices(task: &Task) -> bool {
    matches!(task, Task::Concat | Task::Norm { .. } | Task::Activation { .. } | Task::Gate | Task::Upsample { .. })
}
