//! What can be wrong with a file of tensors.

use super::kind::Kind;
use crate::error::line;

/// What is wrong with a file of tensors.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The content is of no kind that is read.
    #[error("{}", line(.0))]
    Unknown(String),
    /// The file ends too early, or a number in it is too large for it.
    #[error("{kind}: {} needs {needs} bytes, and {left} are left: the file is truncated or damaged", line(what))]
    Truncated {
        /// What kind of file it is.
        kind: Kind,
        /// What is read.
        what: String,
        /// The bytes that it needs.
        needs: u64,
        /// The bytes that are left.
        left: u64,
    },
    /// The file is not as its kind is written.
    #[error("{kind}: {}", line(problem))]
    Damaged {
        /// What kind of file it is.
        kind: Kind,
        /// What is wrong.
        problem: String,
    },
    /// The file is whole, but has something that is not read here.
    #[error("{kind}: {}", line(problem))]
    Unsupported {
        /// What kind of file it is.
        kind: Kind,
        /// What that is, and what to do.
        problem: String,
    },
    /// The file needs more than the limits allow.
    #[error("{} needs {needs}, and {allowed} are allowed", line(what))]
    Limit {
        /// What needs it.
        what: String,
        /// How much, with the unit.
        needs: String,
        /// How much is allowed.
        allowed: u64,
    },
    /// A safetensors file that cannot be read.
    #[error(transparent)]
    Safetensors(#[from] octconv::Error),
}

impl Error {
    pub(super) fn damaged(kind: Kind, problem: impl Into<String>) -> Self {
        Self::Damaged { kind, problem: problem.into() }
    }

    pub(super) fn unsupported(kind: Kind, problem: impl Into<String>) -> Self {
        Self::Unsupported { kind, problem: problem.into() }
    }
}
