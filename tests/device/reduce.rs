//! Input channels cut into slices: when they are, and grids that fold. The table of layers runs the rest.

use std::collections::HashSet;

use crate::common::{check_tiles, family, image, open, split};
use octconv::{ContextOptions, DeviceFacts, InputSize, Options, Plan, Spec, SpecBuilder, Strategy, Variant, wgpu};

fn split_k(variant: Variant) -> bool {
    variant.strategy == Strategy::SplitK
}

/// Grids of few workgroups a dimension, with some too many in their last rows.
#[test]
fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 5, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    for (output, side) in [((8, 6), 4), ((24, 9), 5)] {
        let case = image(split((37, 50), output).kernel([3, 3]).same_padding(), side, side);
        let small = |variant: Variant| split_k(variant) && matches!(variant.tile, Some("t8c2h2w" | "g32c32p-t4c4p"));
        let kernels = check_tiles(&context, &case, small);
        assert_eq!(kernels.iter().filter(|name| *name == "reduce").count(), 2, "{kernels:?}");
    }
}

fn best_on_gpu(spec: SpecBuilder, side: u32) -> Variant {
    let spec = spec.build().unwrap();
    let options = Options { pooled_input: true, ..Options::default() };
    let plan = Plan::new(&spec, InputSize::image(1, side, side), &options, &DeviceFacts::default());
    plan.unwrap().variant()
}

/// Where one output a thread is too little for a GPU, and only there. By estimate.
#[test]
fn small_maps_of_many_channels_are_sliced() {
    let layer = |c_in, c_out, kernel| Spec::builder(c_in, c_out).alpha(0.5, 0.5).kernel([kernel; 2]).same_padding();
    assert_eq!(best_on_gpu(layer(2048, 512, 1), 7).strategy, Strategy::SplitK);
    assert_eq!(best_on_gpu(layer(512, 512, 3), 7).strategy, Strategy::SplitK);
    assert_ne!(best_on_gpu(layer(64, 256, 1), 56).strategy, Strategy::SplitK);
    assert_ne!(best_on_gpu(layer(64, 64, 3), 112).strategy, Strategy::SplitK);
    let sliced = |spec: SpecBuilder, side| {
        let size = InputSize::image(1, side, side);
        let plans = Plan::candidates(&spec.build().unwrap(), size, &Options::default(), &DeviceFacts::default());
        plans.iter().map(Plan::variant).filter(|&v| split_k(v)).map(|v| v.family).collect::<HashSet<_>>()
    };
    assert_eq!(sliced(layer(512, 512, 3), 7), HashSet::from([family("direct"), family("staged")]));
    assert_eq!(sliced(layer(24, 24, 3), 7), HashSet::new());
}
