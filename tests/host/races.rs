//! Runs what plans dispatch on the CPU, thread by thread, and finds what a software device does not show and a GPU does not
//! report: see `interpreter`. Values are compared with the reference, within the bounds of `verify`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use octconv::export::{Access, Bundle, BundleOptions, Manifest, Usage};
use octconv::network::{Checkpoint, Graph, NetworkOptions, NetworkPlan};
use octconv::verify::{Case, NetworkCase, Values};
use octconv::{
    Accuracy, DeviceFacts, Dtype, Family, InputSize, Options, Plan, Precision, Spec, Split, Strategy, Variant, Weights,
    wgpu,
};
use rayon::prelude::*;

use crate::interpreter::{Bound, Buffer, Machine, Order, Subgroups, compile};

/// A device for which plans are made.
struct Device {
    name: &'static str,
    facts: DeviceFacts,
    subgroups: Subgroups,
}

const SHORT: &str = "a GPU with short dispatches";

fn devices() -> Vec<Device> {
    let able = |software, side, subgroup_sizes, units| DeviceFacts {
        limits: wgpu::Limits { max_storage_buffers_per_shader_stage: 16, ..wgpu::Limits::default() },
        features: wgpu::Features::SHADER_F16 | units,
        software,
        matrix: side,
        subgroup_sizes,
        ..DeviceFacts::default()
    };
    let plain = |software| DeviceFacts { software, ..DeviceFacts::default() };
    // Dispatches have several rows of workgroups, and some workgroups nothing to do.
    let mut narrow = plain(false);
    narrow.limits.max_compute_workgroups_per_dimension = 5;
    let matrices = wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let of = |name, facts, size, interleaved| Device { name, facts, subgroups: Subgroups { size, interleaved } };
    vec![
        of("a GPU", plain(false), 32, false),
        of("a GPU with matrices of 16", able(false, Some(16), [32; 2], matrices), 32, false),
        of("a GPU with matrices of 8", able(false, Some(8), [16, 64], matrices), 16, true),
        of(SHORT, narrow, 32, false),
        of("a software device", plain(true), 8, false),
        of("a software device with wide words", able(true, None, [8; 2], wgpu::Features::SHADER_INT64), 8, false),
    ]
}

/// What is meant, although nothing promises a value: the kernel, and what is found there.
const MEANT: [(&str, &str); 1] = [
    // Sides are padded. What a product makes of tiles that do not exist lies in columns of its own, which nobody reads.
    ("winograd multiply", "unset: v_elements"),
];

/// Runs the dispatches of a bundle whose sources go through `change`, leaves in `buffers` what they write, and returns what
/// is wrong with them.
fn play(
    bundle: &Bundle,
    buffers: &mut [Vec<u8>],
    subgroups: Subgroups,
    change: &dyn Fn(&str) -> String,
) -> Vec<String> {
    let Manifest { inputs, kernels, dispatches, buffers: described, .. } = bundle.manifest();
    let memory = described.iter().zip(buffers.iter()).map(|(described, bytes)| match described.usage {
        Usage::Storage => Buffer::unset(bytes.clone()),
        Usage::Uniform | Usage::Constant => Buffer::set(bytes.clone()),
    });
    let mut memory: Vec<Buffer> = memory.collect();
    for input in inputs {
        memory[input.buffer].known[input.offset as usize..][..input.bytes as usize].fill(true);
    }
    let programs = kernels.iter().map(|kernel| {
        let code = bundle.files().find(|(path, _)| *path == kernel.file).expect("its file").1;
        compile(&change(std::str::from_utf8(code).unwrap()), subgroups.size)
    });
    let programs: Vec<_> = programs.collect();
    let mut faults = Vec::new();
    for dispatch in dispatches {
        let (kernel, program) = (&kernels[dispatch.kernel], &programs[dispatch.kernel]);
        let bound = dispatch.bindings.iter().map(|range| Bound {
            number: range.binding,
            buffer: range.buffer,
            offset: range.offset as usize,
            bytes: range.bytes as usize,
        });
        let bound: Vec<Bound> = bound.collect();
        let mut again = memory.clone();
        for (order, memory) in [(Order::Forward, &mut memory), (Order::Backward, &mut again)] {
            let found = Machine::new(program, subgroups, memory, &bound).dispatch(dispatch.workgroups, order);
            let is_meant = |fault: &&String| {
                let mut meant = MEANT.iter();
                !meant.any(|(name, text)| kernel.name.starts_with(name) && fault.starts_with(text))
            };
            faults.extend(found.iter().filter(is_meant).map(|fault| format!("{}, {order:?}: {fault}", kernel.name)));
        }
        for (range, binding) in dispatch.bindings.iter().zip(&kernel.bindings) {
            let same = memory[range.buffer].bytes == again[range.buffer].bytes;
            if binding.access == Access::ReadWrite && !same {
                faults.push(format!("{}: another order gives another result", kernel.name));
            }
        }
    }
    for (bytes, memory) in buffers.iter_mut().zip(memory) {
        *bytes = memory.bytes;
    }
    faults
}

