//! The pointwise kernel, against the reference: each theme in every variant that the planner has for its layers.

use crate::common::{
    ALPHAS, all_activations, case, check_on, check_tiles, context, family, image, of_kernel, open, split,
};
use octconv::verify::Case;
use octconv::{
    Activation, ContextOptions, DeviceFacts, Downsample, Dtype, InputSize, Options, Plan, Precision, Rounding, Slice,
    Spec, SpecBuilder, TimeAxis, wgpu,
};

fn check(case: &Case) -> Vec<String> {
    check_on(context(), case, of_kernel(family("pointwise")))
}

fn check_types(case: &Case) {
    crate::common::check_types(case, of_kernel(family("pointwise")));
}

/// 1x1, half of the channels at half of the resolution.
fn k1() -> SpecBuilder {
    split((5, 4), (6, 3))
}

#[test]
fn alpha_at_both_ends_and_between() {
    for [alpha_in, alpha_out] in ALPHAS {
        check(&image(Spec::builder(10, 12).alpha(alpha_in, alpha_out).bias(true), 10, 12));
    }
}

#[test]
fn stride_two() {
    for [alpha_in, alpha_out] in ALPHAS {
        check(&image(Spec::builder(8, 10).alpha(alpha_in, alpha_out).stride(2), 12, 8));
    }
}

#[test]
fn odd_sizes_rounded_up_and_down() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(9, 11), (7, 10), (10, 7)] {
            check(&image(k1().rounding(rounding), h, w));
            check(&image(k1().rounding(rounding).stride(2), h, w));
        }
        check(&image(k1().rounding(rounding).stride(2), 6, 13));
    }
}

#[test]
fn one_sided_layers_of_odd_sizes() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (input, output) in [((4, 0), (3, 2)), ((2, 3), (4, 0)), ((0, 3), (4, 2)), ((4, 0), (0, 3))] {
            check(&image(split(input, output).rounding(rounding), 9, 7));
        }
    }
}

#[test]
fn one_pixel_and_one_row() {
    for (h, w) in [(1, 1), (1, 9), (9, 1), (2, 1), (1, 2), (3, 1)] {
        check(&image(k1(), h, w));
        check(&image(k1().stride(2), h, w));
    }
    for (h, w) in [(2, 2), (3, 2), (2, 9)] {
        check(&image(k1().rounding(Rounding::Floor), h, w));
    }
}

#[test]
fn channels_that_fill_no_vector() {
    for (input, output) in [((1, 2), (3, 5)), ((7, 1), (2, 7)), ((5, 3), (1, 1)), ((3, 7), (7, 3)), ((13, 6), (9, 17))]
    {
        check(&image(split(input, output).bias(true), 8, 6));
    }
}

#[test]
fn many_blocks_of_channels_and_positions() {
    let kernels = check(&image(Spec::builder(24, 70).alpha(0.5, 0.5), 14, 14));
    assert!(kernels.iter().any(|kernel| kernel.starts_with("pointwise")), "{kernels:?}");
    // Many more blocks on one side than on the other.
    check(&image(split((9, 3), (70, 2)), 6, 6));
    check(&image(split((9, 3), (2, 70)), 6, 6));
}

#[test]
fn batches_and_frames() {
    let time = TimeAxis { kernel: 1, stride: 2, padding: 0, dilation: 1 };
    check(&case(k1(), InputSize::image(3, 7, 6)));
    check(&case(k1(), InputSize::video(2, 3, 5, 6)));
    check(&case(k1().time(time), InputSize::video(2, 5, 5, 6)));
    check(&case(k1().time(time).stride(2), InputSize::video(2, 4, 6, 5)));
}

#[test]
fn frames_before_and_after() {
    // Padding or a kernel in time is not for the pointwise kernel.
    for (kernel, padding) in [(1, 1), (3, 1)] {
        let time = TimeAxis { kernel, stride: 1, padding, dilation: 1 };
        let kernels = check(&case(k1().time(time), InputSize::video(1, 3, 4, 6)));
        assert!(!kernels.iter().any(|kernel| kernel.starts_with("pointwise")), "{kernels:?}");
    }
}

#[test]
fn activations_and_batch_norm() {
    for activation in all_activations() {
        let spec = split((2, 1), (2, 1)).bias(true).activation(activation);
        let options = Options { variant: Some("fused/pointwise".parse().unwrap()), ..Options::default() };
        let case = Case { batch_norm: true, options, ..image(spec, 8, 8) };
        crate::common::check_one(context(), &case);
    }
    check(&Case { batch_norm: true, ..image(k1().activation(Activation::Relu), 8, 8) });
}

