//! The device of a command. wgpu's errors are reported instead of ending the process.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use octconv::wgpu::AdapterInfo;
use octconv::{Cache, Context, ContextOptions, DeviceIdentity, Error};

use crate::output::{one_line, tell};
use crate::target::without_interruption;

/// A context, and the errors that wgpu reports outside of any call: out of memory, a lost device.
pub struct Device {
    pub context: Context,
    stray: Arc<Mutex<Option<String>>>,
}

impl Device {
    /// Opens the adapter that the environment asks for; `None` if there is no adapter at all.
    pub fn open(options: &ContextOptions) -> Result<Option<Self>, Error> {
        match Self::require(options) {
            Ok(device) => Ok(Some(device)),
            Err(Error::NoAdapter { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Device::open`], but no adapter is an error.
    pub fn require(options: &ContextOptions) -> Result<Self, Error> {
        let context = Context::new(options)?;
        let stray = Arc::new(Mutex::new(None));
        let first = stray.clone();
        context.device().on_uncaptured_error(Arc::new(move |error| {
            let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| one_line(&error.to_string()));
        }));
        Ok(Self { context, stray })
    }

    /// Keeps compiled pipelines for the next run. If the cache cannot be written, the next run only takes longer: the
    /// command says so, and goes on.
    pub fn keep_pipelines(&self) {
        if let Err(error) = without_interruption(|| self.context.save_pipelines()) {
            tell(&format!("warning: compiled pipelines are not kept: {error}"));
        }
    }

    /// An error if wgpu has reported one since the last call.
    pub fn check(&self) -> Result<()> {
        match self.stray_error() {
            None => Ok(()),
            Some(stray) => bail!("wgpu reported: {stray}"),
        }
    }

    /// What wgpu has reported since the last call.
    pub fn stray_error(&self) -> Option<String> {
        self.stray.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The environment variable that names the cache's folder. If it is set to nothing, there is no cache.
const CACHE_VARIABLE: &str = "OCTCONV_CACHE";

/// Where tuning results and compiled pipelines are kept; `None` if that is not wanted, or the system has no place.
pub fn cache() -> Option<Cache> {
    match std::env::var_os(CACHE_VARIABLE) {
        Some(folder) if folder.is_empty() => None,
        Some(folder) => Some(Cache::new(folder)),
        None => dirs::cache_dir().map(|folder| Cache::new(folder.join("octconv"))),
    }
}

/// Options of a device that uses tuning results.
pub fn cached() -> ContextOptions {
    ContextOptions { cache: cache(), ..ContextOptions::default() }
}

/// The name under which results of a device are kept.
pub fn identity(context: &Context) -> Result<DeviceIdentity> {
    context.identity().context("the adapter says neither its name nor a number: its results would be taken for others'")
}

/// An adapter in one line: its name, backend, kind and driver.
pub fn describe(info: &AdapterInfo) -> String {
    let driver = format!("{} {}", info.driver, info.driver_info);
    one_line(&format!("{} ({}, {:?}, driver {})", info.name, info.backend, info.device_type, driver.trim()))
}
