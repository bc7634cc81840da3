//! The network of a command: a built-in one, one from a file, or the trained one for handwritten digits.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use octconv::network::{Checkpoint, Graph, Network, Op, Picture, Resize, zoo};
use octconv::{Error, InputSize};
use serde::Deserialize;

use crate::limits::{Holds, Limits};
use crate::output::{shown, shown_path};
use crate::size::Size;
use crate::weights;

/// How a built-in network is built.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Share of low-frequency channels, from 0 (the plain network) to 1 (default: 0.5)
    #[arg(long, value_name = "A")]
    pub alpha: Option<f64>,
    /// Width multiplier of a MobileNet (default: 1)
    #[arg(long, value_name = "W")]
    pub width: Option<f64>,
    /// How a ResNet begins: max-pool, conv, bottleneck, bottleneck-3x3 or small (default: the network's own)
    #[arg(long, value_name = "STEM")]
    pub stem: Option<zoo::Stem>,
    /// Number of classes (default: the network's own)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub classes: Option<u32>,
}

impl Settings {
    /// Refuses settings, which are for built-in networks, if any is given. `problem` says why.
    pub fn refuse(&self, problem: &str) -> Result<()> {
        let Self { alpha, width, stem, classes } = self;
        let given = alpha.is_some() || width.is_some() || stem.is_some() || classes.is_some();
        ensure!(!given, "--alpha, --width, --stem and --classes {problem}");
        Ok(())
    }

    fn zoo(&self, alpha: f64) -> zoo::Settings {
        zoo::Settings {
            alpha: self.alpha.unwrap_or(alpha),
            width: self.width.unwrap_or(1.0),
            stem: self.stem,
            classes: self.classes,
            input_channels: None,
        }
    }
}

/// What a command times: a list of layers, or a network.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "subject")]
pub struct Subject {
    /// A JSON list of layers: {"name": ..., "size": {"n", "t", "h", "w"}, ...}, with the fields that "octconv apply
    /// --help" lists; h and w are those of the high-frequency input
    #[arg(long, value_name = "FILE.json", required_unless_present = "network", conflicts_with = "network")]
    pub layers: Option<PathBuf>,
    /// A built-in network, "digits" for the trained one of this program, or FILE.json with a description
    #[arg(value_name = "NETWORK")]
    pub network: Option<String>,
}

/// A network at a size, for commands that take a list of layers instead.
#[derive(clap::Args, Clone, Debug)]
pub struct SizedNetwork {
    #[command(flatten)]
    pub settings: Settings,
    /// Height and width of the input (default: the network's own)
    #[arg(long, value_name = "HxW", conflicts_with = "layers")]
    size: Option<Size>,
    /// Pictures or clips that run together
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BATCH, conflicts_with = "layers", value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
}

impl SizedNetwork {
    /// The network of this name, or from a file, with the size that was asked for.
    pub fn load(&self, name: &str, limits: Limits) -> Result<Source> {
        let source = load(name, &self.settings, limits)?;
        let InputSize { t, h, w, .. } = source.size;
        let (h, w) = self.size.map_or((h, w), |size| (size.h, size.w));
        Ok(Source { size: InputSize::video(self.batch, t, h, w), ..source })
    }
}

/// The share of low-frequency channels of a built-in network if none is given.
pub const DEFAULT_ALPHA: f64 = 0.5;

/// Pictures or clips that run together if nothing is said: the same for all commands, so that one is tuned for the others.
pub const DEFAULT_BATCH: u32 = 1;

/// A network, and the size it is usually given.
pub struct Source {
    pub network: Network,
    pub size: InputSize,
}

/// Whether a name is that of a file, not of a built-in network.
pub fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

/// A network by its name, or from a file.
pub fn load(name: &str, settings: &Settings, limits: Limits) -> Result<Source> {
    if is_file(name) || name == digits::NAME {
        let what = if is_file(name) { "a file" } else { "trained as it is" };
        settings.refuse(&format!("are for built-in networks, and {name} is {what}"))?;
    }
    if is_file(name) {
        return described(name, &limits.read_text(Path::new(name))?);
    }
    if name == digits::NAME {
        let network = digits::network()?;
        return Ok(Source { size: usual_size(&network), network });
    }
    let network = zoo::build(name, &settings.zoo(DEFAULT_ALPHA)).map_err(|error| refusal(name, error))?;
    Ok(Source { network, size: zoo::default_size(name)? })
}