#[test]
fn residuals() {
    for (high, low) in [(true, false), (false, true), (true, true)] {
        let options = Options { pooled_output: high, ..Options::default() };
        let spec = k1().residual(high, low).activation(Activation::Relu);
        check(&Case { options, ..image(spec.clone(), 7, 9) });
        check(&Case { options, ..image(spec.stride(2), 8, 9) });
    }
}

#[test]
fn pooled_input() {
    let options = Options { pooled_input: true, ..Options::default() };
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (input, output) in [((5, 4), (6, 3)), ((5, 0), (6, 3)), ((5, 4), (0, 3))] {
            let spec = split(input, output).rounding(rounding);
            check(&Case { options, ..image(spec.clone(), 9, 6) });
            check(&Case { options, ..image(spec.stride(2), 9, 6) });
        }
    }
}

#[test]
fn pooled_output() {
    for case in crate::common::pooled_output(&k1(), &split((3, 2), (5, 0))) {
        check(&case);
    }
}

#[test]
fn strided_ablation() {
    for case in crate::common::strided_ablation(&k1()) {
        check(&case);
    }
}

#[test]
fn exchange_switched_off() {
    for case in crate::common::exchange_switched_off(&k1()) {
        check(&case);
    }
}

#[test]
fn types() {
    check_types(&image(k1().bias(true), 9, 8));
    let options = Options { pooled_input: true, pooled_output: true, ..Options::default() };
    let spec = k1().residual(true, true).stride(2).activation(Activation::Relu);
    check_types(&Case { options, batch_norm: true, ..image(spec, 9, 7) });
}

#[test]
fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 3, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    let case = image(split((3, 2), (40, 9)).bias(true), 4, 3);
    let options = Options { variant: Some("fused/pointwise/t8c2h2w+t8c1h1w".parse().unwrap()), ..case.options };
    let plan = context.engine().plan(&case.spec, case.size, &options).unwrap();
    assert!(!format!("{plan:?}").contains("y: 1 }"), "no fold in {plan:?}");
    check_on(&context, &case, |variant| variant.family == family("pointwise"));
}

#[test]
fn slices_of_larger_tensors() {
    let [high_slice, low_slice] = [Slice { first: 3, of: 12 }, Slice { first: 0, of: 5 }].map(Some);
    for options in [
        Options { high_slice, low_slice, ..Options::default() },
        Options { low_slice, pooled_output: true, ..Options::default() },
    ] {
        let spec = split((3, 2), (6, 5)).bias(true);
        check(&Case { options, ..case(spec.clone(), InputSize::image(2, 9, 6)) });
        check(&Case { options, ..case(spec.stride(2), InputSize::image(2, 8, 7)) });
    }
}

/// Every tile, on maps that none of them divides, with channels for wide tiles and all that unroll differently.
#[test]
fn every_tile() {
    let options = Options { pooled_output: true, ..Options::default() };
    let cases = [
        (split((8, 4), (40, 36)).bias(true).residual(true, true), options),
        (split((6, 3), (40, 9)), options),
        (split((4, 8), (9, 40)).stride(2), Options::default()),
        (split((7, 0), (33, 0)), Options::default()),
    ];
    for (spec, options) in cases {
        check_tiles(context(), &Case { options, ..image(spec, 11, 13) }, of_kernel(family("pointwise")));
    }
}

/// Widths at which a tensor is read or written by pairs of columns and the one beside it is not, and at which threads
/// have cells beyond the edge; with all that an output is made of.
#[test]
fn pairs_of_columns() {
    let pooled = |pooled_input| Options { pooled_input, pooled_output: true, ..Options::default() };
    let [high_slice, low_slice] = [Slice { first: 1, of: 11 }, Slice { first: 2, of: 7 }].map(Some);
    let slices = Options { high_slice, low_slice, ..Options::default() };
    let both = k1().bias(true).residual(true, true).activation(Activation::Relu);
    let two = both.clone().stride(2);
    let cases = [
        // Everything; the high resolution, with a column of cells beyond the edge; the low one.
        (both.clone(), pooled(false), [6, 12]),
        (both.clone(), pooled(true), [5, 10]),
        (both.clone(), pooled(false), [3, 11]),
        // Y_H has more columns than cells of X_L, which is even.
        (both.clone().rounding(Rounding::Floor), pooled(true), [5, 9]),
        // Even and odd widths above a width of 10, 12, and 6.
        (two.clone(), pooled(false), [9, 20]),
        (two.clone(), pooled(true), [6, 23]),
        (two.clone().rounding(Rounding::Floor), pooled(false), [7, 13]),
        (two.clone().downsample(Downsample::StridedConv), Options::default(), [6, 12]),
        (k1(), slices, [5, 12]),
        (k1().stride(2), slices, [5, 16]),
    ];
    let wanted = of_kernel(family("pointwise"));
    for (spec, options, [h, w]) in cases {
        let case = Case { options, ..case(spec, InputSize::image(2, h, w)) };
        check_tiles(context(), &case, |variant| wanted(variant) && variant.tile != Some("t16c2h2w+t16c1h1w"));
    }
    check_tiles(context(), &image(split((4, 4), (18, 17)).bias(true), 4, 10), wanted);
}

