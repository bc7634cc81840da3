//! The library as an engine uses it: many layers in one pass, other work beside them, threads, devices of any kind.

use std::sync::Barrier;

use crate::common::{
    HostWeights, assert_close, check_on, check_one, context, has_f16, image, in_all_types, open, split, values,
};
use octconv::reference::{Inputs, Outputs, Tensor, octave_conv};
use octconv::verify::Case;
use octconv::{
    Accuracy, Activation, AdapterFacts, Context, ContextOptions, DeviceFacts, Dtype, EngineOptions, Error, InputSize,
    Precision,
};
use octconv::{Engine, Layer, Marks, Options, PackedWeights, Plan, PlanMismatch, Rounding, Spec, SpecBuilder};
use octconv::{Strategy, TensorBinding, Tensors, Variant, wgpu};

fn build(builder: SpecBuilder) -> Spec {
    builder.build().unwrap_or_else(|error| panic!("{error}"))
}

/// Names and bindings.
fn tensors<'a>(bindings: &[(&'static str, impl Into<TensorBinding<'a>> + Copy)]) -> Tensors<'a> {
    let mut tensors = Tensors::default();
    bindings.iter().for_each(|&(name, binding)| tensors.set(name, binding.into()).unwrap());
    tensors
}

/// All elements of a tensor.
fn read(context: &Context, buffer: &wgpu::Buffer, like: &Tensor) -> Vec<f32> {
    context.read(buffer, 0, like.dims.elements(), Dtype::F32).unwrap()
}

/// An f32 tensor that is NaN until something writes it.
fn unwritten(context: &Context, plan: &Plan, name: &str) -> wgpu::Buffer {
    let tensor = plan.tensors().into_iter().find(|tensor| tensor.name == name).unwrap();
    context.upload(&vec![f32::NAN; tensor.dims.elements() as usize], Dtype::F32).unwrap()
}

/// A 3x3 layer on X_H alone, ready to run.
struct Simple {
    spec: Spec,
    plan: Plan,
    host: HostWeights,
    packed: PackedWeights,
    x: Vec<f32>,
    x_h: wgpu::Buffer,
    y_h: wgpu::Buffer,
    y_l: wgpu::Buffer,
}

impl Simple {
    const SIZE: InputSize = InputSize { n: 1, t: 1, h: 8, w: 7 };

    fn new(context: &Context, engine: &Engine, builder: SpecBuilder, seed: u64) -> Self {
        let spec = build(builder);
        let plan = engine.plan(&spec, Self::SIZE, &Options::default()).unwrap();
        let host = HostWeights::new(&spec, seed);
        let packed = engine.pack(&plan, &host.weights()).unwrap();
        let x = values(seed, plan.shapes().x_h.unwrap().elements());
        let x_h = context.upload(&x, Dtype::F32).unwrap();
        let [y_h, y_l] = ["y_h", "y_l"].map(|name| unwritten(context, &plan, name));
        Self { spec, plan, host, packed, x, x_h, y_h, y_l }
    }

    fn tensors(&self) -> Tensors<'_> {
        tensors(&[("x_h", &self.x_h), ("y_h", &self.y_h), ("y_l", &self.y_l)])
    }

    fn bind(&self, engine: &Engine) -> Layer {
        engine.bind(&self.plan, &self.packed, &self.tensors()).unwrap()
    }

    fn reference(&self, x: &[f32]) -> Outputs {
        let inputs = Inputs { x_h: Some(x), ..Inputs::default() };
        octave_conv(&self.spec, Self::SIZE, &self.host.weights(), &inputs).unwrap()
    }

    fn assert_outputs(&self, context: &Context, expected: &Outputs) {
        for (name, buffer, expected) in [("y_h", &self.y_h, &expected.y_h), ("y_l", &self.y_l, &expected.y_l)] {
            let expected = expected.as_ref().unwrap();
            assert_close(name, &read(context, buffer, expected), expected);
        }
    }
}

fn simple() -> SpecBuilder {
    split((3, 0), (4, 2)).kernel([3, 3]).same_padding().bias(true)
}

