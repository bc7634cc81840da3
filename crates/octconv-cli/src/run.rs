//! `octconv run`: runs a network on tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use octconv::network::{Graph, HostTensor, Network};
use octconv::{Dtype, InputSize};

use crate::limits::Limits;
use crate::network_source::{self, Settings};
use crate::output::{self, shown, shown_path};
use crate::predictor::{Predictor, RunArgs};
use crate::target::{Kind, Target};
use crate::{tensor_file, weights};

/// Run a network on tensors from a file
///
/// IN holds the input: a tensor named "input", or the only tensor, [n, c, h, w] or [n, c, t, h, w]. It may be of any kind
/// that "octconv convert" reads. OUT gets the answer and the values that --keep names, in F32. A value that is a vector has
/// the name of its node. A map has two tensors, NODE.h and NODE.l, for its high and its low frequency, or one of them. If
/// OUT ends in .npy, it gets the answer alone, which must be one tensor.
#[derive(clap::Args)]
pub struct Args {
    /// A built-in network, or FILE.json with a description
    #[arg(value_name = "NETWORK")]
    network: String,
    #[command(flatten)]
    settings: Settings,
    /// Its weights, of any kind that "octconv convert" reads
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// The input: .safetensors, .npy, .npz or .pt
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where the answer goes: .safetensors or .npy; a file of its kind that is there is replaced
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Also write the value of this node; may be given several times
    #[arg(long, value_name = "NODE")]
    keep: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    limits: Limits,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let read = [args.weights.clone(), args.input.clone()];
    let array = args.output.extension().is_some_and(|extension| extension == "npy");
    ensure!(!array || args.keep.is_empty(), "--keep needs several tensors in OUT: name a .safetensors file");
    let target = Target::new(&args.output, if array { Kind::Array } else { Kind::Tensors })?.apart_from(&read)?;
    let network = network_source::load(&args.network, &args.settings, args.limits)?.network;
    let graph = Graph::new(&network)?;
    let keep = kept(&args.keep, &network)?;
    let checkpoint = weights::fit(&args.weights, weights::read(&args.weights, args.limits)?.checkpoint, &graph, None)?;
    let (size, input) = read_input(&args.input, args.limits)?;
    let predictor = Predictor::new(&graph, checkpoint, size, &args.run, keep.clone())?;
    let mut names = vec![network.output.clone()];
    names.extend(keep);
    let values = predictor.values(&input, &names)?;
    let finite = values.iter().all(|value| value.values.iter().all(|v| v.is_finite()));
    let bytes = match (array, values.as_slice()) {
        (false, values) => tensor_file::serialize(values, Dtype::F32)?,
        (true, [value]) => tensor_file::npy(value),
        (true, _) => bail!("the answer has two frequencies, and a .npy file one tensor: name a .safetensors file"),
    };
    target.write(&bytes)?;
    output::tell(&format!("ran on {}", predictor.describe()));
    if finite {
        return Ok(ExitCode::SUCCESS);
    }
    output::tell(&format!("{}: some values are not finite", shown_path(target.path())));
    Ok(ExitCode::FAILURE)
}

/// The input of a file, and its size.
pub fn read_input(path: &Path, limits: Limits) -> Result<(InputSize, Vec<f32>)> {
    let tensors = weights::read(path, limits)?.checkpoint.tensors;
    input_of(tensors).with_context(|| format!("reading {}", shown_path(path)))
}

/// The nodes that `--keep` names, each once, without that which the network answers with.
pub fn kept(names: &[String], network: &Network) -> Result<Vec<String>> {
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        let is_node = network.nodes.iter().any(|node| node.name == *name);
        ensure!(is_node, "--keep {}: the network has no such node", shown(name));
        if *name != network.output && !kept.contains(name) {
            kept.push(name.clone());
        }
    }
    Ok(kept)
}

fn input_of(mut tensors: BTreeMap<String, HostTensor>) -> Result<(InputSize, Vec<f32>)> {
    let tensor = match (tensors.remove("input"), tensors.len()) {
        (Some(tensor), _) => tensor,
        (None, 1) => tensors.into_values().next().context("it has no tensor")?,
        (None, count) => bail!("it has {count} tensors, and none is named \"input\""),
    };
    let sizes: Vec<u32> = tensor.shape.iter().map(|&d| u32::try_from(d)).collect::<Result<_, _>>()?;
    let size = match sizes[..] {
        [n, _, h, w] => InputSize::image(n, h, w),
        [n, _, t, h, w] => InputSize::video(n, t, h, w),
        _ => bail!("the input is {sizes:?}: must be [n, c, h, w] or [n, c, t, h, w]"),
    };
    Ok((size, tensor.data))
}
