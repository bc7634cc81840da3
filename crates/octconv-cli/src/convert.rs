//! `octconv convert`: weights of another framework as safetensors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use octconv::network::{Checkpoint, Graph, HostTensor};
use octconv_import::tensors::Tensors;
use regex::Regex;

use crate::limits::Limits;
use crate::network_source::{self, Settings};
use crate::output::{print, shown, shown_path, thousands};
use crate::target::{Kind, Target};
use crate::weights;

/// Turn weights of another framework into safetensors.
///
/// Reads safetensors, PyTorch's .pth and .pt, NumPy's .npy and .npz (Chainer), and MXNet's .params. The content tells which
/// one it is. A pickle is never executed: a whole pickled module is refused. All numbers become f32.
///
/// With --network, OUT has exactly the tensors of that network, under this project's names, and their shapes are checked.
/// docs/networks.md lists whose names are known. If the tensors do not fit, the first nodes that they do not fit are told,
/// with the nearest names.
///
/// Without --network, OUT has all tensors under their names in the file, without the prefixes that all have, such as
/// "module.", and without counters of batches.
#[derive(clap::Args)]
pub struct Args {
    /// The weights
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where the tensors go; a safetensors file that is there is replaced
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,
    /// A built-in network, or FILE.json with a description, that the tensors are for
    #[arg(long, value_name = "NAME|FILE.json")]
    network: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Replace what REGEX matches in each name by TO, in which $1 is the first group. May be given often: they run in turn,
    /// before any name is looked up
    #[arg(long, value_name = "REGEX=TO")]
    rename: Vec<Rename>,
    /// Leave out the tensors whose name in the file REGEX matches. May be given often
    #[arg(long, value_name = "REGEX")]
    ignore: Vec<Regex>,
    /// What the network of IN adds to the variances of its batch norms (default: what its dialect says, or else the same as
    /// this network). The difference is added to the variances in OUT
    #[arg(long, value_name = "E", requires = "network")]
    eps: Option<f64>,
    #[command(flatten)]
    limits: Limits,
}

/// A pattern, and what replaces it.
#[derive(Clone, Debug)]
struct Rename {
    from: Regex,
    to: String,
}

impl FromStr for Rename {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let (from, to) = s.rsplit_once('=').ok_or("must be REGEX=TO")?;
        let from = Regex::new(from).map_err(|error| error.to_string())?;
        Ok(Self { from, to: to.into() })
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let graph = graph(args)?;
    let output = Target::new(&args.output, Kind::Tensors)?.apart_from(std::slice::from_ref(&args.input))?;
    let Tensors { kind, within, left_out, left_out_more, checkpoint, .. } = weights::read(&args.input, args.limits)?;
    let checkpoint = renamed(args, checkpoint).with_context(|| shown_path(&args.input))?;
    let checkpoint = match &graph {
        Some(graph) => weights::fit(&args.input, checkpoint, graph, args.eps)?,
        None => checkpoint.without_counters().without_prefixes(),
    };
    check_finite(&checkpoint).with_context(|| shown_path(&args.input))?;
    output.write(&checkpoint.to_safetensors()?)?;

    let place = within.iter().map(|key| format!(", in {}", shown(key))).collect::<String>();
    let values: usize = checkpoint.tensors.values().map(|tensor| tensor.data.len()).sum();
    let of = graph.map_or_else(String::new, |graph| format!(" of {}", shown(&graph.network().name)));
    let (count, values) = (checkpoint.tensors.len(), thousands(values as u128));
    let mut text = format!("{kind}{place}: {count} tensors{of}, {values} values\n");
    if !left_out.is_empty() {
        let shown: Vec<String> = left_out.iter().map(|name| shown(name)).collect();
        let more = if left_out_more > 0 { format!(", and {left_out_more} more") } else { String::new() };
        text += &format!("left out: {}{more}\n", shown.join(", "));
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn graph(args: &Args) -> Result<Option<Graph>> {
    let Some(name) = &args.network else {
        args.settings.refuse("need --network")?;
        return Ok(None);
    };
    let source = network_source::load(name, &args.settings, args.limits)?;
    Ok(Some(Graph::new(&source.network)?))
}

/// The tensors that are not ignored, under their new names.
fn renamed(args: &Args, checkpoint: Checkpoint) -> Result<Checkpoint> {
    let mut tensors: BTreeMap<String, HostTensor> = BTreeMap::new();
    let mut before: BTreeMap<String, String> = BTreeMap::new();
    for (name, tensor) in checkpoint.tensors {
        if args.ignore.iter().any(|regex| regex.is_match(&name)) {
            continue;
        }
        let to = args
            .rename
            .iter()
            .fold(name.clone(), |name, Rename { from, to }| from.replace_all(&name, to.as_str()).into_owned());
        if let Some(other) = before.insert(to.clone(), name.clone()) {
            bail!("--rename gives {} and {} the same name, {}", shown(&other), shown(&name), shown(&to));
        }
        tensors.insert(to, tensor);
    }
    ensure!(!tensors.is_empty(), "--ignore leaves no tensor");
    Ok(Checkpoint { tensors })
}

fn check_finite(checkpoint: &Checkpoint) -> Result<()> {
    for (name, tensor) in &checkpoint.tensors {
        if let Some(value) = tensor.data.iter().find(|value| !value.is_finite()) {
            bail!("{} has a value that is not finite in f32: {value}", shown(name));
        }
    }
    Ok(())
}
