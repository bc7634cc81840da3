//! How much a file may need.

use super::error::Error;

/// How much may be taken for the content of a file. Everything is checked before memory is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of all tensors as f32. It is also the most bytes of one unpacked entry of an archive; all of them may
    /// have twice that, and what the archive has. A safetensors file is not counted, because it takes at most twice its
    /// bytes.
    pub bytes: u64,
    /// The most tensors.
    pub tensors: usize,
    /// The most values in a pickle. Each takes some 50 bytes.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 30, tensors: 1 << 16, values: 1 << 22 }
    }
}

/// The most bytes of a name: of a tensor, of a storage, of an entry of an archive. One that is repeated takes them each time.
const LONGEST_NAME: usize = 1000;

/// Refuses a long name.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    if name.len() <= LONGEST_NAME {
        return Ok(());
    }
    let start: String = name.chars().take(40).collect();
    let (what, needs) = (format!("the name {start}..."), format!("{} bytes", name.len()));
    Err(Error::Limit { what, needs, allowed: LONGEST_NAME as u64 })
}

/// What is left of the limits.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) limits: Limits,
    bytes: u64,
    tensors: usize,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, tensors: 0 }
    }

    /// Takes the f32 values of a tensor from the budget. Gives their number.
    pub(super) fn take(&mut self, name: &str, shape: &[u64]) -> Result<usize, Error> {
        let exceeds = |what: String, needs: String, allowed: u64| Err(Error::Limit { what, needs, allowed });
        self.tensors += 1;
        if self.tensors > self.limits.tensors {
            let needs = format!("{} tensors or more", self.tensors);
            return exceeds("the file".into(), needs, self.limits.tensors as u64);
        }
        let elements = shape.iter().try_fold(1u64, |all, &size| all.checked_mul(size));
        let bytes = elements.and_then(|elements| elements.checked_mul(4)?.checked_add(self.bytes));
        match bytes {
            Some(bytes) if bytes <= self.limits.bytes => self.bytes = bytes,
            _ => {
                let what = format!("tensor {name} of {shape:?}, with those before it,");
                let needs = bytes.map_or_else(|| "more than 2^64 bytes".into(), |bytes| format!("{bytes} bytes"));
                return exceeds(what, needs, self.limits.bytes);
            }
        }
        // It fits, because so many bytes are allowed.
        Ok(elements.unwrap_or(0) as usize)
    }
}