/// The same, as the kernels are.
fn play_unchanged(bundle: &Bundle, buffers: &mut [Vec<u8>], device: &Device) -> Vec<String> {
    play(bundle, buffers, device.subgroups, &str::to_owned)
}

/// How often all is drawn again: with `OCTCONV_ALL_ROWS` set for many minutes.
fn rounds() -> u64 {
    if std::env::var_os("OCTCONV_ALL_ROWS").is_some() { 30 } else { 1 }
}

/// The most multiply-adds, elements of tensors, and weights of a layer.
const MOST: [u64; 3] = [20_000, 6_000, 6_000];

/// Random layers: on each device each tile of each family, in any strategy. And what they seldom have.
#[test]
fn layers() {
    let devices = devices();
    let tiles: Vec<_> =
        Family::all().flat_map(|family| family.tiles().iter().map(move |&tile| (family, tile))).collect();
    let runs = (0..rounds()).flat_map(|_| &devices).flat_map(|device| tiles.iter().map(move |&tile| (device, tile)));
    let runs: Vec<_> = runs.zip(0..).collect();
    let random = runs.par_iter().filter_map(|&((device, (family, tile)), seed)| {
        // Not every device has a use for each.
        let case = Case::random_of_on(&device.facts, family, Some(tile), seed, MOST)?;
        Some(run(&case, device))
    });
    // Of the devices with wide words, because their kernels have most alternatives.
    let able = [&devices[1], &devices[5]].into_par_iter();
    let chosen = able.flat_map(|device| chosen(device).into_par_iter().map(move |case| run(&case, device)));
    let met: BTreeSet<String> = random.chain(chosen).flatten().collect();
    // Tiles of software devices are too large for sums in f16.
    let is_refused = |family: Family, tile: &str| family.name() == "direct-f16" && tile.starts_with("tc");
    let wanted = tiles.iter().filter(|(family, tile)| !is_refused(*family, tile));
    let missing: Vec<_> = wanted.filter(|(family, tile)| !met.contains(&format!("{family} {tile}"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for strategy in Strategy::all() {
        for family in Family::all() {
            let transforms = family.name() == "winograd";
            let combined = match strategy {
                Strategy::Transform => transforms,
                Strategy::LowFirst | Strategy::SplitK => !transforms && family.name() != "pointwise",
                _ => !transforms,
            };
            assert_eq!(met.contains(&format!("{strategy:?} {family}")), combined, "{strategy:?} {family}");
        }
    }
    for kernel in ["add", "pool", "reduce", "upsample"] {
        assert!(met.contains(kernel), "{kernel}");
    }
}

/// Runs a layer, and returns what it has met.
fn run(case: &Case, device: &Device) -> Vec<String> {
    let mut faults = Vec::new();
    let outcome = case.play(&device.facts, |bundle, buffers| faults = play_unchanged(bundle, buffers, device));
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}: {case:?}"));
    let right = faults.is_empty() && outcome.failure.is_none();
    assert!(right, "{faults:#?} {outcome:?} of {case:?} on {}", device.name);
    let Variant { strategy, family, tile, .. } = outcome.variant;
    let kernels = outcome.kernels.iter().map(|kernel| first_word(kernel));
    [format!("{family} {}", tile.unwrap()), format!("{strategy:?} {family}")].into_iter().chain(kernels).collect()
}

fn first_word(kernel: &str) -> String {
    kernel.split(' ').next().unwrap_or_default().into()
}

/// What random layers of this size seldom or never have: each strategy with each family, and large tiles.
fn chosen(device: &Device) -> Vec<Case> {
    let spec = |side: u32, input: [u32; 2], output: [u32; 2]| {
        let [input, output] = [input, output].map(|[high, low]| Split { high, low });
        let spec = Spec::builder(input.channels(), output.channels()).split(input, output);
        spec.kernel([side; 2]).same_padding().bias(true).build().unwrap()
    };
    // Small ones, one whose inputs are cut into slices, and one for large tiles.
    let specs =
        [spec(3, [6, 5], [7, 4]), spec(1, [6, 5], [7, 4]), spec(1, [37, 50], [5, 4]), spec(1, [6, 0], [140, 0])];
    let half = Precision::of(Dtype::F16);
    let types = [Precision::default(), half, Precision { sums: Dtype::F16, ..half }];
    let size = InputSize::image(1, 9, 8);
    let (mut cases, mut seen) = (Vec::new(), BTreeSet::new());
    for (spec, precision) in specs.iter().flat_map(|spec| types.map(|precision| (spec, precision))) {
        let options = Options { precision, accuracy: Accuracy::Fast, ..Options::default() };
        for variant in Plan::candidates(spec, size, &options, &device.facts).iter().map(Plan::variant) {
            let Variant { strategy, family, tile, .. } = variant;
            let is_new = match tile {
                Some(tile) if spec == &specs[3] && tile.starts_with('g') => seen.insert(format!("{family} {tile}")),
                _ => seen.insert(format!("{strategy:?} {family}")),
            };
            if is_new {
                let options = Options { variant: Some(variant), ..options };
                let (spec, values, seed) = (spec.clone(), Values::Even, cases.len() as u64);
                cases.push(Case { spec, size, options, batch_norm: false, one_buffer: false, values, seed });
            }
        }
    }
    cases
}

/// Random networks, and one with longer vectors: in f32 against the reference, and in f16 on devices that have it.
#[test]
fn networks() {
    let devices = devices();
    let described = || NetworkCase {
        strange: false,
        network: serde_json::from_str(SMALL_KERNELS).unwrap(),
        size: InputSize::image(2, 6, 7),
        keep: Vec::new(),
        any_variant: false,
        one_buffer: false,
        seed: 1,
    };
    let random = (0..NETWORKS * rounds()).into_par_iter().map(|seed| (seed, NetworkCase::random(seed)));
    let cases = random.chain((0..devices.len() as u64).into_par_iter().map(|seed| (seed, described())));
    let run = |(seed, case)| run_network(case, &devices[seed as usize % devices.len()]);
    let met: BTreeSet<String> = cases.flat_map_iter(run).collect();
    let missing: Vec<_> = OF_NETWORKS.iter().filter(|kernel| !met.contains(**kernel)).collect();
    assert!(missing.is_empty(), "{missing:?} of {met:?}");
}

/// The kernels that only networks have, and those of layers that networks choose.
const OF_NETWORKS: [&str; 19] = [
    "activate",
    "add",
    "attention",
    "average",
    "copy",
    "direct",
    "excite",
    "global",
    "linear",
    "max",
    "norm",
    "pointwise",
    "pool",
    "resample",
    "scale",
    "softmax",
    "staged",
    "sum",
    "upsample",
];

/// Runs a network, and returns the kernels that ran. None if it is large, or not for this device.
fn run_network(mut case: NetworkCase, device: &Device) -> Vec<String> {
    let graph = Graph::new(&case.network).unwrap();
    if graph.macs(case.size).unwrap().iter().sum::<u64>() > MOST_OF_NETWORK {
        return Vec::new();
    }
    let run = |case: &NetworkCase| {
        let mut faults = Vec::new();
        let outcome = case.play(&device.facts, |bundle, buffers| faults = play_unchanged(bundle, buffers, device));
        outcome.map(|outcome| (outcome, faults))
    };
    let mut outcome = run(&case);
    if outcome.as_ref().is_err_and(|error| error.to_string().contains("one_buffer is true")) {
        // WGSL does not have every network in one buffer.
        case.one_buffer = false;
        outcome = run(&case);
    }
    let (outcome, faults) = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            assert!(device.name == SHORT && error.to_string().contains("in workgroups"), "{error}: {case:?}");
            return Vec::new();
        }
    };
    let right = faults.is_empty() && outcome.failure.is_none();
    assert!(right, "{faults:#?} {outcome:?} of {case:?} on {}", device.name);
    if device.facts.features.contains(wgpu::Features::SHADER_F16) {
        let options = NetworkOptions { precision: Precision::of(Dtype::F16), ..NetworkOptions::default() };
        let plan = NetworkPlan::new(&graph, case.size, &options, &device.facts).unwrap();
        let checkpoint = Checkpoint::random(&graph, case.seed);
        let bundle = Bundle::of_network(&plan, &checkpoint, BundleOptions::default()).unwrap();
        let faults = play_unchanged(&bundle, &mut bundle.buffers(), device);
        assert!(faults.is_empty(), "{faults:#?} of {case:?} in f16 on {}", device.name);
    }
    outcome.dispatches.iter().map(|(_, kernel)| first_word(kernel)).collect()
}

