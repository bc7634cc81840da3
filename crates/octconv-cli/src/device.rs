//! The device of a command, whose errors are reported instead of ending the process.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use octconv::context::INSTALL_HINT;
use octconv::wgpu::AdapterInfo;
use octconv::{Cache, Context, ContextOptions, Error};

use crate::output::one_line;

/// A context, and what wgpu reports to nobody in particular: out of memory, a lost device.
pub struct Device {
    pub context: Context,
    stray: Arc<Mutex<Option<String>>>,
}

impl Device {
    /// Opens the adapter that the environment asks for; `None` where there is no adapter at all.
    pub fn open(options: &ContextOptions) -> Result<Option<Self>> {
        let context = match Context::new(options) {
            Ok(context) => context,
            Err(Error::NoAdapter { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stray = Arc::new(Mutex::new(None));
        let first = stray.clone();
        context.device().on_uncaptured_error(Arc::new(move |error| {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| one_line(&error.to_string()));
        }));
        Ok(Some(Self { context, stray }))
    }

    /// As [`Device::open`], with an error where there is no adapter.
    pub fn require(options: &ContextOptions) -> Result<Self> {
        match Self::open(options)? {
            Some(device) => Ok(device),
            None => Err(Error::NoAdapter { hint: INSTALL_HINT }.into()),
        }
    }

    /// Keeps compiled pipelines for the next run. A cache that cannot be written costs time, and fails no command.
    pub fn keep_pipelines(&self) {
        let _ = self.context.save_pipelines();
    }

    /// What wgpu has reported since the last call.
    pub fn stray_error(&self) -> Option<String> {
        self.stray.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The environment variable that names the cache's folder; empty, there is none.
const CACHE_VARIABLE: &str = "OCTCONV_CACHE";

/// Where what is tuned and compiled is kept; `None` where that is not wanted, or the system has no place for it.
pub fn cache() -> Option<Cache> {
    match std::env::var_os(CACHE_VARIABLE) {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(Cache::new(folder)),
        None => dirs::cache_dir().map(|folder| Cache::new(folder.join("octconv"))),
    }
}

/// A device that runs what is tuned.
pub fn cached() -> ContextOptions {
    ContextOptions { cache: cache(), ..ContextOptions::default() }
}

/// What to do where nothing is tuned.
pub fn hint(tuned: usize) -> &'static str {
    if tuned == 0 { " (\"octconv tune\" measures which kernels are the fastest here)" } else { "" }
}

/// An adapter in a line: its name, backend, kind and driver.
pub fn describe(info: &AdapterInfo) -> String {
    let driver = format!("{} {}", info.driver, info.driver_info);
    one_line(&format!("{} ({}, {:?}, driver {})", info.name, info.backend, info.device_type, driver.trim()))
}
