//! Where kernels with sums of f16 are among the candidates.

use octconv::{DeviceFacts, Dtype, Family, InputSize, Options, Plan, Precision, Spec, SpecBuilder, wgpu};

use crate::cases::{F16, k3, split};
use crate::harness::{family, tile};

const OPTIONS: Options = Options {
    precision: F16,
    pooled_input: false,
    pooled_output: false,
    high_slice: None,
    low_slice: None,
    scratch_limit: None,
    variant: None,
};

fn gpu() -> DeviceFacts {
    DeviceFacts { features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() }
}

fn plans(spec: SpecBuilder, options: Options, facts: &DeviceFacts) -> Vec<Plan> {
    Plan::candidates(&spec.build().unwrap(), InputSize::image(1, 28, 28), &options, facts)
}

fn families(spec: SpecBuilder, options: Options, facts: &DeviceFacts) -> Vec<Family> {
    plans(spec, options, facts).iter().map(|plan| plan.variant().family).collect()
}

/// Of tiles that a layer of many channels and positions has a use for.
pub fn every_tile_is_there() {
    let plans = plans(k3((80, 80), (160, 170)), OPTIONS, &gpu());
    for family in ["direct-f16", "staged-f16"].map(family) {
        let tiles = family.tiles().iter().filter(|tile| !tile::ALONG_CHANNELS.contains(tile)).count();
        let planned = plans.iter().filter(|plan| {
            let variant = plan.variant();
            variant.family == family && variant.strategy == octconv::Strategy::Fused
        });
        let planned = planned.count();
        assert!(planned >= tiles / 2, "{family} has {planned} of {tiles} tiles");
    }
}

pub fn only_where_the_options_allow_it() {
    let spec = || k3((6, 8), (10, 7));
    let f32_sums = Options { precision: Precision { sums: Dtype::F32, ..F16 }, ..OPTIONS };
    let (allowed, others) = (families(spec(), OPTIONS, &gpu()), families(spec(), f32_sums, &gpu()));
    for family in [family("direct-f16"), family("staged-f16")] {
        assert!(allowed.contains(&family) && !others.contains(&family), "{family:?}");
    }
}

pub fn a_group_of_one_channel_has_no_pairs() {
    let depthwise = split((8, 8), (8, 8)).depthwise().kernel([3, 3]).same_padding();
    let families = families(depthwise, OPTIONS, &gpu());
    assert!(!families.is_empty() && !families.contains(&family("direct-f16")));
}

/// By estimate: on a GPU twice as many products an instruction, on a software device many times fewer.
pub fn gpus_prefer_it_and_software_devices_do_not() {
    let spec = || Spec::builder(128, 128).alpha(0.5, 0.5).kernel([3, 3]).dilation([2, 2]).same_padding();
    let first_direct = |facts: &DeviceFacts| {
        let is_direct = |family: &Family| ["direct", "direct-f16"].contains(&family.name());
        families(spec(), OPTIONS, facts).into_iter().find(is_direct)
    };
    assert_eq!(first_direct(&gpu()), Some(family("direct-f16")));
    assert_eq!(first_direct(&DeviceFacts { software: true, ..gpu() }), Some(family("direct")));
}