/// The error of a network that is not built in, and of its settings, in the words of the command line.
fn refusal(name: &str, error: Error) -> anyhow::Error {
    let given = shown(name);
    let extension = Path::new(name).extension().map(|end| end.to_string_lossy().to_lowercase());
    match (&error, extension.as_deref()) {
        (Error::Argument { name: "alpha" | "width", .. }, _) => anyhow!("--{error}"),
        (Error::Argument { name: "network", .. }, Some("onnx")) => anyhow!(
            "{given} is an ONNX file, and a network is FILE.json or built in: \"octconv import {given}\" makes a FILE.json of it"
        ),
        (
            Error::Argument { name: "network", .. },
            Some("pth" | "pt" | "ckpt" | "bin" | "safetensors" | "npz" | "npy" | "params"),
        ) => anyhow!(
            "{given} holds weights, which go to --weights: must be FILE.json with the description of a network, or the name of a built-in one"
        ),
        (Error::Argument { name: "network", allowed, .. }, _) => {
            anyhow!("network is {given}: {allowed}, {}, or FILE.json with a description", digits::NAME)
        }
        _ => error.into(),
    }
}

/// The network that the text of a file describes.
pub fn described(name: &str, text: &str) -> Result<Source> {
    let reading = || format!("reading {}", shown(name));
    let is_list = text.trim_start().starts_with('[');
    ensure!(!is_list, "{}: a description of a network is one object: a list of layers goes to --layers", reading());
    let network: Network = serde_json::from_str(text).with_context(reading)?;
    Ok(Source { size: usual_size(&network), network })
}

/// The size of the pictures that a network takes, one at a time.
fn usual_size(network: &Network) -> InputSize {
    let (h, w) = network.picture.as_ref().map_or((224, 224), |picture| (picture.height, picture.width));
    InputSize::image(1, h, w)
}

/// A network that answers about pictures, and the names of its classes. Weights are read when all else is checked.
pub struct Trained {
    pub graph: Graph,
    pub labels: Vec<String>,
    pub picture: Picture,
}

impl Trained {
    /// How many classes it tells apart.
    pub fn classes(&self) -> Result<usize> {
        Ok(self.graph.classes().context("the network answers with a map, and not with classes")? as usize)
    }

    /// Whether the answers are shares that sum to 1.
    pub fn has_probabilities(&self) -> bool {
        let Network { nodes, output, .. } = self.graph.network();
        nodes.iter().any(|node| node.name == *output && matches!(node.op, Op::Softmax { .. }))
    }
}

/// The network, weights and labels of a command that looks at pictures.
#[derive(clap::Args, Clone, Debug)]
pub struct TrainedArgs {
    /// A built-in network, or FILE.json with a description (default: digits, the trained network for handwritten digits)
    #[arg(long, value_name = "NAME|FILE.json", requires = "weights")]
    pub network: Option<String>,
    #[command(flatten)]
    pub settings: Settings,
    /// Its weights: any file that "octconv convert" reads
    #[arg(long, value_name = "FILE", requires = "network")]
    pub weights: Option<PathBuf>,
    /// Names of its classes, one per line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Height and width of the input (default: those of the network's "picture")
    #[arg(long, value_name = "HxW")]
    pub size: Option<Size>,
    #[command(flatten)]
    pub limits: Limits,
}

impl TrainedArgs {
    pub fn load(&self) -> Result<Trained> {
        let network = match &self.network {
            Some(name) => load(name, &self.settings, self.limits)?.network,
            None => {
                self.settings.refuse("need --network")?;
                digits::network()?
            }
        };
        let picture = self.picture(&network)?;
        let labels = match (&self.labels, &self.network) {
            (Some(path), _) => self.limits.read_text(path)?,
            (None, None) => digits::LABELS.to_owned(),
            (None, Some(_)) => String::new(),
        };
        let labels = labels.lines().map(|label| label.trim().to_owned()).collect();
        Ok(Trained { graph: Graph::new(&network)?, labels, picture })
    }

    /// The weights of the network.
    pub fn checkpoint(&self, graph: &Graph) -> Result<Checkpoint> {
        match &self.weights {
            Some(path) => weights::fit(path, weights::read(path, self.limits)?.checkpoint, graph, None),
            None => digits::checkpoint(),
        }
    }

