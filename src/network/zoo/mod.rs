//! The built-in networks, as descriptions. `docs/networks.md` lists the nodes of each.

mod cifar;
mod densenet;
mod mobilenet;
mod nodes;
mod resnet;
mod video;

use self::nodes::Nodes;
use super::description::{Input, Invert, Network, Op, Picture, Resize};
use crate::dims::InputSize;
use crate::error::Error;
use crate::layer::{Activation, Rounding};

/// The names that [`build`] knows.
pub const NAMES: &[&str] = &[
    "resnet26",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet200",
    "resnext50",
    "resnext101",
    "se-resnet50",
    "densenet121",
    "mobilenet-v1",
    "mobilenet-v2",
    "cifar-resnet20",
    "cifar-resnet44",
    "cifar-resnet56",
    "c2d-resnet50",
    "i3d-resnet50",
];

/// What can be chosen for a built-in network.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The share of low-frequency channels, in [0, 1]. 0 is the plain network.
    pub alpha: f64,
    /// The factor for all channels of a MobileNet, in [1/32, 16]. Must be 1 for other networks.
    pub width: f64,
    /// Channels of the input. 3 if not given.
    pub input_channels: Option<u32>,
    /// Elements of the answer. If not given: 10 for CIFAR networks, 400 for video networks, 1000 for all others.
    pub classes: Option<u32>,
}

impl Default for Settings {
    /// The plain network as it was published.
    fn default() -> Self {
        Self { alpha: 0.0, width: 1.0, input_channels: None, classes: None }
    }
}

/// Describes a built-in network.
///
/// Its `picture` is a default for weights that were trained in the usual way. For ImageNet networks it is a crop of
/// 224x224 with ImageNet's mean and deviation; for CIFAR networks the whole picture at 32x32, with a mean of 0.5 and a
/// deviation of 0.25. Video networks have none, and neither have networks whose input has neither 1 nor 3 channels.
///
/// # Errors
///
/// [`Error::Argument`] for a name that is not in [`NAMES`], an alpha or a width out of range, or a width other than 1
/// for a network that has no such factor. Whether alpha suits the groups of the network,
/// [`Graph::new`](super::Graph::new) checks.
pub fn build(name: &str, settings: &Settings) -> Result<Network, Error> {
    let &Settings { alpha, width, input_channels, classes } = settings;
    let family = Family::of(name)?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Error::argument("alpha", alpha, "must be in [0, 1]"));
    }
    if !matches!(family, Family::MobilenetV1 | Family::MobilenetV2) && width != 1.0 {
        return Err(Error::argument("width", width, format!("must be 1: {name} has no width multiplier")));
    }
    if !(1.0 / 32.0..=16.0).contains(&width) {
        return Err(Error::argument("width", width, "must be in [0.03125, 16]"));
    }

    let mut nodes = Nodes::default();
    let map = match &family {
        Family::Resnet(shape) => resnet::build(&mut nodes, shape, alpha),
        Family::Densenet => densenet::build(&mut nodes, alpha),
        Family::MobilenetV1 => mobilenet::v1(&mut nodes, alpha, width),
        Family::MobilenetV2 => mobilenet::v2(&mut nodes, alpha, width),
        Family::Cifar { blocks } => cifar::build(&mut nodes, *blocks, alpha),
        Family::Video { inflated } => video::build(&mut nodes, *inflated, alpha),
    };
    let pooled = nodes.add("avgpool", Op::GlobalPool { input: map });
    let outputs = classes.unwrap_or(family.classes());
    let scores = nodes.add("fc", Op::Linear { input: pooled, outputs, bias: true, activation: Activation::None });
    nodes.end_stage(&scores);
    let output = nodes.add("prob", Op::Softmax { input: scores });

    let channels = input_channels.unwrap_or(3);
    Ok(Network {
        name: name.into(),
        input: Input { channels },
        rounding: Rounding::Ceil,
        norm_eps: 1e-5,
        nodes: nodes.nodes,
        output,
        stages: nodes.stages,
        picture: family.picture(channels),
    })
}

/// The size that a built-in network was published for, with a batch of 1: 32x32 for CIFAR networks, 8 frames of 224x224
/// for video networks, 224x224 for all others.
///
/// # Errors
///
/// [`Error::Argument`] for a name that is not in [`NAMES`].
pub fn default_size(name: &str) -> Result<InputSize, Error> {
    Ok(match Family::of(name)? {
        Family::Cifar { .. } => InputSize::image(1, 32, 32),
        Family::Video { .. } => InputSize::video(1, 8, 224, 224),
        _ => InputSize::image(1, 224, 224),
    })
}

enum Family {
    Resnet(resnet::Shape),
    Densenet,
    MobilenetV1,
    MobilenetV2,
    Cifar { blocks: usize },
    Video { inflated: bool },
}

impl Family {
    fn of(name: &str) -> Result<Self, Error> {
        let plain = |blocks| resnet::Shape { blocks, groups: 1, inner: 1, excite: false };
        let wide = |blocks| resnet::Shape { groups: 32, inner: 2, ..plain(blocks) };
        Ok(match name {
            "resnet26" => Self::Resnet(plain([2, 2, 2, 2])),
            "resnet50" => Self::Resnet(plain([3, 4, 6, 3])),
            "resnet101" => Self::Resnet(plain([3, 4, 23, 3])),
            "resnet152" => Self::Resnet(plain([3, 8, 36, 3])),
            "resnet200" => Self::Resnet(plain([3, 24, 36, 3])),
            "resnext50" => Self::Resnet(wide([3, 4, 6, 3])),
            "resnext101" => Self::Resnet(wide([3, 4, 23, 3])),
            "se-resnet50" => Self::Resnet(resnet::Shape { excite: true, ..plain([3, 4, 6, 3]) }),
            "densenet121" => Self::Densenet,
            "mobilenet-v1" => Self::MobilenetV1,
            "mobilenet-v2" => Self::MobilenetV2,
            "cifar-resnet20" => Self::Cifar { blocks: 3 },
            "cifar-resnet44" => Self::Cifar { blocks: 7 },
            "cifar-resnet56" => Self::Cifar { blocks: 9 },
            "c2d-resnet50" => Self::Video { inflated: false },
            "i3d-resnet50" => Self::Video { inflated: true },
            _ => return Err(Error::argument("network", name, format!("must be one of {}", NAMES.join(", ")))),
        })
    }

    fn classes(&self) -> u32 {
        match self {
            Self::Cifar { .. } => 10,
            Self::Video { .. } => 400,
            _ => 1000,
        }
    }

    fn picture(&self, channels: u32) -> Option<Picture> {
        let (side, resize, mean, std) = match (self, channels) {
            (Self::Video { .. }, _) => return None,
            (Self::Cifar { .. }, 1 | 3) => {
                (32, Resize::Fit, vec![0.5; channels as usize], vec![0.25; channels as usize])
            }
            (_, 3) => (224, Resize::Crop, vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
            (_, 1) => (224, Resize::Crop, vec![0.449], vec![0.226]),
            _ => return None,
        };
        Some(Picture { height: side, width: side, channels, resize, mean, std, invert: Invert::Never })
    }
}
