//! What the tests share.
#![allow(dead_code, reason = "each program uses some of it")]

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::LazyLock;

use burn::tensor::{Device, DeviceKind, Distribution, Tensor};
use octconv_burn::OctTensor;

static DEVICE: LazyLock<Device> =
    LazyLock::new(|| octconv_burn::init(DeviceKind::DefaultDevice).expect("a wgpu device opens"));

/// The accelerated device, which all tests of a program share.
pub fn device() -> Device {
    DEVICE.clone()
}

/// Says in the file `OCTCONV_TEST_REPORT` whether a test could run that needs a feature of the device. Fails if it could not and
/// must: with `OCTCONV_REQUIRE_F16`, on a device that has everything.
pub fn report(ran: bool, feature: &str) {
    assert!(ran || std::env::var_os("OCTCONV_REQUIRE_F16").is_none(), "the device has no {feature}");
    let Some(path) = std::env::var_os("OCTCONV_TEST_REPORT") else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the report can be written");
    writeln!(file, "{}\t{feature}\t1", if ran { "ran" } else { "missing" }).expect("the report can be written");
}

pub fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

/// A map with these high and low channels at `size`.
pub fn random_map(n: usize, channels: [usize; 2], size: [usize; 2], device: &Device) -> OctTensor {
    let half = size.map(|axis: usize| axis.div_ceil(2));
    let high = |c| random([n, c, size[0], size[1]], device);
    let low = |c| random([n, c, half[0], half[1]], device);
    match channels {
        [c, 0] => OctTensor::plain(high(c)),
        [0, c] => OctTensor::low_only(low(c), size),
        [h, l] => OctTensor::new(high(h), low(l)),
    }
}

pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().convert::<f32>().try_into_vec().unwrap()
}

/// The largest difference, as a share of the largest element.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-3f32, |max, v| max.max(v.abs()));
    let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    // Not f32::max, which would lose a NaN.
    difference.fold(0.0, |max, d| if d > max || d.is_nan() { d } else { max }) / largest
}

/// Fails if the maps differ by more than `share` of their largest element.
#[track_caller]
pub fn assert_close(what: &str, found: &OctTensor, wanted: &OctTensor, share: f32) {
    assert_eq!(found.channels(), wanted.channels(), "{what}");
    assert_eq!(found.size(), wanted.size(), "{what}");
    for (name, found, wanted) in [("high", found.high(), wanted.high()), ("low", found.low(), wanted.low())] {
        let Some((found, wanted)) = found.zip(wanted) else { continue };
        assert_eq!(found.dims(), wanted.dims(), "{what}: {name}");
        let difference = difference(&values(found), &values(wanted));
        assert!(difference <= share, "{what}: {name} differs by {difference}, and may by {share}");
    }
}
