//! `octconv roofline`: what this machine's adapter can do at most.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use octconv::ContextOptions;
use octconv::roofline::{Effort, Rate, Roofline};
use serde_json::{Value, json};

use crate::device::{Device, describe};
use crate::output;

/// Measure what the adapter can do at most: multiply-adds a second, bytes a second, and what a dispatch costs.
///
/// Each figure is the fastest of several probes and rounds, on the device's own clock where it has one. GFLOP/s count a
/// multiply-add as two operations; copied bytes are those read and those written.
#[derive(clap::Args)]
pub struct Args {
    /// Write JSON here in place of the table ("-" is standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    if let Some(path) = args.json.as_deref().filter(|path| path.as_os_str() != "-") {
        output::check_target(path)?;
    }
    let device = Device::require(&ContextOptions::default())?;
    let roofline = Roofline::measure(&device.context, Effort::Full)?;
    if let Some(stray) = device.stray_error() {
        bail!("wgpu reported: {stray}");
    }
    let name = describe(&device.context.adapter().get_info());
    match &args.json {
        Some(path) if path.as_os_str() == "-" => output::print_json(&to_json(&name, &roofline))?,
        Some(path) => {
            let mut text = serde_json::to_vec_pretty(&to_json(&name, &roofline))?;
            text.push(b'\n');
            output::write_file(path, &text)?;
        }
        None => output::print(&table(&name, &roofline))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(name: &str, roofline: &Roofline) -> String {
    let mut out = format!("{name}\n");
    // Writing to a String cannot fail.
    let mut line = |what: &str, value: f64, unit: &str, by: &str| {
        let _ = writeln!(out, "{what:<32} {value:>10.1} {unit:<8}  {by}");
    };
    for arithmetic in &roofline.arithmetic {
        let Rate { per_second, configuration } = &arithmetic.rate;
        line(&arithmetic.to_string(), per_second * 1e-9, "GFLOP/s", configuration);
    }
    let size = format!("buffers of {} MiB, ", roofline.buffer_bytes >> 20);
    for (what, rate) in [("memory, read", &roofline.read), ("memory, copied", &roofline.copy)] {
        line(what, rate.per_second * 1e-9, "GB/s", &(size.clone() + &rate.configuration));
    }
    line("an empty dispatch", roofline.launch * 1e6, "us", "one of many in a pass");
    out
}

fn to_json(name: &str, roofline: &Roofline) -> Value {
    let arithmetic = roofline.arithmetic.iter().map(|arithmetic| {
        json!({
            "factors": arithmetic.factors.to_string(),
            "sums": arithmetic.sums.to_string(),
            "matrix": arithmetic.matrix,
            "gflops": arithmetic.rate.per_second * 1e-9,
            "configuration": arithmetic.rate.configuration,
        })
    });
    let memory = |rate: &Rate| json!({"gb_per_s": rate.per_second * 1e-9, "configuration": rate.configuration});
    json!({
        "device": name,
        "arithmetic": arithmetic.collect::<Vec<_>>(),
        "read": memory(&roofline.read),
        "copy": memory(&roofline.copy),
        "buffer_bytes": roofline.buffer_bytes,
        "launch_us": roofline.launch * 1e6,
    })
}
