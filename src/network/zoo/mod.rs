//! The built-in networks, as descriptions. `docs/networks.md` lists the nodes of each.

mod basic;
mod densenet;
mod mobilenet;
mod nodes;
mod preact;
mod resnet;
mod stem;
mod video;

use self::mobilenet::Whole;
use self::nodes::Nodes;
use self::resnet::Variant;
pub use self::stem::Stem;
use super::description::{Input, Invert, Network, Op, Picture, Resize};
use crate::dims::InputSize;
use crate::error::Error;
use crate::layer::{Activation, Rounding};

/// The names that [`build`] knows.
pub const NAMES: &[&str] = &[
    "resnet18",
    "resnet26",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet200",
    "resnet152-v1f",
    "se-resnet152-v1e",
    "resnext50",
    "resnext101",
    "se-resnet50",
    "densenet121",
    "mobilenet-v1",
    "mobilenet-v2",
    "mobilenet-v2-by8",
    "cifar-resnet18",
    "cifar-resnet20",
    "cifar-resnet34",
    "cifar-resnet44",
    "cifar-resnet50",
    "cifar-resnet56",
    "cifar-resnet101",
    "cifar-resnet152",
    "symbol-resnet26",
    "symbol-resnet50",
    "symbol-resnet101",
    "symbol-resnet200",
    "symbol-resnext50",
    "symbol-resnext101",
    "symbol-se-resnet50",
    "symbol-densenet121",
    "c2d-resnet50",
    "i3d-resnet50",
    "i3d-resnet50-nl",
];

/// What can be chosen for a built-in network.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The share of low-frequency channels, in [0, 1]. 0 is the plain network.
    pub alpha: f64,
    /// The factor for all channels of a MobileNet, in [1/32, 16]; of `mobilenet-v2` at least 1/16. Must be 1 for other
    /// networks.
    pub width: f64,
    /// How a ResNet begins. If not given: [`Stem::Small`] for CIFAR networks, [`Stem::MaxPool`] for the others. Must not be
    /// given for other networks, nor for those whose stem is their own.
    pub stem: Option<Stem>,
    /// Channels of the input. 3 if not given.
    pub input_channels: Option<u32>,
    /// Elements of the answer. If not given: 10 for CIFAR networks, 400 for video networks, 1000 for all others.
    pub classes: Option<u32>,
}

impl Default for Settings {
    /// The plain network as it was published.
    fn default() -> Self {
        Self { alpha: 0.0, width: 1.0, stem: None, input_channels: None, classes: None }
    }
}

/// Describes a built-in network.
///
/// Its `picture` is a default for weights that were trained in the usual way. For ImageNet networks it is a crop of
/// 224x224 with ImageNet's mean and deviation, or with those of the official Symbol code; for CIFAR networks the whole picture at 32x32, with a mean of 0.5 and a
/// deviation of 0.25. Video networks have none, and neither have networks whose input has neither 1 nor 3 channels.
///
/// # Errors
///
/// [`Error::Argument`] for a name that is not in [`NAMES`], an alpha or a width out of range, or a width other than 1 or
/// a stem for a network that has no such choice. Whether alpha suits the groups of the network,
/// [`Graph::new`](super::Graph::new) checks.
pub fn build(name: &str, settings: &Settings) -> Result<Network, Error> {
    let &Settings { alpha, width, stem, input_channels, classes } = settings;
    let (family, data) = find(name)?;
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Error::argument("alpha", alpha, "must be in [0, 1]"));
    }
    if !matches!(family, Family::MobilenetV1 | Family::MobilenetV2(_)) && width != 1.0 {
        return Err(Error::argument("width", width, format!("must be 1: {name} has no width multiplier")));
    }
    // The narrowest layer must have a channel.
    let least = if matches!(family, Family::MobilenetV2(Whole::Cut)) { 1.0 / 16.0 } else { 1.0 / 32.0 };
    if !(least..=16.0).contains(&width) {
        return Err(Error::argument("width", width, format!("must be in [{least}, 16]")));
    }
    if let Some(stem) = stem.filter(|stem| !family.stems().contains(stem)) {
        return Err(Error::argument("stem", stem, family.stem_rule(name)));
    }
    let stem = stem.unwrap_or(if data == Data::Cifar { Stem::Small } else { Stem::MaxPool });

    let mut nodes = Nodes::default();
    let map = match &family {
        Family::Resnet(shape) => resnet::build(&mut nodes, shape, stem, alpha),
        Family::Basic(shape) => basic::build(&mut nodes, shape, stem, alpha),
        Family::Preact(shape) => preact::build(&mut nodes, shape, alpha),
        Family::Densenet => densenet::build(&mut nodes, alpha),
        Family::MobilenetV1 => mobilenet::v1(&mut nodes, alpha, width),
        Family::MobilenetV2(whole) => mobilenet::v2(&mut nodes, *whole, alpha, width),
        Family::Video(shape) => video::build(&mut nodes, *shape, alpha),
    };
    let pooled = nodes.add("avgpool", Op::GlobalPool { input: map });
    let outputs = classes.unwrap_or(data.classes());
    let scores = nodes.add("fc", Op::Linear { input: pooled, outputs, bias: true, activation: Activation::None });
    nodes.end_stage(&scores);
    let output = nodes.add("prob", Op::Softmax { input: scores });

    let channels = input_channels.unwrap_or(3);
    Ok(Network {
        name: name.into(),
        input: Input { channels },
        rounding: if data == Data::Symbol { Rounding::Floor } else { Rounding::Ceil },
        norm_eps: if data == Data::Symbol { 1e-4 } else { 1e-5 },
        nodes: nodes.nodes,
        output,
        stages: nodes.stages,
        picture: data.picture(channels),
    })
}

