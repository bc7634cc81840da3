//! How a kernel uses a buffer.

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Read,
    Write,
    /// It reads it, and the buffer is bound as if it wrote it too.
    Shared,
}
