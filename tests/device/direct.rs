//! The direct kernel, against the reference: each theme in every variant that the planner has for its layers.

use std::collections::HashSet;

use crate::common::{
    ALPHAS, all_activations, case, check_on, check_one, check_tiles, context, family, image, of_kernel, open, split,
};
use octconv::verify::Case;
use octconv::{
    Activation, ContextOptions, Downsample, InputSize, Options, Plan, Rounding, Slice, Spec, SpecBuilder, Strategy,
    TimeAxis, Variant,
};
use octconv::{DeviceFacts, wgpu};

fn check(case: &Case) -> Vec<String> {
    check_on(context(), case, of_kernel(family("direct")))
}

fn check_types(case: &Case) {
    crate::common::check_types(case, of_kernel(family("direct")));
}

/// 3x3 with the padding that keeps sizes, half of the channels at half of the resolution.
fn k3() -> SpecBuilder {
    split((5, 4), (6, 3)).kernel([3, 3]).same_padding()
}

#[test]
fn alpha_at_both_ends_and_between() {
    for [alpha_in, alpha_out] in ALPHAS {
        let spec = Spec::builder(10, 12).alpha(alpha_in, alpha_out).kernel([3, 3]).same_padding().bias(true);
        check(&image(spec, 10, 12));
    }
}

#[test]
fn odd_sizes_rounded_up_and_down() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(9, 11), (7, 10), (10, 7)] {
            check(&image(k3().rounding(rounding), h, w));
        }
        for (input, output) in [((4, 0), (3, 2)), ((2, 3), (4, 0)), ((0, 3), (4, 2))] {
            check(&image(split(input, output).kernel([3, 3]).same_padding().rounding(rounding), 9, 7));
        }
    }
}

#[test]
fn one_pixel_and_one_row() {
    for (h, w) in [(1, 1), (1, 9), (9, 1), (2, 1), (1, 2), (3, 1)] {
        check(&image(k3(), h, w));
        check(&image(k3().stride(2), h, w));
    }
    for (h, w) in [(2, 2), (3, 2), (2, 9)] {
        check(&image(k3().rounding(Rounding::Floor), h, w));
    }
}

#[test]
fn stride_two() {
    for [alpha_in, alpha_out] in ALPHAS {
        let spec = Spec::builder(8, 10).alpha(alpha_in, alpha_out).kernel([3, 3]).same_padding().stride(2);
        check(&image(spec, 12, 8));
    }
}

#[test]
fn stride_two_of_odd_sizes() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(9, 11), (10, 13), (6, 7), (5, 5)] {
            check(&image(k3().rounding(rounding).stride(2), h, w));
        }
    }
}

#[test]
fn channels_that_fill_no_vector() {
    for (input, output) in [
        ((1, 2), (3, 5)),
        ((7, 1), (2, 7)),
        ((5, 3), (1, 1)),
        ((3, 7), (7, 3)),
        ((2, 5), (5, 2)),
        ((1, 1), (2, 1)),
        ((13, 6), (9, 17)),
    ] {
        check(&image(split(input, output).kernel([3, 3]).same_padding().bias(true), 8, 6));
    }
}

#[test]
fn many_blocks_of_channels_and_positions() {
    // The planner's own choice of tiles.
    let kernels = |case: &Case| {
        let variant = Some("pool-first/direct".parse().unwrap());
        check_one(context(), &Case { options: Options { variant, ..case.options }, ..case.clone() })
    };
    let found = kernels(&image(Spec::builder(24, 40).alpha(0.5, 0.25).kernel([3, 3]).same_padding(), 28, 28));
    assert!(found.iter().any(|kernel| kernel.contains("4h4w")), "{found:?}");
    let found = kernels(&image(Spec::builder(6, 70).alpha(0.5, 0.5).kernel([3, 3]).same_padding(), 4, 4));
    assert!(found.iter().all(|kernel| !kernel.contains("4h4w")), "{found:?}");
}

