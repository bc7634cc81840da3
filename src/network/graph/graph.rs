//! A validated description whose names are resolved, and the shapes of its values at a size.

use std::collections::HashMap;

use super::node::{GraphNode, Task, To, refuse};
use super::resolve::resolve;
use super::value::{Kind, ValueId, ValueShape};
use crate::dims::{Dims, InputSize};
use crate::error::Error;
use crate::layer::{Spec, Split, Window};
use crate::network::description::{INPUT, Network};

/// The most nodes of a network, and the most values that they read together. The time of planning grows with their
/// squares.
const MOST_NODES: usize = 1 << 12;
const MOST_READS: usize = 1 << 14;

/// A validated network, whose names are resolved.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) network: Network,
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) output: ValueId,
}

impl Graph {
    /// Resolves and validates a description.
    ///
    /// # Errors
    ///
    /// [`Error::Node`] if something is wrong with a node; [`Error::Description`] or [`Error::Argument`] otherwise.
    pub fn new(network: &Network) -> Result<Self, Error> {
        if network.input.channels == 0 {
            return Err(Error::argument("input.channels", 0, "must be at least 1"));
        }
        if !(network.norm_eps >= 0.0 && network.norm_eps.is_finite()) {
            return Err(Error::argument("norm_eps", network.norm_eps, "must be a number, at least 0"));
        }
        check_count(network)?;
        let mut ids: HashMap<&str, ValueId> = HashMap::from([(INPUT, 0)]);
        let mut kinds = vec![Kind::Map(Split { high: network.input.channels, low: 0 })];
        let mut nodes = Vec::with_capacity(network.nodes.len());
        for node in &network.nodes {
            if node.name.is_empty() {
                return Err(refuse("a node has an empty name"));
            }
            if ids.contains_key(node.name.as_str()) {
                return Err(refuse(format!("node {}: there is another value of this name", node.name)));
            }
            let inner = |error: Error| Error::Node { node: node.name.clone(), error: Box::new(error) };
            let resolved = resolve(network, node, &ids, &kinds).map_err(inner)?;
            kinds.push(resolved.kind);
            nodes.push(resolved);
            ids.insert(&node.name, nodes.len());
        }
        let named = |field: &str, name: &str| {
            ids.get(name).copied().ok_or_else(|| refuse(format!("{field} is {name}: must be the name of a node")))
        };
        for stage in &network.stages {
            named("stages", stage)?;
        }
        let output = named("output", &network.output)?;
        if output == 0 {
            return Err(refuse("output is input: must be the name of a node"));
        }
        let graph = Self { network: network.clone(), nodes, output };
        graph.check_tensors()?;
        Ok(graph)
    }

