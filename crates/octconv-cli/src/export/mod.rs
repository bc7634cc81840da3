//! `octconv export`: a layer or a network as files for programs without Rust.

mod device;
mod folder;
mod layer;
mod network;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use octconv::export::{Bundle, BundleOptions, ShaderLanguage};
use octconv::{Accuracy, Dtype, InputSize};

pub use self::device::parse as described;
use self::folder::Folder;
pub use self::folder::{files_of, is_own};
use crate::cost::{FileForm, form};
use crate::limits::{Holds, Limits};
use crate::network_source::{Settings, Source};
use crate::output::{print, several, shown, shown_path, thousands};
use crate::size::Size;
use crate::types::TypeArgs;
use crate::{layer_file, network_source};

/// Write a network or a layer as files that programs without Rust can run
///
/// FOLDER gets a bundle: manifest.json, every kernel in a language of your choice, and the weights, packed as the kernels
/// read them. The manifest says which buffers to make, what to write into them, and which dispatches to run: docs/bundle.md
/// explains it, and players/ has programs that run it. No GPU is needed here. A bundle is for one size and one batch.
///
/// FOLDER is never half written. A bundle that is there is replaced; any other folder that is not empty is refused.
#[derive(clap::Args)]
#[command(after_long_help = layer_file::help())]
pub struct Args {
    /// A built-in network, "digits" for the trained one of this program, or a JSON file: the description of a network, or a
    /// layer (--help lists its fields)
    #[arg(value_name = "NETWORK|SPEC.json")]
    subject: String,
    #[command(flatten)]
    settings: Settings,
    /// Where the bundle goes: a folder
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Its weights: any file that "octconv convert" reads. For a layer, a file as "octconv apply" takes it
    #[arg(long, value_name = "FILE", conflicts_with = "random_weights")]
    weights: Option<PathBuf>,
    /// Random numbers as weights, to try an engine with
    #[arg(long)]
    random_weights: bool,
    /// Height and width of the high-frequency input. A layer needs it; a network has a default
    #[arg(long, value_name = "HxW|S")]
    size: Option<Size>,
    /// Frames of a clip
    #[arg(long, value_name = "T")]
    frames: Option<u32>,
    /// Pictures or clips that run together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    #[command(flatten)]
    types: TypeArgs,
    /// The language of the kernels
    #[arg(long, value_name = "wgsl|spirv|msl|hlsl|glsl", default_value = "wgsl")]
    to: ShaderLanguage,
    /// The device that the kernels are for: "default" for WebGPU's default limits without features, or a JSON file with one
    /// adapter of "octconv info --json". Of that, limits and features count, and each may be left out: {"features":
    /// {"shader_f16": true}}
    #[arg(long, value_name = "default|FILE", default_value = device::DEFAULT)]
    device: String,
    /// Put all maps of a network into one buffer, or as few as the device's max_buffer_size allows, and bind what kernels read
    /// there as if they wrote it
    #[arg(long)]
    one_buffer: bool,
    /// Another output: the value of this node; may be given several times
    #[arg(long, value_name = "NODE")]
    keep: Vec<String>,
    /// Also write an input and the CPU reference's answer to it, to test a player with: "random", a tensor as "octconv run"
    /// takes it, or a PNG or JPEG if the network takes pictures
    #[arg(long, value_name = "random|FILE")]
    example: Option<String>,
    /// Names of the network's classes, one per line
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The licence of the weights, for the manifest: an expression of SPDX, or other words
    #[arg(long, value_name = "TEXT")]
    weights_licence: Option<String>,
    #[command(flatten)]
    limits: Limits,
}

/// The seed of random weights, as other commands have it; and that of a random input.
const SEED: u64 = 1;
/// What asks for a random input.
const RANDOM: &str = "random";

pub fn run(args: &Args) -> Result<ExitCode> {
    let folder = Folder::new(&args.out, args.limits)?;
    let bundle = match subject(args)? {
        Subject::Network(source) => network::bundle(args, source)?,
        Subject::Layer(layer) => layer::bundle(args, &layer)?,
    };
    folder.write(&bundle)?;
    print(&summary(&args.out, &bundle))?;
    Ok(ExitCode::SUCCESS)
}

