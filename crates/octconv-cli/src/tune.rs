//! `octconv tune`: measures which kernels are the fastest, and keeps the result for the other commands.

use std::fmt::Write as _;
use std::iter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use octconv::network::{Graph, Network, NetworkOptions, NetworkPlan};
use octconv::tuning::{self, Dropped, Effort, Trial, TuneOutcome};
use octconv::{Cache, ContextOptions, DeviceFacts, DeviceIdentity, InputSize, ListedLayer, Options, Spec, Tuned, wgpu};
use serde::{Deserialize, Serialize};

use crate::device::{self, Device};
use crate::layer_file;
use crate::limits::{Holds, Limits};
use crate::network_source::{SizedNetwork, Source, Subject};
use crate::output::{self, one_line, shown, shown_path};
use crate::target::{self, Kind, Target};
use crate::timing::geometric_mean;
use crate::types::TypeArgs;

/// Measure which kernels are the fastest for each layer on this machine's adapter, and keep the result.
///
/// Takes the layers of a network, or those of a list and their plain forms. For each one the planner's best candidates
/// run on random data. Their results are compared, and they are timed one after the other. From then on bench, classify and
/// evaluate run the fastest ones, for the same layers, sizes, batch and types on the same adapter and driver. What they
/// print names the command that tunes what they ran. Layers that are tuned already are left as they are. If the command is
/// stopped early, the layers that are done are kept.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    whole: NetworkArgs,
    #[command(flatten)]
    types: TypeArgs,
    /// Give each layer pool(X_H) and let it write pool(Y_H), as in a network
    #[arg(long, conflicts_with = "network")]
    pooled: bool,
    /// Only layers whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// The most candidates per layer; each family of kernels has at least one
    #[arg(long, value_name = "N", default_value_t = Effort::default().candidates as u32, value_parser = clap::value_parser!(u32).range(1..=1000))]
    candidates: u32,
    /// Timed rounds; each times all candidates once
    #[arg(long, value_name = "N", default_value_t = Effort::default().rounds as u32, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Tune for a device with wgpu's default limits and no features, as many programs open it: give its results to them
    /// with --out
    #[arg(long)]
    default_device: bool,
    /// Tune for a device without experimental features such as matrix units, as programs without unsafe code open it: give
    /// its results to them with --out
    #[arg(long, conflicts_with = "default_device")]
    without_experimental: bool,
    /// Tune again what is tuned already
    #[arg(long)]
    again: bool,
    /// Also add the results to this file, for programs that ship it (octconv::Tuned::from_bytes). If it exists, it must
    /// hold results of this version
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
}

/// Arguments for networks only.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "whole")]
struct NetworkArgs {
    #[command(flatten)]
    sized: SizedNetwork,
    /// Also tune the plain network, which "bench" compares with
    #[arg(long, conflicts_with = "layers")]
    plain: bool,
}

/// A layer to be tuned, and the names of all layers like it.
pub struct Job {
    pub names: Vec<String>,
    pub spec: Spec,
    pub size: InputSize,
    pub options: Options,
}

impl Job {
    pub fn name(&self) -> String {
        match &self.names[..] {
            [name] => shown(name),
            [first, others @ ..] => format!("{} and {} more", shown(first), others.len()),
            [] => String::new(),
        }
    }
}

/// Distinct layers in the order of their first names.
#[derive(Default)]
pub struct Jobs(pub Vec<Job>);

impl Jobs {
    fn add(&mut self, name: String, spec: &Spec, size: InputSize, options: Options) {
        let same = |job: &&mut Job| (&job.spec, job.size, job.options) == (spec, size, options);
        match self.0.iter_mut().find(same) {
            Some(job) => job.names.push(name),
            None => self.0.push(Job { names: vec![name], spec: spec.clone(), size, options }),
        }
    }

    pub fn add_network(
        &mut self,
        network: &Network,
        size: InputSize,
        options: &NetworkOptions,
        facts: &DeviceFacts,
    ) -> Result<()> {
        let plan = NetworkPlan::new(&Graph::new(network)?, size, options, facts)?;
        for layer in plan.layers() {
            self.add(layer.node.to_owned(), layer.spec, layer.size, layer.options);
        }
        Ok(())
    }
}

