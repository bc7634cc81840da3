//! What the staged kernel alone has.

use octconv::{ContextOptions, DeviceFacts, InputSize, Options, Plan, Spec, SpecBuilder, wgpu};

use crate::cases::{at, split, wide};
use crate::harness::{self, case, compare, family, forced, open, tile};

pub fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 3, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    // In rows of 3.
    let row = at(split((3, 2), (40, 9)).bias(true), [8, 7]);
    let case = forced(case(row), &format!("fused/staged/{}", tile::STAGED_SMALL));
    assert_eq!(harness::workgroups(&case), 5);
    compare(&context, &case);
}

/// Channels, positions and slabs that divide: with one channel more the kernel is another.
pub fn nothing_is_masked() {
    for tile in [tile::STAGED_SMALL, tile::STAGED_LARGE] {
        let masks = |high, outputs| {
            let spec = split((high, 32), outputs).build().unwrap();
            let variant = Some(format!("fused/staged/{tile}").parse().unwrap());
            let options = Options { variant, ..Options::default() };
            let facts = DeviceFacts::default();
            let source = Plan::new(&spec, InputSize::image(1, 32, 32), &options, &facts).unwrap().sources().concat();
            crate::harness::booleans(&source)
        };
        let (whole, ragged) = (masks(16, (128, 128)), masks(17, (127, 126)));
        for flag in ["HIGH_EDGES", "LOW_EDGES", "HH_RAGGED", "HL_RAGGED", "LH_RAGGED", "LL_RAGGED", "PADDED"] {
            assert_eq!(whole.get(flag), Some(&false), "{flag}");
        }
        for flag in ["HIGH_EDGES", "LOW_EDGES", "HH_RAGGED", "HL_RAGGED"] {
            assert_eq!(ragged.get(flag), Some(&true), "{flag}");
        }
    }
}

/// Workgroup memory pays on a GPU, where many channels share what is read; a software device has none that is faster.
pub fn chosen_on_gpus_alone() {
    let spec = Spec::builder(512, 128).alpha(0.5, 0.5).build().unwrap();
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

pub fn what_it_refuses() {
    let limits = wgpu::Limits::default();
    let (small, large) = (tile::STAGED_SMALL, tile::STAGED_LARGE);
    let grouped = refusal("fused/staged", split((4, 4), (4, 4)).groups(2), limits.clone());
    assert_eq!(grouped, "variant fused/staged cannot run this layer: the staged kernel needs one group");
    let narrow = refusal(&format!("fused/staged/{large}"), split((4, 4), (64, 64)), limits.clone());
    assert!(narrow.ends_with(&format!("half of a tile of {large} or more would stand idle")), "{narrow}");
    let little = wgpu::Limits { max_compute_workgroup_storage_size: 8000, ..limits.clone() };
    let storage = refusal(&format!("fused/staged/{small}"), wide(), little);
    let wanted = format!(
        "a tile of {small}, in bytes of workgroup memory, needs 8192, but max_compute_workgroup_storage_size is 8000"
    );
    assert_eq!(storage, wanted);
    let few = wgpu::Limits { max_compute_invocations_per_workgroup: 32, ..limits };
    let threads = refusal(&format!("fused/staged/{small}"), wide(), few);
    let wanted = format!("a tile of {small}, in threads, needs 64, but max_compute_invocations_per_workgroup is 32");
    assert_eq!(threads, wanted);
}
