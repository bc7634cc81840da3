//! The staged kernel, against the reference. What is no constant of its source (sizes, kernels, padding, time, slices)
//! costs no compilation and is tried in every variant; what is a constant, where it matters.

use crate::common::{
    ALPHAS, TYPES, all_activations, case, check_on, context, family, image, of_kernel, open, runs_f16, split,
};
use octconv::verify::Case;
use octconv::{
    Activation, ContextOptions, DeviceFacts, Downsample, Dtype, InputSize, Options, Plan, Precision, Rounding, Slice,
    Spec, SpecBuilder, TimeAxis, wgpu,
};

/// Every variant, each in the tile that the planner likes best.
fn check(case: &Case) {
    check_on(context(), case, of_kernel(family("staged")));
}

/// One variant.
fn check_as(variant: &str, case: &Case) {
    check_in(context(), variant, case);
}

fn check_in(context: &octconv::Context, variant: &str, case: &Case) {
    let variant = Some(variant.parse().unwrap());
    crate::common::check_one(context, &Case { options: Options { variant, ..case.options }, ..case.clone() });
}

fn check_fused(case: &Case) {
    check_as("fused/staged/g32c32p-t4c4p", case);
}

/// 3x3 with the padding that keeps sizes, half of the channels at half of the resolution, no whole slab of them.
fn k3() -> SpecBuilder {
    split((9, 17), (6, 35)).kernel([3, 3]).same_padding()
}

#[test]
fn alpha_at_both_ends_and_between() {
    for [alpha_in, alpha_out] in ALPHAS {
        let spec = Spec::builder(10, 12).alpha(alpha_in, alpha_out).bias(true);
        check_fused(&image(spec.kernel([3, 3]).same_padding(), 10, 12));
    }
}

#[test]
fn sizes() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(9, 11), (7, 10), (10, 7), (2, 2), (3, 2), (2, 9), (20, 24)] {
            check(&image(k3().rounding(rounding), h, w));
        }
    }
    for (h, w) in [(1, 1), (1, 9), (9, 1), (2, 1), (1, 2), (3, 1)] {
        check(&image(k3(), h, w));
    }
}

#[test]
fn stride_two() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(9, 11), (10, 13), (6, 7), (5, 5), (16, 16)] {
            check(&image(k3().rounding(rounding).stride(2), h, w));
        }
    }
    for [alpha_in, alpha_out] in [[0.0, 0.5], [0.5, 0.0], [1.0, 0.5]] {
        check_fused(&image(Spec::builder(8, 10).alpha(alpha_in, alpha_out).stride(2), 12, 8));
    }
}

#[test]
fn kernels_dilation_and_padding() {
    for kernel in [[5, 3], [1, 7]] {
        for dilation in [[1, 1], [2, 3]] {
            check_fused(&image(k3().kernel(kernel).dilation(dilation).same_padding(), 11, 14));
        }
    }
    let plain = split((9, 0), (6, 0));
    for kernel in [[1, 1], [4, 3], [2, 2]] {
        check_fused(&image(plain.clone().kernel(kernel).dilation([1, 2]).padding([3, 2]), 11, 14));
    }
    // No padding: no tap lies outside.
    check_fused(&image(plain.clone().kernel([3, 2]), 9, 8));
    check_fused(&image(plain.kernel([3, 2]).dilation([2, 3]), 9, 8));
}

#[test]
fn batches_frames_and_slices() {
    check_fused(&case(k3(), InputSize::image(3, 7, 6)));
    for time in [
        TimeAxis { kernel: 3, stride: 1, padding: 1, dilation: 1 },
        TimeAxis { kernel: 2, stride: 2, padding: 0, dilation: 2 },
    ] {
        check_fused(&case(k3().time(time), InputSize::video(2, 5, 5, 6)));
        check_as("low-first/staged/g32c32p-t4c4p", &case(k3().time(time), InputSize::video(2, 4, 5, 6)));
    }
    let [high_slice, low_slice] = [Slice { first: 3, of: 12 }, Slice { first: 0, of: 38 }].map(Some);
    let options = Options { high_slice, low_slice, ..Options::default() };
    check_fused(&Case { options, ..case(k3(), InputSize::image(2, 9, 6)) });
    check_as("low-first/staged/g32c32p-t4c4p", &Case { options, ..case(k3(), InputSize::image(2, 9, 6)) });
}

#[test]
fn activations_and_batch_norm() {
    for activation in all_activations() {
        let spec = split((2, 0), (3, 0)).bias(true).activation(activation);
        check_fused(&Case { batch_norm: true, ..image(spec, 8, 8) });
    }
    check_as(
        "low-first/staged/g32c32p-t4c4p",
        &Case { batch_norm: true, ..image(k3().activation(Activation::Relu), 8, 8) },
    );
}

#[test]
fn residuals_and_pooled_maps() {
    let spec = k3().residual(true, true).activation(Activation::Relu);
    let pooled_output = Options { pooled_output: true, ..Options::default() };
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(7, 9), (8, 6)] {
            let case = Case { options: pooled_output, ..image(spec.clone().rounding(rounding), h, w) };
            check_fused(&case);
            check_as("low-first/staged/g32c32p-t4c4p", &case);
        }
    }
    let pooled_input = Options { pooled_input: true, ..Options::default() };
    check_fused(&Case { options: pooled_input, ..image(k3(), 9, 6) });
    check_fused(&Case { options: pooled_input, ..image(k3().stride(2), 9, 6) });
}

