//! What the matrix kernel alone has: windows, slabs, subgroups without a piece. Without matrix units plans are checked, and
//! what would run on them is counted as missing.

use octconv::verify::Case;
use octconv::{
    ContextOptions, DeviceFacts, Downsample, Dtype, Error, InputSize, Options, Plan, Precision, Rounding, SpecBuilder,
    Strategy, TimeAxis, Variant, wgpu,
};

use crate::cases::{at, k3, sized, split};
use crate::harness::tile::{MATRIX_LARGE, MATRIX_SMALL, MATRIX_SQUARE};
use crate::harness::{
    self, Device, booleans, case, compare, compare_all, context, device, family, forced, halves, has_matrix_units,
    numbers, open,
};

/// All taps from one window, or one tap a step: paddings that are odd, where pairs of columns straddle cells, and even,
/// rows of pairs and others, windows that reach over several rows of cells, maps too small for them; frames of both.
pub fn windows_and_taps() {
    let plain = || split((9, 0), (18, 0)).bias(true);
    // Of the device, where it can; and of a GPU, where nothing runs.
    let run = |spec: SpecBuilder, size: InputSize, windowed: bool| {
        let case = halves(case(sized(spec, size)));
        let variant = format!("fused/matrix/{MATRIX_SQUARE}");
        let mut kernels = plan(case.clone(), &variant, &small_sides()).unwrap().kernels();
        let context = device(Device::AsItIs, Dtype::F16);
        if has_matrix_units(context) {
            kernels.extend(compare(context, &forced(case.clone(), &variant)).kernels);
        }
        assert!(kernels.iter().all(|kernel| kernel.ends_with("windows") == windowed), "{kernels:?} of {case:?}");
    };
    for (kernel, padding, dilation, windowed) in [
        ([3, 3], [1, 1], [1, 1], true),
        ([3, 3], [0, 0], [1, 1], true),
        ([3, 3], [0, 2], [1, 1], true),
        ([2, 2], [1, 0], [1, 1], true),
        ([1, 3], [0, 1], [1, 1], true),
        ([3, 1], [2, 3], [1, 1], true),
        ([5, 4], [2, 1], [1, 1], true),
        ([3, 3], [2, 1], [2, 1], true),
        ([3, 3], [9, 9], [9, 9], false),
        ([1, 1], [1, 1], [1, 1], false),
        ([1, 1], [0, 0], [1, 1], false),
    ] {
        for (h, w) in [(13, 12), (12, 13), (11, 14)] {
            let spec = plain().kernel(kernel).padding(padding).dilation(dilation);
            run(spec, InputSize::image(1, h, w), windowed);
        }
    }
    // A batch of maps of 4x4, of whose windows three quarters would be padding.
    let spec = plain().kernel([3, 3]).same_padding();
    run(spec.clone(), InputSize::image(5, 4, 4), false);
    let strided = spec.clone().stride(2).downsample(Downsample::StridedConv);
    run(strided, InputSize::image(1, 12, 12), false);
    let time = TimeAxis { kernel: 3, stride: 2, padding: 1, dilation: 1 };
    run(spec.time(time), InputSize::video(2, 5, 10, 12), true);
}

