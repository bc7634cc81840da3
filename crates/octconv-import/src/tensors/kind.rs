//! Kinds of files, and how their content tells them apart.

use std::fmt;

/// A kind of file of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `.safetensors`.
    Safetensors,
    /// PyTorch since 1.6: a ZIP archive with a pickle.
    PyTorch,
    /// PyTorch before 1.6: pickles, then the values.
    PyTorchLegacy,
    /// `.npy`: one array of NumPy, without a name.
    Npy,
    /// `.npz`: a ZIP archive of arrays of NumPy. Chainer writes it.
    Npz,
    /// `.params` of MXNet.
    MxNet,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::PyTorch => "PyTorch (ZIP)",
            Self::PyTorchLegacy => "PyTorch (legacy)",
            Self::Npy => "NumPy (.npy)",
            Self::Npz => "NumPy (.npz)",
            Self::MxNet => "MXNet (.params)",
        })
    }
}

/// What the first bytes of a file tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Safetensors,
    Zip,
    Pickle,
    Npy,
    MxNet,
    Tar,
    Unknown,
}

/// The first number of a list of MXNet's arrays.
pub(super) const MXNET_MAGIC: u64 = 0x112;

impl Start {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let number = bytes.first_chunk().map(|&first| u64::from_le_bytes(first));
        // A safetensors file starts with the length of its header, which may be any number.
        if bytes.get(8) == Some(&b'{') {
            Self::Safetensors
        } else if number == Some(MXNET_MAGIC) {
            Self::MxNet
        } else if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
            Self::Zip
        } else if bytes.starts_with(b"\x93NUMPY") {
            Self::Npy
        } else if bytes.first() == Some(&0x80) && bytes.get(1).is_some_and(|&protocol| (2..=5).contains(&protocol)) {
            Self::Pickle
        } else if bytes.get(257..262) == Some(b"ustar") {
            Self::Tar
        } else {
            Self::Unknown
        }
    }
}
