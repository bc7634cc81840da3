//! A bundle in memory.

use std::fmt;

use super::language::ShaderLanguage;
#[cfg(feature = "verify")]
use super::manifest::Buffer;
use super::manifest::{Contents, ElementType, Example, File, Manifest, Tensor};
use crate::error::Error;
use crate::memory;

/// How a bundle is made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BundleOptions {
    /// The language of its kernels.
    pub language: ShaderLanguage,
    /// The names of the classes. Empty if there are none.
    pub labels: Vec<String>,
    /// The licence of the weights, as an expression of SPDX or in other words. `None` if nobody has stated it.
    pub weights_licence: Option<String>,
}

/// A layer or a network as files.
#[derive(Clone, PartialEq)]
pub struct Bundle {
    pub(super) manifest: Manifest,
    /// The manifest's JSON, which is made again after each change.
    pub(super) json: Vec<u8>,
    /// The contents of the manifest's files, in its order.
    pub(super) contents: Vec<Vec<u8>>,
}

/// Its files without their contents.
impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manifest { name, language, files, .. } = &self.manifest;
        let mut all = f.debug_struct("Bundle");
        all.field("name", name).field("language", language).field("files", files).finish_non_exhaustive()
    }
}

impl Bundle {
    /// The name of the manifest's file.
    pub const MANIFEST: &str = "manifest.json";

    /// What the bundle says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The paths and the contents of all files. Folders in paths are parted by `/`. The manifest is the last one, so that a
    /// folder that has one is whole.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let files = self.manifest.files.iter().zip(&self.contents);
        files
            .map(|(file, bytes)| (file.path.as_str(), bytes.as_slice()))
            .chain([(Self::MANIFEST, self.json.as_slice())])
    }

    /// What each buffer holds before its player writes inputs: its file, or ones, which are a NaN in each type. Not part of the
    /// public interface.
    #[cfg(feature = "verify")]
    #[doc(hidden)]
    pub fn buffers(&self) -> Vec<Vec<u8>> {
        let file = |name: &String| self.files().find(|(path, _)| path == name).map(|(_, bytes)| bytes.to_vec());
        let contents = |buffer: &Buffer| {
            let bytes = buffer.file.as_ref().and_then(file);
            bytes.unwrap_or_else(|| vec![0xff; buffer.bytes as usize])
        };
        self.manifest.buffers.iter().map(contents).collect()
    }

    /// Adds an input and the right answer, to test players with. There is a list for each input and each output of the
    /// manifest, in their order. Inputs are rounded to their types, outputs are kept as they are.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if there are more or fewer lists, or lists of other lengths, and for a tolerance that is no number;
    /// [`Error::OutOfMemory`].
    pub fn add_example(&mut self, inputs: &[&[f32]], outputs: &[&[f32]], tolerance: f64) -> Result<(), Error> {
        check_lengths("inputs", inputs, &self.manifest.inputs)?;
        check_lengths("outputs", outputs, &self.manifest.outputs)?;
        if !tolerance.is_finite() {
            return Err(Error::argument("tolerance", tolerance, "must be finite"));
        }
        let mut bytes = Vec::new();
        let mut add = |values: &[f32], half: bool, padded: u64| -> Result<Contents, Error> {
            let offset = bytes.len();
            memory::grow(&mut bytes, padded, "adding an example")?;
            match half {
                true => bytes.extend(values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes())),
                false => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            }
            bytes.resize(offset + padded as usize, 0);
            Ok(Contents { file: EXAMPLE.into(), offset: offset as u64, bytes: padded })
        };
        let given = inputs.iter().zip(&self.manifest.inputs);
        let inputs = given.map(|(values, input)| add(values, input.dtype == ElementType::F16, input.bytes));
        let inputs = inputs.collect::<Result<_, _>>()?;
        let outputs = outputs.iter().map(|values| add(values, false, 4 * values.len() as u64));
        let outputs = outputs.collect::<Result<_, _>>()?;
        self.manifest.example = Some(Example { inputs, outputs, tolerance });
        self.manifest.files.retain(|file| file.path != EXAMPLE);
        self.contents.truncate(self.manifest.files.len());
        self.manifest.files.push(File { path: EXAMPLE.into(), bytes: bytes.len() as u64 });
        self.contents.push(bytes);
        self.json = json(&self.manifest);
        Ok(())
    }
}

/// The file of the example, which is the last one.
const EXAMPLE: &str = "example.bin";

fn check_lengths(name: &'static str, lists: &[&[f32]], tensors: &[Tensor]) -> Result<(), Error> {
    let wanted: Vec<u64> = tensors.iter().map(|tensor| tensor.shape.iter().map(|&d| u64::from(d)).product()).collect();
    let found: Vec<u64> = lists.iter().map(|list| list.len() as u64).collect();
    if wanted == found {
        return Ok(());
    }
    Err(Error::argument(name, format!("lists of {found:?} numbers"), format!("must be lists of {wanted:?}")))
}

/// The text of manifest.json.
pub(super) fn json(manifest: &Manifest) -> Vec<u8> {
    // Types like these cannot fail to be written.
    let mut text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
    text.push(b'\n');
    text
}