/// What a step has in workgroup memory, and what a load brings: of plans alone, since a window is as large as the next
/// power of two.
pub fn sizes_of_windows() {
    let constants = |spec: SpecBuilder, w: u32, facts: &DeviceFacts| {
        let variant = format!("fused/matrix/{MATRIX_SQUARE}");
        let source = plan(halves(case(at(spec, [16, w]))), &variant, facts).unwrap().sources().remove(0);
        let numbers = numbers(&source);
        (booleans(&source)["WINDOWED"], numbers["WINDOW"], numbers["SPAN"])
    };
    let plain = |kernel, padding| split((48, 0), (64, 0)).kernel(kernel).padding(padding);
    // Of 16 cells: the rows of cells that the taps reach below, and the columns, and one more.
    for (kernel, padding, w, wanted) in [
        ([3, 3], [1, 1], 24, (true, 32, 2)),
        ([3, 3], [1, 1], 26, (true, 32, 2)),
        ([3, 3], [1, 1], 27, (true, 64, 1)),
        ([3, 3], [1, 1], 28, (true, 64, 2)),
        ([2, 2], [0, 0], 28, (true, 32, 2)),
        ([2, 2], [0, 0], 30, (true, 64, 2)),
        ([5, 5], [2, 2], 40, (true, 64, 2)),
        ([5, 5], [2, 2], 42, (false, 16, 1)),
        ([3, 3], [1, 1], 2000, (false, 16, 1)),
        ([1, 1], [0, 0], 12, (false, 16, 4)),
        ([1, 1], [0, 0], 14, (false, 16, 2)),
        ([1, 1], [0, 0], 15, (false, 16, 1)),
    ] {
        assert_eq!(constants(plain(kernel, padding), w, &able()), wanted, "{kernel:?} {w}");
    }
    // As many threads as a step of 8 cells has elements, or more: single columns, and more cells.
    let limits = wgpu::Limits { max_compute_invocations_per_workgroup: 1024, ..wgpu::Limits::default() };
    for (threads, wanted) in [(32, (false, 8, 2)), (64, (false, 8, 1)), (128, (false, 16, 1))] {
        let limits = wgpu::Limits { max_compute_workgroup_size_x: 1024, ..limits.clone() };
        let facts = DeviceFacts { matrix: Some(8), subgroup_sizes: [threads; 2], limits, ..able() };
        assert_eq!(constants(split((24, 0), (64, 0)), 16, &facts), wanted, "{threads}");
    }
}

/// Subgroups an eighth as large as planned for, so that seven of eight have no piece; with as many threads, also steps of
/// two matrices a slab, and windows of long rows.
pub fn subgroups_smaller_than_planned() {
    if !has_matrix_units(device(Device::AsItIs, Dtype::F16)) {
        return;
    }
    let [fewest, most] = context().engine().facts().subgroup_sizes;
    let planned = [fewest, (8 * most).min(128)];
    // With wgpu's checks: what a spare one would store is beyond the end of an array.
    let options = ContextOptions { subgroup_sizes: Some(planned), checked: Some(true), ..ContextOptions::default() };
    let context = open(&options);
    let run = |case: Case, strategy: Strategy| {
        let case = halves(case);
        let variant = Variant { strategy, family: family("matrix"), tile: Some(MATRIX_SMALL) };
        compare_all(&context, &case, [variant]);
    };
    run(case(at(k3((20, 0), (40, 0)).bias(true), [9, 30])), Strategy::Fused);
    run(case(at(k3((20, 0), (40, 0)).dilation([2, 3]).same_padding(), [9, 14])), Strategy::Fused);
    run(case(at(split((32, 0), (18, 0)), [6, 12])), Strategy::Fused);
    run(case(at(split((32, 48), (18, 17)), [6, 12])), Strategy::PoolFirst);
    run(case(at(k3((20, 17), (12, 11)), [12, 26])), Strategy::PoolFirst);
    run(case(at(k3((16, 16), (12, 11)).downsample(Downsample::StridedConv), [8, 12])), Strategy::Fused);
    run(case(at(k3((37, 50), (12, 11)), [8, 10])), Strategy::SplitK);
}

pub fn folded_grids() {
    let facts = device(Device::AsItIs, Dtype::F16).engine().facts();
    if !has_matrix_units(device(Device::AsItIs, Dtype::F16)) {
        return;
    }
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 3, ..facts.limits.clone() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    // 4 and 8 workgroups, in rows of 2 and 3; one too many would write into the second sample.
    for channels in [16, 32] {
        let row = sized(k3((9, 0), (channels, 0)), InputSize::image(2, 6, 6));
        let case = forced(halves(case(row)), &format!("fused/matrix/{MATRIX_SMALL}"));
        assert!(harness::workgroups(&case) > 3);
        compare(&context, &case);
    }
}

/// A GPU with matrix units, and all that the kernel wants beside.
fn able() -> DeviceFacts {
    let features =
        wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    DeviceFacts { features, matrix: Some(16), subgroup_sizes: [32; 2], ..DeviceFacts::default() }
}

/// Such a GPU with matrices of 8x8, as software devices and Apple's have them.
fn small_sides() -> DeviceFacts {
    DeviceFacts { matrix: Some(8), ..able() }
}

fn plan(case: Case, variant: &str, facts: &DeviceFacts) -> Result<Plan, Error> {
    let options = Options { variant: Some(variant.parse().unwrap()), ..case.options };
    Plan::new(&case.spec, case.size, &options, facts)
}

