//! `octconv bench --layers`: times octave layers against their unfused and plain forms. Whole networks are in
//! `bench_network.rs`.

use std::fmt::Write;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use octconv::roofline::{Effort, Roofline};
use octconv::{Context, ContextOptions, Dtype, ListedLayer, Options, Plan, Variant};
use serde::Serialize;

use crate::device::{Device, cached};
use crate::hint::{self, hint};
use crate::limits::Limits;
use crate::network_source::Subject;
use crate::output::shown;
use crate::plot::{self, Bar};
use crate::roofline::{Reached, summary};
use crate::target::{Kind, Target};
use crate::timing::{LayerTimes, geometric_mean, median, ratios};
use crate::types::TypeArgs;
use crate::{bench_network, layer_file, output};

/// Time a network against its plain form, or layers against their unfused and plain forms.
///
/// With NETWORK: one row per stage, with the times of the octave and the plain network and the ratio of their
/// multiply-adds. Weights are random. The plain form is the same network without octaves, with alpha = 0 in every
/// convolution.
///
/// With --layers: one row per layer. "ms" is time on the device if the adapter has timestamp queries, else time on the
/// host; "host ms" is always time on the host. Each round times the three forms one after the other. "vs unfused"
/// compares with the same layer in one dispatch per operation, and "vs plain" with the convolution without octaves.
/// Both are medians of the ratios within a round; above 1 the octave layer is faster.
///
/// "% of roofline" is the least time that the device allows, as a share of the measured time. The least time is that of
/// the multiply-adds at the device's measured rate ("arithmetic"), or that of moving each tensor and weight once at the
/// measured bandwidth ("memory"). "bound" names the longer, or "launch" if an empty dispatch takes longer than both.
/// "octconv roofline" measures rate, bandwidth and dispatch.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    whole: bench_network::Args,
    /// Also write one line of JSON per row ("-": to standard output, instead of the table)
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    #[command(flatten)]
    types: TypeArgs,
    /// Run this variant instead of the planner's choice (fused/direct, pool-first/direct, ...)
    #[arg(long, conflicts_with = "network")]
    variant: Option<Variant>,
    /// Give each layer pool(X_H) and let it write pool(Y_H), as in a network
    #[arg(long, conflicts_with = "network")]
    pooled: bool,
    /// Timed rounds; each times the three forms once
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Also draw the times of octave and plain, and what the multiply-adds predict
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Do not measure what the device allows, which takes some seconds
    #[arg(long)]
    no_roofline: bool,
    /// Run the kernels that the planner estimates to be the fastest, not those that "octconv tune" has measured
    #[arg(long)]
    untuned: bool,
    /// Only layers whose name contains this
    #[arg(long, value_name = "TEXT", conflicts_with = "network")]
    only: Option<String>,
    #[command(flatten)]
    limits: Limits,
}

/// One row of the results.
#[derive(Debug, Serialize)]
struct Row {
    peer: &'static str,
    device: String,
    dtype: String,
    sums: String,
    layer: String,
    ms: f64,
    plain_ms: f64,
    min_ms: f64,
    host_ms: f64,
    gflops: f64,
    dispatches: usize,
    kernel: String,
    tuned: bool,
    plain_tuned: bool,
    vs_unfused: f64,
    vs_plain: f64,
    macs_vs_plain: f64,
    #[serde(flatten)]
    reached: Reached,
}

/// The part of [`Args`] that the bench of a network uses too.
pub struct Common {
    pub types: TypeArgs,
    pub rounds: u32,
    json: Json,
    pub plot: Option<Target>,
    pub no_roofline: bool,
    pub untuned: bool,
    pub limits: Limits,
}

/// Where rows go as JSON.
enum Json {
    Nowhere,
    Standard,
    File(Target),
}

