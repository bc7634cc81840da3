//! `octconv roofline`: the most that this machine's adapter can do.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use octconv::ContextOptions;
use octconv::roofline::{Bound, Effort, Rate, Roofline};
use serde::{Deserialize, Serialize};

use crate::device::{Device, cache, describe};
use crate::output::{self, tell};
use crate::target::{Kind, Target, without_interruption};
use crate::types::TypeArgs;

/// Measure the most that the adapter can do: multiply-adds per second, bytes per second, and the cost of a dispatch.
///
/// Each figure is the fastest of several probes and rounds, on the device's own clock if it has one. GFLOP/s count a
/// multiply-add as two operations. Copied bytes are the bytes read and the bytes written. The rates are kept in the cache,
/// and decide from then on which kernels layers get on this adapter, if they are not tuned.
#[derive(clap::Args)]
pub struct Args {
    /// Write JSON to this file instead of the table ("-": to standard output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let file = args.json.as_deref().filter(|path| path.as_os_str() != "-");
    let file = file.map(|path| Target::new(path, Kind::Roofline)).transpose()?;
    let device = Device::require(&ContextOptions::default())?;
    let roofline = Roofline::measure(&device.context, Effort::Full)?;
    device.check()?;
    keep(&device, &roofline);
    let name = describe(&device.context.adapter().get_info());
    let written = || Written { device: name.clone(), roofline: Measured::from(&roofline) };
    match (file, &args.json) {
        (Some(file), _) => {
            let mut text = serde_json::to_vec_pretty(&written())?;
            text.push(b'\n');
            file.write(&text)?;
        }
        (None, Some(_)) => output::print_json(&written())?,
        (None, None) => output::print(&table(&name, &roofline))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps the rates for the planner. If the cache cannot be written, the command says so, and goes on.
pub fn keep(device: &Device, roofline: &Roofline) {
    let facts = device.context.engine().facts();
    let rates = roofline.rates(&facts.rates, facts.matrix);
    let Some((cache, identity)) = cache().zip(device.context.identity()) else { return };
    if let Err(error) = without_interruption(|| cache.keep_rates(&identity, &rates)) {
        tell(&format!("warning: the rates are not kept: {error}"));
    }
}

fn table(name: &str, roofline: &Roofline) -> String {
    let mut out = format!("{name}\n");
    // Writing to a String cannot fail.
    let mut line = |what: &str, value: f64, unit: &str, by: &str| {
        let _ = writeln!(out, "{what:<32} {value:>10.1} {unit:<8}  {by}");
    };
    for arithmetic in &roofline.arithmetic {
        let Rate { per_second, configuration, .. } = &arithmetic.rate;
        line(&arithmetic.to_string(), per_second * 1e-9, "GFLOP/s", configuration);
    }
    let size = format!("buffers of {} MiB, ", roofline.buffer_bytes >> 20);
    for (what, rate) in [("memory, read", &roofline.read), ("memory, copied", &roofline.copy)] {
        line(what, rate.per_second * 1e-9, "GB/s", &(size.clone() + &rate.configuration));
    }
    line("an empty dispatch", roofline.launch * 1e6, "us", "one of many in a pass");
    if let Some(fabric) = &roofline.fabric {
        line("caches, read", fabric.cache.per_second * 1e-9, "GB/s", &fabric.cache.configuration);
        line("a load that waits for another", fabric.latency * 1e9, "ns", "anywhere in 1 MiB");
        let _ = writeln!(out, "{:<32} {:>10}", "threads that fill it", fabric.threads);
    }
    out
}

/// The roofline in one line, for the heading of `octconv bench`.
pub fn summary(roofline: &Roofline, types: TypeArgs) -> String {
    format!(
        "roofline: {:.1} GFLOP/s, {:.1} GB/s, {:.1} us per dispatch",
        roofline.flops(types.dtype, types.sums) * 1e-9,
        roofline.bandwidth() * 1e-9,
        roofline.launch * 1e6
    )
}

/// How a measured time compares with the least that the device allows; empty without a roofline.
#[derive(Debug, Default, Serialize)]
pub struct Reached {
    /// The least time that the multiply-adds or the bytes take.
    bound_ms: Option<f64>,
    /// That, as a share of the measured time.
    roofline_percent: Option<f64>,
    /// "arithmetic", "memory" or "launch".
    bound: Option<String>,
}

impl Reached {
    pub fn new(bound_seconds: f64, bound: Bound, measured_seconds: f64) -> Self {
        Self {
            bound_ms: Some(bound_seconds * 1e3),
            roofline_percent: Some(100.0 * bound_seconds / measured_seconds),
            bound: Some(bound.to_string()),
        }
    }

    /// The names of [`Reached::columns`].
    pub const HEADING: &str = "% of roofline  bound     ";

    /// Two columns of a table.
    pub fn columns(&self) -> String {
        match (self.roofline_percent, &self.bound) {
            (Some(percent), Some(bound)) => format!("{percent:>13.1}  {bound:<10}"),
            _ => format!("{:>13}  {:<10}", "-", "-"),
        }
    }
}

/// A measured roofline, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Measured {
    /// Arithmetic of f32 first, then what else was measured.
    pub arithmetic: Vec<Arithmetic>,
    /// Memory that is only read.
    pub read: Bandwidth,
    /// Memory that is copied: bytes read and bytes written.
    pub copy: Bandwidth,
    /// Bytes of the buffer that was read or copied.
    pub buffer_bytes: u64,
    /// Microseconds of an empty dispatch, one of many in a pass.
    pub launch_us: f64,
    /// What bounds no layer, but decides which kernels are fast; null if it was not measured.
    #[serde(default)]
    pub fabric: Option<Fabric>,
}

/// How a device feeds its arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Fabric {
    /// Caches that all threads read at once.
    pub cache: Bandwidth,
    /// Nanoseconds of a load that depends on the load before, somewhere in a buffer of 1 MiB.
    pub latency_ns: f64,
    /// The threads that fill the device.
    pub threads: u64,
}

