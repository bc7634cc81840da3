//! The devices that all tests share, the totals of what ran, and how a layer is run against the reference.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use octconv::verify::{Case, Outcome};
use octconv::{
    Context, ContextOptions, Dtype, Error, Family, Groups, Options, Plan, Precision, Strategy, Variant, wgpu,
};

use crate::cases::{F16, Row, Run};

/// As what a device is used. Software devices also run what GPUs run: which kernels fit is one fact of a device among
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    AsItIs,
    AsGpu,
    /// With wgpu's bounds checks in the kernels.
    Checked,
}

/// A device of this process. Tests with f32 tensors and tests with f16 tensors have one each: software devices compile
/// kernels in the one thread of their queue, and no kernel is for both.
pub fn device(device: Device, activations: Dtype) -> &'static Context {
    static CONTEXTS: [[OnceLock<Context>; 2]; 3] = [const { [const { OnceLock::new() }; 2] }; 3];
    let options = match device {
        Device::AsItIs => ContextOptions::default(),
        Device::AsGpu => ContextOptions { software: Some(false), ..ContextOptions::default() },
        Device::Checked => ContextOptions { checked: Some(true), ..ContextOptions::default() },
    };
    CONTEXTS[device as usize][usize::from(activations == Dtype::F16)].get_or_init(|| open(&options))
}

/// The device as it is, of the tests with f32 tensors.
pub fn context() -> &'static Context {
    device(Device::AsItIs, Dtype::F32)
}

