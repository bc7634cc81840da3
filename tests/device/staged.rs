//! What the staged kernel alone has. The table of layers runs the rest.

use crate::common::{context, family, image, open, split};
use octconv::verify::Case;
use octconv::{ContextOptions, DeviceFacts, InputSize, Options, Plan, Spec, SpecBuilder, wgpu};

/// One variant.
fn check_as(variant: &str, case: &Case) {
    check_in(context(), variant, case);
}

fn check_in(context: &octconv::Context, variant: &str, case: &Case) {
    let variant = Some(variant.parse().unwrap());
    crate::common::check_one(context, &Case { options: Options { variant, ..case.options }, ..case.clone() });
}

/// 3x3 with the padding that keeps sizes, half of the channels at half of the resolution, no whole slab of them.
fn k3() -> SpecBuilder {
    split((9, 17), (6, 35)).kernel([3, 3]).same_padding()
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
