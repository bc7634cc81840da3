//! What the matrix kernel alone has: windows, slabs, subgroups without a piece. The table of layers runs the rest.
//! Without matrix units plans are checked, and what would run on them is counted as missing.

use std::sync::OnceLock;

use crate::common::{case, check_one, family, image, open, split};
use octconv::verify::Case;
use octconv::{
    Context, ContextOptions, DeviceFacts, Downsample, Dtype, Error, InputSize, Options, Plan, Precision, Rounding,
    SpecBuilder, Strategy, TimeAxis, Variant, wgpu,
};

/// The one device of these tests, so that each kernel is compiled once.
fn context() -> &'static Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    CONTEXT.get_or_init(|| open(&ContextOptions::default()))
}

/// The case with f16 tensors and weights.
fn halves(case: Case) -> Case {
    let options = Options { precision: Precision::of(Dtype::F16), ..case.options };
    Case { options, ..case }
}

/// The tile that compiles fastest.
const SMALL: &str = "g2m4m-s2m2m";

/// Runs the variants of the matrix kernel that are wanted, and returns their strategies: nothing on a device without
/// matrix units, which must refuse each of them.
fn check_on(context: &Context, case: &Case, wanted: impl Fn(Variant) -> bool) -> Option<Vec<Strategy>> {
    let facts = context.engine().facts();
    let plans = Plan::candidates(&case.spec, case.size, &case.options, facts);
    let variants: Vec<_> = plans.iter().map(Plan::variant).filter(|v| v.family == family("matrix")).collect();
    if facts.matrix.is_none() {
        assert_eq!(variants, [], "{case:?}");
        let options = Options { variant: Some("pool-first/matrix".parse().unwrap()), ..case.options };
        let error = context.engine().plan(&case.spec, case.size, &options).unwrap_err().to_string();
        let reasons =
            ["f16 activations needs the device feature SHADER_F16", "pool-first/matrix cannot run this layer"];
        assert!(reasons.iter().any(|reason| error.contains(reason)), "{error}");
        crate::report::missing("matrix units");
        return None;
    }
    let variants: Vec<_> = variants.into_iter().filter(|&variant| wanted(variant)).collect();
    for &variant in &variants {
        let options = Options { variant: Some(variant), ..case.options };
        let kernels = check_one(context, &Case { options, ..case.clone() });
        assert!(kernels.iter().any(|kernel| kernel.starts_with("matrix")), "{kernels:?}");
    }
    assert!(!variants.is_empty(), "no variant for {case:?}");
    Some(variants.into_iter().map(|variant| variant.strategy).collect())
}

fn k3(input: (u32, u32), output: (u32, u32)) -> SpecBuilder {
    split(input, output).kernel([3, 3]).same_padding()
}

