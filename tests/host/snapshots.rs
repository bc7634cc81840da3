//! The WGSL of some kernels as it goes to the device. If a change alters it, the difference shows here as text.
//!
//! `INSTA_UPDATE=always cargo test --all-features --test host snapshots` writes the snapshots again.

use std::collections::BTreeSet;

use octconv::network::{Graph, Network, NetworkOptions, NetworkPlan, zoo};
use octconv::{
    Activation, DeviceFacts, Dtype, Family, InputSize, Options, Plan, Precision, Spec, SpecBuilder, Split, wgpu,
};

fn split(input: (u32, u32), output: (u32, u32)) -> SpecBuilder {
    let [input, output] = [input, output].map(|(high, low)| Split { high, low });
    Spec::builder(input.channels(), output.channels()).split(input, output)
}

fn k3(input: (u32, u32), output: (u32, u32)) -> SpecBuilder {
    split(input, output).kernel([3, 3]).same_padding()
}

/// A GPU with matrix units.
fn gpu() -> DeviceFacts {
    let features =
        wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    DeviceFacts { features, matrix: Some(16), subgroup_sizes: [32; 2], ..DeviceFacts::default() }
}

/// A software device with integers of 64 bits.
fn software() -> DeviceFacts {
    DeviceFacts { features: wgpu::Features::SHADER_INT64, software: true, ..DeviceFacts::default() }
}

/// Without the list of activations, so that a new one does not change every snapshot.
fn snapshot(name: &str, source: &str) {
    let shown = match source.split_once("fn activated(") {
        Some((before, rest)) => format!("{before}{}", rest.split_once("\n}\n").unwrap().1),
        None => source.to_string(),
    };
    insta::assert_snapshot!(name.replace(' ', "-"), shown);
}

/// Kernels that convolve: the last one of each plan.
#[test]
fn of_layers() {
    let octave = || k3((16, 16), (16, 16)).bias(true).activation(Activation::Relu);
    let pointwise = || split((32, 32), (16, 16)).bias(true).residual(true, false);
    let plain = || k3((64, 0), (64, 0));
    let layers: [(&str, &str, SpecBuilder, [u32; 2], _, _); _] = [
        ("direct", "fused/direct", octave(), [28, 28], Dtype::F32, gpu()),
        ("direct of a software device", "low-first/direct", octave(), [28, 28], Dtype::F32, software()),
        ("direct stride 2", "pool-first/direct", octave().stride(2), [28, 28], Dtype::F32, gpu()),
        ("direct depthwise", "fused/direct", octave().depthwise(), [28, 28], Dtype::F32, gpu()),
        ("direct f16", "fused/direct-f16", octave(), [28, 28], Dtype::F16, gpu()),
        ("pointwise", "fused/pointwise", pointwise(), [28, 28], Dtype::F32, gpu()),
        ("pointwise of a software device", "fused/pointwise", pointwise(), [28, 28], Dtype::F32, software()),
        ("staged", "fused/staged", octave(), [28, 28], Dtype::F32, gpu()),
        ("staged f16", "fused/staged-f16", octave(), [28, 28], Dtype::F16, gpu()),
        ("matrix with windows", "fused/matrix", plain(), [28, 28], Dtype::F16, gpu()),
        ("matrix 1x1", "low-first/matrix", split((64, 64), (64, 64)), [28, 28], Dtype::F16, gpu()),
        ("winograd", "transform/winograd", plain(), [28, 28], Dtype::F32, gpu()),
    ];
    for (name, variant, spec, [h, w], dtype, facts) in layers {
        let options = Options {
            precision: Precision { activations: dtype, weights: dtype, sums: dtype },
            variant: Some(variant.parse().unwrap()),
            pooled_output: !name.starts_with("pointwise"),
            ..Options::default()
        };
        let plan = Plan::new(&spec.build().unwrap(), InputSize::image(1, h, w), &options, &facts);
        let sources = plan.unwrap_or_else(|error| panic!("{name}: {error}")).sources();
        snapshot(name, sources.last().unwrap());
    }
}

/// One of each small kernel.
#[test]
fn of_networks() {
    let mut seen = BTreeSet::new();
    let built_in = ["se-resnet50", "densenet121"]
        .map(|name| zoo::build(name, &zoo::Settings { alpha: 0.25, ..Default::default() }).unwrap());
    let described: Network = serde_json::from_str(include_str!("../../examples/segmentation.json")).unwrap();
    for network in built_in.into_iter().chain([described]) {
        let graph = Graph::new(&network).unwrap();
        let plan = NetworkPlan::new(&graph, InputSize::image(1, 64, 64), &NetworkOptions::default(), &gpu()).unwrap();
        for (kernel, source) in plan.sources() {
            let family = Family::all().any(|family| kernel.starts_with(family.name()));
            // Some kernels have several sizes: the first one counts.
            let words: Vec<_> = kernel.split(' ').take_while(|word| !word.contains(char::is_numeric)).collect();
            let name = words.join(" ");
            if !family && seen.insert(name.clone()) {
                snapshot(&name, &source);
            }
        }
    }
    assert!(seen.len() >= 6, "{seen:?}");
}