#[test]
fn a_layer_reads_what_the_one_before_wrote() {
    let context = context();
    let engine = context.engine();
    let size = InputSize::image(2, 9, 10);
    let first = build(simple().activation(Activation::Relu));
    let second = build(split((4, 2), (3, 5)).kernel([3, 3]).same_padding().activation(Activation::HardSwish));
    let first_plan = engine.plan(&first, size, &Options { pooled_output: true, ..Options::default() }).unwrap();
    let second_plan = engine.plan(&second, size, &Options { pooled_input: true, ..Options::default() }).unwrap();
    let [first_host, second_host] = [&first, &second].map(|spec| HostWeights::new(spec, 3));
    let x = values(7, 2 * 3 * 90);

    let x_h = context.upload(&x, Dtype::F32).unwrap();
    let [a_h, a_l, a_p] = ["y_h", "y_l", "y_p"].map(|name| unwritten(context, &first_plan, name));
    let [b_h, b_l] = ["y_h", "y_l"].map(|name| unwritten(context, &second_plan, name));
    let first_packed = engine.pack(&first_plan, &first_host.weights()).unwrap();
    let second_packed = engine.pack(&second_plan, &second_host.weights()).unwrap();
    let first_tensors = tensors(&[("x_h", &x_h), ("y_h", &a_h), ("y_l", &a_l), ("y_p", &a_p)]);
    let second_tensors = tensors(&[("x_h", &a_h), ("x_l", &a_l), ("x_p", &a_p), ("y_h", &b_h), ("y_l", &b_l)]);
    let first_layer = engine.bind(&first_plan, &first_packed, &first_tensors).unwrap();
    let second_layer = engine.bind(&second_plan, &second_packed, &second_tensors).unwrap();
    context.run(&[&first_layer, &second_layer]).unwrap();

    let a = octave_conv(&first, size, &first_host.weights(), &Inputs { x_h: Some(&x), ..Inputs::default() }).unwrap();
    let [mid_h, mid_l] = [&a.y_h, &a.y_l].map(|y| y.as_ref().unwrap().to_f32());
    let inputs = Inputs { x_h: Some(&mid_h), x_l: Some(&mid_l), ..Inputs::default() };
    let b = octave_conv(&second, size, &second_host.weights(), &inputs).unwrap();
    for (name, buffer, expected) in [
        ("first y_h", &a_h, a.y_h),
        ("first y_l", &a_l, a.y_l),
        ("first y_p", &a_p, a.y_p),
        ("second y_h", &b_h, b.y_h),
        ("second y_l", &b_l, b.y_l),
    ] {
        let expected = expected.unwrap();
        assert_close(name, &read(context, buffer, &expected), &expected);
    }
}

#[test]
fn two_hundred_layers_in_one_pass() {
    const LAYERS: u64 = 200;
    let context = open(&ContextOptions::default());
    let engine = context.engine();
    let size = InputSize::image(1, 6, 5);
    let spec = build(split((4, 2), (4, 2)).bias(true).activation(Activation::LeakyRelu { slope: 0.5 }));
    let plan = engine.plan(&spec, size, &Options::default()).unwrap();

    // Ping and pong.
    let start = [values(1, 4 * 30), values(2, 2 * 9)];
    let maps = [0, 1].map(|_| start.each_ref().map(|map| context.upload(map, Dtype::F32).unwrap()));
    let hosts: Vec<_> = (0..LAYERS).map(|seed| HostWeights::new(&spec, 10 * seed)).collect();
    let layers: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(i, host)| {
            let packed = engine.pack(&plan, &host.weights()).unwrap();
            let ([x_h, x_l], [y_h, y_l]) = (&maps[i % 2], &maps[(i + 1) % 2]);
            engine.bind(&plan, &packed, &tensors(&[("x_h", x_h), ("x_l", x_l), ("y_h", y_h), ("y_l", y_l)])).unwrap()
        })
        .collect();
    assert_eq!(engine.pipelines(), 1);
    context.run(&layers.iter().collect::<Vec<_>>()).unwrap();

    let [mut x_h, mut x_l] = start;
    let mut expected = Outputs::default();
    for host in &hosts {
        let inputs = Inputs { x_h: Some(&x_h), x_l: Some(&x_l), ..Inputs::default() };
        expected = octave_conv(&spec, size, &host.weights(), &inputs).unwrap();
        [x_h, x_l] = [&expected.y_h, &expected.y_l].map(|y| y.as_ref().unwrap().to_f32());
    }
    let [y_h, y_l] = &maps[LAYERS as usize % 2];
    for (name, buffer, expected) in [("y_h", y_h, expected.y_h), ("y_l", y_l, expected.y_l)] {
        let expected = expected.unwrap();
        assert_close(name, &read(&context, buffer, &expected), &expected);
    }
}