/// What is exported.
enum Subject {
    Network(Source),
    Layer(octconv::LayerDescription),
}

fn subject(args: &Args) -> Result<Subject> {
    let name = &args.subject;
    if !network_source::is_file(name) {
        return Ok(Subject::Network(network_source::load(name, &args.settings, args.limits)?));
    }
    args.settings.refuse(&format!("are for built-in networks, and {name} is a file"))?;
    let file = Path::new(name);
    let text = args.limits.read_text(file)?;
    match form(&text).with_context(|| shown(name))? {
        FileForm::Layer => Ok(Subject::Layer(layer_file::parse(file, &text)?)),
        FileForm::Network => Ok(Subject::Network(network_source::described(name, &text)?)),
        FileForm::List => bail!("{} is a list of layers: must be one layer or a network", shown(name)),
    }
}

impl Args {
    /// The size of the input, where nothing else is said that of `usual`.
    fn size(&self, usual: InputSize) -> InputSize {
        let (h, w) = self.size.map_or((usual.h, usual.w), |size| (size.h, size.w));
        InputSize::video(self.batch, self.frames.unwrap_or(usual.t), h, w)
    }

    /// Refuses a subject that has no weights.
    fn check_weights(&self) -> Result<()> {
        let given = self.weights.is_some() || self.random_weights;
        ensure!(given, "{} has no weights: give --weights FILE, or --random-weights", shown(&self.subject));
        Ok(())
    }

    /// Refuses so many numbers as a random input of the example.
    fn check_input(&self, elements: u64) -> Result<()> {
        let bytes = elements.saturating_mul(size_of::<f32>() as u64);
        self.limits.check("a random input takes", bytes, Holds::Tensors)
    }

    fn options(&self, labels: Vec<String>, licence: Option<&str>) -> BundleOptions {
        let stated = self.weights_licence.as_deref();
        let random = self.random_weights.then_some("none: random numbers");
        let weights_licence = stated.or(random).or(licence).map(str::to_owned);
        BundleOptions { language: self.to, labels, weights_licence }
    }

    /// Adds an example. `right`: the answer of the reference to its input, which is rounded to the type of the input already.
    fn add_example(&self, bundle: &mut Bundle, inputs: &[Vec<f32>], right: &[Vec<f32>]) -> Result<()> {
        let finite = right.iter().flatten().all(|value| value.is_finite());
        ensure!(finite, "the answer to the example is not finite: give another one with --example");
        let largest = right.iter().flatten().fold(0f32, |most, value| most.max(value.abs()));
        // How much of the largest element of the answer.
        let share = match (self.types.dtype, self.types.options().accuracy) {
            (Dtype::F16, _) => 0.03,
            (Dtype::F32, Accuracy::Fast) => 0.01,
            (Dtype::F32, Accuracy::Exact) => 0.001,
        };
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let right: Vec<&[f32]> = right.iter().map(Vec::as_slice).collect();
        Ok(bundle.add_example(&inputs, &right, share * f64::from(largest))?)
    }

    /// A number as an input of the example's type holds it.
    fn rounded(&self, value: f32) -> f32 {
        match self.types.dtype {
            Dtype::F32 => value,
            Dtype::F16 => half::f16::from_f32(value).to_f32(),
        }
    }
}

/// What was written.
fn summary(path: &Path, bundle: &Bundle) -> String {
    let manifest = bundle.manifest();
    let bytes = |of_file: bool| {
        let buffers = manifest.buffers.iter().filter(|buffer| buffer.file.is_some() == of_file);
        thousands(buffers.map(|buffer| u128::from(buffer.bytes)).sum())
    };
    format!(
        "wrote {}: {}, {}; {} bytes of weights and uniforms, {} bytes of other buffers\n",
        shown_path(path),
        several(manifest.kernels.len(), "kernel"),
        several(manifest.dispatches.len(), "dispatch"),
        bytes(true),
        bytes(false),
    )
}
