//! `octconv octave`: makes an octave network of a plain one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use octconv::InputSize;
use octconv::network::{Graph, Network, zoo};
use octconv_import::to_octave;

use crate::limits::Limits;
use crate::network_folder::NetworkFolder;
use crate::network_source::{self, Settings};
use crate::output::{self, thousands};
use crate::size::Size;
use crate::weights;

/// Make an octave network of a plain one
///
/// Replaces the convolutions of a plain network by octave convolutions, as the paper does it: the first convolution stays
/// plain if it strides, and so does the last stage; in between, a share of the channels becomes low frequency. With
/// --weights, the weights are split by channel. The answers differ from those of the plain network: train it from there.
/// Writes FOLDER/network.json, and with --weights FOLDER/weights.safetensors. FOLDER is another one than that of the plain
/// network.
#[derive(clap::Args)]
pub struct Args {
    /// A built-in network, or FILE.json with a description, such as "octconv import" writes
    #[arg(value_name = "NETWORK")]
    network: String,
    /// Where network.json and weights.safetensors go; it is made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Share of low-frequency channels, from 0 to 1
    #[arg(long, value_name = "A")]
    alpha: f64,
    /// The weights of the plain network
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Height and width of the input, which decide what the last stage is (default: the network's own)
    #[arg(long, value_name = "HxW")]
    size: Option<Size>,
    /// Width multiplier of a MobileNet
    #[arg(long, value_name = "W")]
    width: Option<f64>,
    /// How a ResNet begins: max-pool, conv, bottleneck, bottleneck-3x3 or small (default: the network's own)
    #[arg(long, value_name = "STEM")]
    stem: Option<zoo::Stem>,
    /// Number of classes of a built-in network (default: its own)
    #[arg(long, value_name = "N")]
    classes: Option<u32>,
    #[command(flatten)]
    limits: Limits,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let alpha = (!network_source::is_file(&args.network)).then_some(0.0);
    let settings = Settings { alpha, width: args.width, stem: args.stem, classes: args.classes };
    let source = network_source::load(&args.network, &settings, args.limits)?;
    let InputSize { n, t, h, w } = source.size;
    let (h, w) = args.size.map_or((h, w), |size| (size.h, size.w));
    let size = InputSize::video(n, t, h, w);
    let checkpoint = match &args.weights {
        Some(path) => {
            let tensors = weights::read(path, args.limits)?;
            Some(weights::fit(path, tensors.checkpoint, &Graph::new(&source.network)?, None)?)
        }
        None => None,
    };
    let mut octave = to_octave(&source.network, checkpoint.as_ref(), args.alpha, size)
        .with_context(|| format!("making an octave network of {}", source.network.name))?;
    octave.network.name = format!("{}-octave", source.network.name);
    let text = [costs("before", &source.network, size)?, costs("after", &octave.network, size)?].concat();
    let described = network_source::is_file(&args.network).then(|| args.network.clone().into());
    let read: Vec<PathBuf> = described.into_iter().chain(args.weights.clone()).collect();
    let written = NetworkFolder::new(&args.folder, &read)?.write(&octave.network, octave.checkpoint)?;
    output::print(&(text + &written))?;
    Ok(ExitCode::SUCCESS)
}

fn costs(when: &str, network: &Network, size: InputSize) -> Result<String> {
    let graph = Graph::new(network)?;
    let cost = graph.cost(size)?;
    let low =
        |shape: &octconv::network::ValueShape| matches!(shape, octconv::network::ValueShape::Map { low: Some(_), .. });
    let octave = graph.shapes(size)?.iter().filter(|shape| low(shape)).count();
    let [macs, parameters] = [cost.macs, cost.params].map(|count| thousands(count.into()));
    let InputSize { h, w, .. } = size;
    Ok(format!(
        "{when}: {macs} multiply-adds at {h}x{w}, {parameters} parameters, {octave} maps with a low frequency\n"
    ))
}
