//! A description as a module needs it: names resolved, and the specification of each layer.

use std::collections::HashMap;

use octconv::network::{Axes, Conv, Ends, Excite, Graph, INPUT, Network, Node, Op, Pool, PoolKind};
use octconv::{Activation, LayerDescription, LayerFields, MapChannels, Spec, Split};

use super::NetworkError;

/// A network whose nodes all can be modules.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) graph: Graph,
    /// What each node does, in the order of the network.
    pub(super) nodes: Vec<Task>,
    /// For each value, the input and then one per node, the last node that reads it.
    pub(super) last_readers: Vec<usize>,
}

/// What a node does. Numbers are those of values: 0 is the input, and i + 1 the value of node i.
#[derive(Debug)]
pub(super) enum Task {
    /// A convolution. With a batch norm, residual and activation come behind that, and `spec` is without them.
    Conv {
        input: usize,
        residual: Option<usize>,
        spec: Box<Spec>,
        norm: bool,
        activation: Activation,
    },
    Pool {
        input: usize,
        pool: Window,
    },
    Norm {
        input: usize,
        split: Split,
        affine: bool,
        activation: Activation,
    },
    Activation {
        input: usize,
        activation: Activation,
    },
    Add {
        inputs: Vec<usize>,
        activation: Activation,
    },
    Concat {
        inputs: Vec<usize>,
    },
    Excite {
        input: usize,
        residual: Option<usize>,
        split: Split,
        reduced: usize,
        activation: Activation,
    },
    Gate {
        input: usize,
        by: usize,
    },
    GlobalPool {
        input: usize,
    },
    Linear {
        input: usize,
        inputs: usize,
        outputs: usize,
        bias: bool,
        activation: Activation,
    },
    Softmax {
        input: usize,
    },
}

/// A pool of rows and columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) kind: PoolKind,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [Ends; 2],
    pub(super) ceil: bool,
    pub(super) counts_padding: bool,
}

/// What a value is.
#[derive(Clone, Copy)]
enum Kind {
    Map(Split),
    Vector(u32),
}

impl Kind {
    fn split(self) -> Split {
        match self {
            Self::Map(split) => split,
            Self::Vector(elements) => Split { high: elements, low: 0 },
        }
    }
}

impl Description {
    pub(super) fn new(network: &Network) -> Result<Self, NetworkError> {
        // It checks everything, so what follows need not.
        let graph = Graph::new(network)?;
        let mut ids = HashMap::from([(INPUT, 0)]);
        let mut kinds = vec![Kind::Map(Split { high: network.input.channels, low: 0 })];
        let mut nodes = Vec::with_capacity(network.nodes.len());
        for (index, node) in network.nodes.iter().enumerate() {
            let (task, kind) = resolve(network, node, &ids, &kinds)?;
            nodes.push(task);
            kinds.push(kind);
            ids.insert(&node.name, index + 1);
        }
        let mut last_readers: Vec<usize> = (0..kinds.len()).collect();
        for (index, node) in network.nodes.iter().enumerate() {
            node.reads().into_iter().for_each(|name| last_readers[ids[name]] = index);
        }
        Ok(Self { graph, nodes, last_readers })
    }
}

