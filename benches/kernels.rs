//! Times every strategy and family of some octave layers, each with its best tile by the planner's estimate, one
//! submission at a time. To compare layers in one run use `octconv bench`, and to compare tiles `octconv tune`.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use octconv::tuning::RandomLayer;
use octconv::{Context, ContextOptions, InputSize, Options, Plan, Spec};

fn kernels(criterion: &mut Criterion) {
    let context = Context::new(&ContextOptions::default()).expect("an adapter");
    let engine = context.engine();
    let k3 = Spec::builder(64, 64).alpha(0.5, 0.5).kernel([3, 3]).same_padding();
    let layers = [
        ("1x1 256 to 64", Spec::builder(256, 64).alpha(0.5, 0.5)),
        ("3x3 64 to 64", k3.clone()),
        ("3x3 64 to 64 in 8 groups", k3.clone().groups(8)),
        ("3x3 depthwise 64", k3.depthwise()),
    ];
    for (name, builder) in layers {
        let spec = builder.build().expect("a valid layer");
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).measurement_time(Duration::from_secs(1));
        let mut plans = Plan::candidates(&spec, InputSize::image(1, 56, 56), &Options::default(), engine.facts());
        let mut seen = Vec::new();
        plans.retain(|plan| {
            let variant = plan.variant().untiled();
            let new = !seen.contains(&variant);
            seen.push(variant);
            new
        });
        for plan in plans {
            let layer = RandomLayer::new(&context, &plan).and_then(|layer| layer.bind(&context, &plan));
            let layer = layer.expect("a bound layer");
            group.bench_function(plan.variant().to_string(), |b| b.iter(|| context.run(&[&layer])));
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