#[test]
fn recorded_again_gives_the_same() {
    let context = context();
    let simple = Simple::new(context, context.engine(), simple(), 11);
    let layer = simple.bind(context.engine());
    let expected = simple.reference(&simple.x);
    context.run(&[&layer]).unwrap();
    let dims = expected.y_h.as_ref().unwrap();
    let first = read(context, &simple.y_h, dims);
    context.run(&[&layer, &layer]).unwrap();
    assert_eq!(read(context, &simple.y_h, dims), first);
    simple.assert_outputs(context, &expected);
}

#[test]
fn threads_share_one_octconv() {
    const THREADS: u64 = 4;
    let context = open(&ContextOptions::default());
    let engine = context.engine();
    let together = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (context, engine, together) = (&context, engine.clone(), &together);
            scope.spawn(move || {
                let simple = Simple::new(context, &engine, simple(), 100 * thread);
                // All of them need the same pipeline, which nobody has made.
                together.wait();
                let layer = simple.bind(&engine);
                let mut encoder = context.device().create_command_encoder(&Default::default());
                let mut pass = encoder.begin_compute_pass(&Default::default());
                for _ in 0..20 {
                    layer.record(&mut pass);
                }
                drop(pass);
                context.queue().submit([encoder.finish()]);
                simple.assert_outputs(context, &simple.reference(&simple.x));
            });
        }
    });
    let plan = engine.plan(&build(simple()), Simple::SIZE, &Options::default()).unwrap();
    assert_eq!(engine.pipelines(), plan.dispatches());
}

/// A context has those of the features asked for that its adapter has.
#[test]
fn a_context_has_the_features_asked_for() {
    let all = context().device().features();
    let experimental = wgpu::Features::all_experimental_mask();
    for features in [wgpu::Features::empty(), wgpu::Features::SHADER_F16, !experimental] {
        let context = open(&ContextOptions { features: Some(features), ..ContextOptions::default() });
        assert_eq!(context.device().features(), all & features);
    }
}

/// What is the caller's stays; what is the weights' own goes.
#[test]
fn destroying_weights_leaves_the_callers_memory() {
    let context = context();
    let engine = context.engine();
    let simple = Simple::new(context, engine, simple(), 8);
    let own = engine.pack(&simple.plan, &simple.host.weights()).unwrap();
    let layer = engine.bind(&simple.plan, &own, &simple.tensors()).unwrap();
    context.run(&[&layer]).unwrap();
    own.destroy();
    let gone = |layer| assert!(matches!(context.run(&[layer]), Err(Error::Gpu { .. })));
    gone(&layer);
    let layer = simple.bind(engine);
    layer.destroy();
    gone(&layer);
    let bytes = simple.plan.pack(&simple.host.weights()).unwrap();
    let words: Vec<f32> = bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    let buffer = context.upload(&words, Dtype::F32).unwrap();
    let placed = engine.place_weights(&simple.plan, (&buffer).into()).unwrap();
    placed.destroy();
    context.run(&[&engine.bind(&simple.plan, &placed, &simple.tensors()).unwrap()]).unwrap();
    simple.assert_outputs(context, &simple.reference(&simple.x));
}

