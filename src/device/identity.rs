//! The name under which measurements of a device are kept.

use std::fmt;

use super::facts::DeviceFacts;
use super::rates::Rates;

/// Everything about a device that changes its times: the adapter, its driver, and the backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceIdentity(pub(crate) String);

impl DeviceIdentity {
    /// The identity for the information of an adapter, or of a device (`device.adapter_info()`). `None` if that says neither
    /// name nor number of the device, and for all of a browser's, which at most tells a family of devices: what is measured on
    /// one device would be taken for others. [`DeviceIdentity::of_measured`] is for them.
    pub fn of(info: &wgpu::AdapterInfo) -> Option<Self> {
        let wgpu::AdapterInfo { name, vendor, device, driver, driver_info, backend, .. } = info;
        let says_nothing = name.trim().is_empty() && (*vendor, *device) == (0, 0);
        if says_nothing || *backend == wgpu::Backend::BrowserWebGpu {
            return None;
        }
        let text = format!("{name}; {vendor:x}:{device:x}; {driver}; {driver_info}; {backend:?}");
        Some(Self(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()))
    }

    /// An identity for a device that says nothing about itself, as in browsers: what is known of it (its limits and features),
    /// how fast it was measured to be, and what else the program knows (`also`, for example which browser it is).
    ///
    /// Rates differ from one measurement to the next, so they count as powers of two: near the middle between two of them,
    /// a device may be taken for another one. Nothing else is ever taken for it but a device with the same limits, features
    /// and speed.
    pub fn of_measured(facts: &DeviceFacts, also: &str) -> Self {
        let Rates { multiply_adds, bandwidth, .. } = facts.rates;
        let power = |rate: f64| rate.log2().round();
        let text = format!(
            "2^{} multiply-adds and 2^{} bytes a second; {:?}; {:?}; {also}",
            power(multiply_adds),
            power(bandwidth),
            facts.features,
            facts.limits
        );
        Self(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
    }

    /// A name for a file about the device.
    #[cfg(all(feature = "context", not(target_arch = "wasm32")))]
    pub(crate) fn file_stem(&self) -> String {
        format!("{:08x}", crc32fast::hash(self.0.as_bytes()))
    }
}

impl fmt::Display for DeviceIdentity {
    /// One line, which no other device has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_says_nothing_has_no_identity() {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Vulkan);
        assert_eq!(DeviceIdentity::of(&info), None);
        assert_eq!(DeviceIdentity::of(&wgpu::AdapterInfo { name: " ".into(), ..info.clone() }), None);
        let named = DeviceIdentity::of(&wgpu::AdapterInfo { name: "A".into(), ..info.clone() });
        let numbered = DeviceIdentity::of(&wgpu::AdapterInfo { vendor: 0x10de, device: 1, ..info });
        assert!(named.is_some() && numbered.is_some() && named != numbered);
        let browser = wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::BrowserWebGpu);
        assert_eq!(DeviceIdentity::of(&wgpu::AdapterInfo { name: "A".into(), ..browser }), None);
    }

    #[test]
    fn what_was_measured_and_what_is_known_tell_devices_apart() {
        let facts = DeviceFacts::default();
        let of = |change: fn(&mut DeviceFacts)| {
            let mut facts = facts.clone();
            change(&mut facts);
            DeviceIdentity::of_measured(&facts, "a browser")
        };
        let own = of(|_| {});
        assert_eq!(of(|facts| facts.rates.multiply_adds *= 1.1), own);
        let others = [
            of(|facts| facts.rates.multiply_adds *= 2.0),
            of(|facts| facts.rates.bandwidth *= 0.5),
            of(|facts| facts.features |= wgpu::Features::SHADER_F16),
            of(|facts| facts.limits.max_buffer_size += 1),
            DeviceIdentity::of_measured(&facts, "another browser"),
        ];
        for (i, other) in others.iter().enumerate() {
            assert!(*other != own && !others[..i].contains(other), "{other:?}");
        }
    }
}
