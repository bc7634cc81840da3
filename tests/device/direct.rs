//! What the direct kernel alone has. The table of layers runs the rest.

use std::collections::HashSet;

use crate::common::{case, check_on, check_one, check_tiles, context, family, image, open, split};
use octconv::verify::Case;
use octconv::{
    Accuracy, Activation, ContextOptions, Downsample, InputSize, Options, Plan, Rounding, Slice, Spec, SpecBuilder,
    Strategy, TimeAxis,
};
use octconv::{DeviceFacts, wgpu};

/// 3x3 with the padding that keeps sizes, half of the channels at half of the resolution.
fn k3() -> SpecBuilder {
    split((5, 4), (6, 3)).kernel([3, 3]).same_padding()
}

/// Large tiles where there is work for them, small ones where there is not.
#[test]
fn the_planners_tiles() {
    let tile = |spec: SpecBuilder, side| {
        let options = Options { variant: Some("pool-first/direct".parse().unwrap()), ..Options::default() };
        let (spec, size) = (spec.kernel([3, 3]).same_padding().build().unwrap(), InputSize::image(1, side, side));
        let facts = DeviceFacts { software: true, ..DeviceFacts::default() };
        Plan::new(&spec, size, &options, &facts).unwrap().variant().tile.unwrap()
    };
    assert!(tile(Spec::builder(24, 40).alpha(0.5, 0.25), 28).contains("4h4w"));
    assert!(!tile(Spec::builder(6, 70).alpha(0.5, 0.5), 4).contains("4h4w"));
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
    let accuracy = Accuracy::Fast;
    let options = Options { pooled_input: true, pooled_output: true, accuracy, ..Options::default() };
    let case = Case { options, ..image(k3().residual(true, true), 8, 9) };
    let plans = Plan::candidates(&case.spec, case.size, &case.options, context.engine().facts());
    let strategies: HashSet<_> = plans.iter().map(|plan| plan.variant().strategy).collect();
    assert_eq!(
        strategies,
        HashSet::from([Strategy::Split, Strategy::LowFirst, Strategy::Transform, Strategy::Unfused])
    );
    check_tiles(&context, &case, |variant| variant.tile == Some("t4c2h2w"));
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
