//! What Winograd's convolutions alone have. The table of layers runs the rest.

use crate::common::{context, family, image, open, split};
use octconv::verify::Case;
use octconv::{
    ContextOptions, DeviceFacts, Downsample, Dtype, Error, InputSize, Options, Plan, Precision, Rounding, Spec,
    SpecBuilder, TimeAxis, Variant, wgpu,
};

fn variant(name: &str) -> Variant {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// 3x3, half of the channels at half of the resolution.
fn k3(builder: SpecBuilder) -> SpecBuilder {
    builder.kernel([3, 3]).same_padding()
}

fn octave() -> SpecBuilder {
    k3(split((5, 4), (6, 3)))
}

/// L->H would have to repeat its last column.
#[test]
fn floored_sizes_with_an_exchange() {
    let spec = octave().rounding(Rounding::Floor).build().unwrap();
    let options = Options { variant: Some(variant("transform/winograd")), ..Options::default() };
    let refused = context().engine().plan(&spec, InputSize::image(1, 9, 10), &options);
    assert!(matches!(refused, Err(Error::Variant { .. })), "{refused:?}");
}

/// Winograd tiles of 4x4 outputs need weights of f32.
#[test]
fn types() {
    let half = Options { precision: Precision { weights: Dtype::F16, ..Precision::default() }, ..Options::default() };
    let spec = octave().build().unwrap();
    let options = Options { variant: Some(variant("transform/winograd/t16c4f-f4h4w")), ..half };
    let refused = context().engine().plan(&spec, InputSize::image(1, 9, 8), &options);
    assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("f32")), "{refused:?}");
}

#[test]
fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 11, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    let case = image(octave(), 9, 7);
    let options = Options { variant: Some(variant("transform/winograd/t16c4f-f2h2w")), ..case.options };
    let plan = context.engine().plan(&case.spec, case.size, &options).unwrap();
    assert!(format!("{plan:?}").contains("Grid { x: 10, y: 5 }"), "no fold in {plan:?}");
    crate::common::check_one(&context, &Case { options, ..case });
}

#[test]
fn layers_that_it_refuses() {
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

#[test]
fn scratch_that_does_not_fit() {
    let spec = k3(Spec::builder(64, 64)).build().unwrap();
    let options = Options { variant: Some(variant("transform/winograd/t16c4f-f4h4w")), ..Options::default() };
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