#[test]
fn packed_weights_serve_other_sizes() {
    let context = context();
    let engine = context.engine();
    for (kernel, all) in [([1, 1], true), ([3, 3], false)] {
        let spec = build(split((5, 3), (6, 4)).kernel(kernel).same_padding());
        let host = HostWeights::new(&spec, 5);
        let plan = |size| engine.plan(&spec, size, &Options::default()).unwrap();
        let packed = engine.pack(&plan(InputSize::image(1, 8, 8)), &host.weights()).unwrap();
        let mut served = 0;
        for size in [InputSize::image(1, 5, 6), InputSize::image(1, 4, 4), InputSize::image(2, 3, 5)] {
            let plan = plan(size);
            let shapes = *plan.shapes();
            let x = [shapes.x_h, shapes.x_l].map(|dims| values(9, dims.unwrap().elements()));
            let [x_h, x_l] = x.each_ref().map(|x| context.upload(x, Dtype::F32).unwrap());
            let [y_h, y_l] = ["y_h", "y_l"].map(|name| unwritten(context, &plan, name));
            let tensors = tensors(&[("x_h", &x_h), ("x_l", &x_l), ("y_h", &y_h), ("y_l", &y_l)]);
            let layer = match engine.bind(&plan, &packed, &tensors) {
                Ok(layer) => {
                    assert!(packed.fits(&plan));
                    layer
                }
                Err(Error::Packing { .. }) if !all => {
                    assert!(!packed.fits(&plan));
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            context.run(&[&layer]).unwrap();
            let inputs = Inputs { x_h: Some(&x[0]), x_l: Some(&x[1]), ..Inputs::default() };
            let expected = octave_conv(&spec, size, &host.weights(), &inputs).unwrap();
            for (name, buffer, expected) in [("y_h", &y_h, expected.y_h), ("y_l", &y_l, expected.y_l)] {
                let expected = expected.unwrap();
                assert_close(name, &read(context, buffer, &expected), &expected);
            }
            served += 1;
        }
        assert!(served == 3 || (!all && served > 0), "{kernel:?}: {served} of 3 sizes");
    }
}

/// A bias that was not packed would be missing without a word.
#[test]
fn packed_weights_are_of_the_same_bias() {
    let engine = context().engine();
    let plan = |bias| engine.plan(&build(simple().bias(bias)), InputSize::image(1, 8, 8), &Options::default()).unwrap();
    for packed_bias in [false, true] {
        let (of_weights, other) = (plan(packed_bias), plan(!packed_bias));
        let host = HostWeights::new(of_weights.spec(), 5);
        let packed = engine.pack(&of_weights, &host.weights()).unwrap();
        assert!(packed.fits(&of_weights) && !packed.fits(&other));
        let refused = engine.bind(&other, &packed, &Tensors::default());
        assert!(matches!(refused, Err(Error::Packing { .. })), "{refused:?}");
    }
}

/// What its device does not allow, wgpu would refuse at the embedder's submit.
#[test]
fn plans_of_other_devices_are_refused() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 61, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    let engine = context.engine();
    let (spec, size) = (build(simple()), InputSize::image(1, 400, 400));
    let own = engine.plan(&spec, size, &Options::default()).unwrap();
    let host = HostWeights::new(&spec, 5);
    let packed = engine.pack(&own, &host.weights()).unwrap();
    engine.compile(&own).unwrap();
    // Without a fold of the grid that the device needs.
    let options = Options { variant: Some(own.variant()), ..Options::default() };
    let mut facts = engine.facts().clone();
    facts.limits.max_compute_workgroups_per_dimension = 65535;
    let other = Plan::new(&spec, size, &options, &facts).unwrap();
    let refusals = [engine.compile(&other), engine.bind(&other, &packed, &Tensors::default()).map(drop)];
    for refused in refusals {
        assert_eq!(refused, Err(Error::Plan { problem: PlanMismatch::Dispatches }));
    }
}

#[test]
fn a_device_with_nothing_but_defaults() {
    let context = open(&ContextOptions { default_device: true, ..ContextOptions::default() });
    let facts = context.engine().facts();
    assert_eq!(facts.features, wgpu::Features::empty());
    assert_eq!(
        facts.limits.max_compute_workgroup_storage_size,
        wgpu::Limits::default().max_compute_workgroup_storage_size
    );
    assert!(!has_f16(&context));
    // Every family once: what strategies do beside that needs no feature either.
    let in_one_dispatch = |variant: Variant| [Strategy::Fused, Strategy::Transform].contains(&variant.strategy);
    check_on(&context, &image(simple(), 9, 10), in_one_dispatch);
    check_on(&context, &image(split((5, 4), (6, 3)), 9, 10), in_one_dispatch);
    let halves = Options {
        precision: Precision { weights: Dtype::F16, ..Precision::default() },
        pooled_output: true,
        ..Options::default()
    };
    let case = image(split((4, 2), (8, 4)).kernel([3, 3]).same_padding().groups(2).residual(true, true), 7, 8);
    check_on(&context, &Case { options: halves, ..case }, in_one_dispatch);
}

#[test]
fn other_work_in_the_same_pass() {
    const DOUBLE: &str = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if id.x < arrayLength(&x) { x[id.x] = 2.0 * x[id.x]; }
        }";
    let context = context();
    let device = context.device();
    let simple = Simple::new(context, context.engine(), simple(), 21);
    let layer = simple.bind(context.engine());

    let source = wgpu::ShaderSource::Wgsl(DOUBLE.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    let double = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let groups = [&simple.x_h, &simple.y_l].map(|buffer| {
        let entries = [wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }];
        let layout = &double.get_bind_group_layout(0);
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    encoder.clear_buffer(&simple.y_h, 0, None);
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for group in &groups {
        pass.set_pipeline(&double);
        pass.set_bind_group(0, group, &[]);
        pass.dispatch_workgroups(8, 1, 1);
        layer.record(&mut pass);
    }
    // The last time the layer has written Y_L again.
    pass.set_pipeline(&double);
    pass.set_bind_group(0, &groups[1], &[]);
    pass.dispatch_workgroups(8, 1, 1);
    drop(pass);
    let copy = context.tensor(simple.y_h.size() / 4, Dtype::F32).unwrap();
    encoder.copy_buffer_to_buffer(&simple.y_h, 0, &copy, 0, simple.y_h.size());
    context.queue().submit([encoder.finish()]);

    let doubled: Vec<_> = simple.x.iter().map(|x| 2.0 * x).collect();
    let mut expected = simple.reference(&doubled);
    expected.y_l.as_mut().unwrap().data.iter_mut().for_each(|y| *y *= 2.0);
    simple.assert_outputs(context, &expected);
    let y_h = expected.y_h.unwrap();
    assert_close("copy of y_h", &read(context, &copy, &y_h), &y_h);
}

#[test]
fn tensors_inside_of_shared_buffers() {
    let context = context();
    let engine = context.engine();
    let alignment = u64::from(engine.facts().limits.min_storage_buffer_offset_alignment);
    let size = InputSize::image(1, 7, 9);
    let spec = build(split((3, 2), (4, 3)).kernel([3, 3]).same_padding().residual(true, false));
    let options = Options { pooled_output: true, ..Options::default() };
    let plan = engine.plan(&spec, size, &options).unwrap();
    let host = HostWeights::new(&spec, 2);

    // Inputs in one buffer and outputs in another, each behind a gap.
    let mut ends = [0u64; 2];
    let mut places = Vec::new();
    for tensor in plan.tensors() {
        let end = &mut ends[usize::from(tensor.written)];
        let offset = (*end + 4).next_multiple_of(alignment);
        *end = offset + 4 * tensor.dims.elements();
        places.push((tensor, offset));
    }
    let [mut inputs, outputs] = ends.map(|end| vec![f32::NAN; (end / 4) as usize + 1]);
    let mut given = Vec::new();
    for (tensor, offset) in places.iter().filter(|(tensor, _)| !tensor.written) {
        let x = values(*offset, tensor.dims.elements());
        inputs[(offset / 4) as usize..][..x.len()].copy_from_slice(&x);
        given.push((tensor.name, x));
    }
    let buffers = [inputs, outputs].map(|values| context.upload(&values, Dtype::F32).unwrap());
    let mut tensors = Tensors::default();
    for &(tensor, offset) in &places {
        let buffer = &buffers[usize::from(tensor.written)];
        tensors.set(tensor.name, TensorBinding { buffer, offset }).unwrap();
    }
    let packed = engine.pack(&plan, &host.weights()).unwrap();
    context.run(&[&engine.bind(&plan, &packed, &tensors).unwrap()]).unwrap();

    let given = |name| given.iter().find(|(other, _)| *other == name).map(|(_, x)| x.as_slice());
    let inputs = Inputs { x_h: given("x_h"), x_l: given("x_l"), residual_h: given("residual_h"), ..Inputs::default() };
    let expected = octave_conv(&spec, size, &host.weights(), &inputs).unwrap();
    let found = context.read(&buffers[1], 0, ends[1] / 4, Dtype::F32).unwrap();
    let mut gaps = found.clone();
    for (name, expected) in [("y_h", expected.y_h), ("y_l", expected.y_l), ("y_p", expected.y_p)] {
        let offset = places.iter().find(|(tensor, _)| tensor.name == name).map(|&(_, offset)| offset / 4).unwrap();
        let (expected, at) = (expected.unwrap(), offset as usize);
        let body = at..at + expected.data.len();
        assert_close(name, &found[body.clone()], &expected);
        gaps[body].fill(f32::NAN);
    }
    assert!(gaps.iter().all(|gap| gap.is_nan()), "something wrote between the outputs");
}

/// Every tensor and scratch in one buffer, for each strategy and family.
#[test]
fn everything_may_lie_in_one_buffer() {
    let mut met = std::collections::HashSet::new();
    for builder in [
        split((8, 8), (8, 8)).kernel([3, 3]).same_padding().bias(true).residual(true, true),
        split((12, 4), (16, 16)),
        split((64, 64), (64, 64)).kernel([3, 3]).same_padding().stride(2),
    ] {
        for case in in_all_types(&image(builder.clone(), 9, 12)) {
            let options = Options { accuracy: Accuracy::Fast, pooled_output: true, ..case.options };
            let plans = Plan::candidates(&case.spec, case.size, &options, context().engine().facts());
            for plan in plans {
                let variant = plan.variant();
                if !met.insert((variant.strategy, variant.family, case.options.precision.activations)) {
                    continue;
                }
                let options = Options { variant: Some(variant), ..options };
                check_one(context(), &Case { options, one_buffer: true, ..case.clone() });
            }
        }
    }
    assert!(met.len() >= 8, "{met:?}");
}

/// An engine that binds all tensors as written does so in every layer and network.
#[test]
fn tensors_may_be_bound_as_written() {
    let context = open(&ContextOptions { read_write: true, ..ContextOptions::default() });
    let case = image(split((8, 8), (8, 8)).kernel([3, 3]).same_padding().residual(true, true), 9, 12);
    check_one(&context, &case);
    let pipelines = context.engine().pipelines();
    check_one(&context, &Case { one_buffer: true, ..case });
    assert_eq!(context.engine().pipelines(), pipelines);
}

/// The caller's memory holds all but the uniforms: tensors, scratch and weights.
#[test]
fn weights_may_lie_where_the_caller_wants() {
    let context = context();
    let engine = context.engine();
    let spec = build(split((8, 8), (8, 8)).kernel([3, 3]).same_padding().bias(true));
    let host = HostWeights::new(&spec, 2);
    for variant in ["fused/direct", "pool-first/direct", "low-first/direct", "split/direct"] {
        let options = Options { variant: Some(variant.parse().unwrap()), ..Options::default() };
        let plan = engine.plan(&spec, InputSize::image(1, 6, 8), &options).unwrap();
        let bytes = plan.pack(&host.weights()).unwrap();
        assert_eq!(bytes.len() as u64, plan.weights_bytes());
        let place = 512;
        let weights = context.tensor((place + plan.weights_bytes()) / 4, Dtype::F32).unwrap();
        context.queue().write_buffer(&weights, place, &bytes);
        let at = TensorBinding { buffer: &weights, offset: place };
        let scratch = context.tensor(plan.scratch_bytes().div_ceil(4).max(1), Dtype::F32).unwrap();
        let run = |packed: &PackedWeights, scratch| {
            let mut buffers = Vec::new();
            for tensor in plan.tensors() {
                let data = values(7, tensor.dims.elements());
                let data = if tensor.written { vec![f32::NAN; data.len()] } else { data };
                buffers.push((tensor, context.upload(&data, Dtype::F32).unwrap()));
            }
            let mut tensors = Tensors { scratch, ..Tensors::default() };
            buffers.iter().for_each(|(tensor, buffer)| tensors.set(tensor.name, buffer.into()).unwrap());
            context.run(&[&engine.bind(&plan, packed, &tensors).unwrap()]).unwrap();
            let written = buffers.iter().filter(|(tensor, _)| tensor.written);
            let read = |(tensor, buffer): &(octconv::PlanTensor, wgpu::Buffer)| {
                context.read(buffer, 0, tensor.dims.elements(), Dtype::F32).unwrap()
            };
            written.map(read).collect::<Vec<_>>()
        };
        let wanted = run(&engine.pack(&plan, &host.weights()).unwrap(), None);
        assert!(wanted.iter().flatten().all(|value| value.is_finite()));
        assert_eq!(run(&engine.place_weights(&plan, at).unwrap(), Some((&scratch).into())), wanted, "{variant}");
    }
}

/// Timestamps of the caller's query set, and debug groups, around layers and nodes. A set without room is refused.
#[test]
fn profilers_find_layers_and_nodes() {
    use octconv::network::{Checkpoint, Graph, Model, NetworkOptions, random_input, zoo};
    let adapter = context().adapter();
    let features = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES;
    if !adapter.features().contains(features) {
        crate::report::missing("timestamps inside of passes");
        return;
    }
    let descriptor = wgpu::DeviceDescriptor { required_features: features, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let engine = Engine::new(&device, EngineOptions::default());
    let queries = |ty, count| device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count });
    let timestamps = queries(wgpu::QueryType::Timestamp, 64);

    let settings = zoo::Settings { alpha: 0.5, ..Default::default() };
    let graph = Graph::new(&zoo::build("cifar-resnet20", &settings).unwrap()).unwrap();
    let checkpoint = Checkpoint::random(&graph, 1);
    let model = Model::new(&engine, graph, checkpoint).unwrap();
    let size = InputSize::image(1, 8, 8);
    let inference = model.compile(model.plan(size, &NetworkOptions::default()).unwrap(), |_| {}).unwrap();
    let input = inference.input().unwrap();
    let values: Vec<u8> = random_input(3 * 64, 1).iter().flat_map(|v| v.to_ne_bytes()).collect();
    queue.write_buffer(input.buffer, input.offset, &values);

    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    let marks = |first| Marks { groups: true, timestamps: Some((&timestamps, first)) };
    let nodes = inference.record_marked(&mut pass, marks(2)).unwrap();
    let mut wanted: Vec<_> = inference.plan().trace().into_iter().map(|(node, _)| node).collect();
    wanted.dedup();
    assert_eq!(nodes, wanted);
    let most = 64 - 2 * nodes.len() as u32;
    let message = inference.record_marked(&mut pass, marks(most + 1)).unwrap_err().to_string();
    assert!(message.starts_with(&format!("timestamps is {}: must leave room for ", most + 1)), "{message}");
    drop(pass);
    let size = 8 * 64;
    let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
    let resolved =
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let read = device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
    encoder.resolve_query_set(&timestamps, 2..2 + 2 * nodes.len() as u32, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, &read, 0, size);
    queue.submit([encoder.finish()]);
    read.map_async(wgpu::MapMode::Read, .., |outcome| outcome.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let bytes = read.get_mapped_range(..).unwrap();
    let times: Vec<u64> = bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned).take(2 * nodes.len()).collect();
    assert!(times[0] > 0 && times.is_sorted(), "{times:?}");
}

/// All dispatches one by one give what the layer gives.
#[test]
fn a_layer_is_recorded_in_parts() {
    let context = context();
    let engine = context.engine();
    let simple = Simple::new(context, engine, simple(), 5);
    let options = Options { variant: Some("unfused/direct".parse().unwrap()), ..Options::default() };
    let plan = engine.plan(&simple.spec, Simple::SIZE, &options).unwrap();
    let packed = engine.pack(&plan, &simple.host.weights()).unwrap();
    let layer = engine.bind(&plan, &packed, &simple.tensors()).unwrap();
    assert!(layer.dispatches() > 2);
    for i in 0..layer.dispatches() {
        context.run_pass(|pass| layer.record_range(pass, i..i + 1)).unwrap();
    }
    simple.assert_outputs(context, &simple.reference(&simple.x));
    // What reaches beyond the end is cut, and not left out.
    let simple = Simple::new(context, engine, self::simple(), 6);
    let layer = engine.bind(&plan, &engine.pack(&plan, &simple.host.weights()).unwrap(), &simple.tensors()).unwrap();
    let parts = [0..2, 2..99, 99..100];
    context.run_pass(|pass| parts.into_iter().for_each(|range| layer.record_range(pass, range))).unwrap();
    simple.assert_outputs(context, &simple.reference(&simple.x));
    let marks = Marks { groups: true, timestamps: None };
    context.run_pass(|pass| layer.record_marked(pass, "a layer", marks).unwrap()).unwrap();
    // This device was opened without what timestamps in a pass need.
    if context.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
        let ty = wgpu::QueryType::Timestamp;
        let queries = context.device().create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count: 2 });
        let marks = Marks { groups: false, timestamps: Some((&queries, 0)) };
        let refused = Err(Error::Feature { what: "timestamps of layers", feature: "TIMESTAMP_QUERY_INSIDE_PASSES" });
        context.run_pass(|pass| assert_eq!(layer.record_marked(pass, "a layer", marks), refused)).unwrap();
    }
    simple.assert_outputs(context, &simple.reference(&simple.x));
}