pub fn refusals() {
    let case = || harness::case(at(k3((64, 64), (64, 64)), [28, 28]));
    let refused = |case: Case, variant: &str, facts: &DeviceFacts| {
        let error = plan(case, variant, facts).unwrap_err();
        assert!(matches!(error, Error::Variant { .. }), "{error:?}");
        let prefix = format!("variant {variant} cannot run this layer: the matrix kernel needs ");
        error.to_string().strip_prefix(&prefix).unwrap_or_else(|| panic!("{error}")).to_string()
    };
    assert!(plan(halves(case()), "low-first/matrix", &able()).is_ok());
    let types = "f16 activations and f16 weights";
    assert_eq!(refused(case(), "low-first/matrix", &able()), types);
    let options =
        Options { precision: Precision { activations: Dtype::F16, ..Precision::default() }, ..Options::default() };
    assert_eq!(refused(Case { options, ..case() }, "low-first/matrix", &able()), types);
    let units = "a device that multiplies 16x16 or 8x8 matrices of f16 into f32, with subgroups";
    for facts in
        [DeviceFacts { matrix: None, ..able() }, DeviceFacts { features: wgpu::Features::SHADER_F16, ..able() }]
    {
        assert_eq!(refused(halves(case()), "low-first/matrix", &facts), units);
    }
    assert_eq!(refused(halves(case()), "fused/matrix", &able()), "maps that are pooled first, or given");
    let floored = halves(harness::case(at(k3((64, 64), (64, 64)).rounding(Rounding::Floor), [27, 28])));
    let reason = "an L->H as large as half of Y_H, or done first";
    assert_eq!(refused(floored, "pool-first/matrix", &able()), reason);
    for subgroup_sizes in [[32, 1 << 30], [3, 32]] {
        let reason = "subgroups of 1 to 128 threads, a power of two";
        assert_eq!(refused(halves(case()), "low-first/matrix", &DeviceFacts { subgroup_sizes, ..able() }), reason);
    }
    assert_eq!(refused(halves(case()), "low-first/matrix", &DeviceFacts { matrix: Some(0), ..able() }), units);
    let groups = halves(harness::case(at(k3((64, 0), (64, 0)).groups(2), [28, 28])));
    assert_eq!(refused(groups, "fused/matrix", &able()), "one group");
}

pub fn limits() {
    let exceeded = |tile: &str, facts: &DeviceFacts| {
        let plain = halves(case(at(k3((64, 0), (64, 0)), [28, 28])));
        match plan(plain, &format!("fused/matrix/{tile}"), facts) {
            Err(Error::Limit { limit, needs, allowed, .. }) => Some((limit, needs, allowed)),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        }
    };
    for tile in family("matrix").tiles() {
        assert_eq!(exceeded(tile, &able()), None);
    }
    let of = |change: fn(&mut wgpu::Limits)| {
        let mut facts = able();
        change(&mut facts.limits);
        facts
    };
    let storage = of(|limits| limits.max_compute_workgroup_storage_size = 12287);
    let limit = "max_compute_workgroup_storage_size";
    assert_eq!(exceeded(MATRIX_LARGE, &storage), Some((limit, 12288, 12287)));
    assert_eq!(exceeded(MATRIX_SQUARE, &storage), None);
    let threads = of(|limits| limits.max_compute_invocations_per_workgroup = 64);
    assert_eq!(exceeded(MATRIX_SQUARE, &threads), Some(("max_compute_invocations_per_workgroup", 128, 64)));
    assert_eq!(exceeded(MATRIX_SMALL, &threads), None);
}

/// The planner ranks matrix units before the direct kernel where they help: not on software devices, which emulate them,
/// and not for a handful of channels.
pub fn the_planners_choice() {
    let before_direct = |facts: &DeviceFacts, channels: u32| {
        let case = halves(case(at(k3((channels, channels), (channels, channels)), [28, 28])));
        let plans = Plan::candidates(&case.spec, case.size, &case.options, facts);
        let first = |family| plans.iter().position(|plan| plan.variant().family == family).unwrap();
        first(family("matrix")) < first(family("direct"))
    };
    let software = DeviceFacts { software: true, matrix: Some(8), ..able() };
    for channels in [32, 64, 256] {
        assert!(before_direct(&able(), channels) && !before_direct(&software, channels), "{channels}");
    }
    assert!(!before_direct(&able(), 2));
}
