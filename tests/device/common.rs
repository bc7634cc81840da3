//! What the tests on a device share: the same devices for all tests, and cases run in every variant.

use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use octconv::reference::Tensor;
use octconv::verify::{Case, Values};
use octconv::{
    Accuracy, Activation, Context, ContextOptions, Dtype, Family, Frequency, InputSize, Options, Path, Plan, Precision,
};
use octconv::{Error, Spec, SpecBuilder, Split, Strategy, Variant, Weights, wgpu};

/// A device of this test binary, the same for all of a thread. Without an adapter its tests fail, and say what to
/// install.
pub fn context() -> &'static Context {
    shared(false, half_of_the_threads())
}

/// The same, with what GPUs run.
pub fn as_a_gpu() -> &'static Context {
    shared(true, half_of_the_threads())
}

/// The device for tensors of this type, as it is or as a GPU: no kernel is for both types, so that each is compiled
/// once.
pub fn context_as(gpu: bool, activations: Dtype) -> &'static Context {
    shared(gpu, usize::from(activations == Dtype::F16))
}

fn shared(gpu: bool, which: usize) -> &'static Context {
    static CONTEXTS: [[OnceLock<Context>; 2]; 2] = [const { [const { OnceLock::new() }; 2] }; 2];
    let options = ContextOptions { software: gpu.then_some(false), ..ContextOptions::default() };
    CONTEXTS[usize::from(gpu)][which].get_or_init(|| open(&options))
}

/// Threads share two devices: software devices compile kernels in the one thread of their queue.
fn half_of_the_threads() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed));
    THREAD.with(|thread| thread % 2)
}

/// A device of a test's own.
pub fn open(options: &ContextOptions) -> Context {
    Context::new(options).unwrap_or_else(|error| panic!("{error}"))
}

pub fn has_f16(context: &Context) -> bool {
    context.engine().facts().features.contains(wgpu::Features::SHADER_F16)
}

