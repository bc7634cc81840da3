//! Reads what other frameworks write: files of tensors, and whole networks.
//!
//! [`tensors`] reads files of tensors. [`import_onnx`] takes an ONNX file. It finds the octave layers among the convolutions, pools, resizes and sums that
//! an exporter made of them. What belongs to no octave layer stays a plain layer.

mod error;
mod fuse;
mod octave;
mod onnx;
mod plain;
pub mod tensors;

use octconv::network::{Checkpoint, Network};

pub use error::{ImportError, Problem};
pub use octave::{OctaveNetwork, to_octave};

/// What a file leaves open, and how much of it is taken.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The name of the network. The default is `imported`.
    pub name: Option<String>,
    /// Rows and columns of the input. Needed if the file leaves them open; the default is 224 then.
    pub size: Option<[u32; 2]>,
    /// Frames of the input, if it has frames and the file leaves their number open. The default is 8.
    pub frames: Option<u32>,
    /// The name that the file gives the answer: an output, or any other value. Needed if the file has several outputs.
    pub output: Option<String>,
    /// The most bytes of all tensors, also of those in other files: 4 for each real number, 8 for each whole one. The
    /// default is 2^30.
    pub max_bytes: Option<u64>,
}

/// An imported network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Imported {
    /// Its description.
    pub network: Network,
    /// Its weights, under the names of the description.
    pub checkpoint: Checkpoint,
    /// What was found in the file.
    pub report: Report,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Nodes of the file that compute something while the network runs.
    pub file_nodes: usize,
    /// Convolutions with a low frequency, of their input or their output.
    pub octave_convs: usize,
    /// Other convolutions.
    pub plain_convs: usize,
    /// Frames, rows and columns of the input at which the file was read.
    pub size: [u32; 3],
    /// Nodes that hold the network to that size, each with the reason. Without any, it takes other sizes too.
    pub fixed: Vec<String>,
    /// Layers whose parts could have become one octave layer but for the reason that is given.
    pub not_fused: Vec<String>,
}

/// Gives the bytes of a tensor that lies in another file: it gets the name of the file, the first byte, and how many
/// bytes are wanted.
pub type External<'a> = dyn FnMut(&str, u64, u64) -> Result<Vec<u8>, String> + 'a;

/// Imports an ONNX file.
///
/// `external` is asked for tensors that lie in other files.
///
/// # Errors
///
/// [`ImportError::File`] if it is not a usable ONNX file. [`ImportError::Nodes`] with every node that cannot be
/// expressed, and why.
pub fn import_onnx(bytes: &[u8], options: &ImportOptions, external: &mut External) -> Result<Imported, ImportError> {
    let mut graph = onnx::read(bytes, options, external)?;
    plain::simplify(&mut graph)?;
    fuse::fuse(graph, options)
}
