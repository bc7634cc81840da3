//! What the fuzz targets (`fuzz/`) call: the readers of files that others wrote, and of arguments. Not part of the public
//! interface. An error is the line that the command prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use clap::Parser;
use octconv::network::{Graph, Network, Picture};
use octconv::{DeviceFacts, Dtype, LayerDescription, ListedLayer};
use safetensors::tensor::TensorView;

use crate::labelled::Labelled;
use crate::limits::{Bytes, Limits};
use crate::network_source::{Trained, described, digits};
use crate::size::Size;
use crate::tensor_file::{self, Named};
use crate::{Cli, Command, apply, export, layer_file, output, picture, report};

/// The name of a file, in errors.
const FILE: &str = "FILE";

/// A tensor of a file: its shape, and its values in f32 unless it is of another type.
pub type Tensor = (Vec<usize>, Option<Vec<f32>>);

/// The input that `rule` makes from the bytes of a PNG or JPEG, which may take `most` bytes when it is decoded.
pub fn picture(bytes: &[u8], rule: &Picture, most: u64) -> Result<Vec<f32>, String> {
    line(picture::decode(bytes, Limits::of(most)).and_then(|picture| picture::to_input(picture, rule)))
}

/// The layers in the text of a list.
pub fn layers(text: &str) -> Result<Vec<ListedLayer>, String> {
    line(layer_file::parse_list(Path::new(FILE), text))
}

/// The layer in the text of a SPEC.json.
pub fn layer(text: &str) -> Result<LayerDescription, String> {
    line(layer_file::parse(Path::new(FILE), text))
}

/// The network in the text of a description.
pub fn network(text: &str) -> Result<Network, String> {
    line(described(FILE, text).map(|source| source.network))
}

/// The tensors in the bytes of a file, by name.
pub fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let views = line(tensor_file::views(bytes))?;
    let tensor = |view: &TensorView| (view.shape().to_vec(), tensor_file::values(view).ok());
    Ok(views.iter().map(|(name, view)| (name.clone(), tensor(view))).collect())
}

/// The bytes of a file with one tensor, `x`.
pub fn write_tensor(shape: Vec<usize>, values: Vec<f32>, dtype: Dtype) -> Result<Vec<u8>, String> {
    line(tensor_file::serialize(&[Named { name: "x".into(), shape, values }], dtype))
}

/// Whether `octconv apply` would run the layer of a SPEC.json with the tensors in the bytes of an IN.safetensors.
pub fn apply(spec: &str, tensors: &[u8]) -> Result<(), String> {
    // Parsing takes longer than the rest.
    static CLI: LazyLock<Cli> = LazyLock::new(|| Cli::parse_from(["octconv", "apply", FILE, FILE, FILE]));
    let Command::Apply(args) = &CLI.command else { return Err("another command".into()) };
    let description = layer(spec)?;
    let layer = |views| apply::Layer::new(args, &description, &views);
    line(tensor_file::views(tensors).and_then(layer).map(drop))
}

/// The page of the report in the text of a report.json, or of a page. Also puts the report beside itself.
pub fn report(text: &str) -> Result<String, String> {
    line(report::repeated(text))
}

/// The device in the text of a `--device FILE`. `sides`: those of matrices that kernels may have.
pub fn device(text: &str, sides: &[u32]) -> Result<DeviceFacts, String> {
    line(export::described(text, sides))
}

/// Which of these files and folders belong to the bundle that is there, by the text of its manifest.json.
pub fn in_bundle(manifest: &str, names: &[&str]) -> Result<Vec<bool>, String> {
    line(export::files_of(manifest).map(|files| names.iter().map(|name| export::is_own(&files, name)).collect()))
}

/// The labels in the text of a list in CSV, and those in the text of a JSON about sheets, for a network of ten classes.
pub fn labelled(text: &str) -> [Result<Vec<usize>, String>; 2] {
    static TRAINED: LazyLock<Result<Trained, String>> = LazyLock::new(|| {
        let (network, labels) = (line(digits::network())?, digits::LABELS.lines().map(Into::into).collect());
        let picture = network.picture.clone().ok_or("it takes no pictures")?;
        let graph = Graph::new(&network).map_err(|error| error.to_string())?;
        Ok(Trained { graph, labels, picture })
    });
    [Labelled::of_list, Labelled::of_sheets].map(|read| {
        let trained = TRAINED.as_ref().unwrap_or_else(|error| panic!("{error}"));
        line(read(Path::new(FILE), text, trained).map(|read| read.labels))
    })
}

/// Height and width in the text of an argument.
pub fn size(text: &str) -> Option<[u32; 2]> {
    text.parse().ok().map(|Size { h, w }| [h, w])
}

/// The number of bytes in the text of an argument.
pub fn bytes(text: &str) -> Option<u64> {
    text.parse().ok().map(|Bytes(bytes)| bytes)
}

/// A name and a text as they are printed.
pub fn printed(text: &str) -> [String; 2] {
    [output::shown(text), output::one_line(text)]
}

fn line<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| output::reason(&error))
}