/// A family of kernels by its name.
pub fn family(name: &str) -> Family {
    name.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// As [`has_f16`], for a test that cannot run without: counts it then.
pub fn runs_f16(context: &Context) -> bool {
    let has = has_f16(context);
    if !has {
        crate::report::missing("SHADER_F16");
    }
    has
}

/// A builder with these channels of high and low frequency.
pub fn split(input: (u32, u32), output: (u32, u32)) -> SpecBuilder {
    let [input, output] = [input, output].map(|(high, low)| Split { high, low });
    Spec::builder(input.channels(), output.channels()).split(input, output)
}

/// A layer to be compared, with f32 tensors and no batch norm.
pub fn case(spec: SpecBuilder, size: InputSize) -> Case {
    let built = spec.clone().build().unwrap_or_else(|error| panic!("{error}: {spec:?}"));
    // All families, also those that only fast layers may run.
    let options = Options { accuracy: Accuracy::Fast, ..Options::default() };
    Case { spec: built, size, options, batch_norm: false, one_buffer: false, values: Values::Even, seed: 1 }
}

/// As [`case`], for one image.
pub fn image(spec: SpecBuilder, h: u32, w: u32) -> Case {
    case(spec, InputSize::image(1, h, w))
}

/// Runs the case in every variant that the planner has for it and the test is about, each against the reference, and
/// returns the kernels that ran.
pub fn check_on(context: &Context, case: &Case, wanted: impl Fn(Variant) -> bool) -> Vec<String> {
    let mut variants: Vec<Variant> = candidates(context, case);
    // Of each the tile that compiles the fastest: all of them are for `check_tiles`.
    let mut seen = HashSet::new();
    variants.sort_by_key(|variant| !variant.tile.is_some_and(|tile| SMALL_TILES.contains(&tile)));
    variants.retain(|variant| seen.insert(variant.untiled()));
    let kernels = check_variants(context, case, variants.into_iter().filter(|&variant| wanted(variant)));
    assert!(!kernels.is_empty(), "no variant for {case:?}");
    kernels
}

/// Of each family a tile that does little at a time.
const SMALL_TILES: [&str; 4] = ["t4c2h2w", "t8c2h2w+t8c1h1w", "g32c32p-t4c4p", "g2m4m-s2m2m"];

/// Runs the case in every tile of every variant that the planner has for it and the test is about.
pub fn check_tiles(context: &Context, case: &Case, wanted: impl Fn(Variant) -> bool) -> Vec<String> {
    check_variants(context, case, candidates(context, case).into_iter().filter(|&variant| wanted(variant)))
}

fn candidates(context: &Context, case: &Case) -> Vec<Variant> {
    let plans = Plan::candidates(&case.spec, case.size, &case.options, context.engine().facts());
    plans.iter().map(Plan::variant).collect()
}

fn check_variants(context: &Context, case: &Case, variants: impl Iterator<Item = Variant>) -> Vec<String> {
    let forced = |variant| Case { options: Options { variant: Some(variant), ..case.options }, ..case.clone() };
    variants.flat_map(|variant| check_one(context, &forced(variant))).collect()
}

/// Runs the case as its options say, against the reference, and returns the kernels that ran. On a software device what
/// GPUs run is compared too, but for tiles that they do not have, and where a strategy only deals the same paths to
/// other dispatches: kernels take long to compile, and tests/property.rs draws all of them.
pub fn check_one(context: &Context, case: &Case) -> Vec<String> {
    let kernels = compare(context, case);
    let cut = [Strategy::Split, Strategy::SplitK, Strategy::PoolFirst, Strategy::LowFirst];
    let is_cut = case.options.variant.is_some_and(|variant| cut.contains(&variant.strategy));
    if std::ptr::eq(context, self::context()) && !is_cut && on_gpus_too(case) {
        compare(as_a_gpu(), case);
    }
    kernels
}

/// Whether [`context`] is a software device, and the case something that GPUs run too.
pub fn on_gpus_too(case: &Case) -> bool {
    let planned = as_a_gpu().engine().plan(&case.spec, case.size, &case.options);
    let refusal = planned.err().map(|error| error.to_string()).unwrap_or_default();
    context().engine().facts().software && !SOFTWARE_ALONE.iter().any(|reason| refusal.ends_with(reason))
}

/// Why a GPU refuses a tile that a software device has.
const SOFTWARE_ALONE: [&str; 2] =
    ["only software devices use tiles with threads along the channels", "the device has no use for this tile"];

/// Runs the case on one device against the reference, and returns the kernels that ran.
pub fn compare(context: &Context, case: &Case) -> Vec<String> {
    let outcome = case.run(context).unwrap_or_else(|error| panic!("{error}: {case:?}"));
    if let Some(forced) = case.options.variant {
        assert_eq!(outcome.variant.untiled(), forced.untiled(), "{case:?}");
    }
    assert!(outcome.failure.is_none(), "{}: {outcome:?}: {case:?}", outcome.variant);
    if let Ok(plan) = context.engine().plan(&case.spec, case.size, &case.options) {
        crate::report::ran(context, &plan);
    }
    // A software device takes megabytes for a kernel, and layers seldom share one.
    if context.engine().pipelines() > 300 {
        context.engine().forget_pipelines();
    }
    outcome.kernels
}

/// The case in all types that the device has. One without `SHADER_F16` must refuse f16 activations, in words.
pub fn in_all_types(case: &Case) -> Vec<Case> {
    let all = [Dtype::F32, Dtype::F16].map(|a| [Dtype::F32, Dtype::F16].map(|w| [a, w]));
    let typed = all.as_flattened().iter().map(|&[activations, weights]| {
        let case = Case {
            options: Options {
                precision: Precision { activations, weights, ..case.options.precision },
                ..case.options
            },
            ..case.clone()
        };
        if activations == Dtype::F32 || runs_f16(context()) {
            return Some(case);
        }
        let refused = context().engine().plan(&case.spec, case.size, &case.options);
        assert_eq!(refused, Err(Error::Feature { what: "f16 activations", feature: "SHADER_F16" }));
        None
    });
    typed.flatten().collect()
}

/// Each function that a layer can end in, and one that is not monotonic by its parameter.
pub fn all_activations() -> impl Iterator<Item = Activation> {
    Activation::all().chain([Activation::LeakyRelu { slope: -1.5 }])
}

/// `count` numbers in [-1, 1), the same for the same `seed`.
pub fn values(seed: u64, count: u64) -> Vec<f32> {
    octconv::network::random_input(count as usize, seed)
}

/// Weights of a layer on the host, which give outputs about as large as the inputs.
pub struct HostWeights {
    paths: [Option<Vec<f32>>; 4],
    biases: [Option<Vec<f32>>; 2],
}

impl HostWeights {
    pub fn new(spec: &Spec, seed: u64) -> Self {
        let kernel = |path| {
            let shape = spec.weight_shape(path).map(u64::from);
            let scale = 1.0 / (shape[1..].iter().product::<u64>() as f32).sqrt();
            values(seed + path as u64, shape.iter().product()).iter().map(|value| scale * value).collect()
        };
        let bias = |frequency| {
            let channels = u64::from(spec.output().of(frequency));
            (spec.has_bias() && channels > 0).then(|| values(seed + 5, channels))
        };
        let paths = Path::ALL.map(|path| spec.has(path).then(|| kernel(path)));
        Self { paths, biases: [Frequency::High, Frequency::Low].map(bias) }
    }

    pub fn weights(&self) -> Weights<'_> {
        let [w_hh, w_hl, w_lh, w_ll] = self.paths.each_ref().map(|kernel| kernel.as_deref());
        let [bias_h, bias_l] = self.biases.each_ref().map(|bias| bias.as_deref());
        Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, ..Weights::default() }
    }
}

/// Asserts that every element is within 1e-5 of the reference, absolute up to 1 and relative beyond: for layers with
/// [`HostWeights`], whose sums are of that size, a hundred times what f32 rounds off and far less than one wrong tap.
pub fn assert_close(name: &str, found: &[f32], expected: &Tensor) {
    assert_eq!(found.len(), expected.data.len(), "{name}");
    for (i, (found, expected)) in found.iter().zip(&expected.data).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= 1e-5 * expected.abs().max(1.0), "{name}[{i}] is {found}, the reference {expected}");
    }
}
