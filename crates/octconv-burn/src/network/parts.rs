//! The modules with the parameters of a network.

use burn::module::{Devices, Module, ModuleMapper, ModuleVisitor};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::Device;
use octconv::Split;

use super::description::{Description, Task};
use crate::conv::{OctConv2d, default_initializer};

/// A module of a node.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Conv(Box<OctConv2d>),
    Norm(Box<BatchNorm>),
    Linear(Box<Linear>),
}

/// Runs the same expression on the module of a part.
macro_rules! inner {
    ($part:expr, $module:ident => $result:expr) => {
        match $part {
            Part::Conv($module) => Part::Conv(Box::new($result)),
            Part::Norm($module) => Part::Norm(Box::new($result)),
            Part::Linear($module) => Part::Linear(Box::new($result)),
        }
    };
}

impl Part {
    pub(super) fn collect_devices(&self, devices: Devices) -> Devices {
        match self {
            Self::Conv(module) => module.collect_devices(devices),
            Self::Norm(module) => module.collect_devices(devices),
            Self::Linear(module) => module.collect_devices(devices),
        }
    }

    pub(super) fn fork(self, device: &Device) -> Self {
        inner!(self, module => module.fork(device))
    }

    #[expect(clippy::wrong_self_convention, reason = "the name is that of Burn's Module")]
    pub(super) fn to_device(self, device: &Device) -> Self {
        inner!(self, module => module.to_device(device))
    }

    pub(super) fn train(self) -> Self {
        inner!(self, module => module.train())
    }

    pub(super) fn valid(&self) -> Self {
        inner!(self, module => module.valid())
    }

    pub(super) fn materialize(self) -> Self {
        inner!(self, module => module.materialize())
    }

    pub(super) fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        match self {
            Self::Conv(module) => module.visit(visitor),
            Self::Norm(module) => module.visit(visitor),
            Self::Linear(module) => module.visit(visitor),
        }
    }

    pub(super) fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        inner!(self, module => module.map(mapper))
    }
}

/// The modules of all nodes, with the names that their parameters begin with.
pub(super) fn build(description: &Description, device: &Device) -> Vec<(String, Part)> {
    let network = description.graph.network();
    let eps = f64::from(network.norm_eps);
    let mut parts = Vec::new();
    for (node, task) in network.nodes.iter().zip(&description.nodes) {
        let name = &node.name;
        let mut norm = |split: Split, affine: bool| {
            for (letter, channels) in [("h", split.high), ("l", split.low)] {
                if channels > 0 {
                    let norm = BatchNormConfig::new(channels as usize).with_epsilon(eps).init(device);
                    parts.push((format!("{name}.norm_{letter}"), Part::Norm(Box::new(fixed_unless(affine, norm)))));
                }
            }
        };
        match task {
            Task::Conv { spec, norm: has_norm, .. } => {
                if *has_norm {
                    norm(spec.output(), true);
                }
                let conv = OctConv2d::of_spec((**spec).clone(), &default_initializer(), device);
                parts.push((name.clone(), Part::Conv(Box::new(conv))));
            }
            Task::Norm { split, affine, .. } => norm(*split, *affine),
            Task::Linear { inputs, outputs, bias, .. } => {
                let linear = LinearConfig::new(*inputs, *outputs).with_bias(*bias).init(device);
                parts.push((name.clone(), Part::Linear(Box::new(linear))));
            }
            Task::Excite { split, reduced, .. } => {
                let mut linear = |part: &str, inputs: usize, outputs: usize| {
                    let linear = LinearConfig::new(inputs, outputs).init(device);
                    parts.push((format!("{name}.{part}"), Part::Linear(Box::new(linear))));
                };
                linear("squeeze", split.channels() as usize, *reduced);
                for (part, channels) in [("excite_h", split.high), ("excite_l", split.low)] {
                    if channels > 0 {
                        linear(part, *reduced, channels as usize);
                    }
                }
            }
            _ => {}
        }
    }
    parts
}

/// A batch norm without a scale and a shift keeps 1 and 0.
fn fixed_unless(affine: bool, norm: BatchNorm) -> BatchNorm {
    if affine {
        return norm;
    }
    let BatchNorm { gamma, beta, .. } = norm;
    BatchNorm { gamma: gamma.set_require_grad(false), beta: beta.set_require_grad(false), ..norm }
}