#[test]
fn groups() {
    for (groups, input, output) in [
        (2, (1, 1), (1, 1)),
        (3, (1, 2), (2, 1)),
        (2, (2, 3), (3, 2)),
        (4, (3, 1), (1, 3)),
        (3, (3, 3), (5, 6)),
        (2, (2, 0), (2, 0)),
    ] {
        let all = |(high, low): (u32, u32)| (groups * high, groups * low);
        let spec = split(all(input), all(output)).kernel([3, 3]).same_padding().groups(groups);
        check(&image(spec, 7, 8));
    }
}

#[test]
fn groups_at_stride_two() {
    for (input, output) in [((4, 2), (2, 4)), ((6, 4), (4, 10))] {
        check(&image(split(input, output).kernel([3, 3]).same_padding().groups(2).stride(2), 9, 8));
    }
}

#[test]
fn depthwise() {
    for multiple in [1, 2, 5] {
        for (high, low) in [(5, 3), (4, 0), (0, 3)] {
            let spec = split((high, low), (multiple * high, multiple * low)).kernel([3, 3]).same_padding().depthwise();
            check(&image(spec.clone(), 9, 10));
            if multiple < 3 {
                check(&image(spec.stride(2), 9, 10));
            }
        }
    }
}

#[test]
fn dilation() {
    for dilation in [[2, 2], [1, 2], [3, 1], [4, 3]] {
        check(&image(k3().dilation(dilation), 9, 12));
    }
    check(&image(k3().dilation([2, 2]).stride(2), 12, 9));
    check(&image(k3().dilation([2, 1]).downsample(Downsample::StridedConv), 12, 9));
}

#[test]
fn kernels_that_are_not_square() {
    for kernel in [[1, 3], [3, 1], [5, 3]] {
        check(&image(k3().kernel(kernel), 8, 10));
    }
    for kernel in [[1, 7], [7, 1], [2, 5]] {
        check(&image(split((5, 0), (6, 0)).kernel(kernel).same_padding(), 8, 10));
    }
    check(&image(k3().kernel([5, 1]).stride(2), 8, 10));
}

#[test]
fn even_kernels() {
    // An even kernel takes a row: odd sizes rounded up and even sizes rounded down agree in both resolutions.
    for (rounding, h, w) in [(Rounding::Ceil, 9, 11), (Rounding::Floor, 10, 8)] {
        check(&image(k3().kernel([2, 2]).padding([0, 0]).rounding(rounding), h, w));
        check(&image(k3().kernel([4, 4]).padding([1, 1]).rounding(rounding), h, w));
        check(&image(k3().kernel([2, 3]).padding([0, 1]).rounding(rounding), h, w));
    }
    check(&image(split((3, 0), (5, 0)).kernel([4, 2]), 9, 8));
}

#[test]
fn large_kernels() {
    for kernel in [[5, 5], [7, 7]] {
        check(&image(k3().kernel(kernel), 12, 14));
    }
    for kernel in [[9, 9], [1, 11], [11, 1]] {
        check(&image(split((5, 0), (6, 0)).kernel(kernel).same_padding(), 12, 14));
    }
    check(&image(k3().kernel([1, 11]), 12, 14));
    // The ResNet stem, whose kernel reaches beyond the whole map at low resolution.
    check(&image(split((3, 0), (6, 2)).kernel([7, 7]).same_padding().stride(2), 10, 6));
    // As released networks have it: without pooling, a row of taps a window.
    let options = Options { variant: Some("fused/direct/t8c4h4w".parse().unwrap()), ..Options::default() };
    let stem = split((3, 0), (11, 0)).kernel([7, 7]).same_padding().stride(2).downsample(Downsample::StridedConv);
    check_one(context(), &Case { options, ..image(stem, 21, 26) });
}

