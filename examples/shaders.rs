//! Writes out the kernels as they go to the device, or checks the shader files. See `USAGE`.

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use octconv::network::{Graph, Network, NetworkOptions, NetworkPlan, zoo};
use octconv::shaders::{Alone, Wrong};
use octconv::wgpu::{Features, Limits};
use octconv::{DeviceFacts, Dtype, InputSize, Options, Plan, Precision, Spec, SpecBuilder};

const USAGE: &str = "\
usage: shaders FOLDER
       shaders check [FILE.wgsl...]

shaders FOLDER
    Writes the WGSL of kernels into FOLDER, as it goes to the device: those of some typical layers and networks, for
    images and clips, with tensors in many buffers and in one; those between textures and tensors; and the probes of the
    roofline. Use it to read them, or to give them to a compiler: naga, tint, or a driver's own.

shaders check FILE.wgsl...
    Checks shader files of this repository. Each is assembled by itself, with all that it imports and with its default
    constants, and validated. Without a file, checks all. Prints errors as FILE:LINE:COLUMN: MESSAGE, and fails if there
    are any. Files are read from the disk as they are now.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["-h" | "--help"] => {
            println!("{USAGE}");
            Ok(true)
        }
        ["check", ref files @ ..] => check(files),
        [folder] if !folder.starts_with('-') => write_kernels(Path::new(folder)),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Checks these shader files, or all. Returns whether they are valid.
fn check(files: &[&str]) -> Result<bool, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders").canonicalize()?;
    let sources = read_folder(&folder)?;
    let mut chosen = Vec::new();
    for file in files {
        let path = Path::new(file).canonicalize().map_err(|error| format!("{file}: {error}"))?;
        let name = path.strip_prefix(&folder).ok().map(name_of);
        let source = sources.iter().find(|(source, _)| Some(*source) == name.as_deref());
        chosen.push(source.ok_or(format!("{file} is no .wgsl file under {}", folder.display()))?.0);
    }
    if chosen.is_empty() {
        chosen.extend(sources.iter().map(|(name, _)| *name));
    }
    // A mistake shows in every file that imports the wrong one, but is printed once.
    let mut errors = Vec::new();
    for &file in &chosen {
        for error in errors_of(&sources, file) {
            if !errors.contains(&error) {
                println!("{error}");
                errors.push(error);
            }
        }
    }
    if errors.is_empty() {
        println!("{} files are valid", chosen.len());
    }
    Ok(errors.is_empty())
}

/// The name of a file as `#import` lines write it.
fn name_of(path: &Path) -> String {
    path.with_extension("").to_string_lossy().replace('\\', "/")
}

/// Names and texts of all shader files, in the order of names.
fn read_folder(folder: &Path) -> Result<Vec<(&'static str, &'static str)>, Box<dyn Error>> {
    let mut sources: Vec<(&'static str, &'static str)> = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "wgsl") {
                let name = name_of(path.strip_prefix(folder)?);
                sources.push((name.leak(), std::fs::read_to_string(&path)?.leak()));
            }
        }
    }
    sources.sort();
    Ok(sources)
}

/// The errors of a file assembled by itself, as `shaders/FILE.wgsl:LINE:COLUMN: MESSAGE`.
fn errors_of(sources: &[(&'static str, &'static str)], file: &'static str) -> Vec<String> {
    let alone = match Alone::new(sources, file) {
        Ok(alone) => alone,
        Err(Wrong { place, message }) => {
            return vec![format!("shaders/{}.wgsl:{}:{}: {message}", place.file, place.line, place.column)];
        }
    };
    let at = |span: Option<naga::Span>, message: &str| {
        let byte = span.and_then(|span| span.to_range()).map_or(0, |range| range.start);
        match alone.place(byte) {
            Some(place) => format!("shaders/{}.wgsl:{}:{}: {message}", place.file, place.line, place.column),
            None => format!("shaders/{file}.wgsl:1:1: {message}"),
        }
    };
    let module = match naga::front::wgsl::parse_str(alone.text()) {
        Ok(module) => module,
        Err(error) => {
            let labels: Vec<_> = error.labels().collect();
            let more = labels.iter().map(|(_, label)| *label).filter(|label| !label.is_empty());
            let message = std::iter::once(error.message()).chain(more).collect::<Vec<_>>().join(": ");
            return vec![at(labels.first().map(|(span, _)| *span), &message)];
        }
    };
    match Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module) {
        Ok(_) => Vec::new(),
        Err(error) => {
            // The outermost error names the function, the innermost one says what is wrong. The last place is the
            // narrowest.
            let mut message = error.as_inner().to_string();
            let mut source = error.as_inner().source();
            while let Some(inner) = source {
                message = format!("{message}: {inner}");
                source = inner.source();
            }
            vec![at(error.spans().last().map(|(span, _)| *span), &message)]
        }
    }
}

/// Writes kernels into files of `folder`.
fn write_kernels(folder: &Path) -> Result<bool, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut kernels = Kernels { folder: folder.to_path_buf(), seen: HashSet::new() };
    kernels.add_layers()?;
    kernels.add_networks()?;
    for source in octconv::shaders::textures() {
        kernels.add(|number| format!("texture-{number}"), source)?;
    }
    println!("{} kernels in {}", kernels.seen.len(), folder.display());
    for (name, source) in octconv::roofline::sources() {
        std::fs::write(folder.join(format!("{}.wgsl", name.replace(", ", "-").replace(' ', "-"))), source)?;
    }
    Ok(true)
}

