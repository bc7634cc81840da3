//! `octconv bench NETWORK`: times a network against its plain form.

use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};
use octconv::network::{Checkpoint, Graph, Inference, Model, Network, Stage, random_input};
use octconv::roofline::{Bound, Roofline};
use octconv::{Context, InputSize};
use serde::Serialize;

use crate::bench::{Common, median};
use crate::hint;
use crate::network_source::SizedNetwork;
use crate::output::{self, shown, thousands};
use crate::plot::{self, Bar};
use crate::predictor::{compile, tuned_layers};
use crate::roofline::{Reached, summary};
use crate::types::TypeArgs;

/// Arguments for networks only.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "whole")]
pub struct Args {
    #[command(flatten)]
    sized: SizedNetwork,
    /// Also list every dispatch of the octave network, with its node, its kernel, and its time when it runs alone
    #[arg(long, conflicts_with = "layers")]
    trace: bool,
}

/// One of the two networks, compiled.
struct Form {
    inference: Inference,
    /// Multiply-adds of each node.
    macs: Vec<u64>,
    /// Bytes that each node must move.
    bytes: Vec<u64>,
}

/// One row of the results: a stage, or the whole network.
#[derive(Debug, Serialize)]
struct Row {
    peer: &'static str,
    network: String,
    stage: String,
    dispatches: usize,
    ms: f64,
    min_ms: f64,
    plain_ms: f64,
    /// The octave network's time over the plain one's.
    ratio: f64,
    /// The octave network's multiply-adds over the plain one's.
    macs_ratio: f64,
    gflops: f64,
    #[serde(flatten)]
    reached: Reached,
}

