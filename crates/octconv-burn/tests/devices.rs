//! Which devices can be accelerated.

mod common;

use burn::tensor::wgpu::{WgpuSetup, wgpu};
use burn::tensor::{Device, DeviceKind};
use common::{assert_close, random_map};
use octconv_burn::octconv::EngineOptions;
use octconv_burn::{Error, NotAccelerated, OctConv2dConfig};

#[test]
fn devices_are_checked_and_can_be_given_back() {
    let (device, setup) = Device::wgpu_options().device_kind(DeviceKind::DefaultDevice).init_with_setup().unwrap();
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device);
    let x = random_map(1, [4, 4], [8, 8], &device);
    assert!(matches!(layer.acceleration(&x), Err(NotAccelerated::Device)));

    let refused = octconv_burn::accelerate(&Device::flex(), &setup).unwrap_err();
    assert!(matches!(refused, Error::Device { .. }), "{refused}");
    let refused = octconv_burn::accelerate(&device.clone().autodiff(), &setup).unwrap_err();
    assert!(matches!(refused, Error::Device { .. }), "{refused}");
    let other = setup.adapter.request_device(&wgpu::DeviceDescriptor::default());
    let (other, queue) = pollster::block_on(other).unwrap();
    let wrong = WgpuSetup { device: other, queue, ..setup.clone() };
    let refused = octconv_burn::accelerate(&device, &wrong).unwrap_err();
    assert!(matches!(refused, Error::Setup { .. }), "{refused}");
    assert!(matches!(layer.acceleration(&x), Err(NotAccelerated::Device)));
    // Burn has opened it already.
    assert!(matches!(octconv_burn::init(DeviceKind::DefaultDevice), Err(Error::Open(_))));

    let composed = layer.forward(x.clone());
    octconv_burn::accelerate(&device, &setup).unwrap();
    layer.acceleration(&x).unwrap();
    assert_close("accelerated", &layer.forward(x.clone()), &composed, 2e-5);
    octconv_burn::accelerate_with(&device, &setup, EngineOptions { software: Some(false), ..Default::default() })
        .unwrap();
    let variant = layer.acceleration(&x).unwrap();
    assert_close(&variant, &layer.forward(x.clone()), &composed, 2e-5);
    octconv_burn::decelerate(&device);
    assert!(matches!(layer.acceleration(&x), Err(NotAccelerated::Device)));
    assert_close("decelerated", &layer.forward(x), &composed, 2e-5);
}