/// The size that a built-in network was published for, with a batch of 1: 32x32 for CIFAR networks, 8 frames of 224x224
/// for video networks, 224x224 for all others.
///
/// # Errors
///
/// [`Error::Argument`] for a name that is not in [`NAMES`].
pub fn default_size(name: &str) -> Result<InputSize, Error> {
    Ok(match find(name)?.1 {
        Data::Cifar => InputSize::image(1, 32, 32),
        Data::Kinetics => InputSize::video(1, 8, 224, 224),
        Data::ImageNet | Data::Symbol => InputSize::image(1, 224, 224),
    })
}

/// The official Symbol code subtracts these from red, green and blue, and multiplies by 0.0167.
const SYMBOL_MEAN: [f32; 3] = [124.0, 117.0, 104.0];
const SYMBOL_STD: f32 = 1.0 / (255.0 * 0.0167);

/// Networks that one function builds.
enum Family {
    Resnet(resnet::Shape),
    Basic(basic::Shape),
    Preact(resnet::Shape),
    Densenet,
    MobilenetV1,
    MobilenetV2(Whole),
    Video(video::Shape),
}

/// What a network was published for.
#[derive(Clone, Copy, PartialEq)]
enum Data {
    ImageNet,
    /// ImageNet, with the conventions of the official Symbol code.
    Symbol,
    Cifar,
    Kinetics,
}

