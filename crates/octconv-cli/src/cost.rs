//! `octconv cost SPEC.json`: what a layer costs, compared with the plain convolution of the same channels. Networks are
//! in `cost_network.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use octconv::{Cost, Dtype, InputSize, Spec};
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::limits::Limits;
use crate::network_source::{Settings, Source};
use crate::output::{print, print_json, shown, thousands};
use crate::size::Size;
use crate::{cost_network, layer_file, network_source};

/// Count the multiply-adds, parameters and activations of a network or a layer, and those of its plain form.
///
/// For a network: the multiply-adds of convolutions and matrices, the parameters, and the bytes of all activation buffers
/// that an inference needs.
///
/// For a layer: the plain form is the convolution with the same channels, all of high frequency. Activations are the
/// elements of inputs, outputs and residuals. Bytes are those that every implementation must move: each activation and
/// each parameter once. A batch norm is folded into the weights and not counted.
#[derive(clap::Args)]
#[command(after_long_help = layer_file::help())]
pub struct Args {
    /// A built-in network, or a JSON file: the description of a network, or a layer (--help lists its fields)
    #[arg(value_name = "NETWORK|SPEC.json")]
    subject: String,
    #[command(flatten)]
    settings: Settings,
    /// Height and width of the high-frequency input, in pixels. A layer needs it; a network has a default
    #[arg(long, value_name = "HxW|S")]
    size: Option<Size>,
    /// Frames of a clip
    #[arg(long, value_name = "T")]
    frames: Option<u32>,
    /// Images or clips in the batch
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u32,
    /// Type of activations and parameters, for the bytes
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    dtype: Dtype,
    /// Each output of the layer has a bias
    #[arg(long)]
    bias: bool,
    /// A residual is added to each output of the layer
    #[arg(long)]
    residual: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: Limits,
}

/// What one of the two convolutions costs.
#[derive(Serialize)]
struct Counts {
    macs: u64,
    params: u64,
    input_elements: u64,
    output_elements: u64,
    residual_elements: u64,
    activations: u128,
    min_bytes: u128,
}

impl Counts {
    fn of(spec: &Spec, size: InputSize, dtype: Dtype) -> Result<Self> {
        let Cost { macs, params, input_elements, output_elements, residual_elements, .. } = spec.cost(size)?;
        let counts = [macs, params, input_elements, output_elements, residual_elements];
        ensure!(counts.iter().all(|&count| count < u64::MAX), "at this size the layer's counts exceed 64 bits");
        let elements = [input_elements, output_elements, residual_elements];
        let activations = elements.iter().map(|&elements| u128::from(elements)).sum::<u128>();
        let min_bytes = (activations + u128::from(params)) * u128::from(dtype.bytes());
        Ok(Self { macs, params, input_elements, output_elements, residual_elements, activations, min_bytes })
    }
}

/// A line of the table: its name, and its number.
type Row = (&'static str, fn(&Counts) -> u128);

/// Octave over plain.
#[derive(Serialize)]
struct Ratios {
    macs: f64,
    params: f64,
    activations: f64,
    min_bytes: f64,
}

#[derive(Serialize)]
struct Report {
    spec: String,
    n: u32,
    t: u32,
    h: u32,
    w: u32,
    dtype: String,
    octave: Counts,
    plain: Counts,
    ratios: Ratios,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let file = &args.subject;
    if !network_source::is_file(file) {
        return network(args, network_source::load(file, &args.settings, args.limits)?);
    }
    let text = args.limits.read_text(Path::new(file))?;
    let Settings { alpha, width, classes } = &args.settings;
    let given = alpha.is_some() || width.is_some() || classes.is_some();
    ensure!(!given, "--alpha, --width and --classes are for built-in networks, and {file} is a file");
    if describes_network(&text).with_context(|| shown(file))? {
        return network(args, network_source::described(file, &text)?);
    }
    let size = args.size.context("a layer needs --size HxW")?;
    let mut layer = layer_file::parse(Path::new(file), &text)?;
    layer.fields.bias |= args.bias;
    layer.fields.residual |= args.residual;
    let spec = layer.spec()?;
    let size = InputSize::video(args.batch, args.frames.unwrap_or(1), size.h, size.w);
    let counts = |spec: &Spec| Counts::of(spec, size, args.dtype).with_context(|| file.to_string());
    let (octave, plain) = (counts(&spec)?, counts(&spec.plain())?);
    let ratio = |a: u128, b: u128| a as f64 / b as f64;
    let ratios = Ratios {
        macs: ratio(octave.macs.into(), plain.macs.into()),
        params: ratio(octave.params.into(), plain.params.into()),
        activations: ratio(octave.activations, plain.activations),
        min_bytes: ratio(octave.min_bytes, plain.min_bytes),
    };
    let InputSize { n, t, h, w } = size;
    let report = Report { spec: file.clone(), n, t, h, w, dtype: args.dtype.to_string(), octave, plain, ratios };
    if args.json {
        print_json(&report)?
    } else {
        print(&report.table())?
    }
    Ok(ExitCode::SUCCESS)
}

fn network(args: &Args, source: Source) -> Result<ExitCode> {
    let Args { subject, size, frames, batch, dtype, json, .. } = args;
    ensure!(!args.bias && !args.residual, "--bias and --residual are for layers, and {subject} is a network");
    cost_network::run(source, *size, *frames, *batch, *dtype, *json)
}

/// Whether the JSON of a file describes a network, not a layer.
fn describes_network(text: &str) -> Result<bool> {
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_str(text)?;
    Ok(fields.contains_key("nodes"))
}

impl Report {
    fn table(&self) -> String {
        let Self { n, t, h, w, .. } = self;
        let frames = if *t == 1 { String::new() } else { format!("{t} frames of ") };
        let mut out = format!("{}: {n} x {frames}{h}x{w}, {}\n", shown(&self.spec), self.dtype);
        let (octave, plain) = (&self.octave, &self.plain);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<20} {:>22} {:>22} {:>8}", "", "octave", "plain", "ratio");
        let rows: [Row; 7] = [
            ("multiply-adds", |c| c.macs.into()),
            ("parameters", |c| c.params.into()),
            ("input elements", |c| c.input_elements.into()),
            ("output elements", |c| c.output_elements.into()),
            ("residual elements", |c| c.residual_elements.into()),
            ("activations", |c| c.activations),
            ("bytes, at least", |c| c.min_bytes),
        ];
        for (name, count) in rows {
            let (a, b) = (count(octave), count(plain));
            if a == 0 && b == 0 {
                continue;
            }
            let ratio = a as f64 / b as f64;
            let _ = writeln!(out, "{name:<20} {:>22} {:>22} {ratio:>8.3}", thousands(a), thousands(b));
        }
        out
    }
}