#[test]
fn checked_kernels_agree_too() {
    for checked in [true, false] {
        let context = open(&ContextOptions { checked: Some(checked), ..ContextOptions::default() });
        assert_eq!(context.engine().is_checked(), checked);
        check_one(&context, &image(split((2, 1), (2, 1)).kernel([3, 3]).same_padding(), 9, 10));
        check_one(&context, &image(split((5, 4), (6, 3)).rounding(Rounding::Floor), 9, 11));
        check_one(&context, &image(split((4, 2), (4, 2)).kernel([3, 1]).same_padding().depthwise().stride(2), 5, 4));
    }
}

#[test]
fn everything_goes_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Engine>();
    shared::<Layer>();
    shared::<Plan>();
    shared::<PackedWeights>();
    shared::<Spec>();
    shared::<Error>();
    shared::<Context>();
}

/// After its destruction a device of the caller's makes nothing more, without a panic: what is made from data is an error,
/// and the rest is as invalid as the device.
#[test]
fn a_destroyed_device() {
    let context = open(&ContextOptions::default());
    let engine = context.engine();
    let simple = Simple::new(&context, engine, simple(), 31);
    let layer = simple.bind(engine);
    let unfused = Options { variant: Some("unfused/direct".parse().unwrap()), ..Options::default() };
    let unfused = engine.plan(&simple.spec, Simple::SIZE, &unfused).unwrap();
    context.device().destroy();

    assert_eq!(engine.compile(&simple.plan), Ok(()));
    assert_eq!(engine.compile(&unfused), Ok(()));
    let lost = |outcome: Result<(), Error>, made: &str| match outcome {
        Err(Error::DeviceLost { operation, message }) => {
            assert!(operation.starts_with(&format!("creating {made} of ")), "{operation}");
            assert!(!message.contains('\n'), "{message}");
        }
        other => panic!("{other:?}"),
    };
    lost(engine.pack(&simple.plan, &simple.host.weights()).map(drop), "octconv weights");
    lost(engine.bind(&simple.plan, &simple.packed, &simple.tensors()).map(drop), "octconv shapes");
    // Recording is for wgpu to ignore; only submitting would tell.
    let mut encoder = context.device().create_command_encoder(&Default::default());
    layer.record(&mut encoder.begin_compute_pass(&Default::default()));
}