const NETWORKS: u64 = 72;
const MOST_OF_NETWORK: u64 = 100_000;

/// Every barrier is needed: without it, some layer or network has a race. So races in what runs here would show.
#[test]
fn every_barrier_is_needed() {
    let devices = devices();
    let device = &devices[1];
    let barriers = Barriers::default();
    let tiles = ["staged", "staged-f16", "matrix"].into_iter().flat_map(|family| {
        let family: Family = family.parse().unwrap();
        family.tiles().iter().map(move |&tile| (family, tile))
    });
    let tiles: Vec<_> = tiles.zip(0..).collect();
    tiles.par_iter().for_each(|&((family, tile), seed)| {
        let Some(case) = Case::random_of_on(&device.facts, family, Some(tile), seed, MOST) else { return };
        case.play(&device.facts, |bundle, buffers| barriers.remove_each(bundle, buffers, device)).unwrap();
    });
    // Several slabs of windows, which random layers of this size do not have.
    let spec = Spec::builder(40, 20).kernel([3, 3]).same_padding().build().unwrap();
    let precision = Precision::of(Dtype::F16);
    let options = Options { variant: Some("fused/matrix".parse().unwrap()), precision, ..Options::default() };
    let plan = Plan::new(&spec, InputSize::image(1, 6, 6), &options, &device.facts).unwrap();
    let weights = vec![0.25; 40 * 20 * 9];
    let weights = Weights { w_hh: Some(&weights), ..Weights::default() };
    let bundle = Bundle::of_layer(&plan, &weights, &device.facts, BundleOptions::default()).unwrap();
    barriers.remove_each(&bundle, &bundle.buffers(), device);
    let network = serde_json::from_str(SMALL_KERNELS).unwrap();
    let graph = Graph::new(&network).unwrap();
    let size = InputSize::image(1, 8, 8);
    let plan = NetworkPlan::new(&graph, size, &NetworkOptions::default(), &device.facts).unwrap();
    let bundle = Bundle::of_network(&plan, &Checkpoint::random(&graph, 1), BundleOptions::default()).unwrap();
    barriers.remove_each(&bundle, &bundle.buffers(), device);

    let found = barriers.0.into_inner().unwrap();
    let spare: Vec<_> = found.iter().filter(|(_, needed)| !**needed).collect();
    assert!(spare.is_empty(), "{spare:#?}");
    let kernels: BTreeSet<_> = found.keys().map(|(kernel, _)| kernel.as_str()).collect();
    let wanted = ["attention", "excite", "global", "linear", "matrix", "softmax", "staged", "staged-f16"];
    assert!(kernels.iter().copied().eq(wanted), "{kernels:?}");
}

