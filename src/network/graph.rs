//! A description resolved: names to values, splits, the tensors it wants, shapes at a size, cost.

use std::collections::HashMap;

use super::description::{Conv, INPUT, Network, Node, Op, PoolKind};
use crate::dims::{Dims, InputSize};
use crate::error::Error;
use crate::layer::Window;
use crate::layer::{Activation, Frequency, Path, Rounding, Spec, Split};

/// The index of a value: 0 is the network's input, i + 1 what node i makes.
pub(crate) type ValueId = usize;

/// The network's input.
pub(crate) const INPUT_ID: ValueId = 0;

/// What a value is, whatever the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Map(Split),
    Vector(u32),
}

/// What a value is at a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueShape {
    /// A map.
    Map {
        /// Batch, frames, and the size at full resolution, whether or not there is a part of high frequency.
        size: InputSize,
        /// The part of high frequency.
        high: Option<Dims>,
        /// The part of low frequency.
        low: Option<Dims>,
    },
    /// `c` numbers for each of a batch of `n`.
    Vector {
        /// Batch.
        n: u32,
        /// Elements.
        c: u32,
    },
}

impl ValueShape {
    fn map(split: Split, size: InputSize, rounding: Rounding) -> Self {
        let InputSize { n, t, h, w } = size;
        let full = Dims { n, c: split.high, t, h, w };
        let half = full.pooled(rounding).with_channels(split.low);
        Self::Map { size, high: (split.high > 0).then_some(full), low: (split.low > 0).then_some(half) }
    }

    /// Elements of both frequencies, or of the vector.
    pub fn elements(&self) -> u64 {
        match *self {
            Self::Map { high, low, .. } => [high, low].into_iter().flatten().map(Dims::elements).sum(),
            Self::Vector { n, c } => u64::from(n) * u64::from(c),
        }
    }
}

/// A node with everything that does not depend on the size.
#[derive(Clone, Debug)]
pub(crate) struct GraphNode {
    pub(crate) name: String,
    /// Without the residual.
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) residual: Option<ValueId>,
    pub(crate) task: Task,
    pub(crate) kind: Kind,
}

/// What a node does, with the channels of its input known.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Conv { spec: Spec, norm: bool },
    Pool { kind: PoolKind, window: Window },
    Norm { activation: Activation },
    Concat,
    Excite { reduced: u32, activation: Activation },
    GlobalPool,
    Linear { bias: bool },
    Softmax,
}

/// What a tensor of a checkpoint is, as far as its values are concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// A kernel or matrix; `fan_in` inputs make one output.
    Weight {
        /// Over all paths into the output.
        fan_in: u32,
    },
    /// Added to an output.
    Bias,
    /// Batch norm's scale; `residual` where a residual is added to the result.
    Gamma {
        /// Whether the node adds a residual.
        residual: bool,
    },
    /// Batch norm's shift.
    Beta,
    /// Batch norm's running mean.
    Mean,
    /// Batch norm's running variance.
    Var,
}

/// A tensor that a network wants of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// In this project's own naming.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: Role,
}

/// What a network costs at a size, whatever runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCost {
    /// Multiply-adds of convolutions and matrices.
    pub macs: u64,
    /// Weights, biases, and batch norm's scales and shifts.
    pub params: u64,
}

/// A validated network.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) network: Network,
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) output: ValueId,
}

fn saturating_product<const N: usize>(factors: [u32; N]) -> u64 {
    factors.into_iter().fold(1, |all: u64, factor| all.saturating_mul(u64::from(factor)))
}

fn refuse(problem: impl Into<String>) -> Error {
    Error::Description { problem: problem.into() }
}

