//! What a layer costs the CPU, on any adapter: planning, packing, binding and recording. Nothing is submitted.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use octconv::{
    Context, ContextOptions, Dtype, InputSize, Options, Path, Plan, Precision, Spec, TensorBinding, Tensors, Tuned,
    Weights,
};

const SIZE: InputSize = InputSize { n: 1, t: 1, h: 56, w: 56 };

fn layer(kernel: u32) -> Spec {
    Spec::builder(64, 64).alpha(0.5, 0.5).kernel([kernel; 2]).same_padding().build().expect("a valid layer")
}

fn planning(criterion: &mut Criterion) {
    let context = Context::new(&ContextOptions::default()).expect("an adapter");
    let facts = context.engine().facts();
    let options = Options::default();
    for kernel in [1, 3] {
        let spec = layer(kernel);
        let mut group = criterion.benchmark_group(format!("plan {kernel}x{kernel}"));
        group.bench_function("by estimate", |b| b.iter(|| Plan::new(black_box(&spec), SIZE, &options, facts)));
        group.bench_function("all candidates", |b| {
            b.iter(|| Plan::candidates(black_box(&spec), SIZE, &options, facts));
        });
        let mut tuned = Tuned::default();
        let device = context.identity().expect("a name");
        tuned.insert(&device, &Plan::new(&spec, SIZE, &options, facts).expect("a plan"));
        let choices = tuned.choices(&device).expect("what was inserted");
        group.bench_function("as tuned", |b| b.iter(|| choices.plan(black_box(&spec), SIZE, &options, facts)));
        group.finish();
    }
}

fn packing(criterion: &mut Criterion) {
    let context = Context::new(&ContextOptions::default()).expect("an adapter");
    let engine = context.engine();
    for kernel in [1, 3] {
        let spec = layer(kernel);
        let w = vec![0.5; 32 * 32 * (kernel * kernel) as usize];
        let w = Some(w.as_slice());
        let weights = Weights { w_hh: w, w_hl: w, w_lh: w, w_ll: w, ..Weights::default() };
        for dtype in [Dtype::F32, Dtype::F16] {
            let options =
                Options { precision: Precision { weights: dtype, ..Precision::default() }, ..Options::default() };
            let plan = engine.plan(&spec, SIZE, &options).expect("a plan");
            let name = format!("pack {kernel}x{kernel} 64 to 64, {dtype}");
            criterion.bench_function(&name, |b| b.iter(|| engine.pack(&plan, black_box(&weights))));
        }
    }
}

fn recording(criterion: &mut Criterion) {
    for (kernel, variant) in [(1, "fused/pointwise/t16c2h2w+t16c1h1w"), (3, "transform/winograd/t8c8f-f4h4w")] {
        let context = Context::new(&ContextOptions::default()).expect("an adapter");
        let engine = context.engine();
        let spec = layer(kernel);
        let options = Options { variant: Some(variant.parse().expect("a variant")), ..Options::default() };
        let plan = engine.plan(&spec, SIZE, &options).expect("a plan");
        let weights = Path::ALL.map(|path| vec![0.0; spec.weight_shape(path).iter().product::<u32>() as usize]);
        let [w_hh, w_hl, w_lh, w_ll] = weights.each_ref().map(|w| Some(w.as_slice()));
        let weights = Weights { w_hh, w_hl, w_lh, w_ll, ..Weights::default() };
        let packed = engine.pack(&plan, &weights).expect("packed weights");
        let buffers = plan.tensors().into_iter().map(|tensor| {
            (
                tensor.name,
                context.tensor(tensor.dims.elements(), plan.options().precision.activations).expect("a tensor"),
            )
        });
        let buffers: Vec<_> = buffers.collect();
        let mut tensors = Tensors::default();
        for (name, buffer) in &buffers {
            tensors.set(name, TensorBinding::from(buffer)).expect("a known tensor");
        }
        let layer = engine.bind(&plan, &packed, &tensors).expect("a bound layer");

        let mut group = criterion.benchmark_group(format!("layers of {} dispatches", layer.dispatches()));
        // A hundred layers per pass, so that the pass and its encoder hardly count. This runs before thousands of
        // layers are bound, because finishing an encoder takes longer the more resources its device has had.
        group.bench_function("record 100", |b| {
            b.iter(|| {
                let mut encoder = context.device().create_command_encoder(&Default::default());
                let mut pass = encoder.begin_compute_pass(&Default::default());
                (0..100).for_each(|_| layer.record(&mut pass));
                drop(pass);
                encoder.finish()
            });
        });
        group.bench_function("bind", |b| b.iter(|| engine.bind(&plan, &packed, &tensors)));
        group.finish();
    }
}

criterion_group!(benches, planning, packing, recording);
criterion_main!(benches);