#[test]
fn one_tap() {
    check(&image(split((4, 2), (6, 2)).kernel([1, 1]).groups(2), 8, 5));
    check(&image(split((5, 0), (6, 0)).kernel([1, 1]).padding([1, 2]), 8, 5));
}

#[test]
fn other_paddings() {
    for padding in [[0, 0], [2, 0], [3, 4]] {
        check(&image(split((3, 0), (5, 0)).kernel([3, 3]).padding(padding), 7, 6));
        check(&image(split((0, 3), (0, 5)).kernel([3, 3]).padding(padding), 14, 12));
    }
}

#[test]
fn clips() {
    let axis = |kernel, stride, padding, dilation| TimeAxis { kernel, stride, padding, dilation };
    for time in [
        axis(3, 1, 1, 1),
        axis(3, 2, 1, 1),
        axis(3, 1, 2, 2),
        axis(2, 1, 0, 1),
        axis(1, 3, 0, 1),
        axis(5, 2, 4, 2),
        axis(1, 1, 2, 1),
    ] {
        check(&case(k3().time(time), InputSize::video(1, 6, 7, 8)));
    }
    check(&case(k3().time(axis(3, 2, 1, 1)).stride(2), InputSize::video(2, 5, 8, 9)));
    check(&case(k3().kernel([1, 1]).time(axis(3, 1, 1, 1)), InputSize::video(1, 4, 5, 6)));
    let spec = split((4, 2), (4, 2)).kernel([3, 3]).same_padding().depthwise();
    check(&case(spec.time(axis(3, 1, 1, 1)), InputSize::video(2, 3, 6, 5)));
}

#[test]
fn frames_as_a_batch() {
    check(&case(k3(), InputSize::video(2, 3, 6, 7)));
}

#[test]
fn batch_of_three() {
    check(&case(k3(), InputSize::image(3, 9, 6)));
    check(&case(k3().stride(2).groups(1), InputSize::image(3, 8, 7)));
    check(&case(split((4, 2), (8, 4)).kernel([3, 3]).same_padding().groups(2), InputSize::image(3, 5, 6)));
}

#[test]
fn activations() {
    for activation in all_activations() {
        let spec = split((2, 1), (2, 1)).kernel([1, 3]).same_padding().depthwise();
        check(&Case { batch_norm: true, ..image(spec.bias(true).activation(activation), 8, 8) });
    }
}

#[test]
fn residuals() {
    for (high, low) in [(true, false), (false, true), (true, true)] {
        let options = Options { pooled_output: high, ..Options::default() };
        let spec = k3().residual(high, low).activation(Activation::Relu);
        check(&Case { options, ..image(spec.clone(), 7, 9) });
    }
    check(&image(k3().residual(true, true).stride(2), 8, 9));
    check(&image(split((3, 0), (4, 0)).kernel([3, 3]).same_padding().residual(true, false), 6, 6));
}

#[test]
fn batch_norm() {
    for bias in [false, true] {
        for spec in [k3(), k3().stride(2), split((4, 2), (8, 4)).kernel([3, 3]).same_padding().groups(2)] {
            check(&Case { batch_norm: true, ..image(spec.bias(bias), 6, 9) });
        }
    }
}

#[test]
fn pooled_input() {
    let options = Options { pooled_input: true, ..Options::default() };
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(8, 10), (9, 7)] {
            for (input, output) in [((5, 4), (6, 3)), ((5, 0), (6, 3)), ((5, 4), (0, 3))] {
                let spec = split(input, output).kernel([3, 3]).same_padding().rounding(rounding);
                check(&Case { options, ..image(spec.clone(), h, w) });
                check(&Case { options, ..image(spec.stride(2), h, w) });
            }
        }
    }
}

