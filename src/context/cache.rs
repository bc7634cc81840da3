//! A folder that keeps from run to run what takes long to find: tuned variants, and the driver's compiled pipelines.
//!
//! What cannot be read, or is damaged, or of another version, is as if it were not there. Files are replaced whole;
//! of two programs that write at once, the later one wins.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::checksum::{seal, unseal};
use crate::device::DeviceIdentity;
use crate::error::Error;
use crate::plan::Tuned;

/// A folder for files of this crate; it need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Keeps files in `folder`, which is made when the first is written.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with what is tuned for a device, in the format of [`Tuned::to_bytes`].
    pub fn tuned_file(&self, device: &DeviceIdentity) -> PathBuf {
        self.folder.join(format!("tuned-{}", device.file_stem()))
    }

    /// What is kept for a device; nothing where its file is missing, damaged, or of another version.
    pub fn tuned(&self, device: &DeviceIdentity) -> Tuned {
        let bytes = fs::read(self.tuned_file(device)).ok();
        bytes.and_then(|bytes| Tuned::from_bytes(&bytes)).unwrap_or_default()
    }

    /// Adds to what is kept for a device.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] where the file cannot be written.
    pub fn keep_tuned(&self, device: &DeviceIdentity, tuned: &Tuned) -> Result<(), Error> {
        let mut all = self.tuned(device);
        all.merge(tuned.clone());
        self.write(&self.tuned_file(device), &all.to_bytes())
    }

    /// The driver's data about pipelines, as wgpu gave it to [`Self::keep_pipelines`].
    pub(crate) fn pipelines(&self, key: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.folder.join(key)).ok()?;
        Some(unseal(PIPELINES, &bytes)?.to_vec())
    }

    pub(crate) fn keep_pipelines(&self, key: &str, data: &[u8]) -> Result<(), Error> {
        self.write(&self.folder.join(key), &seal(PIPELINES, data))
    }

    /// Writes beside the place, and moves there when all is written.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let write = || {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(bytes)?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error: std::io::Error| Error::Cache {
            path: path.display().to_string(),
            problem: error.to_string(),
        })
    }
}

/// Old kernels' pipelines are of no use to a new version.
const PIPELINES: &str = concat!("pipelines ", env!("CARGO_PKG_VERSION"));