/// All taps from one window, or one tap a step: paddings that are odd, where pairs of columns straddle cells, and even,
/// rows of pairs and others, windows that reach over several rows of cells, maps too small for them; frames of both.
#[test]
fn windows_and_taps() {
    let plain = || split((9, 0), (18, 0)).bias(true);
    // Of a GPU, where nothing runs.
    let plan = |spec: SpecBuilder, size: InputSize, windowed: bool| {
        let case = halves(case(spec, size));
        let kernels = plan(case.clone(), "fused/matrix/g4m4m-s2m2m", &small_sides()).unwrap().kernels();
        assert!(kernels.iter().all(|kernel| kernel.ends_with("windows") == windowed), "{kernels:?} of {case:?}");
        (case, kernels)
    };
    // And of the device, where it can.
    let run = |spec: SpecBuilder, size: InputSize, windowed: bool| {
        let (case, mut kernels) = plan(spec, size, windowed);
        let options = Options { variant: Some("fused/matrix/g4m4m-s2m2m".parse().unwrap()), ..case.options };
        if context().engine().facts().matrix.is_some() {
            kernels.extend(check_one(context(), &Case { options, ..case.clone() }));
        } else {
            crate::report::missing("matrix units");
        }
        assert!(kernels.iter().all(|kernel| kernel.ends_with("windows") == windowed), "{kernels:?} of {case:?}");
    };
    for (i, (kernel, padding, dilation, windowed)) in [
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
    ]
    .into_iter()
    .enumerate()
    {
        // Kernels take long to compile: each runs at one of the sizes.
        for (j, (h, w)) in [(13, 12), (12, 13), (11, 14)].into_iter().enumerate() {
            let (spec, size) = (plain().kernel(kernel).padding(padding).dilation(dilation), InputSize::image(1, h, w));
            if i % 3 == j { run(spec, size, windowed) } else { drop(plan(spec, size, windowed)) }
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
#[test]
fn sizes_of_windows() {
    let constants = |spec: SpecBuilder, w: u32, facts: &DeviceFacts| {
        let source = plan(halves(image(spec, 16, w)), "fused/matrix/g4m4m-s2m2m", facts).unwrap().sources().remove(0);
        let number = |name: &str| -> u32 {
            let line = source.lines().find_map(|line| line.strip_prefix(&format!("const {name}: u32 = ")));
            line.unwrap_or_else(|| panic!("no {name}")).trim_end_matches("u;").parse().unwrap()
        };
        (source.contains("const WINDOWED: bool = true"), number("WINDOW"), number("WORD"))
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

/// Subgroups an eighth as large as planned for, so that seven of eight have no piece; with as many threads, also steps
/// of two matrices a slab, and windows of long rows.
#[test]
fn subgroups_smaller_than_planned() {
    let [fewest, most] = context().engine().facts().subgroup_sizes;
    let planned = [fewest, (8 * most).min(128)];
    // With wgpu's checks: what a spare one would store is beyond the end of an array.
    let options = ContextOptions { subgroup_sizes: Some(planned), checked: Some(true), ..ContextOptions::default() };
    let context = open(&options);
    let run = |case: Case, strategy: Strategy| {
        check_on(&context, &halves(case), |v| v.strategy == strategy && v.tile == Some(SMALL));
    };
    run(image(k3((20, 0), (40, 0)).bias(true), 9, 30), Strategy::Fused);
    run(image(k3((20, 0), (40, 0)).dilation([2, 3]).same_padding(), 9, 14), Strategy::Fused);
    run(image(split((32, 0), (18, 0)), 6, 12), Strategy::Fused);
    run(image(split((32, 48), (18, 17)), 6, 12), Strategy::PoolFirst);
    run(image(k3((20, 17), (12, 11)), 12, 26), Strategy::PoolFirst);
    run(image(k3((16, 16), (12, 11)).downsample(Downsample::StridedConv), 8, 12), Strategy::Fused);
    run(image(k3((37, 50), (12, 11)), 8, 10), Strategy::SplitK);
}

/// Every mix of ends, by plans alone. H->L reads a map that is pooled first; L->H is replicated, or done first at low
/// resolution.
#[test]
fn strategies() {
    use Strategy::{Fused, LowFirst, PoolFirst, Split, SplitK, Unfused};
    let has = |case: Case, wanted: &[Strategy]| {
        let case = halves(case);
        let plans = Plan::candidates(&case.spec, case.size, &case.options, &small_sides());
        let variants: Vec<_> = plans.iter().map(Plan::variant).filter(|v| v.family == family("matrix")).collect();
        for &strategy in wanted {
            assert!(variants.iter().any(|v| v.strategy == strategy), "no {strategy:?} in {variants:?} of {case:?}");
        }
        assert!(variants.iter().any(|v| v.strategy == Unfused), "{case:?}");
    };
    let given = |case: Case| Case { options: Options { pooled_input: true, ..case.options }, ..case };
    let spec = || k3((10, 9), (12, 11));
    for (input, output, strategies) in [
        ((10, 9), (12, 11), vec![PoolFirst, LowFirst]),
        ((10, 0), (12, 11), vec![PoolFirst]),
        ((10, 9), (12, 0), vec![Fused, LowFirst]),
        ((0, 9), (0, 11), vec![Fused]),
        ((10, 0), (0, 11), vec![PoolFirst]),
        ((0, 9), (12, 0), vec![Fused, LowFirst]),
        ((10, 9), (0, 11), vec![PoolFirst]),
        ((0, 9), (12, 11), vec![Fused, Split, LowFirst]),
    ] {
        has(image(k3(input, output).bias(true), 10, 12), &strategies);
    }
    for (h, w) in [(9, 11), (7, 10), (1, 1), (1, 6), (3, 1), (10, 12)] {
        has(image(spec(), h, w), &[LowFirst]);
        has(given(image(spec(), h, w)), &[Fused, Split, LowFirst]);
        // Of an odd size, floored, L->H would have to repeat its last row.
        if h > 1 && w > 1 {
            has(image(spec().rounding(Rounding::Floor), h, w), &[LowFirst]);
        }
    }
    // H->L strides over X_H: a tap a step, of X_L too.
    let strided = spec().downsample(Downsample::StridedConv);
    has(image(strided.clone(), 9, 8), &[Fused, Split, LowFirst]);
    has(image(strided.stride(2), 9, 11), &[Fused, Split]);
    has(image(spec().stride(2), 9, 11), &[PoolFirst]);
    has(image(k3((37, 50), (12, 11)), 7, 7), &[SplitK]);
}

#[test]
fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 3, ..context().engine().facts().limits.clone() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    // 4 and 8 workgroups, in rows of 2 and 3; one too many would write into the second sample.
    for channels in [16, 32] {
        let case = halves(case(k3((9, 0), (channels, 0)), InputSize::image(2, 6, 6)));
        check_on(&context, &case, |v| v.tile == Some(SMALL) && v.strategy == Strategy::Fused);
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

#[test]
fn refusals() {
    let case = || image(k3((64, 64), (64, 64)), 28, 28);
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
    let pooled = "maps that the caller or an earlier dispatch has pooled";
    assert_eq!(refused(halves(case()), "fused/matrix", &able()), pooled);
    let floored = halves(image(k3((64, 64), (64, 64)).rounding(Rounding::Floor), 27, 28));
    let reason = "L->H at half of the size of Y_H, or made by an earlier dispatch";
    assert_eq!(refused(floored, "pool-first/matrix", &able()), reason);
    for subgroup_sizes in [[32, 1 << 30], [3, 32]] {
        let reason = "subgroups of 1 to 128 threads, a power of two";
        assert_eq!(refused(halves(case()), "low-first/matrix", &DeviceFacts { subgroup_sizes, ..able() }), reason);
    }
    assert_eq!(refused(halves(case()), "low-first/matrix", &DeviceFacts { matrix: Some(0), ..able() }), units);
    let groups = halves(image(k3((64, 0), (64, 0)).groups(2), 28, 28));
    assert_eq!(refused(groups, "fused/matrix", &able()), "one group");
}

#[test]
fn limits() {
    let exceeded = |tile: &str, facts: &DeviceFacts| {
        let plain = halves(image(k3((64, 0), (64, 0)), 28, 28));
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
    assert_eq!(exceeded("g8m8m-s4m4m", &storage), Some((limit, 12288, 12287)));
    assert_eq!(exceeded("g4m4m-s2m2m", &storage), None);
    let threads = of(|limits| limits.max_compute_invocations_per_workgroup = 64);
    assert_eq!(exceeded("g4m4m-s2m2m", &threads), Some(("max_compute_invocations_per_workgroup", 128, 64)));
    assert_eq!(exceeded("g2m4m-s2m2m", &threads), None);
}

/// The planner ranks matrix units before the direct kernel where they help: not on software devices, which emulate
/// them, and not for a handful of channels.
#[test]
fn the_planners_choice() {
    let before_direct = |facts: &DeviceFacts, channels: u32| {
        let case = halves(image(k3((channels, channels), (channels, channels)), 28, 28));
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
