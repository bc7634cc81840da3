//! A lost device, and too little memory: errors, from all that needs the device or takes memory.

use std::time::Duration;

use octconv::network::{Checkpoint, Graph, Model, Network, NetworkOptions};
use octconv::roofline::{Effort, Roofline};
use octconv::verify::{Case, soak};
use octconv::{Context, ContextOptions, Dtype, Error, InputSize, Layer, Options, Spec, Tensors, tuning};
use octconv::{PackedWeights, Plan, wgpu};

use crate::common::{HostWeights, open, split};

/// A network of a convolution and a matrix.
fn network(channels: u32, outputs: u32) -> Network {
    serde_json::from_value(serde_json::json!({
        "name": "small",
        "input": {"channels": channels},
        "nodes": [
            {"name": "conv", "op": "conv", "input": "input", "channels": channels, "alpha": 0.5},
            {"name": "gap", "op": "global_pool", "input": "conv"},
            {"name": "fc", "op": "linear", "input": "gap", "outputs": outputs},
        ],
        "output": "fc",
    }))
    .unwrap()
}

fn model(context: &Context, network: &Network) -> Model {
    let graph = Graph::new(network).unwrap();
    let checkpoint = Checkpoint::random(&graph, 1);
    Model::new(context.engine(), graph, checkpoint).unwrap()
}

/// A small layer of channels of high frequency, ready to run.
struct Small {
    spec: Spec,
    plan: Plan,
    host: HostWeights,
    packed: PackedWeights,
    x_h: wgpu::Buffer,
    y_h: wgpu::Buffer,
}

impl Small {
    const SIZE: InputSize = InputSize { n: 1, t: 1, h: 8, w: 7 };

    fn new(context: &Context) -> Self {
        let spec = split((3, 0), (4, 0)).build().unwrap();
        let engine = context.engine();
        let plan = engine.plan(&spec, Self::SIZE, &Options::default()).unwrap();
        let host = HostWeights::new(&spec, 1);
        let packed = engine.pack(&plan, &host.weights()).unwrap();
        let [x_h, y_h] = [3, 4].map(|channels| context.upload(&vec![1.0; 56 * channels], Dtype::F32).unwrap());
        Self { spec, plan, host, packed, x_h, y_h }
    }

    fn bind(&self, context: &Context) -> Result<Layer, Error> {
        let tensors = Tensors { x_h: Some((&self.x_h).into()), y_h: Some((&self.y_h).into()), ..Tensors::default() };
        context.engine().bind(&self.plan, &self.packed, &tensors)
    }
}

/// Each on a device of its own, whose loss nothing else has noticed.
#[test]
fn all_that_waits_says_that_the_device_is_lost() {
    type Use = fn(&Context, &Small, &Layer) -> Result<(), Error>;
    let uses: [(&str, Use); 12] = [
        ("creating an octconv tensor", |context, _, _| context.tensor(4, Dtype::F32).map(drop)),
        ("creating an octconv tensor", |context, _, _| context.upload(&[1.0], Dtype::F32).map(drop)),
        ("waiting", |context, _, layer| context.run(&[layer])),
        ("waiting", |context, _, _| context.run_pass(|_| {})),
        ("", |context, _, layer| context.time(&[layer]).map(drop)),
        ("", |context, _, _| context.time_pass(|_| {}).map(drop)),
        ("creating an octconv staging", |context, small, _| context.read(&small.y_h, 0, 1, Dtype::F32).map(drop)),
        ("creating an octconv staging", |context, small, _| context.read_bytes(&small.y_h, 0, 4).map(drop)),
        ("creating octconv weights", |context, small, _| {
            context.engine().pack(&small.plan, &small.host.weights()).map(drop)
        }),
        ("creating octconv shape", |context, small, _| small.bind(context).map(drop)),
        ("", |context, _, _| Case::random(context, 1).run(context).map(drop)),
        ("", |context, small, _| {
            let effort = tuning::Effort { candidates: 2, rounds: 1, ..tuning::Effort::default() };
            tuning::tune(context, &small.spec, Small::SIZE, &Options::default(), &effort, |_| {}).map(drop)
        }),
    ];
    for (wanted, lost) in uses {
        let context = open(&ContextOptions::default());
        let small = Small::new(&context);
        let layer = small.bind(&context).unwrap();
        context.run(&[&layer]).unwrap();
        context.device().destroy();
        // The second time is as the first.
        for _ in 0..2 {
            match lost(&context, &small, &layer) {
                Err(Error::DeviceLost { operation, .. }) => assert!(operation.starts_with(wanted), "{operation}"),
                other => panic!("{wanted}: {other:?}"),
            }
        }
        let error = context.run(&[]).unwrap_err();
        assert_eq!(error.to_string(), "waiting failed: the device is lost: it was destroyed");
    }
}

