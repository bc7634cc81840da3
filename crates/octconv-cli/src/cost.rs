//! `octconv cost`: what layers cost, compared with the plain convolutions of the same channels. Networks are in
//! `cost_network.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter::Sum;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use octconv::{Cost, Dtype, InputSize, LayerDescription, ListedLayer, Spec};
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::limits::Limits;
use crate::network_source::{Settings, Source};
use crate::output::{print, print_json, shown, thousands};
use crate::size::Size;
use crate::{cost_network, layer_file, network_source};

/// Count the multiply-adds, parameters and activations of a network, of a layer or of each layer in a list, and those of
/// the plain form.
///
/// For a network: the multiply-adds of convolutions and matrices, the parameters, and the bytes of all activation buffers
/// that an inference needs. The plain form is the same network without octaves, with alpha = 0 in every convolution.
///
/// For a layer: the plain form is the convolution with the same channels, all of high frequency. Activations are the
/// elements of inputs, outputs and residuals. Bytes are those that every implementation must move: each activation and
/// each parameter once. A batch norm is folded into the weights and not counted.
///
/// For a list of layers, such as "octconv bench --layers" takes: the same for each layer, and their sum.
#[derive(clap::Args)]
#[command(after_long_help = layer_file::help())]
pub struct Args {
    /// A built-in network, or a JSON file: the description of a network, a layer (--help lists its fields), or a list of
    /// layers with names and sizes
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
    /// Images or clips in the batch (default: 1)
    #[arg(long, value_name = "N")]
    batch: Option<u32>,
    /// Type of activations and parameters, for the bytes
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    dtype: Dtype,
    /// Each output of a layer has a bias
    #[arg(long)]
    bias: bool,
    /// A residual is added to each output of a layer
    #[arg(long)]
    residual: bool,
    /// List the tensors that a network wants, with their shapes, instead of what it costs
    #[arg(long, conflicts_with_all = ["size", "frames", "batch", "bias", "residual"])]
    tensors: bool,
    /// Print one JSON object, or with --tensors a list of them
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: Limits,
}

/// What one of the two convolutions costs.
#[derive(Default, Serialize)]
struct Counts {
    macs: u128,
    params: u128,
    input_elements: u128,
    output_elements: u128,
    residual_elements: u128,
    activations: u128,
    min_bytes: u128,
}

impl Counts {
    fn of(spec: &Spec, size: InputSize, dtype: Dtype) -> Result<Self> {
        let Cost { macs, params, input_elements, output_elements, residual_elements, .. } = spec.cost(size)?;
        let counts = [macs, params, input_elements, output_elements, residual_elements];
        ensure!(counts.iter().all(|&count| count < u64::MAX), "at this size the layer's counts exceed 64 bits");
        let [macs, params, input_elements, output_elements, residual_elements] = counts.map(u128::from);
        let activations = input_elements + output_elements + residual_elements;
        let min_bytes = (activations + params) * u128::from(dtype.bytes());
        Ok(Self { macs, params, input_elements, output_elements, residual_elements, activations, min_bytes })
    }
}

impl<'a> Sum<&'a Self> for Counts {
    fn sum<I: Iterator<Item = &'a Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            macs: a.macs + b.macs,
            params: a.params + b.params,
            input_elements: a.input_elements + b.input_elements,
            output_elements: a.output_elements + b.output_elements,
            residual_elements: a.residual_elements + b.residual_elements,
            activations: a.activations + b.activations,
            min_bytes: a.min_bytes + b.min_bytes,
        })
    }
}

/// Octave over plain.
#[derive(Serialize)]
struct Ratios {
    macs: f64,
    params: f64,
    activations: f64,
    min_bytes: f64,
}

/// Both forms.
#[derive(Serialize)]
struct Forms {
    octave: Counts,
    plain: Counts,
    ratios: Ratios,
}

impl Forms {
    fn new(octave: Counts, plain: Counts) -> Self {
        let ratio = |count: fn(&Counts) -> u128| count(&octave) as f64 / count(&plain) as f64;
        let ratios = Ratios {
            macs: ratio(|c| c.macs),
            params: ratio(|c| c.params),
            activations: ratio(|c| c.activations),
            min_bytes: ratio(|c| c.min_bytes),
        };
        Self { octave, plain, ratios }
    }

