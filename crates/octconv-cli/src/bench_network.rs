//! `octconv bench NETWORK`: times a network against its plain form.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use octconv::network::{Network, NetworkOptions};
use octconv::{Context, InputSize};
use serde::Serialize;

use crate::bench::Common;
use crate::hint;
use crate::network_source::SizedNetwork;
use crate::network_timing::{self, Form};
use crate::output::{self, shown, thousands};
use crate::plot::{self, Bar};
use crate::predictor::{compile, tuned_layers};
use crate::roofline::{Reached, summary};
use crate::timing::{median, ratios};

/// Arguments for networks only.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "whole")]
pub struct Args {
    #[command(flatten)]
    sized: SizedNetwork,
    /// Also list every dispatch of the octave network, with its node, its kernel, and its time when it runs alone
    #[arg(long, conflicts_with = "layers")]
    trace: bool,
    /// Put all maps of a network into one buffer, which takes less memory, and binds what kernels read as if they wrote it
    #[arg(long, conflicts_with = "layers")]
    one_buffer: bool,
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
    let options = NetworkOptions { one_buffer: args.one_buffer, ..types.network_options(Vec::new()) };
    let prepare = |network: &Network| Form::new(context, network, size, &options, common.limits, compile);
    let forms = [prepare(&source.network)?, prepare(&source.network.plain())?];
    device.keep_pipelines();

    let [octave, other] = &forms;
    let command = hint::network(name, &args.sized.settings, size, types) + " --plain";
    let tuned = common.tuned(forms.each_ref().map(|form| tuned_layers(form.inference.plan())), &command) + "\n";
    let bar = output::progress(u64::from(rounds) + 1, "timing {bar:30} {pos}/{len} rounds")?;
    let parts = network_timing::time(&[octave, other], rounds, || bar.inc(1))?;
    bar.finish_and_clear();
    device.check()?;

    let mut rows: Vec<Row> = parts
        .iter()
        .map(|part| {
            let (seconds, plain) = (&part.seconds[0], &part.seconds[1]);
            let [macs, plain_macs] = [0, 1].map(|i: usize| part.macs[i] as f64);
            let middle = median(seconds);
            Row {
                peer: "octconv",
                network: source.network.name.clone(),
                stage: part.name.clone(),
                dispatches: part.dispatches[0],
                ms: middle * 1e3,
                min_ms: seconds.iter().copied().fold(f64::INFINITY, f64::min) * 1e3,
                plain_ms: median(plain) * 1e3,
                ratio: median(&ratios(seconds, plain)),
                macs_ratio: if plain_macs > 0.0 { macs / plain_macs } else { 1.0 },
                gflops: 2.0 * macs / middle * 1e-9,
                reached: roofline.as_ref().map_or_else(Reached::default, |roofline| {
                    let (least, bound) = octave.bound(roofline, part.nodes[0].clone(), types);
                    Reached::new(least, bound, middle)
                }),
            }
        })
        .collect();
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
        let _ = writeln!(out, "{i:>4} {:>9.3} ms  {:<28} {kernel}", median(&times) * 1e3, shown(node));
    }
    Ok(out)
}