/// A device that executes nothing still plans, packs, binds and records: good for an engine's own tests.
#[test]
fn a_device_that_executes_nothing() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let engine = Engine::new(&device, EngineOptions::default());
    let buffer = |elements: u64| {
        let usage = wgpu::BufferUsages::STORAGE;
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * elements,
            usage,
            mapped_at_creation: false,
        })
    };
    let spec = build(split((4, 2), (6, 2)).kernel([3, 3]).same_padding().bias(true));
    let host = HostWeights::new(&spec, 1);
    let size = InputSize::image(1, 12, 10);
    // Of each variant a tile: what differs between tiles is for the tests of kernels.
    let mut seen = std::collections::HashSet::new();
    let mut plans = Plan::candidates(&spec, size, &Options::default(), engine.facts());
    plans.retain(|plan| seen.insert(plan.variant().untiled()));
    for plan in plans {
        let packed = engine.pack(&plan, &host.weights()).unwrap();
        assert!(packed.bytes() >= 4 * (9 * (4 + 2) * (6 + 2) + 8));
        let buffers: Vec<_> =
            plan.tensors().iter().map(|tensor| (tensor.name, buffer(tensor.dims.elements()))).collect();
        let bindings: Vec<_> = buffers.iter().map(|(name, buffer)| (*name, buffer)).collect();
        let layer = engine.bind(&plan, &packed, &tensors(&bindings)).unwrap();
        assert_eq!(layer.dispatches(), plan.dispatches());
        let mut encoder = device.create_command_encoder(&Default::default());
        layer.record(&mut encoder.begin_compute_pass(&Default::default()));
        queue.submit([encoder.finish()]);
    }
    assert!(engine.pipelines() > 4);
}