fn resolve(
    network: &Network,
    node: &Node,
    ids: &HashMap<&str, usize>,
    kinds: &[Kind],
) -> Result<(Task, Kind), NetworkError> {
    let unsupported = |what| Err(NetworkError::Unsupported { node: node.name.clone(), what });
    let id = |name: &String| ids[name.as_str()];
    let kind = |name: &String| kinds[id(name)];
    Ok(match &node.op {
        Op::Conv(conv) if conv.time.is_some() => return unsupported("a convolution with a time axis"),
        Op::Conv(conv) => {
            let spec = spec(network, conv, kind(&conv.input).split())?;
            let activation = conv.activation;
            if conv.norm && network.norm_eps == 0.0 {
                return unsupported("a batch norm with norm_eps 0");
            }
            let output = Kind::Map(spec.output());
            let (input, residual) = (id(&conv.input), conv.residual.as_ref().map(id));
            (Task::Conv { input, residual, spec: Box::new(spec), norm: conv.norm, activation }, output)
        }
        Op::Pool(pool) => match window(pool) {
            Some(window) => (Task::Pool { input: id(&pool.input), pool: window }, kind(&pool.input)),
            None => return unsupported("a pool with a time axis"),
        },
        Op::Norm { .. } if network.norm_eps == 0.0 => return unsupported("a batch norm with norm_eps 0"),
        Op::Norm { input, affine, activation } => {
            let of = kind(input);
            (Task::Norm { input: id(input), split: of.split(), affine: *affine, activation: *activation }, of)
        }
        Op::Activation { input, activation } => {
            (Task::Activation { input: id(input), activation: *activation }, kind(input))
        }
        Op::Add { inputs, activation } => {
            let ids = inputs.iter().map(id).collect();
            (Task::Add { inputs: ids, activation: *activation }, kind(&inputs[0]))
        }
        Op::Concat { inputs } => {
            let sum = |part: fn(Split) -> u32| inputs.iter().map(|name| part(kind(name).split())).sum();
            let split = Split { high: sum(|split| split.high), low: sum(|split| split.low) };
            let of = match kind(&inputs[0]) {
                Kind::Map(_) => Kind::Map(split),
                Kind::Vector(_) => Kind::Vector(split.high),
            };
            (Task::Concat { inputs: inputs.iter().map(id).collect() }, of)
        }
        Op::Excite(Excite { input, reduced, residual, activation }) => {
            let (of, residual) = (kind(input), residual.as_ref().map(id));
            let (split, reduced, activation) = (of.split(), *reduced as usize, *activation);
            (Task::Excite { input: id(input), residual, split, reduced, activation }, of)
        }
        Op::Gate { input, by } => (Task::Gate { input: id(input), by: id(by) }, kind(input)),
        Op::GlobalPool { input } => {
            (Task::GlobalPool { input: id(input) }, Kind::Vector(kind(input).split().channels()))
        }
        Op::Linear { input, outputs, bias, activation } => {
            let inputs = kind(input).split().channels() as usize;
            let (input, bias, activation) = (id(input), *bias, *activation);
            (Task::Linear { input, inputs, outputs: *outputs as usize, bias, activation }, Kind::Vector(*outputs))
        }
        Op::Softmax { input } => (Task::Softmax { input: id(input) }, kind(input)),
        Op::Upsample(_) => return unsupported("an upsampling"),
        Op::Attention(_) => return unsupported("an attention"),
        _ => return unsupported("its operation"),
    })
}

/// The specification of a convolution that reads a map of these channels, up to its batch norm if it has one.
fn spec(network: &Network, conv: &Conv, input: Split) -> Result<Spec, octconv::Error> {
    let input = MapChannels { channels: input.channels(), alpha: 0.0, split: Some([input.high, input.low]) };
    let layer = LayerDescription {
        rounding: network.rounding,
        norm_eps: network.norm_eps,
        fields: LayerFields {
            input,
            residual: conv.residual.is_some() && !conv.norm,
            channels: conv.channels,
            alpha: conv.alpha,
            split: conv.split,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            dilation: conv.dilation,
            time: conv.time,
            groups: conv.groups,
            depthwise: conv.depthwise,
            bias: conv.bias,
            norm: conv.norm,
            activation: if conv.norm { Activation::None } else { conv.activation },
            downsample: conv.downsample,
            high_to_low: conv.high_to_low,
            low_to_high: conv.low_to_high,
        },
    };
    layer.spec()
}

/// `None` if the pool has a time axis.
fn window(pool: &Pool) -> Option<Window> {
    let image = |axes: Axes| match axes {
        Axes::Image(axes) => Some(axes.map(|axis| axis as usize)),
        Axes::Video(_) => None,
    };
    let Axes::Image(padding) = pool.padding else { return None };
    Some(Window {
        kind: pool.kind,
        kernel: image(pool.kernel)?,
        stride: image(pool.stride)?,
        padding,
        ceil: pool.ceil_mode,
        counts_padding: pool.count_include_pad,
    })
}
