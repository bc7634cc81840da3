//! Where kernels with sums of f16 are among the candidates. The table of layers runs them.

use crate::common::{family, split};
use octconv::{DeviceFacts, Dtype, Family, InputSize, Options, Plan, Precision, Spec, SpecBuilder, wgpu};

fn f16() -> Options {
    Options { precision: Precision { sums: Dtype::F16, ..Precision::of(Dtype::F16) }, ..Options::default() }
}

fn k3() -> SpecBuilder {
    split((6, 8), (10, 7)).kernel([3, 3]).same_padding()
}

fn gpu() -> DeviceFacts {
    DeviceFacts { features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() }
}

fn families(spec: SpecBuilder, options: Options, facts: &DeviceFacts) -> Vec<Family> {
    let size = InputSize::image(1, 28, 28);
    let plans = Plan::candidates(&spec.build().unwrap(), size, &options, facts);
    plans.iter().map(|plan| plan.variant().family).collect()
}

#[test]
fn only_where_the_options_allow_it() {
    let allowed = families(k3(), f16(), &gpu());
    let others =
        families(k3(), Options { precision: Precision { sums: Dtype::F32, ..f16().precision }, ..f16() }, &gpu());
    for family in [family("direct-f16"), family("staged-f16")] {
        assert!(allowed.contains(&family) && !others.contains(&family), "{family:?}");
    }
}

#[test]
fn a_group_of_one_channel_has_no_pairs() {
    let depthwise = split((8, 8), (8, 8)).depthwise().kernel([3, 3]).same_padding();
    let families = families(depthwise, f16(), &gpu());
    assert!(!families.is_empty() && !families.contains(&family("direct-f16")));
}

/// By estimate: on a GPU twice as many products an instruction, on a software device many times fewer.
#[test]
fn gpus_prefer_it_and_software_devices_do_not() {
    let spec = || Spec::builder(128, 128).alpha(0.5, 0.5).kernel([3, 3]).dilation([2, 2]).same_padding();
    let first_direct = |facts: &DeviceFacts| {
        let is_direct = |family: &Family| ["direct", "direct-f16"].contains(&family.name());
        families(spec(), f16(), facts).into_iter().find(is_direct)
    };
    assert_eq!(first_direct(&gpu()), Some(family("direct-f16")));
    assert_eq!(first_direct(&DeviceFacts { software: true, ..gpu() }), Some(family("direct")));
}
