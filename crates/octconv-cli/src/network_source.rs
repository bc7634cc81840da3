//! The network of a command: a built-in one, one from a file, or the trained one for handwritten digits.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use octconv::InputSize;
use octconv::network::{Checkpoint, Graph, Network, Op, Picture, zoo};
use serde::Deserialize;

use crate::limits::{Holds, Limits};
use crate::output::shown;
use crate::size::Size;
use crate::weights;

/// How a built-in network is built.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// Share of low-frequency channels, from 0 (the plain network) to 1
    #[arg(long, value_name = "A")]
    pub alpha: Option<f64>,
    /// Width multiplier of a MobileNet
    #[arg(long, value_name = "W")]
    pub width: Option<f64>,
    /// How a ResNet begins: max-pool, conv, bottleneck, bottleneck-3x3 or small (default: the network's own)
    #[arg(long, value_name = "STEM")]
    pub stem: Option<zoo::Stem>,
    /// Number of classes (default: the network's own)
    #[arg(long, value_name = "N")]
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
    /// A built-in network, or FILE.json with a description
    #[arg(value_name = "NETWORK")]
    pub network: Option<String>,
}

/// A network at a size, for commands that take a list of layers instead.
#[derive(clap::Args, Clone, Debug)]
pub struct SizedNetwork {
    #[command(flatten)]
    settings: Settings,
    /// Height and width of the input (default: the network's own)
    #[arg(long, value_name = "HxW", conflicts_with = "layers")]
    size: Option<Size>,
    /// Pictures or clips that run together
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "layers", value_parser = clap::value_parser!(u32).range(1..=4096))]
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

/// A network, and the size it is usually given.
pub struct Source {
    pub network: Network,
    pub size: InputSize,
    /// The same network without octaves, if it is a built-in one.
    pub plain: Option<Network>,
}

/// Whether a name is that of a file, not of a built-in network.
pub fn is_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

/// A network by its name, or from a file.
pub fn load(name: &str, settings: &Settings, limits: Limits) -> Result<Source> {
    if is_file(name) {
        settings.refuse(&format!("are for built-in networks, and {name} is a file"))?;
        return described(name, &limits.read_text(Path::new(name))?);
    }
    let network = zoo::build(name, &settings.zoo(DEFAULT_ALPHA))?;
    let plain = zoo::build(name, &zoo::Settings { alpha: 0.0, ..settings.zoo(0.0) })?;
    Ok(Source { network, size: zoo::default_size(name)?, plain: Some(plain) })
}

/// The network that the text of a file describes.
pub fn described(name: &str, text: &str) -> Result<Source> {
    let network: Network = serde_json::from_str(text).with_context(|| format!("reading {}", shown(name)))?;
    let (h, w) = network.picture.as_ref().map_or((224, 224), |picture| (picture.height, picture.width));
    Ok(Source { network, size: InputSize::image(1, h, w), plain: None })
}

/// A network with weights and the names of its classes.
pub struct Trained {
    pub graph: Graph,
    pub checkpoint: Checkpoint,
    pub labels: Vec<String>,
    pub picture: Picture,
}

impl Trained {
    /// Whether the answers are shares that sum to 1.
    pub fn has_probabilities(&self) -> bool {
        let Network { nodes, output, .. } = self.graph.network();
        nodes.iter().any(|node| node.name == *output && matches!(node.op, Op::Softmax { .. }))
    }
}

/// The network, weights and labels of a command that looks at pictures.
#[derive(clap::Args, Clone, Debug)]
pub struct TrainedArgs {
    /// A built-in network, or FILE.json with a description (default: the trained network for handwritten digits)
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
    #[command(flatten)]
    pub limits: Limits,
}

impl TrainedArgs {
    pub fn load(&self) -> Result<Trained> {
        let (network, labels) = match &self.network {
            Some(name) => (load(name, &self.settings, self.limits)?.network, None),
            None => {
                self.settings.refuse("need --network")?;
                (digits::network()?, Some(digits::LABELS.to_owned()))
            }
        };
        let Some(picture) = network.picture.clone() else {
            bail!("{} does not say how a picture becomes its input: picture is missing", network.name);
        };
        let channels = picture.channels;
        if let Some(std) = picture.std.iter().find(|std| !(**std > 0.0 && std.is_finite())) {
            bail!("picture of {}: std is {std}: must be a number above 0, because it divides", network.name);
        }
        if channels != network.input.channels || picture.mean.len() != picture.std.len() {
            bail!(
                "picture of {}: channels, mean and std must agree with the input's {} channels",
                network.name,
                network.input.channels
            );
        }
        if !matches!(channels, 1 | 3) || picture.mean.len() != channels as usize {
            bail!(
                "picture of {}: channels is {channels}: must be 1 or 3, with as many numbers in mean and std",
                network.name
            );
        }
        if picture.height == 0 || picture.width == 0 || picture.height > 1 << 14 || picture.width > 1 << 14 {
            bail!("picture of {}: height and width must be 1 to 16384", network.name);
        }
        let values = u64::from(channels) * u64::from(picture.height) * u64::from(picture.width);
        self.limits.check(&format!("an input of {} takes", network.name), 4 * values, Holds::Picture)?;
        let labels = match &self.labels {
            Some(path) => self.limits.read_text(path)?,
            None => labels.unwrap_or_default(),
        };
        let labels = labels.lines().map(str::to_owned).collect();
        let graph = Graph::new(&network)?;
        let checkpoint = match &self.weights {
            Some(path) => weights::fit(path, weights::read(path, self.limits)?.checkpoint, &graph, None)?,
            None => digits::checkpoint()?,
        };
        Ok(Trained { graph, checkpoint, labels, picture })
    }
}

/// The trained network that the program contains: handwritten digits.
pub mod digits {
    use super::*;

    const WEIGHTS: &[u8] = include_bytes!("../assets/digits/weights.safetensors");
    const ANSWERS: &str = include_str!("../assets/digits/answers.json");
    /// Its classes, one per line.
    pub const LABELS: &str = include_str!("../assets/digits/labels.txt");
    /// The held-out pictures that `answers.json` names, in its order.
    pub const SHEETS: [&[u8]; 2] =
        [include_bytes!("../assets/digits/test-0.png"), include_bytes!("../assets/digits/test-1.png")];

    pub fn network() -> Result<Network> {
        let answers = answers()?;
        let settings = zoo::Settings {
            alpha: answers.alpha,
            input_channels: Some(answers.picture.channels),
            classes: Some(LABELS.lines().count() as u32),
            ..zoo::Settings::default()
        };
        let mut network = zoo::build(&answers.network, &settings)?;
        network.picture = Some(answers.picture);
        Ok(network)
    }

    pub fn checkpoint() -> Result<Checkpoint> {
        Ok(Checkpoint::from_safetensors(WEIGHTS)?)
    }

    pub fn answers() -> Result<Answers> {
        serde_json::from_str(ANSWERS).context("the shipped answers")
    }
}

/// Held-out pictures on sheets, their labels, and the answers of the implementation that trained the network.
#[derive(Clone, Debug, Deserialize)]
pub struct Answers {
    pub network: String,
    pub alpha: f64,
    pub picture: Picture,
    /// Names of files in the same folder.
    pub sheets: Vec<String>,
    /// Pictures per row and per column of a sheet.
    pub columns: u32,
    pub rows: u32,
    pub labels: Vec<usize>,
    pub answers: Vec<usize>,
    pub accuracy: f64,
}
