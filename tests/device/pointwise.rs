//! What the pointwise kernel alone has. The table of layers runs the rest.

use crate::common::{check_on, context, family, image, open, split};
use octconv::verify::Values;
use octconv::{
    ContextOptions, DeviceFacts, Downsample, Dtype, InputSize, Options, Plan, Precision, Rounding, SpecBuilder,
    TimeAxis, wgpu,
};

/// 1x1, half of the channels at half of the resolution.
fn k1() -> SpecBuilder {
    split((5, 4), (6, 3))
}

#[test]
fn padding_or_a_kernel_in_time_is_not_for_it() {
    let has_pointwise = |kernel, padding| {
        let time = TimeAxis { kernel, stride: 1, padding, dilation: 1 };
        let spec = k1().time(time).build().unwrap();
        let facts = DeviceFacts::default();
        let plans = Plan::candidates(&spec, InputSize::video(1, 3, 4, 6), &Options::default(), &facts);
        plans.iter().any(|plan| plan.variant().family == family("pointwise"))
    };
    assert!(has_pointwise(1, 0) && !has_pointwise(1, 1) && !has_pointwise(3, 1));
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

/// It pools X_H itself, even if pool(X_H) is given. Elements that cancel in a mean leave their rounding errors in the sum.
#[test]
fn pools_what_cancels() {
    let mut case = image(split((1, 1), (3, 2)), 64, 64);
    case.options.pooled_input = true;
    case.values = Values::Largest;
    check_on(context(), &case, |_| true);
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