#[test]
fn strided_ablation_and_exchange_switched_off() {
    let strided = k3().downsample(Downsample::StridedConv);
    check_fused(&image(strided.clone(), 9, 11));
    check_fused(&image(strided.stride(2), 9, 11));
    check_fused(&image(k3().high_to_low(false), 9, 6));
    check_fused(&image(k3().low_to_high(false), 9, 6));
}

#[test]
fn types() {
    for [activations, weights] in TYPES {
        if activations == Dtype::F16 && !runs_f16(context()) {
            continue;
        }
        let options = Options {
            precision: Precision { activations, weights, ..Precision::default() },
            pooled_output: true,
            ..Options::default()
        };
        let case = Case { options, ..image(k3().bias(true).residual(true, true), 9, 8) };
        check_fused(&case);
        check_as("low-first/staged/g32c32p-t4c4p", &case);
    }
}

/// On maps that none of them divides, with more blocks than one of channels and of cells, and some that stand idle.
#[test]
fn every_tile() {
    let spec = split((11, 5), (140, 70)).kernel([3, 3]).same_padding();
    let tiles = family("staged").tiles();
    assert_eq!(tiles.len(), 6);
    for tile in tiles {
        check_as(&format!("fused/staged/{tile}"), &image(spec.clone(), 19, 15));
    }
    check_as("low-first/staged/g128c128p-t8c8p", &image(spec, 19, 15));
}

/// Channels, positions and slabs that divide: nothing is masked.
#[test]
fn no_edges() {
    for tile in ["g32c32p-t4c4p", "g128c128p-t8c8p"] {
        let case = image(split((16, 32), (128, 128)), 32, 32);
        let variant = format!("fused/staged/{tile}");
        let options = Options { variant: Some(variant.parse().unwrap()), ..Options::default() };
        let plan = Plan::new(&case.spec, case.size, &options, context().engine().facts()).unwrap();
        let source = plan.sources().concat();
        for flag in ["HIGH_EDGES", "LOW_EDGES", "HH_RAGGED", "HL_RAGGED", "LH_RAGGED", "LL_RAGGED", "PADDED"] {
            assert!(source.contains(&format!("const {flag}: bool = false;")), "{flag} is not off in\n{source}");
        }
        check_as(&variant, &case);
    }
}

#[test]
fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 3, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    // 4 workgroups of Y_H and 1 of Y_L, in rows of 3.
    check_in(&context, "fused/staged/g32c32p-t4c4p", &image(split((3, 2), (40, 9)).bias(true), 8, 7));
}

/// Workgroup memory pays on a GPU, where many channels share what is read; a software device has none that is faster.
#[test]
fn chosen_on_gpus_alone() {
    let wide = Spec::builder(512, 128).alpha(0.5, 0.5);
    let spec = wide.build().unwrap();
    let planned = |software| {
        let facts = DeviceFacts { software, ..DeviceFacts::default() };
        Plan::new(&spec, InputSize::image(32, 28, 28), &Options::default(), &facts).unwrap().variant().family
    };
    assert_eq!(planned(false), family("staged"));
    assert_ne!(planned(true), family("staged"));
}

/// The message with which a layer is refused, forced into `variant` with these limits.
fn refusal(variant: &str, spec: SpecBuilder, limits: wgpu::Limits) -> String {
    let options = Options { variant: Some(variant.parse().unwrap()), ..Options::default() };
    let facts = DeviceFacts { limits, ..DeviceFacts::default() };
    Plan::new(&spec.build().unwrap(), InputSize::image(1, 8, 8), &options, &facts).unwrap_err().to_string()
}

#[test]
fn what_it_refuses() {
    let limits = wgpu::Limits::default();
    let grouped = refusal("fused/staged", split((4, 4), (4, 4)).groups(2), limits.clone());
    assert_eq!(grouped, "variant fused/staged cannot run this layer: the staged kernel needs one group");
    let narrow = refusal("fused/staged/g128c128p-t8c8p", split((4, 4), (64, 64)), limits.clone());
    assert!(narrow.ends_with("half of the tile g128c128p-t8c8p or more would be idle"), "{narrow}");
    let small = wgpu::Limits { max_compute_workgroup_storage_size: 8000, ..limits.clone() };
    let storage = refusal("fused/staged/g32c32p-t4c4p", k3(), small);
    let wanted = "the tile g32c32p-t4c4p, in bytes of workgroup memory, needs 8192, but max_compute_workgroup_storage_size is 8000";
    assert_eq!(storage, wanted);
    let small = wgpu::Limits { max_compute_invocations_per_workgroup: 32, ..limits };
    let threads = refusal("fused/staged/g32c32p-t4c4p", k3(), small);
    let wanted = "the tile g32c32p-t4c4p, in threads, needs 64, but max_compute_invocations_per_workgroup is 32";
    assert_eq!(threads, wanted);
}
