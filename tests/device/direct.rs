//! What the direct kernel alone has.

use std::collections::HashSet;

use octconv::verify::Case;
use octconv::{
    Activation, ContextOptions, DeviceFacts, Downsample, InputSize, Options, Plan, Rounding, Spec, SpecBuilder,
    Strategy, Variant, wgpu,
};

use crate::cases::{self, TYPES, at, octave, octave1, sized, split};
use crate::harness::{
    self, Device, candidates, case, check_as, compare, compare_all, device, family, forced, open, tile,
};

/// Large tiles where there is work for them, small ones where there is not.
pub fn planners_tiles() {
    let tile = |spec: SpecBuilder, side| {
        let case = forced(case(at(spec, [side, side])), "pool-first/direct");
        compare(harness::context(), &case).variant.tile.unwrap()
    };
    let many = tile(Spec::builder(24, 40).alpha(0.5, 0.25).kernel([3, 3]).same_padding(), 28);
    let few = tile(Spec::builder(6, 70).alpha(0.5, 0.5).kernel([3, 3]).same_padding(), 4);
    assert_ne!(many, few);
}

/// Limits of which one is 3: grids of more than 3 workgroups fold into rows.
fn narrow_limits() -> wgpu::Limits {
    wgpu::Limits { max_compute_workgroups_per_dimension: 3, ..wgpu::Limits::default() }
}

pub fn narrow_grids() {
    let context = open(&ContextOptions { limits: Some(narrow_limits()), ..ContextOptions::default() });
    // In a row, and in rows of 3 of which the last has 1 and 2 too many. Those would write into the second sample.
    for (output, workgroups) in [((16, 4), 3), ((24, 9), 5), ((40, 9), 7)] {
        let row = sized(cases::k3((3, 2), output).bias(true), InputSize::image(2, 4, 3));
        let case = forced(case(row), &format!("fused/direct/{}", tile::DIRECT_SMALL));
        assert_eq!(harness::workgroups(&case), workgroups);
        compare(&context, &case);
    }
    // Pooling, replicating and adding fold too.
    let case = case(at(split((60, 2), (24, 2)), [4, 4]));
    let case = Case { options: Options { pooled_output: true, ..case.options }, ..case };
    let small = |variant: &Variant| variant.family == family("direct") && variant.tile == Some(tile::DIRECT_SMALL);
    let variants = candidates(&context, &case).into_iter().map(|plan| plan.variant()).filter(small);
    let kernels = compare_all(&context, &case, variants);
    for kernel in ["pool", "upsample", "add"] {
        assert!(kernels.iter().any(|name| name == kernel), "no {kernel} in {kernels:?}");
    }
}

pub fn grids_that_cannot_fold() {
    let facts = DeviceFacts { limits: narrow_limits(), ..DeviceFacts::default() };
    let plan = |h, w| Plan::new(&octave().build().unwrap(), InputSize::image(1, h, w), &Options::default(), &facts);
    assert!(plan(8, 8).is_ok());
    let error = plan(200, 200).unwrap_err().to_string();
    let limit = "but max_compute_workgroups_per_dimension squared is 9";
    assert!(error.starts_with("the layer's output, in workgroups, needs ") && error.ends_with(limit), "{error}");
}

pub fn eight_storage_buffers() {
    let context = open(&ContextOptions { default_device: true, ..ContextOptions::default() });
    assert_eq!(context.engine().facts().limits.max_storage_buffers_per_shader_stage, 8);
    // Weights, three inputs, two residuals and three outputs.
    let case = case(at(octave().residual(true, true), [8, 9]));
    let case = Case { options: Options { pooled_input: true, pooled_output: true, ..case.options }, ..case };
    let variants: Vec<_> = candidates(&context, &case).iter().map(Plan::variant).collect();
    let strategies: HashSet<_> = variants.iter().map(|variant| variant.strategy).collect();
    let wanted = [Strategy::Split, Strategy::LowFirst, Strategy::Transform, Strategy::Unfused];
    assert_eq!(strategies, HashSet::from(wanted));
    compare_all(&context, &case, variants.into_iter().filter(|variant| variant.tile == Some(tile::DIRECT_SMALL)));
}

