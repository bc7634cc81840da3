//! The device of a command, whose errors are reported instead of ending the process.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use octconv::context::INSTALL_HINT;
use octconv::wgpu::AdapterInfo;
use octconv::{Context, ContextOptions, Error};

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

    /// What wgpu has reported since the last call.
    pub fn stray_error(&self) -> Option<String> {
        self.stray.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An adapter in a line: its name, backend, kind and driver.
pub fn describe(info: &AdapterInfo) -> String {
    let driver = format!("{} {}", info.driver, info.driver_info);
    one_line(&format!("{} ({}, {:?}, driver {})", info.name, info.backend, info.device_type, driver.trim()))
}