impl Graph {
    /// Resolves and validates a description. Errors name the node.
    pub fn new(network: &Network) -> Result<Self, Error> {
        if network.input.channels == 0 {
            return Err(Error::argument("input.channels", 0, "must be at least 1"));
        }
        if !(network.norm_eps >= 0.0 && network.norm_eps.is_finite()) {
            return Err(Error::argument("norm_eps", network.norm_eps, "must be a number, at least 0"));
        }
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
        Ok(Self { network: network.clone(), nodes, output })
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

    /// The shapes of all values, the input's first, then one a node. Errors name the node.
    pub fn shapes(&self, size: InputSize) -> Result<Vec<ValueShape>, Error> {
        let rounding = self.network.rounding;
        // The checks of sizes are those of a layer.
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
                // Both frequencies must agree with each other, and the next layer with both.
                spec.shapes(size)?;
                ValueShape::map(split, spec.output_size(size)?, rounding)
            }
            (Task::Pool { window, .. }, Kind::Map(split), ValueShape::Map { size, .. }) => {
                let size = window.output(size)?;
                let shape = ValueShape::map(split, size, rounding);
                if let (ValueShape::Map { low: Some(low), .. }, ValueShape::Map { low: Some(from), .. }) =
                    (shape, input)
                {
                    window.check_low(from, low)?;
                }
                shape
            }
            (Task::Concat, Kind::Map(split), ValueShape::Map { size, .. }) => {
                for &other in &node.inputs[1..] {
                    if !matches!(shapes[other], ValueShape::Map { size: s, .. } if s == size) {
                        return Err(refuse(format!("its inputs differ in size: {}", self.name(other))));
                    }
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
            && [high, low].into_iter().flatten().any(|dims| dims.h == 0 || dims.w == 0)
        {
            return Err(refuse("the input is too small: nothing is left of its map"));
        }
        Ok(shape)
    }

    /// The number of classes, where the answer is a vector.
    pub fn classes(&self) -> Option<u32> {
        match self.kind(self.output) {
            Kind::Vector(c) => Some(c),
            Kind::Map(_) => None,
        }
    }

    /// The shape of the answer, of those of all values.
    pub fn output_shape(&self, shapes: &[ValueShape]) -> ValueShape {
        shapes[self.output]
    }

    /// Multiply-adds of each node.
    pub fn macs(&self, size: InputSize) -> Result<Vec<u64>, Error> {
        let shapes = self.shapes(size)?;
        let macs = self.nodes.iter().map(|node| match (&node.task, node.kind, shapes[node.inputs[0]]) {
            (Task::Conv { spec, .. }, _, ValueShape::Map { size, .. }) => Ok(spec.cost(size)?.macs),
            (Task::Linear { .. }, Kind::Vector(outputs), ValueShape::Vector { n, c }) => {
                Ok(saturating_product([n, c, outputs]))
            }
            (Task::Excite { reduced, .. }, Kind::Map(split), ValueShape::Map { size, .. }) => {
                Ok(saturating_product([2, size.n, split.channels(), *reduced]))
            }
            _ => Ok(0),
        });
        macs.collect()
    }

    /// The bytes that each node must move, whatever runs it: its inputs, its output and its weights once. Batch norms,
    /// concatenations and excitations can be part of their neighbours and count nothing. `activation` and `weight` are
    /// bytes an element (4 or 2).
    pub fn min_bytes(&self, size: InputSize, activation: u64, weight: u64) -> Result<Vec<u64>, Error> {
        let shapes = self.shapes(size)?;
        let bytes = self.nodes.iter().zip(1..).map(|(node, id)| {
            let (input, output) = (shapes[node.inputs[0]], shapes[id]);
            let maps = || (input.elements() + output.elements()) * activation;
            match (&node.task, input, output) {
                (Task::Conv { spec, .. }, ValueShape::Map { size, .. }, _) => {
                    Ok(spec.cost(size)?.min_bytes(activation, weight))
                }
                (Task::Pool { .. } | Task::GlobalPool, ..) => Ok(maps()),
                (
                    Task::Linear { .. } | Task::Softmax,
                    ValueShape::Vector { c, .. },
                    ValueShape::Vector { c: outputs, .. },
                ) => {
                    let weights = matches!(node.task, Task::Linear { .. });
                    let weights = if weights { u64::from(c) * u64::from(outputs) * weight } else { 0 };
                    // Vectors are f32 in any case.
                    Ok(4 * (input.elements() + output.elements()) + weights)
                }
                _ => Ok(0),
            }
        });
        bytes.collect()
    }

    /// Multiply-adds and parameters.
    pub fn cost(&self, size: InputSize) -> Result<NetworkCost, Error> {
        let macs = self.macs(size)?.into_iter().fold(0, u64::saturating_add);
        let trained = |spec: &TensorSpec| !matches!(spec.role, Role::Mean | Role::Var);
        let elements = |spec: &TensorSpec| spec.shape.iter().fold(1u64, |all, &d| all.saturating_mul(d as u64));
        let params = self.tensors().iter().filter(|spec| trained(spec)).map(elements).fold(0, u64::saturating_add);
        Ok(NetworkCost { macs, params })
    }

    /// Every tensor that a checkpoint must have, in the order of the nodes.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut tensors = Vec::new();
        for node in &self.nodes {
            let mut add = |name: String, shape: Vec<usize>, role: Role| {
                tensors.push(TensorSpec { name: format!("{}.{name}", node.name), shape, role });
            };
            let mut norm = |split: Split, residual: bool| {
                for (letter, channels) in [("h", split.high), ("l", split.low)] {
                    if channels > 0 {
                        let roles = [Role::Gamma { residual }, Role::Beta, Role::Mean, Role::Var];
                        for (name, role) in ["gamma", "beta", "mean", "var"].into_iter().zip(roles) {
                            add(format!("norm_{letter}.{name}"), vec![channels as usize], role);
                        }
                    }
                }
            };
            match (&node.task, node.kind) {
                (Task::Conv { spec, norm: has_norm }, _) => {
                    if *has_norm {
                        norm(spec.output(), node.residual.is_some());
                    }
                    let timed = matches!(self.op(node), Some(Op::Conv(conv)) if conv.time.is_some());
                    for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
                        let [n, c, kt, kh, kw] = spec.weight_shape(path).map(|d| d as usize);
                        let shape = if timed { vec![n, c, kt, kh, kw] } else { vec![n, c, kh, kw] };
                        let fan_in = Path::ALL
                            .into_iter()
                            .filter(|&other| other.output() == path.output() && spec.has(other))
                            .map(|other| {
                                spec.weight_shape(other)[1..].iter().fold(1, |all: u32, &d| all.saturating_mul(d))
                            })
                            .fold(0, u32::saturating_add);
                        add(path.weight_name().into(), shape, Role::Weight { fan_in });
                    }
                    for (name, frequency) in [("bias_h", Frequency::High), ("bias_l", Frequency::Low)] {
                        let channels = spec.output().of(frequency);
                        if spec.has_bias() && channels > 0 {
                            add(name.into(), vec![channels as usize], Role::Bias);
                        }
                    }
                }
                (Task::Norm { .. }, Kind::Map(split)) => norm(split, false),
                (Task::Excite { reduced, .. }, Kind::Map(split)) => {
                    let (c, r) = (split.channels(), *reduced);
                    add("squeeze.weight".into(), vec![r as usize, c as usize], Role::Weight { fan_in: c });
                    add("squeeze.bias".into(), vec![r as usize], Role::Bias);
                    for (letter, channels) in [("h", split.high), ("l", split.low)] {
                        if channels > 0 {
                            let shape = vec![channels as usize, r as usize];
                            add(format!("excite_{letter}.weight"), shape, Role::Weight { fan_in: r });
                            add(format!("excite_{letter}.bias"), vec![channels as usize], Role::Bias);
                        }
                    }
                }
                (Task::Linear { bias }, Kind::Vector(outputs)) => {
                    if let Kind::Vector(c) = self.kind(node.inputs[0]) {
                        let shape = vec![outputs as usize, c as usize];
                        add("weight".into(), shape, Role::Weight { fan_in: c });
                        if *bias {
                            add("bias".into(), vec![outputs as usize], Role::Bias);
                        }
                    }
                }
                _ => {}
            }
        }
        tensors
    }

