//! A folder that keeps tuned variants, measured rates and the driver's compiled pipelines between runs.
//!
//! A file that cannot be read, is damaged, too large, or of another version counts as absent. Files are replaced whole. If two
//! programs write the same file, the later one wins.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::checksum::{seal, unseal};
use crate::device::{DeviceIdentity, Rates};
use crate::error::Error;
use crate::plan::Tuned;

/// A folder for files of this crate. It need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Keeps files in `folder`, which is created with the first file.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with the tuned variants of a device, in the format of [`Tuned::to_bytes`].
    pub fn tuned_file(&self, device: &DeviceIdentity) -> PathBuf {
        self.folder.join(format!("tuned-{}", device.file_stem()))
    }

    /// The tuned variants of a device; none if its file is missing, damaged, or of another version.
    pub fn tuned(&self, device: &DeviceIdentity) -> Tuned {
        let bytes = read(&self.tuned_file(device));
        bytes.and_then(|bytes| Tuned::from_bytes(&bytes)).unwrap_or_default()
    }

    /// Adds tuned variants to those that are kept for a device.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the file cannot be written.
    pub fn keep_tuned(&self, device: &DeviceIdentity, tuned: &Tuned) -> Result<(), Error> {
        let mut all = self.tuned(device);
        all.merge(tuned.clone());
        self.write(&self.tuned_file(device), &all.to_bytes())
    }

    /// How fast a device was when it was measured; `None` if its file is missing, damaged, or of another version.
    pub fn rates(&self, device: &DeviceIdentity) -> Option<Rates> {
        let bytes = read(&self.rates_file(device))?;
        Rates::from_line(str::from_utf8(unseal(RATES, &bytes)?).ok()?)
    }

    /// Keeps how fast a device is, in place of what was kept before.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the file cannot be written.
    pub fn keep_rates(&self, device: &DeviceIdentity, rates: &Rates) -> Result<(), Error> {
        self.write(&self.rates_file(device), &seal(RATES, rates.to_line().as_bytes()))
    }

    fn rates_file(&self, device: &DeviceIdentity) -> PathBuf {
        self.folder.join(format!("rates-{}", device.file_stem()))
    }

    /// The driver's compiled pipelines, as [`Self::keep_pipelines`] got them from wgpu.
    pub(crate) fn pipelines(&self, key: &str) -> Option<Vec<u8>> {
        let bytes = read(&self.folder.join(key))?;
        Some(unseal(PIPELINES, &bytes)?.to_vec())
    }

    pub(crate) fn keep_pipelines(&self, key: &str, data: &[u8]) -> Result<(), Error> {
        self.write(&self.folder.join(key), &seal(PIPELINES, data))
    }

    /// Writes a temporary file and then moves it to `path`, so that nobody reads half a file.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let write = || {
            fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.as_file_mut().write_all(bytes)?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error: std::io::Error| Error::Cache {
            path: path.display().to_string(),
            problem: error.to_string(),
        })
    }
}

/// The most bytes of a file that are read. Real ones have far less.
const LARGEST: u64 = 1 << 28;

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = fs::File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes).filter(|bytes| bytes.len() as u64 <= LARGEST)
}

/// The format of rates. Increase it whenever probes change what they measure.
const RATES: &str = "rates 1";

/// Contains the version, because a new version has other kernels.
const PIPELINES: &str = concat!("pipelines ", env!("CARGO_PKG_VERSION"));