/// A device of a test's own.
pub fn open(options: &ContextOptions) -> Context {
    Context::new(options).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether it has f16; a test that needs it calls this, so that its absence is counted.
pub fn has_f16(context: &Context) -> bool {
    let has = context.engine().facts().features.contains(wgpu::Features::SHADER_F16);
    if !has {
        missing("SHADER_F16");
    }
    has
}

/// Whether it has matrix units; a test that needs them calls this, so that their absence is counted.
pub fn has_matrix_units(context: &Context) -> bool {
    let has = context.engine().facts().matrix.is_some();
    if !has {
        missing("EXPERIMENTAL_COOPERATIVE_MATRIX");
    }
    has
}

/// How many layers ran, by kind, and how many did not for want of a feature.
static TOTALS: Mutex<BTreeMap<(&str, &str), usize>> = Mutex::new(BTreeMap::new());

fn count(what: &'static str, of: &'static str) {
    *TOTALS.lock().unwrap_or_else(PoisonError::into_inner).entry((what, of)).or_default() += 1;
}

/// A layer or network has run and was compared.
pub fn ran(kind: &'static str) {
    count("ran", kind);
}

/// Something could not run for want of this feature.
pub fn missing(feature: &'static str) {
    count("missing", feature);
}

/// Seconds that the rows of the table took, by family.
static SECONDS: Mutex<BTreeMap<&str, f64>> = Mutex::new(BTreeMap::new());

/// Prints the totals, and appends them to the file that `OCTCONV_TEST_REPORT` names.
pub fn report() {
    let totals = TOTALS.lock().unwrap_or_else(PoisonError::into_inner);
    let lines: String = totals.iter().map(|((what, of), count)| format!("{what}\t{of}\t{count}\n")).collect();
    for (family, seconds) in SECONDS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("rows of {family}: {seconds:.0} s, while others ran too");
    }
    print!("{lines}");
    if let Some(path) = std::env::var_os("OCTCONV_TEST_REPORT") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// A family of kernels by its name.
pub fn family(name: &str) -> Family {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// The tiles that the tests name. A family that is not here is run with the tile that the planner likes best.
pub mod tile {
    use octconv::Family;

    /// Of the direct kernel: a block of positions, and threads along the channels of which the first number is that of
    /// channels, the others those of rows and columns of Y_H.
    pub const DIRECT_SMALL: &str = "2x2x8+2x2x8";
    pub const POINTWISE_SMALL: &str = "2x2x8";
    pub const POINTWISE_WIDE: &str = "2x4x8";
    pub const STAGED_SMALL: &str = "32x32";
    pub const STAGED_LARGE: &str = "128x128";
    pub const MATRIX_SMALL: &str = "2x2-1x2";
    pub const MATRIX_SQUARE: &str = "2x2-2x2";
    pub const MATRIX_LARGE: &str = "4x4-2x2";
    pub const WINOGRAD_LARGE: &str = "4x4-4t16c";
    pub const WINOGRAD_SMALL: &str = "2x2-4t16c";
    /// Tiles of 4x4 and of 2x2 outputs, and products with tiles and with channels side by side.
    pub const WINOGRAD_FORMS: [&str; 3] = [WINOGRAD_LARGE, "4x4-4c16t", "2x2-8c8t"];
    /// Threads along the channels, for Y_L or for both outputs.
    pub const C1: &str = "c1x28x4+c1x28x4";
    pub const C1_WIDE: &str = "c1x28x8+c1x28x8";
    pub const C2: &str = "c2x14x4+c1x28x4";
    pub const C2_WIDE: &str = "c2x14x8+c1x28x8";
    pub const C4_WIDE: &str = "c4x4x8+c1x28x8";
    pub const C_LOW: &str = "2x2x16+c1x28x8";
    pub const ALONG_CHANNELS: [&str; 6] = [C1, C1_WIDE, C2, C2_WIDE, C4_WIDE, C_LOW];

    /// The tiles of a family that stand for all of them: the one that compiles the fastest, and of Winograd's each form.
    pub fn of(family: Family) -> Vec<Option<&'static str>> {
        match family.name() {
            "direct" | "direct-f16" => vec![Some(DIRECT_SMALL)],
            "pointwise" => vec![Some(POINTWISE_SMALL)],
            "staged" | "staged-f16" => vec![Some(STAGED_SMALL)],
            "matrix" => vec![Some(MATRIX_SMALL)],
            "winograd" => WINOGRAD_FORMS.map(Some).to_vec(),
            _ => vec![None],
        }
    }
}

/// What a row of the table is on one device.
pub struct Task {
    pub device: Device,
    pub case: Case,
}

/// Every run of a row by a family, with the plans that differ in their kernels.
pub fn tasks(row: &Row, family: Family) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut seen = HashSet::new();
    for &precision in &row.types {
        for device in devices(row, family, precision) {
            let context = self::device(device, precision.activations);
            let facts = context.engine().facts();
            let case = |variant| Case {
                spec: row.spec.clone(),
                size: row.size,
                options: Options { precision, variant, ..row.options },
                batch_norm: row.batch_norm,
                seed: 1,
            };
            if precision.activations == Dtype::F16 && !facts.features.contains(wgpu::Features::SHADER_F16) {
                let refused = plan(context, &case(None));
                assert_eq!(refused, Err(Error::Feature { what: "f16 activations", feature: "SHADER_F16" }));
                missing("SHADER_F16");
                continue;
            }
            for variant in variants(row, family, context, device, precision) {
                let case = case(Some(variant));
                let plan = plan(context, &case).unwrap_or_else(|error| panic!("{error}: {case:?}"));
                let mut hasher = DefaultHasher::new();
                (precision, device == Device::Checked, plan.sources()).hash(&mut hasher);
                if seen.insert(hasher.finish()) {
                    tasks.push(Task { device, case });
                }
            }
        }
    }
    tasks
}

/// On which devices a family runs a row in a type. A kernel takes a tenth of a second to compile, so not every row runs
/// everywhere: see [`home`].
fn devices(row: &Row, family: Family, precision: Precision) -> Vec<Device> {
    let first = row.name.ends_with(" 00");
    let every = |n: usize| first || row.number % n == 0;
    let narrow_sums = ["direct-f16", "staged-f16", "matrix"].contains(&family.name());
    let typed = row.types.len() > 2 || row.types.len() == 1;
    // With f16 tensors a kernel reads and writes otherwise, whatever the layer; those with sums of f16 are others.
    let [as_it_is, as_gpu] = match (precision == F16, narrow_sums) {
        _ if typed || matches!(row.run, Run::Tiles(_)) => [true, true],
        (false, _) => [home(row, family) || every(3); 2],
        (true, true) => [home(row, family) || every(3), every(4)],
        (true, false) => [every(5), first],
    };
    let software = context().engine().facts().software;
    let all = [(Device::AsItIs, as_it_is), (Device::AsGpu, as_gpu && software), (Device::Checked, first)];
    all.into_iter().filter(|(_, runs)| *runs).map(|(device, _)| device).collect()
}

