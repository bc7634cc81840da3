//! Input channels cut into slices: when they are, and by whom.

use std::collections::HashSet;

use octconv::{ContextOptions, DeviceFacts, InputSize, Options, Plan, Spec, SpecBuilder, Strategy, Variant, wgpu};

use crate::cases::{F16, at, k3};
use crate::harness::{candidates, case, compare_all, family, open, tile};

/// Grids of few workgroups a dimension, with some too many in their last rows.
pub fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 5, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    for (output, side) in [((8, 6), 4), ((24, 9), 5)] {
        let case = case(at(k3((37, 50), output), [side, side]));
        let small = |variant: &Variant| {
            let tiles = [Some(tile::DIRECT_SMALL), Some(tile::STAGED_SMALL)];
            variant.strategy == Strategy::SplitK && tiles.contains(&variant.tile)
        };
        let variants = candidates(&context, &case).into_iter().map(|plan| plan.variant()).filter(small);
        let kernels = compare_all(&context, &case, variants);
        assert_eq!(kernels.iter().filter(|name| *name == "reduce").count(), 2, "{kernels:?}");
    }
}

pub fn families_of_f16() {
    let facts = DeviceFacts { features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() };
    let options = Options { precision: F16, ..Options::default() };
    let spec = k3((37, 50), (6, 9)).bias(true).build().unwrap();
    let plans = Plan::candidates(&spec, InputSize::image(1, 7, 6), &options, &facts);
    for family in ["direct-f16", "staged-f16"].map(family) {
        let is = |plan: &Plan| (plan.variant().strategy, plan.variant().family) == (Strategy::SplitK, family);
        assert!(plans.iter().any(is), "{family}");
    }
}

fn best_on_gpu(spec: SpecBuilder, side: u32) -> Variant {
    let spec = spec.build().unwrap();
    let options = Options { pooled_input: true, ..Options::default() };
    let plan = Plan::new(&spec, InputSize::image(1, side, side), &options, &DeviceFacts::default());
    plan.unwrap().variant()
}

/// Where one output a thread is too little for a GPU, and only there. By estimate.
pub fn small_maps_of_many_channels_are_sliced() {
    let layer = |c_in, c_out, kernel| Spec::builder(c_in, c_out).alpha(0.5, 0.5).kernel([kernel; 2]).same_padding();
    assert_eq!(best_on_gpu(layer(2048, 512, 1), 7).strategy, Strategy::SplitK);
    assert_eq!(best_on_gpu(layer(512, 512, 3), 7).strategy, Strategy::SplitK);
    assert_ne!(best_on_gpu(layer(64, 256, 1), 56).strategy, Strategy::SplitK);
    assert_ne!(best_on_gpu(layer(64, 64, 3), 112).strategy, Strategy::SplitK);
    let sliced = |spec: SpecBuilder, side| {
        let size = InputSize::image(1, side, side);
        let plans = Plan::candidates(&spec.build().unwrap(), size, &Options::default(), &DeviceFacts::default());
        plans
            .iter()
            .map(Plan::variant)
            .filter(|v| v.strategy == Strategy::SplitK)
            .map(|v| v.family)
            .collect::<HashSet<_>>()
    };
    assert_eq!(sliced(layer(512, 512, 3), 7), HashSet::from([family("direct"), family("staged")]));
    assert_eq!(sliced(layer(24, 24, 3), 7), HashSet::new());
}
