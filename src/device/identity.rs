//! The name under which measurements of a device are kept.

/// Everything about a device that changes its times: the adapter, its driver, and the backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIdentity(pub(crate) String);

impl DeviceIdentity {
    /// The identity for the information of an adapter, or of a device (`device.adapter_info()`).
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