pub fn run(args: &Args) -> Result<()> {
    let mut cache = device::cache();
    if cache.is_none() && args.out.is_none() {
        bail!(
            "the results have no place: OCTCONV_CACHE is empty, or the system has no cache folder; name a file with --out"
        );
    }
    let (out, mut shipped) = match &args.out {
        Some(path) => shipped(path, args.limits).map(|(file, tuned)| (Some(file), tuned))?,
        None => (None, Tuned::default()),
    };
    let source = Listed::read(args)?;
    let features = args.without_experimental.then(|| !wgpu::Features::all_experimental_mask());
    let options = ContextOptions { default_device: args.default_device, features, ..device::cached() };
    let device = Device::require(&options)?;
    let context = &device.context;
    let mut jobs = source.jobs(args, &device)?.0;
    jobs.retain(|job| args.only.as_ref().is_none_or(|only| job.names.iter().any(|name| name.contains(only))));
    if jobs.is_empty() {
        bail!("there is no layer to tune");
    }
    let identity = device::identity(context)?;
    // If the folder cannot be written, this must fail now, not in minutes.
    keep(&mut cache, &identity, &Tuned::default(), out.is_some())?;

    let effort = Effort { candidates: args.candidates as usize, rounds: args.rounds as usize, ..Effort::default() };
    let start = Instant::now();
    let bar = output::progress(jobs.len() as u64 * STEPS, "tuning {bar:30} {percent}% {elapsed} {msg}")?;
    let mut rows = Vec::new();
    for (i, job) in jobs.iter().enumerate() {
        bar.set_message(format!("{}/{} {}", i + 1, jobs.len(), job.name()));
        let known = context.engine().plan(&job.spec, job.size, &job.options)?;
        if known.is_tuned() && !args.again {
            shipped.insert(&identity, &known);
            rows.push(Row { layer: job.name(), tried: Tried::before(known.variant().to_string()) });
        } else {
            let progress = |step: tuning::Progress| {
                bar.set_position(i as u64 * STEPS + STEPS * step.done as u64 / step.of.max(1) as u64);
            };
            let outcome = tuning::tune(context, &job.spec, job.size, &job.options, &effort, progress)
                .with_context(|| format!("layer {}", job.name()))?;
            device.check().with_context(|| format!("layer {}", job.name()))?;
            let mut found = Tuned::default();
            // If no clock could time it, there is nothing to keep.
            if outcome.winner().seconds.is_ok() {
                found.insert(&identity, &outcome.winner().plan);
            }
            keep(&mut cache, &identity, &found, out.is_some())?;
            shipped.merge(found);
            rows.push(Row { layer: job.name(), tried: Tried::of(&outcome) });
        }
        bar.set_position((i as u64 + 1) * STEPS);
    }
    bar.finish_and_clear();
    if let Some(file) = &out {
        file.write(&shipped.to_bytes())?;
    }
    // If the results could not be kept, pipelines cannot either.
    if cache.is_some() {
        device.keep_pipelines();
    }

    let mut text = format!("{}, {}\n{}", device::describe(&context.adapter().get_info()), args.types, table(&rows));
    let seconds = start.elapsed().as_secs_f64();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} distinct layers in {seconds:.0} s", jobs.len());
    if let Some(cache) = &cache {
        let _ = writeln!(text, "kept in {}", shown_path(&cache.tuned_file(&identity)));
    }
    if let Some(file) = &out {
        let _ = writeln!(text, "{} layers in {}", shipped.len(), shown_path(file.path()));
    }
    output::print(&text)
}

/// Keeps tuned variants in the cache, if there is one. If it cannot be written and the results have another place too,
/// the command says so and goes on without a cache.
fn keep(cache: &mut Option<Cache>, device: &DeviceIdentity, tuned: &Tuned, elsewhere: bool) -> Result<()> {
    let Some(there) = cache else { return Ok(()) };
    match target::without_interruption(|| there.keep_tuned(device, tuned)) {
        Err(error) if elsewhere => {
            output::tell(&format!("warning: the results are not kept for other commands: {error}"));
            *cache = None;
            Ok(())
        }
        kept => Ok(kept?),
    }
}

/// The file for programs that ship it, and what it holds already.
fn shipped(path: &Path, limits: Limits) -> Result<(Target, Tuned)> {
    let file = Target::new(path, Kind::Tuned)?;
    let tuned = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => {
            let tuned = Tuned::from_bytes(&limits.read(path, Holds::Text)?);
            tuned.with_context(|| {
                let path = shown_path(path);
                format!("{path} holds results of another version, or is damaged: name another file, or remove it")
            })?
        }
        _ => Tuned::default(),
    };
    Ok((file, tuned))
}

/// Steps of the progress bar per layer.
const STEPS: u64 = 100;

/// The layers or networks that the arguments name, read before a device is opened.
enum Listed {
    Layers(Vec<ListedLayer>),
    Networks(Vec<Network>, InputSize),
}

