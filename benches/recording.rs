//! What a layer costs the CPU: planning, packing, binding, recording. No submission; any adapter will do.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use octconv::{Context, ContextOptions, InputSize, Options, Spec, TensorBinding, Tensors, Weights};

fn recording(criterion: &mut Criterion) {
    let context = Context::new(&ContextOptions::default()).expect("an adapter");
    let octconv = context.octconv();
    let spec = Spec::builder(64, 64).alpha(0.5, 0.5).build().expect("a valid layer");
    let size = InputSize::image(1, 56, 56);
    let plan = octconv.plan(&spec, size, &Options::default()).expect("a plan");
    let w = vec![0.0; 32 * 32];
    let w = Some(w.as_slice());
    let weights = Weights { w_hh: w, w_hl: w, w_lh: w, w_ll: w, ..Weights::default() };
    let packed = octconv.pack(&plan, &weights).expect("packed weights");
    let buffers = plan.tensors().into_iter().map(|tensor| {
        (tensor.name, context.tensor(tensor.dims.elements(), plan.options().activations).expect("a tensor"))
    });
    let buffers: Vec<_> = buffers.collect();
    let mut tensors = Tensors::default();
    for (name, buffer) in &buffers {
        tensors.set(name, TensorBinding::from(buffer)).expect("a known tensor");
    }
    let layer = octconv.bind(&plan, &packed, &tensors).expect("a bound layer");

    criterion.bench_function("plan", |b| b.iter(|| octconv.plan(black_box(&spec), size, &Options::default())));
    criterion.bench_function("pack 1x1 64 to 64", |b| b.iter(|| octconv.pack(&plan, black_box(&weights))));
    criterion.bench_function("bind", |b| b.iter(|| octconv.bind(&plan, &packed, &tensors)));
    // A hundred layers a pass, so that the pass and its encoder hardly count.
    criterion.bench_function("record 100 layers", |b| {
        b.iter(|| {
            let mut encoder = context.device().create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            (0..100).for_each(|_| layer.record(&mut pass));
            drop(pass);
            encoder.finish()
        });
    });
}

criterion_group!(benches, recording);
criterion_main!(benches);