#[test]
fn pooled_output() {
    let options = Options { pooled_output: true, ..Options::default() };
    let high = split((3, 2), (5, 0)).kernel([3, 3]).same_padding();
    for case in crate::common::pooled_output(&k3(), &high) {
        check(&case);
    }
    let both = Options { pooled_input: true, ..options };
    check(&Case { options: both, ..image(k3(), 9, 8) });
}

#[test]
fn strided_ablation() {
    for case in crate::common::strided_ablation(&k3()) {
        check(&case);
    }
}

#[test]
fn exchange_switched_off() {
    for case in crate::common::exchange_switched_off(&k3()) {
        check(&case);
    }
}

#[test]
fn types() {
    check_types(&image(k3().bias(true), 9, 8));
    // Vectors of one and of two channels hold halves in words of their own.
    check_types(&image(split((3, 0), (1, 0)).kernel([3, 3]).same_padding().bias(true), 7, 8));
    check_types(&image(split((3, 0), (2, 0)).kernel([3, 1]).same_padding().bias(true), 7, 8));
}

#[test]
fn types_of_every_tensor() {
    let options = Options { pooled_input: true, pooled_output: true, ..Options::default() };
    let spec = k3().residual(true, true).stride(2).activation(Activation::Relu);
    check_types(&Case { options, batch_norm: true, ..image(spec, 9, 7) });
}

/// Limits of which one is 3: grids of more than 3 workgroups fold into rows.
fn narrow_limits() -> wgpu::Limits {
    wgpu::Limits { max_compute_workgroups_per_dimension: 3, ..wgpu::Limits::default() }
}

#[test]
fn folded_grids() {
    let context = open(&ContextOptions { limits: Some(narrow_limits()), ..ContextOptions::default() });
    // 3, 5 and 7 workgroups: in a row, and in rows of 3 of which the last has 1 and 2 too many. Those would write into
    // the second sample.
    for (output, grid) in [((16, 4), "x: 3, y: 1"), ((24, 9), "x: 3, y: 2"), ((40, 9), "x: 3, y: 3")] {
        let spec = split((3, 2), output).kernel([3, 3]).same_padding().bias(true);
        let variant = Some("fused/direct/t8c2h2w".parse().unwrap());
        let options = Options { variant, ..Options::default() };
        let case = Case { options, ..case(spec, InputSize::image(2, 4, 3)) };
        let plan = context.engine().plan(&case.spec, case.size, &case.options).unwrap();
        assert!(format!("{plan:?}").contains(&format!("Grid {{ {grid} }}")), "{grid} is not in {plan:?}");
        check_one(&context, &case);
    }
    // Pooling, replicating and adding fold too.
    let options = Options { pooled_output: true, ..Options::default() };
    let case = Case { options, ..image(split((60, 2), (24, 2)), 4, 4) };
    let kernels = check_on(&context, &case, |variant| variant.family == family("direct"));
    for kernel in ["pool", "upsample", "add"] {
        assert!(kernels.iter().any(|name| name == kernel), "no {kernel} in {kernels:?}");
    }
}

#[test]
fn grids_that_cannot_fold() {
    let facts = DeviceFacts { limits: narrow_limits(), ..DeviceFacts::default() };
    let plan = |h, w| Plan::new(&k3().build().unwrap(), InputSize::image(1, h, w), &Options::default(), &facts);
    assert!(plan(8, 8).is_ok());
    let error = plan(200, 200).unwrap_err().to_string();
    let limit = "but max_compute_workgroups_per_dimension squared is 9";
    assert!(error.starts_with("the layer's output, in workgroups, needs ") && error.ends_with(limit), "{error}");
}