impl Listed {
    fn read(args: &Args) -> Result<Self> {
        let Some(name) = &args.subject.network else {
            let file = args.subject.layers.as_ref().context("name a network, or layers with --layers FILE.json")?;
            return Ok(Self::Layers(layer_file::read_list(file, args.limits, args.only.as_deref())?));
        };
        let Source { network, size } = args.whole.sized.load(name, args.limits)?;
        let plain = args.whole.plain.then(|| network.plain());
        Ok(Self::Networks(iter::once(network).chain(plain).collect(), size))
    }

    fn jobs(&self, args: &Args, device: &Device) -> Result<Jobs> {
        let facts = device.context.engine().facts();
        let types = args.types.options();
        let mut jobs = Jobs::default();
        match self {
            Self::Layers(entries) => {
                for entry in entries {
                    let spec = entry.layer.spec().with_context(|| format!("layer {}", entry.name))?;
                    let size = entry.size;
                    let options = if args.pooled { layer_file::pooled(&spec, size, &types, facts) } else { types };
                    jobs.add(entry.name.clone(), &spec, size, options);
                    jobs.add(format!("{} plain", entry.name), &spec.plain(), size, types);
                }
            }
            Self::Networks(networks, size) => {
                for network in networks {
                    jobs.add_network(network, *size, &args.types.network_options(Vec::new()), facts)?;
                }
            }
        }
        Ok(jobs)
    }
}

struct Row {
    layer: String,
    tried: Tried,
}

/// What tuning a layer found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tried {
    /// The planner's choice.
    pub planned: String,
    /// Milliseconds of it, if it was measured.
    pub planned_ms: Option<f64>,
    /// The fastest.
    pub winner: String,
    /// Milliseconds of it, if it was measured.
    pub winner_ms: Option<f64>,
    /// How many times as fast as the planner's choice the fastest is.
    pub gain: Option<f64>,
    /// How many candidates there were.
    pub tried: usize,
    /// Candidates whose results differ from those of the reference, and by how much.
    pub wrong: Vec<String>,
    /// Candidates that the device refused, and why.
    pub refused: Vec<String>,
}

impl Tried {
    fn before(winner: String) -> Self {
        let planned = "tuned before".into();
        let (wrong, refused) = (Vec::new(), Vec::new());
        Self { planned, planned_ms: None, winner, winner_ms: None, gain: None, tried: 0, wrong, refused }
    }

    pub fn of(outcome: &TuneOutcome) -> Self {
        let ms = |trial: &Trial| trial.seconds.as_ref().ok().map(|seconds| 1e3 * seconds);
        let (planned, winner) = (outcome.planned(), outcome.winner());
        let (mut wrong, mut refused) = (Vec::new(), Vec::new());
        for trial in &outcome.trials {
            let Err(why) = &trial.seconds else { continue };
            let list = match why {
                Dropped::Wrong(_) => &mut wrong,
                // It has no time, and that says all.
                Dropped::Untimed => continue,
                _ => &mut refused,
            };
            list.push(one_line(&format!("{}: {why}", trial.plan.variant())));
        }
        Self {
            planned: planned.plan.variant().to_string(),
            planned_ms: ms(planned),
            winner: winner.plan.variant().to_string(),
            winner_ms: ms(winner),
            gain: outcome.gain(),
            tried: outcome.trials.len(),
            wrong,
            refused,
        }
    }
}

fn table(rows: &[Row]) -> String {
    let width = |name: &str, of: fn(&Row) -> &str| {
        rows.iter().map(|row| of(row).chars().count()).chain([name.len()]).max().unwrap_or(0)
    };
    let layer = width("layer", |row| &row.layer);
    let planned = width("planner's choice", |row| &row.tried.planned);
    let winner = width("winner", |row| &row.tried.winner);
    let ms = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.3}"));
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{:<layer$}  {:<planned$} {:>9}  {:<winner$} {:>9}  {:>7}  {:>5}",
        "layer", "planner's choice", "ms", "winner", "ms", "gain", "tried"
    );
    for Row { layer: name, tried } in rows {
        let gain = tried.gain.map_or("-".into(), |gain| format!("{gain:.2}x"));
        let _ = writeln!(
            out,
            "{name:<layer$}  {:<planned$} {:>9}  {:<winner$} {:>9}  {gain:>7}  {:>5}",
            tried.planned,
            ms(tried.planned_ms),
            tried.winner,
            ms(tried.winner_ms),
            tried.tried
        );
        for (what, candidates) in [("wrong", &tried.wrong), ("refused", &tried.refused)] {
            for candidate in candidates {
                let _ = writeln!(out, "    {what}: {candidate}");
            }
        }
    }
    let gains: Vec<f64> = rows.iter().filter_map(|row| row.tried.gain).collect();
    if !gains.is_empty() {
        let _ = writeln!(out, "geometric mean of the gains: {:.2}x", geometric_mean(gains));
    }
    out
}
