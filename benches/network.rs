//! What a network costs the CPU, on any adapter:
//! - its first compile and inference;
//! - recording an inference;
//! - planning and binding at a new size, if other sizes have made pipelines and weights already.

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use octconv::network::{Checkpoint, Graph, Model, NetworkOptions, zoo};
use octconv::{Context, ContextOptions, InputSize};

fn network(criterion: &mut Criterion) {
    let context = Context::new(&ContextOptions::default()).expect("an adapter");
    let settings = zoo::Settings { alpha: 0.5, ..zoo::Settings::default() };
    let network = zoo::build("resnet50", &settings).expect("a built-in network");
    let graph = Graph::new(&network).expect("a valid network");
    let checkpoint = Checkpoint::random(&graph, 1);
    let model = Model::new(context.engine(), graph, checkpoint).expect("weights that fit");
    let options = NetworkOptions::default();
    let size = InputSize::image(1, 192, 192);
    let plan = || model.plan(size, &options).expect("a plan");
    // Timed by hand, because it can be done only once. It includes the first inference, because some drivers compile a
    // kernel when it first runs.
    let start = Instant::now();
    let inference = model.compile(plan(), |_| {}).expect("pipelines and weights");
    context.time_pass(|pass| inference.record(pass)).expect("an inference");
    println!("Oct-ResNet-50, first compile and inference: {:.2} s", start.elapsed().as_secs_f64());

    let (nodes, dispatches) = (inference.plan().layers().count(), inference.plan().dispatches());
    criterion.bench_function(&format!("Oct-ResNet-50: record {dispatches} dispatches of {nodes} layers"), |b| {
        b.iter(|| {
            let mut encoder = context.device().create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            inference.record(&mut pass);
            drop(pass);
            encoder.finish()
        });
    });

    let mut group = criterion.benchmark_group("Oct-ResNet-50 at a new size");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    group.bench_function("plan", |b| b.iter(plan));
    group.bench_function("bind, with warm pipelines", |b| {
        b.iter_batched(plan, |plan| model.compile(plan, |_| {}), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, network);
criterion_main!(benches);
