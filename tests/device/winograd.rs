//! Winograd's convolutions, against the reference: each theme with the tile that the planner likes best, and every tile.

use crate::common::{ALPHAS, case, check_on, check_tiles, context, family, image, of_kernel, open, split};
use octconv::verify::Case;
use octconv::{
    Activation, ContextOptions, DeviceFacts, Downsample, Dtype, Error, InputSize, Options, Plan, Precision, Rounding,
    Slice, Spec, SpecBuilder, TimeAxis, Variant, wgpu,
};

fn check(case: &Case) -> Vec<String> {
    check_on(context(), case, of_kernel(family("winograd")))
}

/// Runs the case with tiles of 4x4 and of 2x2 outputs, and with products that have tiles and channels side by side.
fn check_both(case: &Case) {
    for name in ["t16c4f-f4h4w", "tc4c16f-f4h4w", "tc8c8f-f2h2w"].map(|tile| format!("transform/winograd/{tile}")) {
        let options = Options { variant: Some(variant(&name)), ..case.options };
        crate::common::check_one(context(), &Case { options, ..case.clone() });
    }
}

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

#[test]
fn alpha_at_both_ends_and_between() {
    for [alpha_in, alpha_out] in ALPHAS {
        check_both(&image(k3(Spec::builder(10, 12)).alpha(alpha_in, alpha_out).bias(true), 12, 10));
    }
}

#[test]
fn every_size_against_the_tiles() {
    for (h, w) in [(1, 1), (1, 9), (2, 3), (4, 4), (5, 8), (7, 7), (9, 17), (14, 15)] {
        check_both(&image(octave(), h, w));
    }
}

#[test]
fn padding_of_one_resolution() {
    for padding in [[0, 0], [1, 0], [2, 2]] {
        check_both(&image(split((5, 0), (6, 0)).kernel([3, 3]).padding(padding), 9, 11));
        check_both(&image(split((0, 5), (0, 6)).kernel([3, 3]).padding(padding), 14, 16));
    }
}

#[test]
fn floored_sizes() {
    check_both(&image(octave().rounding(Rounding::Floor), 8, 10));
    // Without L->H nothing is repeated.
    check_both(&image(octave().rounding(Rounding::Floor).low_to_high(false), 9, 11));
    let spec = octave().rounding(Rounding::Floor).build().unwrap();
    let options = Options { variant: Some(variant("transform/winograd")), ..Options::default() };
    let refused = context().engine().plan(&spec, InputSize::image(1, 9, 10), &options);
    assert!(matches!(refused, Err(Error::Variant { .. })), "{refused:?}");
}

#[test]
fn activations_batch_norm_and_residuals() {
    for activation in [Activation::Relu, Activation::HardSwish, Activation::LeakyRelu { slope: 0.1 }] {
        let spec = octave().bias(true).residual(true, true).activation(activation);
        check(&Case { batch_norm: true, ..image(spec, 9, 10) });
    }
    check_both(&Case { batch_norm: true, ..image(octave().residual(false, true), 9, 10) });
}

#[test]
fn pooled_input_and_output() {
    for (pooled_input, pooled_output) in [(true, false), (false, true), (true, true)] {
        let options = Options { pooled_input, pooled_output, ..Options::default() };
        for (h, w) in [(8, 12), (9, 13)] {
            check_both(&Case { options, ..image(octave().activation(Activation::Relu), h, w) });
        }
    }
    let options = Options { pooled_output: true, ..Options::default() };
    check_both(&Case { options, ..image(k3(split((3, 0), (5, 0))).rounding(Rounding::Floor), 7, 7) });
    // pool(X_H) in place of X_H.
    let options = Options { pooled_input: true, ..Options::default() };
    check_both(&Case { options, ..image(k3(split((5, 4), (0, 3))), 9, 6) });
}

/// Averages, then convolutions of each position; L->H is at the resolution of Y_H.
#[test]
fn stride_2() {
    for [alpha_in, alpha_out] in ALPHAS {
        check_both(&image(k3(Spec::builder(10, 12)).alpha(alpha_in, alpha_out).bias(true).stride(2), 13, 10));
    }
    for (h, w) in [(1, 1), (1, 9), (4, 6), (14, 15), (18, 20)] {
        check_both(&image(octave().stride(2), h, w));
    }
    for (pooled_input, pooled_output) in [(true, false), (false, true), (true, true)] {
        let options = Options { pooled_input, pooled_output, ..Options::default() };
        let spec = || octave().stride(2).residual(true, true).activation(Activation::Relu);
        check_both(&Case { options, ..image(spec(), 17, 24) });
        check_both(&Case { options, ..image(spec().rounding(Rounding::Floor), 17, 11) });
    }
    check_both(&case(octave().stride(2).bias(true), InputSize::video(2, 3, 9, 12)));
    check_both(&image(k3(split((0, 5), (6, 3))).stride(2), 10, 12));
    check_both(&image(split((5, 0), (6, 0)).kernel([3, 3]).padding([0, 2]).stride(2), 15, 12));
}

#[test]
fn exchange_switched_off() {
    crate::common::exchange_switched_off(&octave()).iter().for_each(check_both);
}

#[test]
fn batches_frames_and_slices() {
    let [high_slice, low_slice] = [Slice { first: 3, of: 12 }, Slice { first: 1, of: 5 }].map(Some);
    let options = Options { high_slice, low_slice, ..Options::default() };
    check_both(&Case { options, ..case(octave().bias(true), InputSize::video(2, 3, 9, 6)) });
    check_both(&case(k3(split((4, 0), (5, 0))), InputSize::video(3, 2, 6, 9)));
}

/// Rows of even length, which a software device moves as words of two columns, against odd numbers of tiles and channels,
/// and images that follow one another within what a thread makes.
#[test]
fn rows_of_even_length() {
    let [high_slice, low_slice] = [Slice { first: 3, of: 12 }, Slice { first: 1, of: 5 }].map(Some);
    let activation = Activation::LeakyRelu { slope: 0.1 };
    let odd = || k3(split((3, 5), (5, 3))).bias(true).residual(true, true).activation(activation);
    for (h, w) in [(3, 4), (5, 8), (8, 12), (9, 18)] {
        for pooled_input in [false, true] {
            let options = Options { pooled_input, pooled_output: true, ..Options::default() };
            check_both(&Case { options, ..case(odd(), InputSize::video(3, 1, h, w)) });
        }
        let options = Options { high_slice, low_slice, ..Options::default() };
        check_both(&Case { options, ..case(octave(), InputSize::video(1, 3, h, w)) });
    }
    for padding in [[0, 0], [0, 1], [1, 2]] {
        for w in [4, 6, 11, 14] {
            check_both(&case(split((5, 0), (7, 0)).kernel([3, 3]).padding(padding), InputSize::video(3, 2, 5, w)));
        }
    }
}

/// Every tile, with more channels and tiles than a workgroup takes.
#[test]
fn every_tile() {
    let case = image(k3(split((9, 6), (70, 36))).bias(true), 30, 27);
    check_tiles(context(), &case, of_kernel(family("winograd")));
}

#[test]
fn types() {
    for stride in [1, 2] {
        crate::common::check_types(&image(octave().bias(true).stride(stride), 9, 8), of_kernel(family("winograd")));
    }
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
