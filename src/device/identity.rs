//! The name under which measurements of a device are kept.

/// Everything about a device that changes its times: the adapter, its driver, and the backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIdentity(pub(crate) String);

impl DeviceIdentity {
    /// The identity for the information of an adapter, or of a device (`device.adapter_info()`). `None` if that says neither
    /// name nor number of the device, as in many browsers: what is measured on one device would be taken for all others.
    pub fn of(info: &wgpu::AdapterInfo) -> Option<Self> {
        let wgpu::AdapterInfo { name, vendor, device, driver, driver_info, backend, .. } = info;
        if name.trim().is_empty() && (*vendor, *device) == (0, 0) {
            return None;
        }
        let text = format!("{name}; {vendor:x}:{device:x}; {driver}; {driver_info}; {backend:?}");
        Some(Self(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()))
    }

    /// A name for a file about the device.
    #[cfg(feature = "context")]
    pub(crate) fn file_stem(&self) -> String {
        format!("{:08x}", crc32fast::hash(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_says_nothing_has_no_identity() {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::BrowserWebGpu);
        assert_eq!(DeviceIdentity::of(&info), None);
        assert_eq!(DeviceIdentity::of(&wgpu::AdapterInfo { name: " ".into(), ..info.clone() }), None);
        let named = DeviceIdentity::of(&wgpu::AdapterInfo { name: "A".into(), ..info.clone() });
        let numbered = DeviceIdentity::of(&wgpu::AdapterInfo { vendor: 0x10de, device: 1, ..info });
        assert!(named.is_some() && numbered.is_some() && named != numbered);
    }
}