impl Common {
    /// Refuses files that cannot be written, before anything is timed.
    fn new(args: &Args) -> Result<Self> {
        Ok(Self {
            types: args.types,
            rounds: args.rounds,
            json: match &args.json {
                None => Json::Nowhere,
                Some(path) if path.as_os_str() == "-" => Json::Standard,
                Some(path) => Json::File(Target::new(path, Kind::Rows)?),
            },
            plot: args.plot.as_ref().map(|path| Target::new(path, Kind::Plot)).transpose()?,
            no_roofline: args.no_roofline,
            untuned: args.untuned,
            limits: args.limits,
        })
    }

    /// Writes the rows as JSON if they are wanted so. True if they are on standard output, where no table must follow.
    pub fn write_json(&self, rows: &[impl Serialize]) -> Result<bool> {
        match &self.json {
            Json::Nowhere => {}
            Json::Standard => output::print(&output::json_lines(rows)?)?,
            Json::File(file) => file.write(output::json_lines(rows)?.as_bytes())?,
        }
        Ok(matches!(self.json, Json::Standard))
    }

    /// One line: how many octave layers and how many plain ones run as they were tuned. `command` tunes them.
    pub fn tuned(&self, [octave, plain]: [(usize, usize); 2], command: &str) -> String {
        let of = |(tuned, all)| format!("{tuned} of {all}");
        match self.untuned {
            true => "tuned: nothing, as asked".into(),
            false => {
                let hint = hint(octave.0 + plain.0, command);
                format!("tuned: {} layers, {} plain ones{hint}", of(octave), of(plain))
            }
        }
    }

    /// Opens the device, and measures its roofline unless that is not wanted.
    pub fn open(&self) -> Result<(Device, Option<Roofline>)> {
        let options = match self.untuned {
            true => ContextOptions { tuned: Some(Arc::default()), ..cached() },
            false => cached(),
        };
        let device = Device::require(&options)?;
        let roofline = match self.no_roofline {
            true => None,
            false => Some(Roofline::measure(
                &device.context,
                Effort::Brief { factors: self.types.dtype, sums: self.types.sums },
            )?),
        };
        Ok((device, roofline))
    }
}

pub fn run(args: &Args) -> Result<()> {
    let common = Common::new(args)?;
    match (&args.subject.network, &args.subject.layers) {
        (Some(network), _) => bench_network::run(network, &args.whole, &common),
        (None, Some(file)) => layers(args, &common, file),
        (None, None) => bail!("name a network, or layers with --layers FILE.json"),
    }
}