fn channels(row: &Row) -> u32 {
    row.spec.input().channels()
}

fn one_tap(row: &Row) -> bool {
    let spec = &row.spec;
    (spec.kernel(), spec.padding(), spec.groups()) == ([1, 1], [0, 0], Groups::Count(1))
}

/// Whether a row is made for a family: few channels for kernels that keep them in registers, many for those that stage
/// them in workgroup memory, one tap for the pointwise kernel. Of other rows a family runs every third.
fn home(row: &Row, family: Family) -> bool {
    let widest = row.spec.input().high.max(row.spec.input().low);
    match family.name() {
        _ if !matches!(row.run, Run::Cuts | Run::Once) => true,
        "direct" => channels(row) <= 24 && !one_tap(row),
        "winograd" => channels(row) <= 24,
        "staged" | "matrix" => widest >= 9,
        "direct-f16" | "staged-f16" => row.number % 2 == 0,
        _ => true,
    }
}

/// Whether a row of [`Run::Cuts`] is cut in every way by a family. Otherwise it runs once, for its sizes and shapes: a
/// strategy is no more than which dispatch has which path.
fn is_cut(row: &Row, family: Family, precision: Precision) -> bool {
    let f32 = precision.activations == Dtype::F32;
    match family.name() {
        // Rows about types are cut in all of them.
        _ if row.types.len() > 2 => true,
        "matrix" => home(row, family),
        "staged" => f32 && channels(row) > 24,
        "direct" => f32 && home(row, family),
        "direct-f16" | "staged-f16" => row.name.starts_with("sizes") || row.name.starts_with("stride"),
        _ => f32,
    }
}

/// The variants of a family that run a row on a device.
fn variants(row: &Row, family: Family, context: &Context, device: Device, precision: Precision) -> Vec<Variant> {
    let legal = |strategy, tile| {
        let variant = Variant { strategy, family, tile };
        let options = Options { precision, variant: Some(variant), ..row.options };
        context.engine().plan(&row.spec, row.size, &options).ok().map(|plan| plan.variant())
    };
    let any = [Strategy::Fused, Strategy::PoolFirst, Strategy::Split, Strategy::LowFirst, Strategy::Transform];
    let (strategies, first, tiles): (&[Strategy], _, _) = match row.run {
        Run::Cuts => (&any, false, false),
        Run::Once => (&any, true, false),
        Run::Only(strategies) => (strategies, false, false),
        Run::Tiles(strategies) => (strategies, true, true),
    };
    let first = first || device != Device::AsItIs || !is_cut(row, family, precision);
    let all: Vec<_> = family.tiles().iter().copied().map(Some).collect();
    let tiles = if tiles && device != Device::Checked { all } else { tile::of(family) };
    let mut variants = Vec::new();
    for &strategy in strategies {
        let mut found: Vec<_> = tiles.iter().filter_map(|&tile| legal(strategy, tile)).collect();
        if found.is_empty() {
            // The tile that compiles the fastest is not for every layer.
            found.extend(legal(strategy, None));
        }
        variants.extend(found);
        if first && !variants.is_empty() {
            break;
        }
    }
    variants
}

fn plan(context: &Context, case: &Case) -> Result<Plan, Error> {
    context.engine().plan(&case.spec, case.size, &case.options)
}

/// Runs a row of the table by a family.
pub fn run_row(row: &Row, family: Family) {
    let started = Instant::now();
    let tasks = tasks(row, family);
    for Task { device, case } in &tasks {
        let context = self::device(*device, case.options.precision.activations);
        let outcome = compare(context, case);
        for &(kernel, wanted) in row.dispatches {
            let found = outcome.kernels.iter().filter(|name| *name == kernel).count();
            assert_eq!(found, wanted, "{kernel} among {:?} for {case:?}", outcome.kernels);
        }
        if *device == Device::Checked {
            ran("checked");
        }
    }
    let mut seconds = SECONDS.lock().unwrap_or_else(PoisonError::into_inner);
    *seconds.entry(family.name()).or_default() += started.elapsed().as_secs_f64();
}