#[test]
fn an_inference_says_that_the_device_is_lost() {
    let context = open(&ContextOptions::default());
    let model = model(&context, &network(3, 5));
    let plan = || model.plan(InputSize::image(1, 6, 6), &NetworkOptions::default()).unwrap();
    let inference = model.compile(plan(), |_| {}).unwrap();
    let input = [1.0; 3 * 36];
    assert!(inference.run(&context, &input).unwrap().iter().all(|value| value.is_finite()));
    context.device().destroy();
    let lost = |outcome: Result<(), Error>| assert!(matches!(outcome, Err(Error::DeviceLost { .. })), "{outcome:?}");
    lost(inference.write_input(&context, &input));
    lost(inference.run(&context, &input).map(drop));
    lost(inference.output().unwrap().read(&context).map(drop));
    lost(model.compile(plan(), |_| {}).map(drop));
    lost(Roofline::measure(&context, Effort::Full).map(drop));
}

#[test]
fn a_loss_while_a_network_is_compiled_is_the_cause_of_its_error() {
    let context = open(&ContextOptions::default());
    let model = model(&context, &network(3, 5));
    let plan = model.plan(InputSize::image(1, 6, 6), &NetworkOptions::default()).unwrap();
    let compiled = model.compile(plan, |progress| {
        if progress.done == 1 {
            context.device().destroy();
        }
    });
    let error = compiled.map(drop).unwrap_err();
    assert!(matches!(error.cause(), Error::DeviceLost { .. }), "{error:?}");
}

/// What a soak must find, and what it must not.
#[test]
fn a_soak_counts_what_stays() {
    let context = open(&ContextOptions::default());
    let mut kept = Vec::new();
    let mut rounds = 0;
    let grown = |report: &mut dyn FnMut() -> bool| {
        let soak = soak(
            &context,
            0,
            Duration::ZERO,
            || None,
            |round| {
                assert!(round.failures.is_empty() && round.runs == 5 && round.kernels > 4, "{round:?}");
                report()
            },
        );
        soak.unwrap().growth().iter().map(|growth| growth.what).collect::<Vec<_>>()
    };
    let twice = &mut || {
        rounds += 1;
        rounds % 2 == 1
    };
    assert_eq!(grown(twice), [""; 0]);
    let leaking = grown(&mut || {
        kept.push(context.tensor(1 << 20, Dtype::F32).unwrap());
        kept.len() < 2
    });
    // OpenGL's bytes are not counted.
    assert!(leaking == ["buffers", "bytes of buffers"] || leaking == ["buffers"], "{leaking:?}");
}

/// With as much address space as a process may take.
#[cfg(target_os = "linux")]
mod memory {
    use std::process::Command;

    use octconv::Weights;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Runs `body` with address space for `room` more bytes.
    fn with<T>(room: u64, body: impl FnOnce() -> T) -> T {
        let before = getrlimit(Resource::As);
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        let most = pages * rustix::param::page_size() as u64 + room;
        setrlimit(Resource::As, Rlimit { current: Some(most), ..before }).unwrap();
        let outcome = body();
        setrlimit(Resource::As, before).unwrap();
        outcome
    }

    /// Whether the limit limits the device's memory, and its driver says so. Those of OpenGL do not, and newer software
    /// drivers have their memory in files.
    fn is_limited(context: &Context) -> bool {
        let device = context.device();
        let usage = wgpu::BufferUsages::STORAGE;
        let descriptor = wgpu::BufferDescriptor { label: None, size: 400 * MIB, usage, mapped_at_creation: false };
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        drop(with(60 * MIB, || device.create_buffer(&descriptor)));
        pollster::block_on(scope.pop()).is_some()
    }

    /// As [`with`], after all free room in the blocks of memory that wgpu has is taken.
    fn with_full_blocks<T>(context: &Context, room: u64, body: impl FnOnce() -> T) -> T {
        // Room for small lists on the host, and not for another block.
        const LITTLE: u64 = 16 * MIB;
        let mut held = Vec::new();
        for mib in [100, 30, 10, 3, 1] {
            with(LITTLE, || held.extend(std::iter::from_fn(|| context.tensor(mib * MIB / 4, Dtype::F32).ok())));
        }
        with(room, body)
    }

    fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>, wanted: &str) {
        match outcome {
            Err(Error::OutOfMemory { operation }) => assert!(operation.contains(wanted), "{operation}"),
            other => panic!("{wanted}: {other:?}"),
        }
    }

    /// Whether this is the process of its own in which the test `name` of this file runs. If not, starts it, as cargo has
    /// started this one: a runner may bring the device.
    fn alone(name: &str) -> bool {
        const VARIABLE: &str = "OCTCONV_TEST_ALONE";
        if std::env::var_os(VARIABLE).is_some() {
            return true;
        }
        let own = std::env::args_os().next().unwrap();
        let runner = std::env::vars().find(|(name, _)| name.starts_with("CARGO_TARGET_") && name.ends_with("_RUNNER"));
        let mut command = match &runner {
            Some((_, runner)) => {
                let mut words = runner.split_whitespace();
                let mut command = Command::new(words.next().unwrap());
                command.args(words).arg(own);
                command
            }
            None => Command::new(own),
        };
        let output =
            command.args(["--exact", &format!("exhausted::memory::{name}")]).env(VARIABLE, "1").output().unwrap();
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|printed| String::from_utf8_lossy(printed));
        assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
        false
    }

    /// A layer whose weights have 100 MiB, and which needs little else.
    fn heavy() -> (Spec, Vec<f32>) {
        let spec = split((6400, 0), (4096, 0)).build().unwrap();
        (spec, vec![0.5; 6400 * 4096])
    }

    /// Errors leave the device as it was, but for what wgpu stages.
    #[test]
    fn is_taken_or_an_error() {
        if !alone("is_taken_or_an_error") {
            return;
        }
        let context = open(&ContextOptions::default());
        if !is_limited(&context) {
            return crate::report::missing("errors of memory");
        }
        let engine = context.engine();
        let small = Small::new(&context);
        let layer = small.bind(&context).unwrap();
        let (spec, weights) = heavy();
        let weights = Weights { w_hh: Some(&weights), ..Weights::default() };
        let heavy = engine.plan(&spec, InputSize::image(1, 1, 1), &Options::default()).unwrap();
        // Its upsampled map has 61 MiB.
        let unfused = Options { variant: Some("unfused/direct".parse().unwrap()), ..Options::default() };
        let wide = engine.plan(&split((1, 1), (1, 1)).build().unwrap(), InputSize::image(1, 4000, 4000), &unfused);
        let wide = wide.unwrap();
        let packed = engine.pack(&wide, &HostWeights::new(wide.spec(), 1).weights()).unwrap();
        let buffers: Vec<_> = wide
            .tensors()
            .iter()
            .map(|tensor| (tensor.name, context.tensor(tensor.dims.elements(), Dtype::F32).unwrap()))
            .collect();
        let mut tensors = Tensors::default();
        buffers.iter().for_each(|(name, buffer)| tensors.set(name, buffer.into()).unwrap());
        let large = context.tensor(25 * MIB, Dtype::F32).unwrap();
        let model = model(&context, &network(16, 10));
        let picture = model.plan(InputSize::image(1, 1200, 1200), &NetworkOptions::default()).unwrap();

        let works = || {
            context.run(&[&layer]).unwrap();
            context.read(&small.y_h, 0, 4, Dtype::F32).unwrap();
        };
        works();
        refused(
            with_full_blocks(&context, 60 * MIB, || context.tensor(25 * MIB, Dtype::F32)),
            "creating an octconv tensor of 104857600 bytes",
        );
        works();
        refused(with_full_blocks(&context, 60 * MIB, || engine.pack(&heavy, &weights)), "packing weights of ");
        works();
        refused(
            with_full_blocks(&context, 150 * MIB, || engine.pack(&heavy, &weights)),
            "creating octconv weights of ",
        );
        works();
        refused(with_full_blocks(&context, 50 * MIB, || engine.bind(&wide, &packed, &tensors)), "creating scratch of ");
        works();
        refused(
            with_full_blocks(&context, 60 * MIB, || context.read(&large, 0, 25 * MIB, Dtype::F32)),
            "creating an octconv staging of ",
        );
        works();
        refused(
            with_full_blocks(&context, 150 * MIB, || context.read(&large, 0, 25 * MIB, Dtype::F32)),
            "reading back of ",
        );
        works();
        refused(with_full_blocks(&context, 60 * MIB, || model.compile(picture, |_| {})), "for activations");
        works();
        // The buffer is there, and no memory for the bytes on their way to it.
        refused(
            with_full_blocks(&context, 250 * MIB, || engine.pack(&heavy, &weights)),
            "creating octconv weights of ",
        );
        assert!(matches!(context.run(&[&layer]), Err(Error::DeviceLost { .. })));
        assert!(matches!(engine.pack(&heavy, &weights), Err(Error::DeviceLost { .. })));
    }

    #[test]
    fn is_missing_for_an_upload() {
        if !alone("is_missing_for_an_upload") {
            return;
        }
        let context = open(&ContextOptions::default());
        if !is_limited(&context) {
            return crate::report::missing("errors of memory");
        }
        let values = vec![1.0; 25 * MIB as usize];
        let outcome = with_full_blocks(&context, 150 * MIB, || context.upload(&values, Dtype::F32));
        refused(outcome, "writing ");
        assert!(matches!(context.upload(&[1.0], Dtype::F32), Err(Error::DeviceLost { .. })));
    }
}