    /// The description.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(crate) fn kind(&self, id: ValueId) -> Kind {
        match id {
            0 => Kind::Map(Split { high: self.network.input.channels, low: 0 }),
            id => self.nodes[id - 1].kind,
        }
    }

    /// The name of a value.
    pub(crate) fn name(&self, id: ValueId) -> &str {
        if id == 0 { INPUT } else { &self.nodes[id - 1].name }
    }

    pub(crate) fn find(&self, name: &str) -> Option<ValueId> {
        self.nodes.iter().position(|node| node.name == name).map(|index| index + 1)
    }

    /// The shapes of all values for an input of `size`: that of the input, then one per node.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `size` is out of range; [`Error::Node`] if a node cannot have its input of this size.
    pub fn shapes(&self, size: InputSize) -> Result<Vec<ValueShape>, Error> {
        let rounding = self.network.rounding;
        // Checks the size as a layer does.
        Spec::builder(self.network.input.channels, 1).build()?.shapes(size)?;
        let input = Split { high: self.network.input.channels, low: 0 };
        let mut shapes = vec![ValueShape::map(input, size, rounding)];
        for node in &self.nodes {
            let inner = |error: Error| Error::Node { node: node.name.clone(), error: Box::new(error) };
            let shape = self.shape(node, &shapes).map_err(inner)?;
            if let (Some(residual), Task::Conv { .. } | Task::Excite { .. }) = (node.residual, &node.task)
                && shapes[residual] != shape
            {
                let problem = format!("its residual {} has another size", self.name(residual));
                return Err(inner(refuse(problem)));
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }

    fn shape(&self, node: &GraphNode, shapes: &[ValueShape]) -> Result<ValueShape, Error> {
        let rounding = self.network.rounding;
        let input = shapes[node.inputs[0]];
        let shape = match (&node.task, node.kind, input) {
            (Task::Conv { spec, .. }, Kind::Map(split), ValueShape::Map { size, .. }) => {
                // Checks that both frequencies fit each other. `output_size` is then right for both.
                spec.shapes(size)?;
                ValueShape::map(split, spec.output_size(size)?, rounding)
            }
            (Task::Pool { window, .. }, Kind::Map(split), ValueShape::Map { size, .. }) => {
                let shape = ValueShape::map(split, window.output(size)?, rounding);
                if let (ValueShape::Map { high, low, .. }, ValueShape::Map { high: from_high, low: from_low, .. }) =
                    (shape, input)
                {
                    window.check("a map", from_high.zip(high))?;
                    window.check("a low-frequency map", from_low.zip(low))?;
                }
                shape
            }
            (Task::Upsample { resample, to }, Kind::Map(split), ValueShape::Map { size, .. }) => {
                let to = match *to {
                    To::Factor => {
                        let [t, h, w] = [(0, size.t), (1, size.h), (2, size.w)].map(|(i, s)| resample.scaled(i, s));
                        InputSize { t: t?, h: h?, w: w?, ..size }
                    }
                    To::Size { t, h, w } => InputSize { t: t.unwrap_or(size.t), h, w, ..size },
                    To::Like(id) => match shapes[id] {
                        ValueShape::Map { size, .. } => size,
                        ValueShape::Vector { .. } => {
                            return Err(refuse("it takes the size of a vector: must be a map"));
                        }
                    },
                };
                ValueShape::map(split, to, rounding)
            }
            (Task::Concat | Task::Add { .. }, Kind::Map(split), ValueShape::Map { size, .. }) => {
                for &other in &node.inputs[1..] {
                    if !matches!(shapes[other], ValueShape::Map { size: s, .. } if s == size) {
                        return Err(refuse(format!("its inputs differ in size: {}", self.name(other))));
                    }
                }
                ValueShape::map(split, size, rounding)
            }
            (Task::Attention { .. }, Kind::Map(split), ValueShape::Map { size, .. }) => {
                let [keys, values] = [1, 2].map(|i| node.inputs[i]);
                if shapes[keys].size() != shapes[values].size() {
                    let [keys, values] = [keys, values].map(|id| self.name(id));
                    return Err(refuse(format!("its keys {keys} and values {values} differ in size")));
                }
                ValueShape::map(split, size, rounding)
            }
            (_, Kind::Map(split), ValueShape::Map { size, .. }) => ValueShape::map(split, size, rounding),
            (_, Kind::Vector(c), ValueShape::Map { size: InputSize { n, .. }, .. } | ValueShape::Vector { n, .. }) => {
                ValueShape::Vector { n, c }
            }
            (_, Kind::Map(_), ValueShape::Vector { .. }) => return Err(refuse("its input must be a map")),
        };
        if let ValueShape::Map { high, low, .. } = shape
            && [high, low].into_iter().flatten().any(|dims| dims.t == 0 || dims.h == 0 || dims.w == 0)
        {
            return Err(refuse("the input is too small: nothing is left of its map"));
        }
        Ok(shape)
    }

    /// The number of classes: the elements of the answer. `None` if the answer is a map.
    pub fn classes(&self) -> Option<u32> {
        match self.kind(self.output) {
            Kind::Vector(c) => Some(c),
            Kind::Map(_) => None,
        }
    }

    /// The shape of the answer, out of the shapes that [`Graph::shapes`] returns.
    pub fn output_shape(&self, shapes: &[ValueShape]) -> ValueShape {
        shapes[self.output]
    }
}

/// Refuses a network that takes too long to plan.
fn check_count(network: &Network) -> Result<(), Error> {
    let (nodes, reads) = (network.nodes.len(), network.nodes.iter().map(|node| node.reads().len()).sum::<usize>());
    if nodes > MOST_NODES {
        return Err(Error::argument("nodes", format!("a list of {nodes}"), format!("must have at most {MOST_NODES}")));
    }
    if reads > MOST_READS {
        let value = format!("a list whose nodes read {reads} values");
        return Err(Error::argument("nodes", value, format!("must read at most {MOST_READS}")));
    }
    Ok(())
}

impl Window {
    /// The size at full resolution after the pool.
    fn output(&self, size: InputSize) -> Result<InputSize, Error> {
        let mut out = [0; 3];
        for (axis, input) in [size.t, size.h, size.w].into_iter().enumerate() {
            let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
            let (before, behind) = (self.padding[axis], self.behind[axis]);
            let more = if self.ceil { stride - 1 } else { 0 };
            let most = input + before + behind + more;
            let Some(room) = most.checked_sub(kernel) else {
                let ceil = if self.ceil { ", and stride - 1 because the size is rounded up" } else { "" };
                let allowed = format!("must be at most {most}: the map's {input}, padding {before} and {behind}{ceil}");
                return Err(Error::argument("kernel", kernel, allowed));
            };
            let last = room / stride;
            // As in PyTorch: what rounding up has added must not begin behind the map.
            let added = self.ceil && last * stride >= input + before;
            out[axis] = if added { last } else { last + 1 };
        }
        Ok(InputSize { t: out[0], h: out[1], w: out[2], ..size })
    }

    /// Refuses a pool if its last pool window does not touch the map: if there is much padding behind the map; or in the
    /// low frequency, because the size of the high frequency decides how many pool windows that has.
    fn check(&self, map: &str, part: Option<(Dims, Dims)>) -> Result<(), Error> {
        let Some((from, to)) = part else { return Ok(()) };
        let axes = [("frames", from.t, to.t), ("rows", from.h, to.h), ("columns", from.w, to.w)];
        for (axis, (name, from, to)) in axes.into_iter().enumerate() {
            let last = u64::from(to.saturating_sub(1)) * u64::from(self.stride[axis]);
            if last >= u64::from(from) + u64::from(self.padding[axis]) {
                let problem =
                    format!("{map} of {from} {name} has nothing for the last of the {to} windows it must have");
                return Err(refuse(problem));
            }
        }
        Ok(())
    }
}