pub fn run(name: &str, args: &Args, common: &Common) -> Result<()> {
    let Common { types, rounds, .. } = *common;
    let source = args.sized.load(name, common.limits)?;
    let size @ InputSize { n, h, w, .. } = source.size;
    let (device, roofline) = common.open()?;
    let context = &device.context;
    let forms =
        [prepare(context, &source.network, size, types)?, prepare(context, &source.network.plain(), size, types)?];

    device.keep_pipelines();

    let [octave, other] = &forms;
    let command = hint::network(name, &args.sized.settings, size, types) + " --plain";
    let tuned = common.tuned(forms.each_ref().map(|form| tuned_layers(form.inference.plan())), &command) + "\n";
    let stages = both_have([&octave.inference, &other.inference].map(|inference| inference.plan().stages()));
    let names: Vec<_> = stages[0].iter().map(|stage| stage.name.clone()).collect();
    ensure!(names.iter().eq(stages[1].iter().map(|stage| &stage.name)), "the two forms have different stages");
    // The whole network, then each stage.
    let ranges = |i: usize| {
        let whole = 0..forms[i].inference.plan().dispatches();
        std::iter::once(whole).chain(stages[i].iter().map(|stage| stage.steps.clone())).collect::<Vec<_>>()
    };
    let ranges = [ranges(0), ranges(1)];
    let mut times = [0, 1].map(|i: usize| vec![Vec::new(); ranges[i].len()]);

    let time = |form: &Form, range: std::ops::Range<usize>| {
        Ok::<f64, octconv::Error>(context.time_pass(|pass| form.inference.record_range(pass, range))?.device_or_host())
    };
    let bar = output::progress(u64::from(rounds) + 1, "timing {bar:30} {pos}/{len} rounds")?;
    for round in 0..=rounds {
        for part in 0..ranges[0].len() {
            for i in [0, 1] {
                let seconds = time(&forms[i], ranges[i][part].clone())?;
                // The first round compiles and warms up.
                if round > 0 {
                    times[i][part].push(seconds);
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    device.check()?;

    let mut rows = Vec::new();
    for part in 0..ranges[0].len() {
        let nodes = |i: usize| match part {
            0 => 0..forms[i].macs.len(),
            part => stages[i][part - 1].nodes.clone(),
        };
        let macs = [0, 1].map(|i| forms[i].macs[nodes(i)].iter().sum::<u64>() as f64);
        let mut ratios: Vec<f64> = times[0][part].iter().zip(&times[1][part]).map(|(a, b)| a / b).collect();
        let [seconds, plain_seconds] = [0, 1].map(|i: usize| median(&mut times[i][part]));
        rows.push(Row {
            peer: "octconv",
            network: source.network.name.clone(),
            stage: part.checked_sub(1).map_or("all".into(), |stage| names[stage].clone()),
            dispatches: ranges[0][part].len(),
            ms: seconds * 1e3,
            min_ms: times[0][part].first().copied().unwrap_or(seconds) * 1e3,
            plain_ms: plain_seconds * 1e3,
            ratio: median(&mut ratios),
            macs_ratio: if macs[1] > 0.0 { macs[0] / macs[1] } else { 1.0 },
            gflops: 2.0 * macs[0] / seconds * 1e-9,
            reached: roofline.as_ref().map_or_else(Reached::default, |roofline| {
                let (least, bound) = bound(roofline, octave, nodes(0), types);
                Reached::new(least, bound, seconds)
            }),
        });
    }
    // The row of the whole network stands last.
    rows.rotate_left(1);

    let info = context.adapter().get_info();
    let heading = format!(
        "{} at {n}x{h}x{w}, {types}, on {} ({}), median of {rounds} rounds\n",
        shown(&source.network.name),
        info.name,
        info.driver_info
    );
    if let Some(file) = &common.plot {
        let (stages, all) = rows.split_at(rows.len() - 1);
        let [all] = all else { bail!("{name} has no stages") };
        let bars = stages.iter().map(|row| Bar {
            name: row.stage.clone(),
            octave_ms: row.ms,
            plain_ms: row.plain_ms,
            speedup: 1.0 / row.ratio,
            macs_ratio: row.macs_ratio,
        });
        let title = format!(
            "{} by stage, each up to the named node: {:.1} ms in all, the plain network {:.1} ms",
            source.network.name, all.ms, all.plain_ms
        );
        plot::write(file, &title, &heading, &bars.collect::<Vec<_>>())?;
    }
    if common.write_json(&rows)? {
        return Ok(());
    }
    let roofline = roofline.map_or_else(String::new, |roofline| summary(&roofline, types) + "\n");
    let bytes = [octave, other].map(|form| form.inference.plan().activation_bytes());
    let memory = format!(
        "activations: {} bytes, the plain network {} bytes: {:.3}\n",
        thousands(bytes[0].into()),
        thousands(bytes[1].into()),
        bytes[0] as f64 / bytes[1] as f64
    );
    output::print(&(heading + &tuned + &roofline + &table(&rows) + &memory))?;
    if args.trace {
        output::print(&trace(context, octave, rounds)?)?;
    }
    Ok(())
}

fn prepare(context: &Context, network: &Network, size: InputSize, types: TypeArgs) -> Result<Form> {
    let graph = Graph::new(network)?;
    let macs = graph.macs(size)?;
    let bytes = graph.min_bytes(size, types.dtype.bytes(), types.dtype.bytes())?;
    let checkpoint = Checkpoint::random(&graph, 1);
    let model = Model::new(context.engine(), graph, checkpoint)?;
    let plan = model.plan(size, &types.network_options(Vec::new()))?;
    let inference = compile(&model, plan)?;
    let elements = inference.input().map_or(0, |view| view.dims.elements());
    inference.write_input(context, &random_input(elements as usize, 1))?;
    // Run everything once: a stage that is timed alone reads what the stage before has left.
    context.run_pass(|pass| inference.record(pass))?;
    Ok(Form { inference, macs, bytes })
}

/// The stages that both forms have. If one form runs a stage together with the next one, they are one stage in both.
fn both_have(stages: [Vec<Stage>; 2]) -> [Vec<Stage>; 2] {
    let names = stages.each_ref().map(|stages| stages.iter().map(|stage| stage.name.clone()).collect::<Vec<_>>());
    stages.map(|stages| {
        let (mut node, mut step) = (0, 0);
        let merged = stages.into_iter().filter(|stage| names.iter().all(|names| names.contains(&stage.name)));
        merged
            .map(|mut stage| {
                (stage.nodes.start, stage.steps.start) = (node, step);
                (node, step) = (stage.nodes.end, stage.steps.end);
                stage
            })
            .collect()
    })
}

/// The least seconds that some nodes take one after the other, and what bounds most of that time.
fn bound(roofline: &Roofline, form: &Form, nodes: std::ops::Range<usize>, types: TypeArgs) -> (f64, Bound) {
    let mut seconds = 0.0;
    let mut shares = [(Bound::Arithmetic, 0.0), (Bound::Memory, 0.0), (Bound::Launch, 0.0)];
    for node in nodes.filter(|&node| form.bytes[node] > 0 || form.macs[node] > 0) {
        let (least, bound) = roofline.bound(form.macs[node], form.bytes[node], types.dtype, types.sums);
        seconds += least;
        let share = if bound == Bound::Launch { roofline.launch } else { least };
        shares.iter_mut().filter(|(other, _)| *other == bound).for_each(|(_, sum)| *sum += share);
    }
    let most = shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    (seconds, most.map_or(Bound::Launch, |(bound, _)| bound))
}

fn table(rows: &[Row]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{:<24} {:>10} {:>9} {:>9} {:>9} {:>8} {:>7} {:>7}  {}",
        "stage, up to",
        "dispatches",
        "ms",
        "min ms",
        "plain ms",
        "GFLOP/s",
        "ratio",
        "MACs",
        Reached::HEADING.trim_end()
    );
    for row in rows {
        let _ = writeln!(
            out,
            "{:<24} {:>10} {:>9.3} {:>9.3} {:>9.3} {:>8.1} {:>7.3} {:>7.3}  {}",
            shown(&row.stage),
            row.dispatches,
            row.ms,
            row.min_ms,
            row.plain_ms,
            row.gflops,
            row.ratio,
            row.macs_ratio,
            row.reached.columns().trim_end()
        );
    }
    out
}

/// Every dispatch, with its time when it runs alone.
fn trace(context: &Context, form: &Form, rounds: u32) -> Result<String> {
    let mut out = String::new();
    for (i, (node, kernel)) in form.inference.plan().trace().into_iter().enumerate() {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let timing = context.time_pass(|pass| form.inference.record_range(pass, i..i + 1))?;
            times.push(timing.device_or_host());
        }
        let _ = writeln!(out, "{i:>4} {:>9.3} ms  {:<28} {kernel}", median(&mut times) * 1e3, shown(node));
    }
    Ok(out)
}