/// Runs the case as its options say, against the reference, and counts it.
pub fn compare(context: &Context, case: &Case) -> Outcome {
    let outcome = case.run(context).unwrap_or_else(|error| panic!("{error}: {case:?}"));
    if let Some(forced) = case.options.variant {
        assert_eq!(outcome.variant.untiled(), forced.untiled(), "{case:?}");
    }
    assert!(outcome.failure.is_none(), "{}: {outcome:?}: {case:?}", outcome.variant);
    ran(if case.options.precision.activations == Dtype::F16 { "f16" } else { "f32" });
    if outcome.variant.family == family("matrix") {
        ran("matrix");
    }
    // Thousands of kernels take gigabytes.
    if context.engine().pipelines() > 400 {
        context.engine().forget_pipelines();
    }
    outcome
}

/// The case as `variant`.
pub fn forced(case: Case, variant: &str) -> Case {
    let variant = Some(variant.parse().unwrap_or_else(|error| panic!("{error}")));
    Case { options: Options { variant, ..case.options }, ..case }
}

/// A row as a case, in the first of its types.
pub fn case(row: Row) -> Case {
    let options = Options { precision: row.types[0], ..row.options };
    Case { spec: row.spec, size: row.size, options, batch_norm: row.batch_norm, seed: 1 }
}

/// With f16 tensors and weights.
pub fn halves(case: Case) -> Case {
    let options = Options { precision: Precision::of(Dtype::F16), ..case.options };
    Case { options, ..case }
}

/// Runs the case as `variant`, on the device as it is and as a GPU.
pub fn check_as(variant: &str, case: Case) -> Vec<String> {
    let case = forced(case, variant);
    let activations = case.options.precision.activations;
    let outcome = compare(device(Device::AsItIs, activations), &case);
    if context().engine().facts().software && plan(device(Device::AsGpu, activations), &case).is_ok() {
        compare(device(Device::AsGpu, activations), &case);
    }
    outcome.kernels
}

/// How many workgroups the largest dispatch of a forced variant has: what a device that allows fewer is told.
pub fn workgroups(case: &Case) -> u64 {
    let mut facts = context().engine().facts().clone();
    let mut most = 0;
    loop {
        facts.limits.max_compute_workgroups_per_dimension = (most as f64).sqrt().ceil().max(1.0) as u32;
        match Plan::new(&case.spec, case.size, &case.options, &facts) {
            Err(Error::Limit { needs, .. }) if needs > most => most = needs,
            Err(error) => panic!("{error}"),
            Ok(_) => return most,
        }
    }
}

/// The constants of a WGSL source that are true or false.
pub fn booleans(source: &str) -> BTreeMap<String, bool> {
    constants(source, |literal| if let naga::Literal::Bool(value) = literal { Some(value) } else { None })
}

/// The constants of a WGSL source that are whole numbers.
pub fn numbers(source: &str) -> BTreeMap<String, u32> {
    constants(source, |literal| if let naga::Literal::U32(value) = literal { Some(value) } else { None })
}

fn constants<T>(source: &str, of: impl Fn(naga::Literal) -> Option<T>) -> BTreeMap<String, T> {
    let module = naga::front::wgsl::parse_str(source);
    let module = module.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(source)));
    let constant = |(_, constant): (_, &naga::Constant)| match module.global_expressions[constant.init] {
        naga::Expression::Literal(literal) => Some((constant.name.clone()?, of(literal)?)),
        _ => None,
    };
    module.constants.iter().filter_map(constant).collect()
}

/// The legal plans of a case on a device.
pub fn candidates(context: &Context, case: &Case) -> Vec<Plan> {
    Plan::candidates(&case.spec, case.size, &case.options, context.engine().facts())
}

/// Runs the case as each of these variants, and returns the kernels that ran.
pub fn compare_all(context: &Context, case: &Case, variants: impl IntoIterator<Item = Variant>) -> Vec<String> {
    let one = |variant| {
        let options = Options { variant: Some(variant), ..case.options };
        compare(context, &Case { options, ..case.clone() }).kernels
    };
    variants.into_iter().flat_map(one).collect()
}
