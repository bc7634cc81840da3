//! Input channels cut into slices: partial sums by the direct and the staged kernel, and the kernel that adds them up,
//! against the reference.

use std::collections::HashSet;

use crate::common::{
    TYPES, all_activations, case, check_on, check_tiles, context, family, image, open, runs_f16, split,
};
use octconv::verify::Case;
use octconv::{
    Activation, ContextOptions, DeviceFacts, Downsample, Dtype, InputSize, Options, Plan, Precision, Rounding, Slice,
    Spec, SpecBuilder, Strategy, TimeAxis, Variant, wgpu,
};

fn split_k(variant: Variant) -> bool {
    variant.strategy == Strategy::SplitK
}

/// By the direct kernel and, where the layer has one group, by the staged one.
fn check(case: &Case) {
    let kernels = check_on(context(), case, split_k);
    assert!(kernels.iter().any(|name| name == "reduce"), "{kernels:?}");
}

/// Slices that differ in their channels, and no whole slab in the last.
fn k3() -> SpecBuilder {
    split((37, 50), (6, 9)).kernel([3, 3]).same_padding()
}

#[test]
fn sizes_and_strides() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(7, 7), (8, 6), (5, 9)] {
            check(&image(k3().rounding(rounding), h, w));
            check(&image(k3().rounding(rounding).stride(2), h + 2, w + 2));
        }
    }
    check(&image(k3().downsample(Downsample::StridedConv).stride(2), 9, 11));
    check(&image(split((64, 64), (16, 16)), 7, 7));
    check(&case(k3(), InputSize::image(3, 5, 6)));
    let time = TimeAxis { kernel: 3, stride: 2, padding: 1, dilation: 1 };
    check(&case(k3().time(time), InputSize::video(2, 5, 5, 6)));
}

#[test]
fn one_output_or_one_input() {
    for (input, output) in
        [((33, 0), (6, 0)), ((0, 35), (0, 9)), ((33, 0), (0, 9)), ((0, 40), (6, 9)), ((48, 32), (6, 0))]
    {
        check(&image(split(input, output).kernel([3, 3]).same_padding().bias(true), 7, 6));
    }
}

#[test]
fn groups() {
    check(&image(split((64, 96), (8, 6)).groups(2).kernel([3, 3]).same_padding(), 7, 6));
}

#[test]
fn kernels_of_several_windows() {
    check(&image(split((36, 33), (6, 5)).kernel([5, 5]).same_padding(), 7, 6));
    check(&image(split((36, 33), (6, 5)).kernel([3, 3]).dilation([2, 1]).same_padding(), 7, 6));
}

#[test]
fn epilogues() {
    for activation in all_activations() {
        let spec = k3().bias(true).residual(true, true).activation(activation);
        check(&Case { batch_norm: true, ..image(spec, 7, 6) });
    }
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        let options = Options { pooled_output: true, ..Options::default() };
        let spec = k3().rounding(rounding).residual(true, false).activation(Activation::Relu);
        check(&Case { options, ..image(spec, 7, 6) });
    }
    let slice = |first, of| Some(Slice { first, of });
    let options =
        Options { high_slice: slice(3, 12), low_slice: slice(0, 12), pooled_input: true, ..Options::default() };
    check(&Case { options, ..case(k3(), InputSize::image(2, 6, 7)) });
}

#[test]
fn types() {
    for [activations, weights] in TYPES {
        if activations == Dtype::F16 && !runs_f16(context()) {
            // That it is refused, tests/errors.rs says.
            continue;
        }
        let options =
            Options { precision: Precision { activations, weights, ..Precision::default() }, ..Options::default() };
        check(&Case { options, ..image(k3().bias(true), 7, 6) });
    }
    if runs_f16(context()) {
        let half = Dtype::F16;
        let options =
            Options { precision: Precision { activations: half, weights: half, sums: half }, ..Options::default() };
        let kernels = check_on(context(), &Case { options, ..image(k3().bias(true), 7, 6) }, split_k);
        for family in ["direct-f16", "staged-f16"] {
            assert!(kernels.iter().any(|name| name.starts_with(family)), "{family} is not among {kernels:?}");
        }
    }
}

/// Grids of few workgroups a dimension, with some too many in their last rows.
#[test]
fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 5, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    for (output, side) in [((8, 6), 4), ((24, 9), 5)] {
        let case = image(split((37, 50), output).kernel([3, 3]).same_padding(), side, side);
        let small = |variant: Variant| split_k(variant) && matches!(variant.tile, Some("t8c2h2w" | "g32c32p-t4c4p"));
        let kernels = check_tiles(&context, &case, small);
        assert_eq!(kernels.iter().filter(|name| *name == "reduce").count(), 2, "{kernels:?}");
    }
}

#[test]
fn tiles() {
    check_tiles(context(), &image(split((35, 48), (40, 36)), 9, 7), split_k);
}

fn best_on_gpu(spec: SpecBuilder, side: u32) -> Variant {
    let spec = spec.build().unwrap();
    let options = Options { pooled_input: true, ..Options::default() };
    let plan = Plan::new(&spec, InputSize::image(1, side, side), &options, &DeviceFacts::default());
    plan.unwrap().variant()
}

/// Where one output a thread is too little for a GPU, and only there. By estimate.
#[test]
fn small_maps_of_many_channels_are_sliced() {
    let layer = |c_in, c_out, kernel| Spec::builder(c_in, c_out).alpha(0.5, 0.5).kernel([kernel; 2]).same_padding();
    assert_eq!(best_on_gpu(layer(2048, 512, 1), 7).strategy, Strategy::SplitK);
    assert_eq!(best_on_gpu(layer(512, 512, 3), 7).strategy, Strategy::SplitK);
    assert_ne!(best_on_gpu(layer(64, 256, 1), 56).strategy, Strategy::SplitK);
    assert_ne!(best_on_gpu(layer(64, 64, 3), 112).strategy, Strategy::SplitK);
    let sliced = |spec: SpecBuilder, side| {
        let size = InputSize::image(1, side, side);
        let plans = Plan::candidates(&spec.build().unwrap(), size, &Options::default(), &DeviceFacts::default());
        plans.iter().map(Plan::variant).filter(|&v| split_k(v)).map(|v| v.family).collect::<HashSet<_>>()
    };
    assert_eq!(sliced(layer(512, 512, 3), 7), HashSet::from([family("direct"), family("staged")]));
    assert_eq!(sliced(layer(24, 24, 3), 7), HashSet::new());
}
