//! What Winograd's convolutions alone have.

use octconv::{
    ContextOptions, DeviceFacts, Downsample, Dtype, Error, InputSize, Options, Plan, Precision, Rounding, Spec,
    SpecBuilder, TimeAxis, Variant, wgpu,
};

use crate::cases::{at, octave, split};
use crate::harness::tile::{WINOGRAD_LARGE, WINOGRAD_SMALL};
use crate::harness::{self, case, compare, context, family, forced, open};

fn k3(builder: SpecBuilder) -> SpecBuilder {
    builder.kernel([3, 3]).same_padding()
}

fn variant(tile: &str) -> Variant {
    format!("transform/winograd/{tile}").parse().unwrap_or_else(|error| panic!("{error}"))
}

/// L->H would have to repeat its last column.
pub fn floored_sizes_with_an_exchange() {
    let spec = octave().rounding(Rounding::Floor).build().unwrap();
    let options = Options { variant: Some(variant(WINOGRAD_LARGE)), ..Options::default() };
    let refused = context().engine().plan(&spec, InputSize::image(1, 9, 10), &options);
    assert!(matches!(refused, Err(Error::Variant { .. })), "{refused:?}");
}

/// Tiles of 4x4 need weights of f32.
pub fn types() {
    let weights =
        Options { precision: Precision { weights: Dtype::F16, ..Precision::default() }, ..Options::default() };
    let spec = octave().build().unwrap();
    let options = Options { variant: Some(variant(WINOGRAD_LARGE)), ..weights };
    let refused = context().engine().plan(&spec, InputSize::image(1, 9, 8), &options);
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("f32")), "{refused:?}");
}

pub fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 11, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    let case = forced(case(at(octave(), [9, 7])), &format!("transform/winograd/{WINOGRAD_SMALL}"));
    assert!(harness::workgroups(&case) > 11);
    compare(&context, &case);
}

pub fn layers_that_it_refuses() {
    let time = TimeAxis { kernel: 3, stride: 1, padding: 1, dilation: 1 };
    let refused = [
        octave().stride(2).downsample(Downsample::StridedConv),
        octave().kernel([5, 5]).same_padding(),
        octave().dilation([2, 2]).same_padding(),
        octave().time(time),
        octave().downsample(Downsample::StridedConv),
        k3(split((4, 4), (4, 4))).groups(2),
        k3(split((4, 4), (4, 4))).depthwise(),
    ];
    for spec in refused.map(|spec| spec.build().unwrap()) {
        let plans = Plan::candidates(&spec, InputSize::image(1, 8, 8), &Options::default(), &DeviceFacts::default());
        assert!(!plans.is_empty() && plans.iter().all(|plan| plan.variant().family != family("winograd")), "{spec:?}");
    }
}

pub fn scratch_that_does_not_fit() {
    let spec = k3(Spec::builder(64, 64)).build().unwrap();
    let options = Options { variant: Some(variant(WINOGRAD_LARGE)), ..Options::default() };
    let plan = |n| Plan::new(&spec, InputSize::image(n, 56, 56), &options, &DeviceFacts::default());
    let most = DeviceFacts::default().limits.max_storage_buffer_binding_size;
    // 36 points of 64 channels of 196 tiles, twice.
    assert_eq!(plan(1).unwrap().scratch_bytes(), 2 * 36 * 64 * 196 * 4);
    let refused = plan(96);
    assert!(
        matches!(refused, Err(Error::Limit { needs, allowed, .. }) if needs > most && allowed == most),
        "{refused:?}"
    );
    // Another variant runs the same layer.
    let free = Options::default();
    assert!(Plan::new(&spec, InputSize::image(96, 56, 56), &free, &DeviceFacts::default()).is_ok());
}