/// A GPU with wgpu's default limits, except more workgroup memory. It has f16, so that kernels of both types are
/// written, and matrix units like those of AMD.
fn facts() -> DeviceFacts {
    let features = Features::SHADER_F16 | Features::SUBGROUP | Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let limits = Limits { max_compute_workgroup_storage_size: 32768, ..Limits::default() };
    DeviceFacts { features, limits, matrix: Some(16), subgroup_sizes: [32, 64], ..DeviceFacts::default() }
}

/// Layers by name, with the height and width of their inputs.
fn layers() -> [(&'static str, SpecBuilder, u32); 11] {
    let k3 = |c: u32, alpha: f64| Spec::builder(c, c).alpha(alpha, alpha).kernel([3, 3]).same_padding();
    let k1 = |c_in: u32, c_out: u32, alpha: f64| Spec::builder(c_in, c_out).alpha(alpha, alpha);
    [
        ("3x3", k3(64, 0.5), 56),
        ("3x3-small", k3(256, 0.5), 7),
        ("3x3-plain", k3(64, 0.0), 56),
        ("3x3-stride2", k3(128, 0.5).stride(2), 56),
        ("1x1", k1(256, 64, 0.5), 56),
        ("1x1-plain", k1(256, 64, 0.0), 56),
        ("1x1-quarter", k1(256, 64, 0.25), 56),
        ("1x1-stride2", k1(256, 512, 0.5).stride(2), 56),
        ("groups-of-2", k3(128, 0.5).groups(32), 56),
        ("depthwise", k3(128, 0.5).depthwise(), 56),
        ("7x7", k3(64, 0.5).kernel([7, 7]), 56),
    ]
}

/// Networks that together have every operation, with the sizes of their inputs.
fn networks() -> Result<Vec<(Network, InputSize)>, Box<dyn Error>> {
    let image = InputSize::image(1, 224, 224);
    let mut networks = Vec::new();
    for (name, alpha, size) in [
        ("resnet50", 0.5, image),
        ("se-resnet50", 0.5, image),
        ("densenet121", 0.25, image),
        ("mobilenet-v2", 0.375, image),
        ("i3d-resnet50-nl", 0.1, InputSize::video(1, 4, 64, 64)),
    ] {
        networks.push((zoo::build(name, &zoo::Settings { alpha, ..Default::default() })?, size));
    }
    for text in [include_str!("segmentation.json"), include_str!("image_to_image.json"), OTHERS] {
        networks.push((serde_json::from_str(text)?, InputSize::image(1, 96, 96)));
    }
    Ok(networks)
}

/// The operations of imported networks that the other ones lack.
const OTHERS: &str = r#"{
  "name": "others",
  "input": { "channels": 3 },
  "nodes": [
    { "name": "a", "op": "conv", "input": "input", "channels": 16, "alpha": 0.5, "kernel": [3, 3], "padding": "same" },
    { "name": "norm", "op": "norm", "input": "a", "activation": "silu" },
    { "name": "pool", "op": "pool", "input": "norm", "kind": "average", "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1] },
    { "name": "nearest", "op": "upsample", "input": "pool", "mode": "nearest", "factor": [2, 2] },
    { "name": "add", "op": "add", "inputs": ["nearest", "a"], "activation": "hard_swish" },
    { "name": "act", "op": "activation", "input": "add", "activation": "gelu" },
    { "name": "b", "op": "conv", "input": "act", "channels": 4, "alpha": 0 },
    { "name": "bilinear", "op": "upsample", "input": "b", "mode": "bilinear", "size": [50, 61] },
    { "name": "mean", "op": "global_pool", "input": "bilinear" },
    { "name": "fc", "op": "linear", "input": "mean", "outputs": 10 },
    { "name": "prob", "op": "softmax", "input": "fc" }
  ],
  "output": "prob"
}"#;

/// Writes kernels to `folder`, each source once.
struct Kernels {
    folder: PathBuf,
    seen: HashSet<String>,
}

impl Kernels {
    fn add(&mut self, name: impl Fn(usize) -> String, source: String) -> std::io::Result<()> {
        if self.seen.insert(source.clone()) {
            std::fs::write(self.folder.join(format!("{}.wgsl", name(self.seen.len()))), source)?;
        }
        Ok(())
    }

    fn add_layers(&mut self) -> Result<(), Box<dyn Error>> {
        for (name, builder, side) in layers() {
            let spec = builder.build()?;
            for dtype in [Dtype::F32, Dtype::F16] {
                let options = Options {
                    precision: Precision { activations: dtype, weights: dtype, sums: dtype },
                    pooled_output: true,
                    ..Options::default()
                };
                for plan in Plan::candidates(&spec, InputSize::image(1, side, side), &options, &facts()) {
                    let variant = plan.variant().to_string().replace('/', "-");
                    for (i, source) in plan.sources().into_iter().enumerate() {
                        self.add(|_| format!("{name}-{dtype}-{variant}-{i}"), source)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn add_networks(&mut self) -> Result<(), Box<dyn Error>> {
        for (network, size) in networks()? {
            let (graph, name) = (Graph::new(&network)?, &network.name);
            // Browsers have no matrix units.
            let browsers = DeviceFacts { features: Features::SHADER_F16, matrix: None, ..facts() };
            for (dtype, one_buffer, facts) in [
                (Dtype::F32, false, &facts()),
                (Dtype::F16, false, &facts()),
                (Dtype::F16, false, &browsers),
                (Dtype::F32, true, &browsers),
                (Dtype::F16, true, &browsers),
            ] {
                let options = NetworkOptions { precision: Precision::of(dtype), one_buffer, ..Default::default() };
                let plan = NetworkPlan::new(&graph, size, &options, facts)?;
                for (kernel, source) in plan.sources() {
                    let kernel = kernel.replace(' ', "-");
                    self.add(|number| format!("{name}-{dtype}-{kernel}-{number}"), source)?;
                }
            }
        }
        Ok(())
    }
}
