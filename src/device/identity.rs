//! The name under which what is measured of a device is kept.

/// A device as far as times depend on it: the adapter, its driver, and the backend between.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIdentity(pub(crate) String);

impl DeviceIdentity {
    /// Of an adapter, or of a device by `device.adapter_info()`.
    pub fn of(info: &wgpu::AdapterInfo) -> Self {
        let wgpu::AdapterInfo { name, vendor, device, driver, driver_info, backend, .. } = info;
        let text = format!("{name}; {vendor:x}:{device:x}; {driver}; {driver_info}; {backend:?}");
        Self(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    }

    /// A name for a file about the device.
    #[cfg(feature = "context")]
    pub(crate) fn file_stem(&self) -> String {
        format!("{:08x}", crc32fast::hash(self.0.as_bytes()))
    }
}