    /// The name of the network.
    pub fn name(&self) -> &str {
        self.network.as_deref().unwrap_or(digits::NAME)
    }

    /// Refuses a file of labels that does not have one for each class.
    pub fn check_labels(&self, labels: &[String], classes: usize) -> Result<()> {
        let Some(path) = &self.labels else { return Ok(()) };
        let (path, count) = (shown_path(path), labels.len());
        ensure!(
            count == classes,
            "{path} has {count} labels, and the network {classes} classes: must have one for each"
        );
        Ok(())
    }

    /// How a picture becomes the input of the network.
    fn picture(&self, network: &Network) -> Result<Picture> {
        let mut picture = network.picture.clone().with_context(|| self.lacks_picture(network))?;
        if let Some(Size { h, w }) = self.size {
            (picture.height, picture.width) = (h, w);
            // Files say for themselves what they want.
            if let (Resize::Shorter(_), false) = (picture.resize, is_file(self.name())) {
                picture.resize = Resize::Shorter(before_crop(h.max(w)));
            }
        }
        check_picture(network, &picture)?;
        let values = u64::from(picture.channels) * u64::from(picture.height) * u64::from(picture.width);
        self.limits.check(&format!("an input of {} takes", network.name), 4 * values, Holds::Picture)?;
        Ok(picture)
    }

    /// What to do about a network without `picture`.
    fn lacks_picture(&self, network: &Network) -> String {
        let (name, channels) = (&network.name, network.input.channels);
        let problem = format!("{name} does not say how a picture becomes its input");
        let (mean, std) = match channels {
            1 => ("[0.5]", "[0.25]"),
            3 => ("[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"),
            _ => return format!("{problem}, which has {channels} channels: \"octconv run\" takes tensors"),
        };
        if !is_file(self.name()) {
            return format!("{problem}: \"octconv run\" takes tensors");
        }
        let example = format!(
            "\"picture\": {{\"height\": 224, \"width\": 224, \"channels\": {channels}, \"resize\": {{\"shorter\": 256}}, \"mean\": \
             {mean}, \"std\": {std}}}"
        );
        format!("{problem}: add what it was trained with to {}, such as {example}", shown(self.name()))
    }
}

/// The pixels of the shorter side of a picture whose middle has a side of so many, for networks that were trained on
/// ImageNet: 256 for 224.
pub fn before_crop(side: u32) -> u32 {
    (f64::from(side) * 256.0 / 224.0).round() as u32
}

/// Refuses what cannot make the input of the network.
pub fn check_picture(network: &Network, picture: &Picture) -> Result<()> {
    let (channels, inputs) = (picture.channels, network.input.channels);
    let agrees = || {
        ensure!(channels == inputs, "picture.channels is {channels}: must be {inputs}, as the input has");
        Ok(picture.check()?)
    };
    agrees().with_context(|| shown(&network.name))
}

/// The trained network that the program contains: handwritten digits.
pub mod digits {
    use super::*;

    /// Its name on the command line.
    pub const NAME: &str = "digits";

    const WEIGHTS: &[u8] = include_bytes!("../assets/digits/weights.safetensors");
    /// The held-out pictures, as `evaluate` takes them.
    pub const ANSWERS: &str = include_str!("../assets/digits/answers.json");
    /// Its classes, one per line.
    pub const LABELS: &str = include_str!("../assets/digits/labels.txt");
    /// The sheets that `ANSWERS` names, in its order.
    pub const SHEETS: [&[u8]; 2] =
        [include_bytes!("../assets/digits/test-0.png"), include_bytes!("../assets/digits/test-1.png")];

    /// What `ANSWERS` says about the network.
    #[derive(Deserialize)]
    struct Recipe {
        network: String,
        alpha: f64,
        picture: Picture,
    }

    pub fn network() -> Result<Network> {
        let recipe: Recipe = serde_json::from_str(ANSWERS).context("the shipped answers")?;
        let settings = zoo::Settings {
            alpha: recipe.alpha,
            input_channels: Some(recipe.picture.channels),
            classes: Some(LABELS.lines().count() as u32),
            ..zoo::Settings::default()
        };
        let mut network = zoo::build(&recipe.network, &settings)?;
        network.picture = Some(recipe.picture);
        Ok(network)
    }

    pub fn checkpoint() -> Result<Checkpoint> {
        Ok(Checkpoint::from_safetensors(WEIGHTS)?)
    }
}