#[test]
fn eight_storage_buffers() {
    let context = open(&ContextOptions { default_device: true, ..ContextOptions::default() });
    assert_eq!(context.engine().facts().limits.max_storage_buffers_per_shader_stage, 8);
    // Weights, three inputs, two residuals and three outputs.
    let options = Options { pooled_input: true, pooled_output: true, ..Options::default() };
    let case = Case { options, ..image(k3().residual(true, true), 8, 9) };
    let plans = Plan::candidates(&case.spec, case.size, &case.options, context.engine().facts());
    let strategies: HashSet<_> = plans.iter().map(|plan| plan.variant().strategy).collect();
    assert_eq!(
        strategies,
        HashSet::from([Strategy::Split, Strategy::LowFirst, Strategy::Transform, Strategy::Unfused])
    );
    check_tiles(&context, &case, |variant| variant.tile == Some("t8c2h2w"));
}

/// Every tile, on maps that none of them divides, with every path and every kind of output.
#[test]
fn every_tile() {
    let options = Options { pooled_output: true, ..Options::default() };
    let residuals = split((6, 8), (21, 19)).kernel([3, 3]).same_padding().bias(true).residual(true, true);
    let narrow = split((4, 4), (12, 4)).kernel([3, 3]).same_padding().groups(2);
    let strided = split((4, 2), (20, 6)).kernel([5, 5]).stride(2).same_padding();
    // A strategy each: how a layer is cut and what a thread makes are independent of each other. Even widths too, whose
    // columns software devices read and write in pairs.
    for (spec, w, strategy) in [
        (residuals, 20, Strategy::Fused),
        (split((8, 4), (36, 20)), 16, Strategy::LowFirst),
        (narrow, 13, Strategy::Split),
        (strided, 24, Strategy::PoolFirst),
    ] {
        let wanted = |variant: Variant| variant.family == family("direct") && variant.strategy == strategy;
        check_tiles(context(), &Case { options, ..image(spec, 11, w) }, wanted);
    }
}

/// Where odd sizes are floored, the last column of Y_H repeats the last of L->H's sums, also where an earlier dispatch made
/// them and their rows have an even length.
#[test]
fn floored_sums_of_an_earlier_dispatch() {
    let spec = split((3, 2), (6, 5)).kernel([3, 3]).same_padding().rounding(Rounding::Floor);
    for (h, w) in [(9, 9), (5, 13)] {
        let wanted = |variant: Variant| variant.family == family("direct") && variant.strategy == Strategy::LowFirst;
        check_tiles(context(), &image(spec.clone(), h, w), wanted);
    }
}

#[test]
fn slices_of_larger_tensors() {
    let [high_slice, low_slice] = [Slice { first: 3, of: 12 }, Slice { first: 0, of: 5 }].map(Some);
    for options in [
        Options { high_slice, low_slice, ..Options::default() },
        Options { low_slice, pooled_output: true, ..Options::default() },
    ] {
        let spec = split((3, 2), (6, 5)).kernel([3, 3]).same_padding().bias(true);
        check(&Case { options, ..case(spec.clone(), InputSize::image(2, 9, 6)) });
        check(&Case { options, ..case(spec.stride(2), InputSize::image(2, 8, 7)) });
    }
}