    /// The layer as `args` complete it.
    fn of(args: &Args, mut layer: LayerDescription, size: InputSize) -> Result<Self> {
        layer.fields.bias |= args.bias;
        layer.fields.residual |= args.residual;
        let spec = layer.spec()?;
        let counts = |spec: &Spec| Counts::of(spec, size, args.dtype);
        Ok(Self::new(counts(&spec)?, counts(&spec.plain())?))
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let name = &args.subject;
    if !network_source::is_file(name) {
        return network(args, network_source::load(name, &args.settings, args.limits)?);
    }
    let file = Path::new(name);
    let text = args.limits.read_text(file)?;
    let form = form(&text).with_context(|| shown(name))?;
    args.settings.refuse(&format!("are for built-in networks, and {name} is a file"))?;
    ensure!(!args.tensors || matches!(form, FileForm::Network), "--tensors is for networks, and {name} is none");
    match form {
        FileForm::Network => network(args, network_source::described(name, &text)?),
        FileForm::Layer => layer(args, layer_file::parse(file, &text)?),
        FileForm::List => list(args, layer_file::parse_list(file, &text)?),
    }
}

/// What the JSON of a file describes.
pub enum FileForm {
    Network,
    Layer,
    List,
}

pub fn form(text: &str) -> Result<FileForm> {
    if text.trim_start().starts_with('[') {
        return Ok(FileForm::List);
    }
    let fields: BTreeMap<String, IgnoredAny> = serde_json::from_str(text)?;
    Ok(if fields.contains_key("nodes") { FileForm::Network } else { FileForm::Layer })
}

fn network(args: &Args, source: Source) -> Result<ExitCode> {
    let Args { subject, size, frames, batch, dtype, json, .. } = args;
    ensure!(!args.bias && !args.residual, "--bias and --residual are for layers, and {subject} is a network");
    if args.tensors {
        return cost_network::list_tensors(&source.network, *json);
    }
    cost_network::run(source, *size, *frames, batch.unwrap_or(1), *dtype, *json)
}

#[derive(Serialize)]
struct Report {
    spec: String,
    n: u32,
    t: u32,
    h: u32,
    w: u32,
    dtype: String,
    #[serde(flatten)]
    forms: Forms,
}

fn layer(args: &Args, layer: LayerDescription) -> Result<ExitCode> {
    let size = args.size.context("a layer needs --size HxW")?;
    let size = InputSize::video(args.batch.unwrap_or(1), args.frames.unwrap_or(1), size.h, size.w);
    let forms = Forms::of(args, layer, size).with_context(|| shown(&args.subject))?;
    let InputSize { n, t, h, w } = size;
    let report = Report { spec: args.subject.clone(), n, t, h, w, dtype: args.dtype.to_string(), forms };
    if args.json {
        print_json(&report)?
    } else {
        print(&report.table())?
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of the table: its name, and its number.
type Row = (&'static str, fn(&Counts) -> u128);

impl Report {
    fn table(&self) -> String {
        let Self { n, t, h, w, forms: Forms { octave, plain, .. }, .. } = self;
        let frames = if *t == 1 { String::new() } else { format!("{t} frames of ") };
        let mut out = format!("{}: {n} x {frames}{h}x{w}, {}\n", shown(&self.spec), self.dtype);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<20} {:>22} {:>22} {:>8}", "", "octave", "plain", "ratio");
        let rows: [Row; 7] = [
            ("multiply-adds", |c| c.macs),
            ("parameters", |c| c.params),
            ("input elements", |c| c.input_elements),
            ("output elements", |c| c.output_elements),
            ("residual elements", |c| c.residual_elements),
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

#[derive(Serialize)]
struct ListReport {
    spec: String,
    dtype: String,
    layers: Vec<Listed>,
    total: Forms,
}

#[derive(Serialize)]
struct Listed {
    layer: String,
    size: InputSize,
    #[serde(flatten)]
    forms: Forms,
}

fn list(args: &Args, layers: Vec<ListedLayer>) -> Result<ExitCode> {
    let given = args.size.is_some() || args.frames.is_some() || args.batch.is_some();
    ensure!(!given, "--size, --frames and --batch are for one layer, and those of {} have sizes", shown(&args.subject));
    let row = |ListedLayer { name, size, layer }| {
        let forms = Forms::of(args, layer, size).with_context(|| format!("{}: layer {name}", shown(&args.subject)))?;
        Ok(Listed { layer: name, size, forms })
    };
    let layers = layers.into_iter().map(row).collect::<Result<Vec<_>>>()?;
    let sum = |form: fn(&Forms) -> &Counts| layers.iter().map(|row| form(&row.forms)).sum();
    let total = Forms::new(sum(|forms| &forms.octave), sum(|forms| &forms.plain));
    let report = ListReport { spec: args.subject.clone(), dtype: args.dtype.to_string(), layers, total };
    if args.json {
        print_json(&report)?
    } else {
        print(&report.table())?
    }
    Ok(ExitCode::SUCCESS)
}

impl ListReport {
    /// A row for each layer, and one for all. Behind each count is its ratio to that of the plain form.
    fn table(&self) -> String {
        let size = |InputSize { n, t, h, w }| match t {
            1 => format!("{n}x{h}x{w}"),
            _ => format!("{n}x{t}x{h}x{w}"),
        };
        let row = |row: &Listed| [shown(&row.layer), size(row.size)];
        let names: Vec<_> = self.layers.iter().map(row).chain([["total".into(), String::new()]]).collect();
        let forms = self.layers.iter().map(|row| &row.forms).chain([&self.total]);
        let width = |i: usize, name: &str| {
            names.iter().map(|names| names[i].chars().count()).chain([name.len()]).max().unwrap_or(0)
        };
        let (name, size) = (width(0, "layer"), width(1, "size"));
        let mut out = format!("{}: {} layers, {}\n", shown(&self.spec), self.layers.len(), self.dtype);
        // Writing to a String cannot fail.
        let _ = write!(out, "{:<name$}  {:<size$}", "layer", "size");
        for heading in ["multiply-adds", "parameters", "activations", "bytes, at least"] {
            let _ = write!(out, " {heading:>20} {:>8}", "ratio");
        }
        for ([layer, at], Forms { octave, ratios, .. }) in names.iter().zip(forms) {
            let _ = write!(out, "\n{layer:<name$}  {at:<size$}");
            for (count, ratio) in [
                (octave.macs, ratios.macs),
                (octave.params, ratios.params),
                (octave.activations, ratios.activations),
                (octave.min_bytes, ratios.min_bytes),
            ] {
                let _ = write!(out, " {:>20} {ratio:>8.3}", thousands(count));
            }
        }
        out + "\n"
    }
}
