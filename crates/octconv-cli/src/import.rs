//! `octconv import`: makes a network of a file that another framework wrote.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use octconv::InputSize;
use octconv::network::{Graph, Invert, Picture, Resize};
use octconv_import::{ImportOptions, Imported, Report, import_onnx};

use crate::limits::{Holds, Limits};
use crate::network_folder::NetworkFolder;
use crate::network_source::before_crop;
use crate::output::{self, several, shown, shown_path, thousands};
use crate::size::Size;

/// Make a network of a file that another framework wrote
///
/// Finds the octave layers among the convolutions, pools, resizes and sums of an ONNX file. What belongs to no octave
/// layer stays a plain layer. Writes FOLDER/network.json and FOLDER/weights.safetensors, which "octconv run", "octconv
/// classify" and all other commands take. If nodes cannot be expressed, all of them are listed, and nothing is written.
#[derive(clap::Args)]
pub struct Args {
    /// The network: an ONNX file
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Where network.json and weights.safetensors go; it is made if it is not there (default: the model's name without
    /// its end)
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Height and width of the input, if the file leaves them open (default: 224x224)
    #[arg(long, value_name = "HxW")]
    size: Option<Size>,
    /// Frames of the input, if the file leaves them open (default: 8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    frames: Option<u32>,
    /// The value that is the answer: an output of the file, or any other name in it (default: its only output)
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// The network takes pictures as torchvision's networks for ImageNet do: the shorter side scaled to 256 pixels for an
    /// input of 224, and to as much more for others; then the middle, with the mean and deviation of ImageNet. Needed for "octconv classify"; else add "picture" to network.json
    #[arg(long)]
    imagenet: bool,
    #[command(flatten)]
    limits: Limits,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let name = args.model.file_stem().map(|stem| shown(&stem.to_string_lossy())).unwrap_or_default();
    let folder = args.folder.clone().unwrap_or_else(|| args.model.with_extension(""));
    let bytes = args.limits.read(&args.model, Holds::Tensors)?;
    let mut options = ImportOptions::default();
    options.name = Some(name);
    options.size = args.size.map(|size| [size.h, size.w]);
    options.frames = args.frames;
    options.output = args.output.clone();
    options.max_bytes = Some(args.limits.most(Holds::Tensors));
    let mut read = vec![args.model.clone()];
    let Imported { mut network, checkpoint, report, .. } = {
        let mut external = |location: &str, offset: u64, length: u64| {
            read.push(args.model.with_file_name(location));
            read_beside(&args.model, location, offset, length, args.limits).map_err(|error| format!("{error:#}"))
        };
        import_onnx(&bytes, &options, &mut external)
    }
    .with_context(|| format!("importing {}", shown_path(&args.model)))?;
    drop(bytes);
    let [t, height, width] = report.size;
    if args.imagenet {
        ensure!(network.input.channels == 3, "the input has {} channels: --imagenet needs 3", network.input.channels);
        let (mean, std) = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
        let (resize, invert) = (Resize::Shorter(before_crop(height.max(width))), Invert::Never);
        network.picture = Some(Picture { height, width, channels: 3, resize, mean, std, invert });
    }
    // What is written must run, at the size of the file at least.
    let graph = Graph::new(&network)?;
    graph.shapes(InputSize::video(1, t, height, width))?;

    let parameters: usize = checkpoint.tensors.values().map(|tensor| tensor.data.len()).sum();
    let written = NetworkFolder::new(&folder, &read)?.write(&network, Some(checkpoint))?;
    let mut text = describe(&report, network.nodes.len(), parameters);
    text.push_str(&written);
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What was found in the file, in a few lines.
fn describe(report: &Report, nodes: usize, parameters: usize) -> String {
    let (octave, plain) = (report.octave_convs, report.plain_convs);
    let mut text = format!(
        "{} and {} from {} of the file: {} with {} parameters\n",
        several(octave, "octave convolution"),
        several(plain, "plain convolution"),
        several(report.file_nodes, "node"),
        several(nodes, "node"),
        thousands(parameters as u128)
    );
    let [t, h, w] = report.size;
    let frames = if t > 1 { format!("{t}x") } else { String::new() };
    text.push_str(&format!("read at an input of {frames}{h}x{w}\n"));
    for (what, lines) in [("takes this size alone", &report.fixed), ("not fused", &report.not_fused)] {
        for line in lines.iter().take(MOST_LINES) {
            text.push_str(&format!("{what}: {}\n", shown(line)));
        }
        if lines.len() > MOST_LINES {
            text.push_str(&format!("{what}: {} more\n", lines.len() - MOST_LINES));
        }
    }
    text
}

/// The most lines about nodes that fix the size, and about what was not fused.
const MOST_LINES: usize = 10;

/// Reads bytes of a file in the folder of the model, where exporters put large weights.
fn read_beside(model: &Path, location: &str, offset: u64, length: u64, limits: Limits) -> Result<Vec<u8>> {
    let path = Path::new(location);
    let named = shown(location);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(inside && !location.is_empty(), "it lies in {named}, which is not in the folder of the model");
    let reading = || format!("reading {named}");
    let mut file = File::open(model.parent().unwrap_or(Path::new("")).join(path)).with_context(reading)?;
    let has = file.metadata().with_context(reading)?.len();
    let rest = has.saturating_sub(offset);
    ensure!(length <= rest, "{named} has {} bytes, and {} are wanted behind {}", has, length, offset);
    limits.check(&format!("a tensor in {named} has"), length, Holds::Tensors)?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset)).with_context(reading)?;
    file.take(length).read_to_end(&mut bytes).with_context(reading)?;
    Ok(bytes)
}
