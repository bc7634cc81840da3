//! Each variant of some octave layers, one submission at a time. `octconv bench` compares them in turn in one run.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use octconv::{Context, ContextOptions, Dtype, InputSize, Options, Path, Plan, Spec, TensorBinding, Tensors, Weights};

fn kernels(criterion: &mut Criterion) {
    let context = Context::new(&ContextOptions::default()).expect("an adapter");
    let octconv = context.octconv();
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
        group.sample_size(20).measurement_time(Duration::from_secs(2));
        for plan in Plan::candidates(&spec, InputSize::image(1, 56, 56), &Options::default(), octconv.facts()) {
            let weights = Path::ALL.map(|path| {
                let count = spec.weight_shape(path).iter().product::<u32>() as usize;
                spec.has(path).then(|| vec![0.01; count])
            });
            let [w_hh, w_hl, w_lh, w_ll] = weights.each_ref().map(|w| w.as_deref());
            let weights = Weights { w_hh, w_hl, w_lh, w_ll, ..Weights::default() };
            let packed = octconv.pack(&plan, &weights).expect("packed weights");
            let buffers = plan.tensors().into_iter().map(|tensor| {
                let values = vec![0.5; tensor.dims.elements() as usize];
                (tensor.name, context.upload(&values, Dtype::F32).expect("a tensor"))
            });
            let buffers: Vec<_> = buffers.collect();
            let mut tensors = Tensors::default();
            for (name, buffer) in &buffers {
                tensors.set(name, TensorBinding::from(buffer)).expect("a known tensor");
            }
            let layer = octconv.bind(&plan, &packed, &tensors).expect("a bound layer");
            group.bench_function(plan.variant().to_string(), |b| b.iter(|| context.run(&[&layer])));
        }
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
