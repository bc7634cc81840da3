//! What Winograd's convolutions alone have. The table of layers runs the rest.

use crate::common::{context, family, image, open, split};
use octconv::verify::Case;
use octconv::{
    Accuracy, ContextOptions, DeviceFacts, Downsample, Dtype, Error, InputSize, Options, Plan, Precision, Rounding,
    Spec, SpecBuilder, Strategy, Tensors, TimeAxis, Variant, wgpu,
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

fn fast() -> Options {
    Options { accuracy: Accuracy::Fast, ..Options::default() }
}

/// A layer is exact unless it is told to be fast. What it is told to run, it runs.
#[test]
fn only_fast_layers_choose_it() {
    let (spec, size) = (k3(Spec::builder(256, 256)).build().unwrap(), InputSize::image(1, 28, 28));
    let facts = DeviceFacts { software: true, ..DeviceFacts::default() };
    let strategies = |options: &Options| -> Vec<Strategy> {
        Plan::candidates(&spec, size, options, &facts).iter().map(|plan| plan.variant().strategy).collect()
    };
    assert_eq!(Options::default().accuracy, Accuracy::Exact);
    assert!(!strategies(&Options::default()).contains(&Strategy::Transform));
    assert!(strategies(&fast()).contains(&Strategy::Transform));
    let chosen = |options: &Options| Plan::new(&spec, size, options, &facts).unwrap().variant().strategy;
    assert_ne!(chosen(&Options::default()), Strategy::Transform);
    assert_eq!(chosen(&fast()), Strategy::Transform);
    assert_eq!(
        chosen(&Options { variant: Some(variant("transform/winograd")), ..Options::default() }),
        Strategy::Transform
    );
}

/// An infinity reaches the outputs that see it, and no others.
#[test]
fn an_infinity_stays_where_it_is_seen() {
    let spec = k3(Spec::builder(64, 64)).build().unwrap();
    let (size, context) = (InputSize::image(1, 14, 14), context());
    let mut x = crate::common::values(3, 64 * 14 * 14);
    x[5 * 14 + 5] = f32::INFINITY;
    let x_h = context.upload(&x, Dtype::F32).unwrap();
    let y_h = context.tensor(64 * 14 * 14, Dtype::F32).unwrap();
    let engine = context.engine();
    let weights = crate::common::HostWeights::new(&spec, 1);
    let lost = |options: &Options| {
        let plan = engine.plan(&spec, size, options).unwrap();
        let packed = engine.pack(&plan, &weights.weights()).unwrap();
        let tensors = Tensors { x_h: Some((&x_h).into()), y_h: Some((&y_h).into()), ..Tensors::default() };
        let layer = engine.bind(&plan, &packed, &tensors).unwrap();
        context.run(&[&layer]).unwrap();
        let y = context.read(&y_h, 0, 64 * 14 * 14, Dtype::F32).unwrap();
        y.iter().filter(|v| !v.is_finite()).count()
    };
    // 3x3 positions of every channel see it.
    assert_eq!(lost(&Options::default()), 64 * 9);
    assert!(lost(&Options { variant: Some(variant("transform/winograd")), ..Options::default() }) > 64 * 9);
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
        let plans = Plan::candidates(&spec, InputSize::image(1, 8, 8), &fast(), &DeviceFacts::default());
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