fn find(name: &str) -> Result<(Family, Data), Error> {
    use Data::{Cifar, ImageNet, Kinetics, Symbol};
    use Family::{Basic, Densenet, MobilenetV1, MobilenetV2, Preact, Resnet, Video};
    use resnet::Shape;

    let plain = Shape::plain;
    let wide = |blocks| Shape { groups: 32, inner: 2, ..plain(blocks) };
    let basic = |blocks, channels| Basic(basic::Shape { blocks, channels });
    let video = |inflated, non_local| Video(video::Shape { inflated, non_local });
    Ok(match name {
        "resnet18" => (basic(&[2, 2, 2, 2], 64), ImageNet),
        "resnet34" => (basic(&[3, 4, 6, 3], 64), ImageNet),
        "resnet26" => (Resnet(plain([2, 2, 2, 2])), ImageNet),
        "resnet50" => (Resnet(plain([3, 4, 6, 3])), ImageNet),
        "resnet101" => (Resnet(plain([3, 4, 23, 3])), ImageNet),
        "resnet152" => (Resnet(plain([3, 8, 36, 3])), ImageNet),
        "resnet200" => (Resnet(plain([3, 24, 36, 3])), ImageNet),
        "resnet152-v1f" => (Resnet(Shape { variant: Variant::V1f, ..plain([3, 8, 36, 3]) }), ImageNet),
        "se-resnet152-v1e" => (Resnet(Shape { variant: Variant::V1e, excite: true, ..plain([3, 8, 36, 3]) }), ImageNet),
        "resnext50" => (Resnet(wide([3, 4, 6, 3])), ImageNet),
        "resnext101" => (Resnet(wide([3, 4, 23, 3])), ImageNet),
        "se-resnet50" => (Resnet(Shape { excite: true, ..plain([3, 4, 6, 3]) }), ImageNet),
        "densenet121" => (Densenet, ImageNet),
        "mobilenet-v1" => (MobilenetV1, ImageNet),
        "mobilenet-v2" => (MobilenetV2(Whole::Cut), ImageNet),
        "mobilenet-v2-by8" => (MobilenetV2(Whole::MultipleOf8), ImageNet),
        "cifar-resnet18" => (basic(&[2, 2, 2, 2], 64), Cifar),
        "cifar-resnet34" => (basic(&[3, 4, 6, 3], 64), Cifar),
        "cifar-resnet50" => (Resnet(plain([3, 4, 6, 3])), Cifar),
        "cifar-resnet101" => (Resnet(plain([3, 4, 23, 3])), Cifar),
        "cifar-resnet152" => (Resnet(plain([3, 8, 36, 3])), Cifar),
        "cifar-resnet20" => (basic(&[3, 3, 3], 16), Cifar),
        "cifar-resnet44" => (basic(&[7, 7, 7], 16), Cifar),
        "cifar-resnet56" => (basic(&[9, 9, 9], 16), Cifar),
        "symbol-resnet26" => (Preact(plain([2, 2, 2, 2])), Symbol),
        "symbol-resnet50" => (Preact(plain([3, 4, 6, 3])), Symbol),
        "symbol-resnet101" => (Preact(plain([3, 4, 23, 3])), Symbol),
        "symbol-resnet200" => (Preact(plain([3, 24, 36, 3])), Symbol),
        "symbol-resnext50" => (Preact(wide([3, 4, 6, 3])), Symbol),
        "symbol-resnext101" => (Preact(wide([3, 4, 23, 3])), Symbol),
        "symbol-se-resnet50" => (Preact(Shape { excite: true, ..plain([3, 4, 6, 3]) }), Symbol),
        "symbol-densenet121" => (Densenet, Symbol),
        "c2d-resnet50" => (video(false, false), Kinetics),
        "i3d-resnet50" => (video(true, false), Kinetics),
        "i3d-resnet50-nl" => (video(true, true), Kinetics),
        _ => return Err(Error::argument("network", name, format!("must be one of {}", NAMES.join(", ")))),
    })
}

impl Family {
    /// The stems that can be chosen.
    fn stems(&self) -> &'static [Stem] {
        match self {
            Self::Resnet(shape) if shape.variant == Variant::V1b => &Stem::ALL,
            Self::Basic(_) => &[Stem::MaxPool, Stem::Small],
            _ => &[],
        }
    }

    fn stem_rule(&self, name: &str) -> String {
        match self.stems() {
            [] => format!("must not be given: {name} has a stem of its own"),
            stems => {
                let names: Vec<_> = stems.iter().map(|stem| stem.name()).collect();
                format!("must be one of {} for {name}", names.join(", "))
            }
        }
    }
}

impl Data {
    fn classes(self) -> u32 {
        match self {
            Self::Cifar => 10,
            Self::Kinetics => 400,
            Self::ImageNet | Self::Symbol => 1000,
        }
    }

    fn picture(self, channels: u32) -> Option<Picture> {
        let (side, resize, mean, std) = match (self, channels) {
            (Self::Cifar, 1 | 3) => (32, Resize::Fit, vec![0.5; channels as usize], vec![0.25; channels as usize]),
            (Self::ImageNet, 3) => (224, Resize::Shorter(256), vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
            (Self::Symbol, 3) => (224, Resize::Crop, SYMBOL_MEAN.map(|mean| mean / 255.0).into(), vec![SYMBOL_STD; 3]),
            (Self::ImageNet, 1) => (224, Resize::Shorter(256), vec![0.449], vec![0.226]),
            _ => return None,
        };
        Some(Picture { height: side, width: side, channels, resize, mean, std, invert: Invert::Never })
    }
}
