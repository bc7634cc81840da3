//! Reads a file of any kind.

use std::collections::BTreeMap;

use octconv::network::{Checkpoint, HostTensor};

use super::archive::Archive;
use super::error::Error;
use super::kind::{Kind, Start};
use super::limits::{Budget, Limits};
use super::{mxnet, numpy, pytorch};

/// The tensors of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tensors {
    /// The kind of the file.
    pub kind: Kind,
    /// The keys of the dictionaries that the tensors were in, the outermost first, such as `state_dict`.
    pub within: Vec<String>,
    /// What stands beside the tensors in their dictionary and is none, such as the number of an epoch: the first ten.
    pub left_out: Vec<String>,
    /// How many more there are.
    pub left_out_more: usize,
    /// The tensors under the names that they have in the file.
    pub checkpoint: Checkpoint,
}

impl Tensors {
    fn of(kind: Kind, tensors: BTreeMap<String, HostTensor>) -> Self {
        Self { kind, within: Vec::new(), left_out: Vec::new(), left_out_more: 0, checkpoint: Checkpoint { tensors } }
    }
}

/// Reads the tensors of a file, of whatever kind it is. All numbers become f32.
///
/// # Errors
///
/// Every [`Error`]: see there.
pub fn read(bytes: &[u8], limits: Limits) -> Result<Tensors, Error> {
    let mut budget = Budget::new(limits);
    let tensors = match Start::of(bytes) {
        Start::Safetensors => {
            let checkpoint = Checkpoint::from_safetensors(bytes)?;
            Tensors { checkpoint, ..Tensors::of(Kind::Safetensors, BTreeMap::new()) }
        }
        Start::MxNet => Tensors::of(Kind::MxNet, mxnet::read(bytes, &mut budget)?),
        Start::Npy => {
            let array = numpy::read_npy(Kind::Npy, "array", bytes, &mut budget)?;
            Tensors::of(Kind::Npy, array.into_iter().map(|array| ("array".to_owned(), array)).collect())
        }
        Start::Zip => read_zip(bytes, &mut budget)?,
        Start::Pickle => pytorch::read_legacy(bytes, &mut budget)?.into(),
        Start::Tar => return Err(Error::Unknown("a TAR archive: unpack it, and name a file in it".into())),
        Start::Unknown => {
            let known = "safetensors, PyTorch (.pth, .pt), NumPy (.npy, .npz), MXNet (.params)";
            return Err(Error::Unknown(format!("not a file of tensors of a kind that is known: {known}")));
        }
    };
    // A network without weights has a file without tensors.
    if tensors.checkpoint.tensors.is_empty() && tensors.kind != Kind::Safetensors {
        return Err(Error::unsupported(tensors.kind, "there are no tensors in it"));
    }
    Ok(tensors)
}

fn read_zip(bytes: &[u8], budget: &mut Budget) -> Result<Tensors, Error> {
    let archive = Archive::new(Kind::Npz, bytes, budget.limits)?;
    if archive.names().any(pytorch::is_pickle) {
        Ok(pytorch::read_zip(&archive.of_kind(Kind::PyTorch), budget)?.into())
    } else if archive.names().any(|name| name.ends_with(".npy")) {
        Ok(Tensors::of(Kind::Npz, numpy::read_npz(&archive, budget)?))
    } else {
        let known = "neither a data.pkl, as PyTorch's have, nor an .npy, as NumPy's have";
        Err(Error::Unknown(format!("a ZIP archive with {known}")))
    }
}

impl From<pytorch::Found> for Tensors {
    fn from(found: pytorch::Found) -> Self {
        let pytorch::Found { kind, within, left_out, left_out_more, tensors } = found;
        Self { within, left_out, left_out_more, ..Self::of(kind, tensors) }
    }
}