/// Threads side by side along the channels: maps that count as one row, of even and odd planes, whose tiles reach beyond
/// the last position; 2x2 positions that are pooled and start from sums; channels that fill no block, and several blocks.
pub fn threads_along_the_channels() {
    let all = || split((6, 4), (10, 9)).bias(true).residual(true, true).activation(Activation::Relu);
    let plain = || split((6, 0), (70, 0)).bias(true).residual(true, false);
    let clip = || split((4, 2), (6, 3));
    let time = octconv::TimeAxis { kernel: 1, stride: 2, padding: 0, dilation: 1 };
    let strided = octave1().downsample(Downsample::StridedConv);
    let floor = Rounding::Floor;
    let image = InputSize::image;
    let row = |spec: SpecBuilder, size| sized(spec, size);
    for (strategy, tile, row) in [
        ("fused", tile::C1, row(plain(), image(2, 7, 7))),
        ("fused", tile::C2, row(plain(), image(1, 9, 15)).pooled(false, true)),
        ("fused", tile::C1, row(split((5, 0), (9, 0)), image(2, 5, 7))),
        ("fused", tile::C1_WIDE, row(split((4, 0), (9, 0)), image(1, 1, 1))),
        ("fused", tile::C1, row(split((4, 0), (3, 0)), InputSize::video(2, 3, 5, 6))),
        ("low-first", tile::C2_WIDE, row(all(), image(2, 14, 14)).pooled(true, true)),
        ("low-first", tile::C4_WIDE, row(all(), image(1, 6, 30)).pooled(false, true)),
        ("low-first", tile::C_LOW, row(all(), image(1, 6, 10)).pooled(true, true)),
        ("low-first", tile::C2, row(all().rounding(floor), image(1, 9, 13)).pooled(true, true)),
        ("fused", tile::C2_WIDE, row(all(), image(2, 14, 14)).pooled(true, true)),
        ("fused", tile::C4_WIDE, row(all(), image(1, 6, 30)).pooled(true, true)),
        ("fused", tile::C2, row(all().rounding(floor), image(1, 9, 13)).pooled(true, true)),
        ("split", tile::C4_WIDE, row(all().rounding(floor), image(1, 5, 9)).pooled(true, true)),
        ("split", tile::C2, row(clip().time(time), InputSize::video(1, 4, 5, 6)).pooled(true, true)),
        ("pool-first", tile::C2, row(all(), image(1, 7, 30))),
        ("pool-first", tile::C1, row(all().stride(2), image(1, 12, 10))),
        ("pool-first", tile::C2, row(octave1().stride(2), image(2, 11, 13)).pooled(true, true)),
        ("low-first", tile::C2, row(strided, image(1, 8, 12))),
        ("low-first", tile::C2, row(octave1(), image(2, 9, 6)).slices(Some([1, 11]), Some([2, 7]))),
        ("low-first", tile::C2, row(clip(), InputSize::video(2, 3, 5, 6))),
        ("low-first", tile::C2, row(clip().time(time), InputSize::video(1, 4, 5, 6))),
    ] {
        // They are for software devices, where they have neighbours' inputs for nothing.
        if harness::context().engine().facts().software {
            check_as(&format!("{strategy}/direct/{tile}"), case(row));
        }
    }
}

pub fn threads_along_the_channels_in_all_types() {
    let spec = split((6, 4), (10, 9)).bias(true).residual(true, true).activation(Activation::Relu);
    for precision in TYPES {
        let context = device(Device::AsItIs, precision.activations);
        let fits = precision.activations == octconv::Dtype::F32 || harness::has_f16(context);
        if fits && context.engine().facts().software {
            let case = case(at(spec.clone(), [6, 14]));
            let case = Case { options: Options { precision, ..case.options }, ..case };
            compare(context, &forced(case, &format!("low-first/direct/{}", tile::C2)));
        }
    }
}

pub fn threads_along_the_channels_are_for_software() {
    let spec = split((6, 4), (10, 9)).build().unwrap();
    let along = |software| {
        let facts = DeviceFacts { software, ..DeviceFacts::default() };
        let plans = Plan::candidates(&spec, InputSize::image(1, 14, 14), &Options::default(), &facts);
        plans.iter().any(|plan| plan.variant().tile.is_some_and(|tile| tile::ALONG_CHANNELS.contains(&tile)))
    };
    assert_eq!([true, false].map(along), [true, false]);
}