    fn op(&self, node: &GraphNode) -> Option<&Op> {
        self.network.nodes.iter().find(|other| other.name == node.name).map(|node| &node.op)
    }
}

impl Window {
    /// The size at full resolution behind the pool.
    fn output(&self, size: InputSize) -> Result<InputSize, Error> {
        let mut out = [0; 3];
        for (axis, input) in [size.t, size.h, size.w].into_iter().enumerate() {
            let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
            let padded = input + 2 * padding;
            if padded < kernel {
                let allowed = format!("must be at most the map's {input} with padding {padding} on both sides");
                return Err(Error::argument("kernel", kernel, allowed));
            }
            out[axis] = (padded - kernel) / stride + 1;
        }
        Ok(InputSize { t: out[0], h: out[1], w: out[2], ..size })
    }

    /// Every window of the low frequency, whose number its high frequency decides, must touch its map.
    fn check_low(&self, from: Dims, to: Dims) -> Result<(), Error> {
        let axes = [(from.t, to.t), (from.h, to.h), (from.w, to.w)];
        for (axis, (from, to)) in axes.into_iter().enumerate() {
            let last = u64::from(to.saturating_sub(1)) * u64::from(self.stride[axis]);
            if last >= u64::from(from) + u64::from(self.padding[axis]) {
                let problem = format!("a low-frequency map of {from} has too little for the {to} windows it must have");
                return Err(refuse(problem));
            }
        }
        Ok(())
    }
}