/// The tensors of a fused layer that are bound as words of two elements, of which a device has the type `word`.
fn paired(
    spec: SpecBuilder,
    options: Options,
    [h, w]: [u32; 2],
    tile: &str,
    facts: &DeviceFacts,
    word: &str,
) -> String {
    let spec = spec.build().unwrap();
    let options = Options { variant: Some(format!("fused/pointwise/{tile}").parse().unwrap()), ..options };
    let plan = Plan::new(&spec, InputSize::image(1, h, w), &options, facts).unwrap();
    let source = plan.sources().concat();
    // The type of a pair has a name of its own if it is a vector.
    let alias = format!(" = {word};");
    let aliases = source.lines().filter_map(|line| line.strip_prefix("alias ")?.strip_suffix(&alias));
    let types: Vec<_> = aliases.chain([word]).collect();
    let found = source.lines().filter_map(|line| {
        let (variable, element) = line.strip_suffix(">;")?.rsplit_once("_elements: array<")?;
        let number: u32 = variable.split_once("@binding(")?.1.split_once(')')?.0.parse().unwrap();
        Some((number, variable.rsplit(' ').next()?)).filter(|_| types.contains(&element))
    });
    let mut names: Vec<_> = found.collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ")
}

/// Pairs are for tensors whose rows are whole numbers of them: integers on software devices that have those of 64 bits,
/// nothing on others, and vectors on GPUs.
#[test]
fn what_is_paired() {
    let features = wgpu::Features::SHADER_INT64 | wgpu::Features::SHADER_F16;
    let software = DeviceFacts { software: true, features, ..DeviceFacts::default() };
    let simple = DeviceFacts { features: wgpu::Features::SHADER_F16, ..software.clone() };
    let gpu = DeviceFacts { software: false, ..software.clone() };
    let options = Options { pooled_output: true, ..Options::default() };
    let both = || k1().residual(true, true);
    let floor = || both().rounding(Rounding::Floor);
    for (spec, size, tile, expected) in [
        (both(), [6, 12], "t8c2h4w+t8c1h2w", "x_h x_l high_residual low_residual high_y low_y y_p"),
        (both(), [6, 12], "t8c2h2w+t8c1h1w", "x_h high_residual high_y"),
        (both(), [6, 10], "t8c2h4w+t8c1h2w", "x_h high_residual high_y"),
        (both(), [6, 11], "t8c2h4w+t8c1h2w", "x_l low_residual low_y y_p"),
        (both(), [6, 9], "t8c2h4w+t8c1h2w", ""),
        (floor(), [6, 9], "t8c2h4w+t8c1h2w", "low_residual low_y y_p"),
        (both().stride(2), [6, 20], "t8c2h2w+t8c1h1w", "x_h x_l high_residual high_y"),
        (both().stride(2), [6, 24], "t8c2h4w+t8c1h2w", "x_h x_l high_residual low_residual high_y low_y y_p"),
        (both().stride(2), [6, 23], "t8c2h4w+t8c1h2w", "x_l high_residual low_residual high_y low_y y_p"),
    ] {
        let halves = Options { precision: Precision { activations: Dtype::F16, ..options.precision }, ..options };
        for (options, facts, word) in [
            (options, &software, "u64"),
            (halves, &software, "u32"),
            (options, &gpu, "vec2<f32>"),
            (halves, &gpu, "vec2<f16>"),
        ] {
            let found = paired(spec.clone(), options, size, tile, facts, word);
            assert_eq!(found, expected, "{size:?} {tile} {word}");
        }
        for word in ["u64", "u32", "vec2<f32>", "vec2<f16>"] {
            assert_eq!(paired(spec.clone(), options, size, tile, &simple, word), "");
        }
    }
    let strided = k1().stride(2).downsample(Downsample::StridedConv);
    assert_eq!(paired(strided, Options::default(), [6, 12], "t8c2h2w+t8c1h1w", &software, "u64"), "x_l high_y");
}