/// Each small kernel that has barriers, with more than a workgroup has threads.
const SMALL_KERNELS: &str = r#"{"name": "small", "input": {"channels": 4}, "output": "softmax", "nodes": [
    {"name": "octave", "op": "conv", "input": "input", "channels": 24, "alpha": 0.5},
    {"name": "attention", "op": "attention", "queries": "octave", "keys": "octave", "values": "octave"},
    {"name": "excite", "op": "excite", "input": "attention", "reduced": 5},
    {"name": "pool", "op": "global_pool", "input": "excite"},
    {"name": "linear", "op": "linear", "input": "pool", "outputs": 300},
    {"name": "softmax", "op": "softmax", "input": "linear"}]}"#;

/// The barriers that were found, with their kernel and the lines around them, and whether any kernel needs them.
#[derive(Default)]
struct Barriers(Mutex<BTreeMap<(String, String), bool>>);

impl Barriers {
    /// Runs a bundle without one of its barriers, and then without another.
    fn remove_each(&self, bundle: &Bundle, buffers: &[Vec<u8>], device: &Device) {
        const BARRIER: &str = "workgroupBarrier();";
        for kernel in &bundle.manifest().kernels {
            let source = bundle.files().find(|(path, _)| *path == kernel.file).expect("its file").1;
            let source = std::str::from_utf8(source).unwrap();
            for (at, _) in source.match_indices(BARRIER) {
                let (before, behind) = (&source[..at], &source[at + BARRIER.len()..]);
                let is_telling = |line: &&str| line.len() > 1;
                let last = before.lines().map(str::trim).rfind(is_telling).unwrap_or_default();
                let next = behind.lines().map(str::trim).find(is_telling).unwrap_or_default();
                let key = (first_word(&kernel.name), format!("between {last} and {next}"));
                if self.0.lock().unwrap().get(&key) == Some(&true) {
                    continue;
                }
                let change = |text: &str| if text == source { [before, behind].concat() } else { text.to_owned() };
                let faults = play(bundle, &mut buffers.to_vec(), device.subgroups, &change);
                let races = faults.iter().any(|fault| fault.contains(": race: "));
                *self.0.lock().unwrap().entry(key).or_default() |= races;
            }
        }
    }
}
