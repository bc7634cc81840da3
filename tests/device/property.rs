//! Random layers on the device, against the reference.

use octconv::verify::Case;
use octconv::{Options, Plan, wgpu};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::draw::{Kind, config, layer, options};
use crate::harness::{Device, context, device, ran};

/// Layers in one of the variants that this device runs them in.
fn on_device(kind: Kind) -> impl Strategy<Value = Case> {
    let facts = context().engine().facts();
    let f16 = facts.features.contains(wgpu::Features::SHADER_F16);
    (layer(kind), options(f16), any::<Index>(), any::<bool>(), 0..1000u64).prop_filter_map(
        "no plan",
        |((spec, size), options, variant, batch_norm, seed)| {
            let plans = Plan::candidates(&spec, size, &options, facts);
            let variant = Some(plans.get(variant.index(plans.len().max(1)))?.variant());
            Some(Case { spec, size, options: Options { variant, ..options }, batch_norm, seed })
        },
    )
}

fn agree(kind: Kind, cases: u32) {
    let agrees = |case: Case| {
        for kind in [Device::AsItIs, Device::AsGpu] {
            let context = device(kind, case.options.precision.activations);
            let facts = context.engine().facts();
            let fits = || context.engine().plan(&case.spec, case.size, &case.options).is_ok();
            // Whether a GPU has the tile is for the planner to say.
            if kind == Device::AsGpu && (!self::context().engine().facts().software || !fits()) {
                continue;
            }
            let outcome = case.run(context).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(Some(outcome.variant), case.options.variant);
            prop_assert!(outcome.failure.is_none(), "{:?} on {:?}", outcome, facts);
            ran("drawn");
        }
        Ok(())
    };
    let outcome = TestRunner::new(config(cases, 150)).run(&on_device(kind), agrees);
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

pub fn dense_layers_agree() {
    agree(Kind::Dense, 15);
}

pub fn pointwise_layers_agree() {
    agree(Kind::Pointwise, 15);
}

pub fn grouped_layers_agree() {
    agree(Kind::Grouped, 10);
}

pub fn depthwise_layers_agree() {
    agree(Kind::Depthwise, 10);
}

pub fn clips_agree() {
    agree(Kind::Clip, 10);
}
