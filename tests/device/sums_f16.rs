//! The direct and the staged kernel with sums of f16, against the reference: what they do otherwise than with f32, on the
//! layers where that matters. The rest of them is tests/direct.rs and tests/staged.rs.

use crate::common::{case, check_on, check_tiles, context, family, image, of_kernel, runs_f16, split};
use octconv::verify::Case;
use octconv::{
    Activation, DeviceFacts, Downsample, Dtype, Error, Family, InputSize, Options, Plan, Precision, Rounding, Slice,
    Spec, SpecBuilder, Strategy, TimeAxis, Variant, wgpu,
};

const F16: Options = Options {
    precision: Precision { activations: Dtype::F16, weights: Dtype::F16, sums: Dtype::F16 },
    pooled_input: false,
    pooled_output: false,
    high_slice: None,
    low_slice: None,
    scratch_limit: None,
    variant: None,
};

/// Every strategy, each in its smallest tile; a device without f16 must refuse, in words.
fn check(case: &Case) {
    check_with(F16, case, sums_in_f16);
}

/// In one dispatch: what the strategies do not change.
fn check_fused(options: Options, case: &Case) {
    check_with(options, case, fused);
}

fn check_with(options: Options, case: &Case, wanted: fn(Variant) -> bool) {
    let case = Case { options, ..case.clone() };
    if !runs_f16(context()) {
        let refused = context().engine().plan(&case.spec, case.size, &case.options);
        assert_eq!(refused, Err(Error::Feature { what: "f16 activations", feature: "SHADER_F16" }));
        return;
    }
    // What must be among the candidates, check_on knows.
    check_on(context(), &case, wanted);
}

fn fused(variant: Variant) -> bool {
    sums_in_f16(variant) && variant.strategy == Strategy::Fused
}

fn sums_in_f16(variant: Variant) -> bool {
    [family("direct-f16"), family("staged-f16")].into_iter().any(|family| of_kernel(family)(variant))
}

fn k3() -> SpecBuilder {
    split((6, 8), (10, 7)).kernel([3, 3]).same_padding()
}

#[test]
fn alpha_at_both_ends_and_between() {
    // Plain, first, last, 0 to 1 and both ends between: what is a constant of the source.
    for [alpha_in, alpha_out] in [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.0, 1.0], [0.5, 0.5]] {
        let spec = Spec::builder(8, 12).alpha(alpha_in, alpha_out).kernel([3, 3]).same_padding();
        check_fused(F16, &image(spec.bias(true), 9, 6));
    }
}

#[test]
fn sizes_and_strides() {
    check(&image(k3(), 9, 11));
    check(&image(k3().stride(2), 10, 7));
    check_fused(F16, &image(k3().rounding(Rounding::Floor), 9, 11));
    check_fused(F16, &image(k3().rounding(Rounding::Floor).stride(2), 10, 7));
    check_fused(F16, &image(k3().downsample(Downsample::StridedConv).stride(2), 9, 11));
    check_fused(F16, &case(k3(), InputSize::image(3, 5, 6)));
    let time = TimeAxis { kernel: 3, stride: 2, padding: 1, dilation: 1 };
    check_fused(F16, &case(k3().time(time), InputSize::video(2, 5, 5, 6)));
}

/// Eight channels a turn, four, two and one; windows of the whole kernel, a row of it, a tap.
#[test]
fn kernels_and_turns() {
    for channels in [16, 5] {
        check_fused(F16, &image(split((channels, channels), (6, 4)), 7, 6));
        check_fused(F16, &image(split((channels, 0), (6, 4)).kernel([3, 3]).same_padding(), 7, 6));
    }
    for kernel in [[5, 5], [7, 7]] {
        check_fused(F16, &image(split((4, 3), (6, 4)).kernel(kernel).same_padding(), 9, 8));
    }
    check_fused(F16, &image(split((4, 0), (6, 0)).kernel([4, 6]).padding([2, 3]), 9, 8));
    check_fused(F16, &image(k3().dilation([2, 3]).same_padding(), 11, 14));
}

#[test]
fn groups() {
    check_fused(F16, &image(split((8, 8), (8, 8)).groups(4).kernel([3, 3]).same_padding(), 9, 7));
    check_fused(F16, &image(split((6, 12), (12, 6)).groups(2).kernel([3, 3]).same_padding(), 9, 7));
}

#[test]
fn epilogues() {
    let spec = k3().bias(true).residual(true, true).activation(Activation::Relu);
    check_fused(F16, &Case { batch_norm: true, ..image(spec.clone(), 9, 6) });
    check_fused(Options { pooled_output: true, ..F16 }, &image(spec, 9, 6));
    check_fused(Options { pooled_input: true, ..F16 }, &image(k3(), 9, 6));
    let slice = |first, of| Some(Slice { first, of });
    check_fused(Options { high_slice: slice(3, 15), low_slice: slice(1, 8), ..F16 }, &image(k3(), 9, 6));
}

#[test]
fn tiles() {
    if !runs_f16(context()) {
        return check(&image(k3(), 8, 8));
    }
    for spec in [split((16, 16), (24, 17)), split((8, 8), (24, 17)).kernel([3, 3]).same_padding()] {
        let kernels = check_tiles(context(), &Case { options: F16, ..image(spec, 11, 13) }, fused);
        for tile in ["direct-f16 t4c2h2w", "direct-f16 t4c4h4w", "direct-f16 t16c2h2w", "staged-f16 g32c128p"] {
            assert!(kernels.iter().any(|name| name.contains(tile)), "{tile} is not among {kernels:?}");
        }
    }
}

fn gpu() -> DeviceFacts {
    DeviceFacts { features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() }
}

fn families(spec: SpecBuilder, options: Options, facts: &DeviceFacts) -> Vec<Family> {
    let size = InputSize::image(1, 28, 28);
    let plans = Plan::candidates(&spec.build().unwrap(), size, &options, facts);
    plans.iter().map(|plan| plan.variant().family).collect()
}

#[test]
fn only_where_the_options_allow_it() {
    let allowed = families(k3(), F16, &gpu());
    let others = families(k3(), Options { precision: Precision { sums: Dtype::F32, ..F16.precision }, ..F16 }, &gpu());
    for family in [family("direct-f16"), family("staged-f16")] {
        assert!(allowed.contains(&family) && !others.contains(&family), "{family:?}");
    }
}

#[test]
fn a_group_of_one_channel_has_no_pairs() {
    let depthwise = split((8, 8), (8, 8)).depthwise().kernel([3, 3]).same_padding();
    let families = families(depthwise, F16, &gpu());
    assert!(!families.is_empty() && !families.contains(&family("direct-f16")));
}

/// By estimate: on a GPU twice as many products an instruction, on a software device many times fewer.
#[test]
fn gpus_prefer_it_and_software_devices_do_not() {
    let spec = || Spec::builder(128, 128).alpha(0.5, 0.5).kernel([3, 3]).dilation([2, 2]).same_padding();
    let first_direct = |facts: &DeviceFacts| {
        let is_direct = |family: &Family| ["direct", "direct-f16"].contains(&family.name());
        families(spec(), F16, facts).into_iter().find(is_direct)
    };
    assert_eq!(first_direct(&gpu()), Some(family("direct-f16")));
    assert_eq!(first_direct(&DeviceFacts { software: true, ..gpu() }), Some(family("direct")));
}