/// Threads side by side along the channels: maps that count as one row, of even and odd planes, whose tiles reach beyond
/// the last position; 2x2 positions that are pooled and start from sums; channels that fill no block, and several blocks.
#[test]
fn threads_along_the_channels() {
    let pooled = |pooled_input| Options { pooled_input, pooled_output: true, ..Options::default() };
    let [high_slice, low_slice] = [Slice { first: 1, of: 11 }, Slice { first: 2, of: 7 }].map(Some);
    let slices = Options { high_slice, low_slice, ..Options::default() };
    let none = Options::default();
    let k1 = || split((5, 4), (6, 3));
    let all = || split((6, 4), (10, 9)).bias(true).residual(true, true).activation(Activation::Relu);
    let plain = || split((6, 0), (70, 0)).bias(true).residual(true, false);
    let clip = || split((4, 2), (6, 3));
    let time = TimeAxis { kernel: 1, stride: 2, padding: 0, dilation: 1 };
    let strided = k1().downsample(Downsample::StridedConv);
    let image = InputSize::image;
    for (variant, spec, options, size) in [
        ("fused/direct/tc4c1h28w", plain(), none, image(2, 7, 7)),
        ("fused/direct/tc4c2h14w+tc4c1h28w", plain(), pooled(false), image(1, 9, 15)),
        ("fused/direct/tc4c1h28w", split((5, 0), (9, 0)), none, image(2, 5, 7)),
        ("fused/direct/tc8c1h28w", split((4, 0), (9, 0)), none, image(1, 1, 1)),
        ("fused/direct/tc4c1h28w", split((4, 0), (3, 0)), none, InputSize::video(2, 3, 5, 6)),
        ("low-first/direct/tc8c2h14w+tc8c1h28w", all(), pooled(true), image(2, 14, 14)),
        ("low-first/direct/tc8c4h4w+tc8c1h28w", all(), pooled(false), image(1, 6, 30)),
        ("low-first/direct/t16c2h2w+tc8c1h28w", all(), pooled(true), image(1, 6, 10)),
        ("low-first/direct/tc4c2h14w+tc4c1h28w", all().rounding(Rounding::Floor), pooled(true), image(1, 9, 13)),
        ("fused/direct/tc8c2h14w+tc8c1h28w", all(), pooled(true), image(2, 14, 14)),
        ("fused/direct/tc8c4h4w+tc8c1h28w", all(), pooled(true), image(1, 6, 30)),
        ("fused/direct/tc4c2h14w+tc4c1h28w", all().rounding(Rounding::Floor), pooled(true), image(1, 9, 13)),
        ("split/direct/tc8c4h4w+tc8c1h28w", all().rounding(Rounding::Floor), pooled(true), image(1, 5, 9)),
        ("split/direct/tc4c2h14w+tc4c1h28w", clip().time(time), pooled(true), InputSize::video(1, 4, 5, 6)),
        ("pool-first/direct/tc4c2h14w+tc4c1h28w", all(), none, image(1, 7, 30)),
        ("pool-first/direct/tc4c1h28w", all().stride(2), none, image(1, 12, 10)),
        ("pool-first/direct/tc4c2h14w+tc4c1h28w", k1().stride(2), pooled(true), image(2, 11, 13)),
        ("low-first/direct/tc4c2h14w+tc4c1h28w", strided, none, image(1, 8, 12)),
        ("low-first/direct/tc4c2h14w+tc4c1h28w", k1(), slices, image(2, 9, 6)),
        ("low-first/direct/tc4c2h14w+tc4c1h28w", clip(), none, InputSize::video(2, 3, 5, 6)),
        ("low-first/direct/tc4c2h14w+tc4c1h28w", clip().time(time), none, InputSize::video(1, 4, 5, 6)),
    ] {
        let options = Options { variant: Some(variant.parse().unwrap()), ..options };
        let kernels = check_one(context(), &Case { options, ..case(spec, size) });
        assert!(kernels.iter().any(|kernel| kernel.starts_with("direct tc")), "{kernels:?}");
    }
    let variant = Some("low-first/direct/tc4c2h14w+tc4c1h28w".parse().unwrap());
    for case in crate::common::in_all_types(&case(all(), image(1, 6, 14))) {
        check_one(context(), &Case { options: Options { variant, ..case.options }, ..case });
    }
}

/// They are for software devices, where they have neighbours' inputs for nothing.
#[test]
fn threads_along_the_channels_are_for_software() {
    let spec = split((6, 4), (10, 9)).build().unwrap();
    let size = InputSize::image(1, 14, 14);
    let along = |software| {
        let facts = DeviceFacts { software, ..DeviceFacts::default() };
        let plans = Plan::candidates(&spec, size, &Options::default(), &facts);
        plans.iter().any(|plan| plan.kernels().iter().any(|kernel| kernel.starts_with("direct tc")))
    };
    assert_eq!([true, false].map(along), [true, false]);
}