/// Matrix units are usable in the largest square shape of f16 factors and f32 sums, where the device has what it takes.
#[test]
fn matrices_take_features_and_a_shape() {
    use wgpu::CooperativeScalarType::{F16, F32};
    let shape = |size: u32, k_size, ab_type, cr_type| wgpu::CooperativeMatrixProperties {
        m_size: size,
        n_size: size,
        k_size,
        ab_type,
        cr_type,
        saturating_accumulation: false,
    };
    let needs = wgpu::Features::SHADER_F16 | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let matrix = |features, shapes: &[wgpu::CooperativeMatrixProperties]| {
        let facts = DeviceFacts { features, ..DeviceFacts::default() };
        facts.with_adapter(&AdapterFacts { cooperative_matrices: shapes.to_vec() }).matrix
    };
    let (small, large) = (shape(8, 8, F16, F32), shape(16, 16, F16, F32));
    assert_eq!(matrix(needs, &[large, small, shape(32, 32, F16, F32)]), Some(16));
    assert_eq!(matrix(needs, &[shape(16, 8, F16, F32), shape(16, 16, F16, F16), small]), Some(8));
    assert_eq!(matrix(needs, &[shape(16, 16, F32, F32)]), None);
    for lacking in [wgpu::Features::SHADER_F16, wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX] {
        assert_eq!(matrix(needs - lacking, &[large, small]), None);
    }

    // A context has asked for the features; an embedder who asked for nothing has none.
    let context = context();
    let told = DeviceFacts::of(context.device()).with_adapter(&AdapterFacts::of(context.adapter()));
    assert_eq!(context.engine().facts().matrix, told.matrix);
    assert_eq!(DeviceFacts::of_adapter(context.adapter()).matrix, told.matrix);
    let modest = open(&ContextOptions { default_device: true, ..Default::default() });
    assert_eq!(modest.engine().facts().matrix, None);
}