fn layers(args: &Args, common: &Common, file: &FilePath) -> Result<()> {
    let entries = layer_file::read_list(file, args.limits, args.only.as_deref())?;
    let (device, roofline) = common.open()?;
    let context = &device.context;

    let bar = output::progress(entries.len() as u64, "{bar:30} {pos}/{len} {msg}")?;
    let mut rows = Vec::new();
    for entry in &entries {
        bar.set_message(shown(&entry.name));
        let row =
            time_layer(context, entry, args, roofline.as_ref()).with_context(|| format!("layer {}", entry.name))?;
        device.check().with_context(|| format!("layer {}", entry.name))?;
        rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    device.keep_pipelines();

    let info = context.adapter().get_info();
    let heading = format!("{} ({}), {}, median of {} rounds", info.name, info.driver_info, args.types, args.rounds);
    if let Some(file) = &common.plot {
        let bars = rows.iter().map(|row| Bar {
            name: row.layer.clone(),
            octave_ms: row.ms,
            plain_ms: row.plain_ms,
            speedup: row.vs_plain,
            macs_ratio: row.macs_vs_plain,
        });
        plot::write(file, "Octave layers against plain ones", &heading, &bars.collect::<Vec<_>>())?;
    }
    if common.write_json(&rows)? {
        return Ok(());
    }
    let tuned = [rows.iter().filter(|row| row.tuned).count(), rows.iter().filter(|row| row.plain_tuned).count()];
    let tuned = common.tuned(tuned.map(|tuned| (tuned, rows.len())), &hint::layers(file, args.pooled, args.types));
    let heading = format!("{heading}\n{tuned}");
    print_table(&heading, roofline.map(|roofline| summary(&roofline, args.types)), &rows)
}

fn print_table(heading: &str, roofline: Option<String>, rows: &[Row]) -> Result<()> {
    let mut out = format!("{heading}\n");
    if let Some(roofline) = roofline {
        writeln!(out, "{roofline}")?;
    }
    writeln!(
        out,
        "{:<18} {:>9} {:>9} {:>9} {:>8} {:>10} {:>10} {:>9} {:>9}  {}  kernels",
        "layer",
        "ms",
        "min ms",
        "host ms",
        "GFLOP/s",
        "dispatches",
        "vs unfused",
        "vs plain",
        "MACs",
        Reached::HEADING
    )?;
    for row in rows {
        writeln!(
            out,
            "{:<18} {:>9.3} {:>9.3} {:>9.3} {:>8.1} {:>10} {:>9.2}x {:>8.2}x {:>9.3}  {}  {}{}",
            shown(&row.layer),
            row.ms,
            row.min_ms,
            row.host_ms,
            row.gflops,
            row.dispatches,
            row.vs_unfused,
            row.vs_plain,
            row.macs_vs_plain,
            row.reached.columns(),
            if row.tuned { "tuned " } else { "" },
            row.kernel
        )?;
    }
    let mean = |value: fn(&Row) -> f64| geometric_mean(rows.iter().map(value));
    writeln!(
        out,
        "geometric mean: {:.2}x the speed of unfused, {:.2}x of plain, with {:.3} of its multiply-adds",
        mean(|row| row.vs_unfused),
        mean(|row| row.vs_plain),
        mean(|row| row.macs_vs_plain)
    )?;
    output::print(&out)
}

fn time_layer(context: &Context, entry: &ListedLayer, args: &Args, roofline: Option<&Roofline>) -> Result<Row> {
    let (spec, size) = (entry.layer.spec()?, entry.size);
    let types = args.types.options();
    let options = match args.pooled {
        true => layer_file::pooled(&spec, size, &types, context.engine().facts()),
        false => types,
    };
    let options = Options { variant: args.variant, ..options };
    let times = LayerTimes::measure(context, &spec, size, &options, &types, args.rounds)?;
    let [plan, _, plain] = &times.plans;
    let [octave, unfused, plain_seconds] = &times.seconds;
    let (cost, plain_cost) = (spec.cost(size)?, spec.plain().cost(size)?);
    let seconds = median(octave);
    Ok(Row {
        peer: "octconv",
        device: output::one_line(&context.adapter().get_info().name),
        dtype: args.types.dtype.to_string(),
        sums: args.types.sums.to_string(),
        layer: entry.name.clone(),
        ms: seconds * 1e3,
        plain_ms: median(plain_seconds) * 1e3,
        min_ms: octave.iter().copied().fold(f64::INFINITY, f64::min) * 1e3,
        host_ms: median(&times.host) * 1e3,
        gflops: 2.0 * cost.macs as f64 / seconds * 1e-9,
        dispatches: plan.dispatches(),
        kernel: format!("{}: {}", plan.variant(), plan.kernels().join(", ")),
        tuned: plan.is_tuned(),
        plain_tuned: plain.is_tuned(),
        vs_unfused: median(&ratios(unfused, octave)),
        vs_plain: median(&ratios(plain_seconds, octave)),
        macs_vs_plain: cost.macs as f64 / plain_cost.macs as f64,
        reached: roofline.map_or_else(Reached::default, |roofline| {
            let bytes = least_bytes(plan, cost.params, args.types.dtype);
            let (least, bound) = roofline.bound(cost.macs, bytes, args.types.dtype, args.types.sums);
            Reached::new(least, bound, seconds)
        }),
    })
}

/// The bytes of a layer if each tensor and weight is moved once.
pub fn least_bytes(plan: &Plan, params: u64, dtype: Dtype) -> u64 {
    (plan.tensors().iter().map(|tensor| tensor.dims.elements()).sum::<u64>() + params) * dtype.bytes()
}
