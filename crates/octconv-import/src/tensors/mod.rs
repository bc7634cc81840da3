//! Files of tensors: safetensors, PyTorch's `.pth` and `.pt`, NumPy's `.npy` and `.npz` (which Chainer writes), and MXNet's
//! `.params`.
//!
//! [`read`] finds the kind from the content. It gives the tensors the names that they have in the file:
//! [`Checkpoint::fit`](octconv::network::Checkpoint::fit) translates them to those of a network.
//!
//! A pickle is read, never executed: what it would call is looked up in a short list, and anything else stays a name. All
//! numbers of a file are checked before memory is taken for them, against the file and against [`Limits`].

mod archive;
mod bytes;
mod element;
mod error;
mod kind;
mod limits;
mod mxnet;
mod numpy;
mod pytorch;
mod read;

pub use error::Error;
pub use kind::Kind;
pub use limits::Limits;
pub use read::{Tensors, read};
