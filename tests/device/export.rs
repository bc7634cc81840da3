//! A bundle, run by what its manifest says alone, gives what the library gives.

use octconv::export::{Access, Bundle, BundleOptions, Usage};
use octconv::network::{Checkpoint, Graph, Model, NetworkOptions, random_input};
use octconv::{Context, Dtype, InputSize, Precision, wgpu};

use crate::common::{context, context_as, runs_f16};

/// What the bundle's outputs are for an input.
fn play(context: &Context, bundle: &Bundle, input: &[f32]) -> Vec<Vec<f32>> {
    let (device, manifest) = (context.device(), bundle.manifest());
    let file = |name: &str| bundle.files().find(|(path, _)| *path == name).unwrap().1;
    let buffers = manifest.buffers.iter().map(|buffer| {
        let kind =
            if buffer.usage == Usage::Uniform { wgpu::BufferUsages::UNIFORM } else { wgpu::BufferUsages::STORAGE };
        let usage = kind | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size: buffer.bytes, usage, mapped_at_creation: false };
        let made = device.create_buffer(&descriptor);
        if let Some(name) = &buffer.file {
            context.queue().write_buffer(&made, 0, file(name));
        }
        made
    });
    let buffers: Vec<wgpu::Buffer> = buffers.collect();
    let pipelines = manifest.kernels.iter().map(|kernel| {
        let entries = kernel.bindings.iter().map(|binding| {
            let ty = match binding.access {
                Access::Uniform => wgpu::BufferBindingType::Uniform,
                access => wgpu::BufferBindingType::Storage { read_only: access == Access::Read },
            };
            wgpu::BindGroupLayoutEntry {
                binding: binding.binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            }
        });
        let entries: Vec<_> = entries.collect();
        let layout =
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let source = std::str::from_utf8(file(&kernel.file)).unwrap();
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some(&kernel.entry_point),
            compilation_options: Default::default(),
            cache: None,
        });
        (pipeline, layout)
    });
    let pipelines: Vec<_> = pipelines.collect();

    let [to] = manifest.inputs.as_slice() else { panic!("{:?}", manifest.inputs) };
    let dtype = |dtype| if dtype == octconv::export::ElementType::F16 { Dtype::F16 } else { Dtype::F32 };
    let bytes: Vec<u8> = match dtype(to.dtype) {
        Dtype::F32 => input.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => input.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
    };
    context.queue().write_buffer(&buffers[to.buffer], to.offset, &bytes);
    let groups = manifest.dispatches.iter().map(|dispatch| {
        let entry = |at: &octconv::export::Range| wgpu::BindGroupEntry {
            binding: at.binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &buffers[at.buffer],
                offset: at.offset,
                size: at.bytes.try_into().ok(),
            }),
        };
        let entries: Vec<_> = dispatch.bindings.iter().map(entry).collect();
        let layout = &pipelines[dispatch.kernel].1;
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    });
    let groups: Vec<_> = groups.collect();
    let record = |pass: &mut wgpu::ComputePass| {
        for (dispatch, group) in manifest.dispatches.iter().zip(&groups) {
            let [x, y, z] = dispatch.workgroups;
            pass.set_pipeline(&pipelines[dispatch.kernel].0);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    };
    context.run_pass(record).unwrap();
    let read = |tensor: &octconv::export::Tensor| {
        let elements = tensor.shape.iter().map(|&d| u64::from(d)).product();
        context.read(&buffers[tensor.buffer], tensor.offset, elements, dtype(tensor.dtype)).unwrap()
    };
    manifest.outputs.iter().map(read).collect()
}

/// A network whose few kernels compile fast.
const NETWORK: &str = r#"{
    "name": "small", "input": {"channels": 3}, "output": "scores", "nodes": [
        {"name": "a", "op": "conv", "input": "input", "channels": 8, "alpha": 0.5, "kernel": [3, 3], "padding": "same",
            "activation": "relu"},
        {"name": "b", "op": "conv", "input": "a", "channels": 8, "alpha": 0.5, "residual": "a", "bias": true},
        {"name": "means", "op": "global_pool", "input": "b"},
        {"name": "scores", "op": "linear", "input": "means", "outputs": 5}
    ]
}"#;

fn compare(options: &NetworkOptions) {
    let context = context_as(false, options.precision.activations);
    // WebGPU forbids a node that reads one map twice in one buffer.
    let network = if options.one_buffer { NETWORK.replace(r#""residual": "a", "#, "") } else { NETWORK.to_owned() };
    let graph = Graph::new(&serde_json::from_str(&network).unwrap()).unwrap();
    let checkpoint = Checkpoint::random(&graph, 3);
    let model = Model::new(context.engine(), graph, checkpoint.clone()).unwrap();
    let plan = model.plan(InputSize::image(1, 16, 16), options).unwrap();
    let bundle = Bundle::of_network(&plan, &checkpoint, BundleOptions::default()).unwrap();
    let input = random_input(3 * 16 * 16, 5);
    let right = model.compile(plan, |_| ()).unwrap().run(context, &input).unwrap();
    let found = play(context, &bundle, &input).concat();
    let largest = right.iter().fold(0f32, |most, v| most.max(v.abs()));
    assert_eq!(found.len(), right.len());
    // Other checks in the shaders let a driver round otherwise.
    let allowed = largest * if options.precision.activations == Dtype::F16 { 1e-2 } else { 1e-5 };
    assert!(largest > 0.0);
    for (found, right) in found.iter().zip(&right) {
        // Each by itself: the largest of several differences leaves out NaNs.
        assert!((found - right).abs() <= allowed, "{found} is not {right}: of {largest}");
    }
}

#[test]
fn a_bundle_gives_what_the_library_gives() {
    compare(&NetworkOptions::default());
    compare(&NetworkOptions { one_buffer: true, ..NetworkOptions::default() });
    if runs_f16(context()) {
        compare(&NetworkOptions { precision: Precision::of(Dtype::F16), ..NetworkOptions::default() });
    }
}