fn resolve(network: &Network, node: &Node, ids: &HashMap<&str, ValueId>, kinds: &[Kind]) -> Result<GraphNode, Error> {
    let id = |name: &str| {
        ids.get(name).copied().ok_or_else(|| refuse(format!("it reads {name}, which no node in front of it makes")))
    };
    let map = |name: &str| match kinds[id(name)?] {
        Kind::Map(split) => Ok(split),
        Kind::Vector(_) => Err(refuse(format!("it reads {name}, which is a vector: must be a map"))),
    };
    let vector = |name: &str| match kinds[id(name)?] {
        Kind::Vector(c) => Ok(c),
        Kind::Map(_) => Err(refuse(format!("it reads {name}, which is a map: must be a vector"))),
    };
    let residual = |name: &Option<String>, split: Split| -> Result<Option<ValueId>, Error> {
        let Some(name) = name else { return Ok(None) };
        let found = map(name)?;
        if found != split {
            return Err(refuse(format!(
                "its residual {name} has {} high and {} low channels: must have {} and {}",
                found.high, found.low, split.high, split.low
            )));
        }
        Ok(Some(id(name)?))
    };
    let (inputs, residual, task, kind) = match &node.op {
        Op::Conv(conv) => {
            let input = map(&conv.input)?;
            let spec = conv_spec(network, conv, input)?;
            let split = spec.output();
            let residual = residual(&conv.residual, split)?;
            (vec![id(&conv.input)?], residual, Task::Conv { spec, norm: conv.norm }, Kind::Map(split))
        }
        Op::Pool(pool) => {
            let window = Window {
                kernel: pool.kernel.with_time(1),
                stride: pool.stride.with_time(1),
                padding: pool.padding.with_time(0),
            };
            for (kernel, stride, padding) in (0..3).map(|i| (window.kernel[i], window.stride[i], window.padding[i])) {
                if kernel == 0 || kernel > 1024 {
                    return Err(Error::argument("kernel", kernel, "must be 1 to 1024"));
                }
                if stride == 0 || stride > 1024 {
                    return Err(Error::argument("stride", stride, "must be 1 to 1024"));
                }
                if padding >= kernel {
                    let allowed = format!("must be less than the kernel's {kernel}");
                    return Err(Error::argument("padding", padding, allowed));
                }
            }
            let kind = Kind::Map(map(&pool.input)?);
            (vec![id(&pool.input)?], None, Task::Pool { kind: pool.kind, window }, kind)
        }
        Op::Norm { input, activation } => {
            activation.check()?;
            let kind = Kind::Map(map(input)?);
            (vec![id(input)?], None, Task::Norm { activation: *activation }, kind)
        }
        Op::Concat { inputs } => {
            if inputs.is_empty() {
                return Err(refuse("inputs is empty: must name at least one map"));
            }
            let splits = inputs.iter().map(|name| map(name)).collect::<Result<Vec<_>, _>>()?;
            let sum = |part: fn(&Split) -> u32| splits.iter().map(part).try_fold(0, u32::checked_add);
            let split = sum(|s| s.high).zip(sum(|s| s.low)).filter(|(high, low)| high.checked_add(*low).is_some());
            let Some((high, low)) = split else {
                return Err(refuse(format!("its inputs have more than {} channels together", u32::MAX)));
            };
            let split = Split { high, low };
            let inputs = inputs.iter().map(|name| id(name)).collect::<Result<Vec<_>, _>>()?;
            (inputs, None, Task::Concat, Kind::Map(split))
        }
        Op::Excite(excite) => {
            let split = map(&excite.input)?;
            if excite.reduced == 0 {
                return Err(Error::argument("reduced", 0, "must be at least 1"));
            }
            excite.activation.check()?;
            let task = Task::Excite { reduced: excite.reduced, activation: excite.activation };
            (vec![id(&excite.input)?], residual(&excite.residual, split)?, task, Kind::Map(split))
        }
        Op::GlobalPool { input } => (vec![id(input)?], None, Task::GlobalPool, Kind::Vector(map(input)?.channels())),
        Op::Linear { input, outputs, bias } => {
            vector(input)?;
            if *outputs == 0 {
                return Err(Error::argument("outputs", 0, "must be at least 1"));
            }
            (vec![id(input)?], None, Task::Linear { bias: *bias }, Kind::Vector(*outputs))
        }
        Op::Softmax { input } => (vec![id(input)?], None, Task::Softmax, Kind::Vector(vector(input)?)),
    };
    Ok(GraphNode { name: node.name.clone(), inputs, residual, task, kind })
}

fn conv_spec(network: &Network, conv: &Conv, input: Split) -> Result<Spec, Error> {
    conv.builder(input, network.rounding, conv.residual.is_some())?.build()
}