/// How fast a device multiplies and adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Arithmetic {
    /// The type of the factors.
    pub factors: String,
    /// The type of the sums.
    pub sums: String,
    /// The side of the matrices of a matrix unit; null for ordinary arithmetic.
    pub matrix: Option<u32>,
    /// 10^9 operations per second. A multiply-add counts as two.
    pub gflops: f64,
    /// What reached it.
    pub configuration: String,
}

/// How fast a device reads or copies memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Bandwidth {
    /// 10^9 bytes per second.
    pub gb_per_s: f64,
    /// What reached it.
    pub configuration: String,
}

impl From<&Roofline> for Measured {
    fn from(roofline: &Roofline) -> Self {
        let arithmetic = roofline.arithmetic.iter().map(|arithmetic| Arithmetic {
            factors: arithmetic.factors.to_string(),
            sums: arithmetic.sums.to_string(),
            matrix: arithmetic.matrix,
            gflops: arithmetic.rate.per_second * 1e-9,
            configuration: arithmetic.rate.configuration.clone(),
        });
        let memory =
            |rate: &Rate| Bandwidth { gb_per_s: rate.per_second * 1e-9, configuration: rate.configuration.clone() };
        Self {
            arithmetic: arithmetic.collect(),
            read: memory(&roofline.read),
            copy: memory(&roofline.copy),
            buffer_bytes: roofline.buffer_bytes,
            launch_us: roofline.launch * 1e6,
            fabric: roofline.fabric.as_ref().map(|fabric| Fabric {
                cache: memory(&fabric.cache),
                latency_ns: fabric.latency * 1e9,
                threads: fabric.threads,
            }),
        }
    }
}

/// What "octconv roofline --json" writes.
#[derive(Serialize)]
struct Written {
    device: String,
    #[serde(flatten)]
    roofline: Measured,
}
