//! Temporary: dumps plans for comparing. Never committed.
use std::collections::HashMap;
use std::fmt::Write;

use crate::device::DeviceFacts;
use crate::dims::InputSize;
use crate::kernels::job::Slice;
use crate::layer::*;
use crate::plan::{Options, Plan};
use crate::precision::{Dtype, Precision};

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf29ce484222325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100000001b3))
}

fn specs() -> Vec<(&'static str, SpecBuilder, InputSize)> {
    let b = |i: u32, o: u32, a: f64, c: f64| Spec::builder(i, o).alpha(a, c);
    let k3 = |i, o, a, c| b(i, o, a, c).kernel([3, 3]).same_padding();
    let im = InputSize::image;
    let relu = Activation::Relu;
    vec![
        ("k3", k3(64, 64, 0.5, 0.5).bias(true).activation(relu), im(1, 56, 56)),
        (
            "k3odd",
            k3(20, 24, 0.4, 0.5).residual(true, true).activation(Activation::LeakyRelu { slope: 0.1 }),
            im(2, 13, 11),
        ),
        ("k3floor", k3(16, 24, 0.25, 0.5).rounding(Rounding::Floor).activation(Activation::Silu), im(1, 15, 17)),
        ("k3s2", k3(64, 64, 0.5, 0.5).stride(2).activation(Activation::HardSwish), im(1, 28, 28)),
        ("k3s2strided", k3(16, 16, 0.5, 0.5).stride(2).downsample(Downsample::StridedConv), im(1, 14, 20)),
        ("k3strided", k3(16, 16, 0.5, 0.5).downsample(Downsample::StridedConv).residual(true, false), im(1, 14, 20)),
        ("k3plain", k3(64, 64, 0.0, 0.0).activation(Activation::Relu6), im(1, 28, 28)),
        ("k3small", k3(256, 256, 0.5, 0.5).residual(true, true).activation(relu), im(1, 7, 7)),
        ("k3smallfloor", k3(256, 256, 0.5, 0.5).rounding(Rounding::Floor), im(1, 7, 9)),
        ("k3d2", k3(16, 16, 0.5, 0.5).dilation([2, 1]).padding([2, 1]), im(1, 16, 16)),
        ("k7s2", b(3, 64, 0.0, 0.5).kernel([7, 7]).same_padding().stride(2), im(1, 64, 64)),
        ("k57", b(8, 16, 0.5, 0.5).kernel([5, 7]).same_padding(), im(1, 20, 22)),
        ("k2", b(8, 8, 0.5, 0.5).kernel([2, 2]).padding([1, 0]), im(1, 12, 12)),
        ("g2", k3(64, 64, 0.5, 0.5).groups(16), im(1, 28, 28)),
        ("g3", k3(12, 18, 0.5, 0.5).groups(3), im(1, 14, 14)),
        ("dw", k3(32, 32, 0.5, 0.5).depthwise(), im(1, 28, 28)),
        ("dws2", k3(32, 64, 0.5, 0.5).depthwise().stride(2), im(1, 28, 28)),
        ("k1", b(256, 64, 0.5, 0.5).bias(true).activation(relu), im(1, 56, 56)),
        (
            "k1odd",
            b(20, 24, 0.4, 0.25).residual(true, true).activation(Activation::LeakyRelu { slope: 0.1 }),
            im(2, 13, 11),
        ),
        (
            "k1floor",
            b(20, 24, 0.4, 0.25).rounding(Rounding::Floor).residual(true, true).activation(relu),
            im(2, 13, 15),
        ),
        ("k1s2", b(64, 64, 0.5, 0.5).stride(2).activation(relu), im(1, 28, 28)),
        ("k1s2odd", b(16, 24, 0.5, 0.5).stride(2).residual(true, true), im(1, 27, 21)),
        ("k1s2strided", b(16, 16, 0.5, 0.5).stride(2).downsample(Downsample::StridedConv), im(1, 28, 20)),
        ("k1strided", b(16, 16, 0.5, 0.5).downsample(Downsample::StridedConv), im(1, 28, 20)),
        ("k1nohl", b(16, 16, 0.5, 0.5).high_to_low(false), im(1, 28, 20)),
        ("k1nolh", b(16, 16, 0.5, 0.5).low_to_high(false), im(1, 28, 20)),
        ("k1plain", b(64, 32, 0.0, 0.0).activation(relu), im(1, 14, 14)),
        ("k1plain49", b(64, 32, 0.0, 0.0), im(2, 7, 7)),
        ("k1big", b(512, 256, 0.5, 0.5).residual(true, true), im(1, 7, 7)),
        ("k1in", b(3, 32, 0.0, 0.5), im(1, 32, 32)),
        ("k1out", b(32, 16, 0.5, 0.0), im(1, 32, 32)),
        (
            "k1lowonly",
            Spec::builder(16, 16).split(Split { high: 16, low: 0 }, Split { high: 0, low: 16 }),
            im(1, 12, 12),
        ),
        (
            "k1lowlow",
            Spec::builder(16, 16).split(Split { high: 0, low: 16 }, Split { high: 0, low: 16 }),
            im(1, 12, 12),
        ),
        ("k1c2", b(4, 4, 0.5, 0.5), im(1, 12, 12)),
        (
            "video",
            k3(16, 16, 0.5, 0.5).time(TimeAxis { kernel: 3, stride: 2, padding: 1, dilation: 1 }),
            InputSize::video(1, 5, 12, 14),
        ),
        (
            "video1",
            b(16, 16, 0.5, 0.5).time(TimeAxis { kernel: 1, stride: 2, padding: 0, dilation: 1 }),
            InputSize::video(2, 4, 8, 8),
        ),
    ]
}

fn facts() -> Vec<(&'static str, DeviceFacts)> {
    let gpu = DeviceFacts::default();
    let big = wgpu::Limits {
        max_storage_buffers_per_shader_stage: 16,
        max_compute_workgroup_storage_size: 32768,
        ..wgpu::Limits::default()
    };
    let full =
        DeviceFacts { features: wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP, limits: big, ..gpu.clone() };
    let soft = DeviceFacts {
        software: true,
        features: wgpu::Features::SHADER_F16 | wgpu::Features::SHADER_INT64,
        ..full.clone()
    };
    let soft0 = DeviceFacts { software: true, ..gpu.clone() };
    vec![("gpu", gpu), ("full", full), ("soft", soft), ("soft0", soft0)]
}

#[test]
fn k3_dump() {
    let Ok(folder) = std::env::var("K3_DUMP") else { return };
    let folder = std::path::PathBuf::from(folder);
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let mut text = String::new();
    let mut written: HashMap<String, u64> = HashMap::new();
    let precisions = [
        Precision::default(),
        Precision { activations: Dtype::F16, weights: Dtype::F16, sums: Dtype::F16 },
        Precision { activations: Dtype::F32, weights: Dtype::F16, sums: Dtype::F32 },
    ];
    for (name, builder, size) in specs() {
        let spec = builder.build().unwrap_or_else(|e| panic!("{name}: {e}"));
        for (device, facts) in facts() {
            for (p, precision) in precisions.into_iter().enumerate() {
                for extra in 0..3u32 {
                    if p == 2 && extra > 0 {
                        continue;
                    }
                    let output = spec.output();
                    let slice = |c: u32| (c > 0).then_some(Slice { first: 3, of: c + 8 });
                    let mut options = Options { precision, ..Options::default() };
                    match extra {
                        1 => {
                            options.pooled_output = true;
                        }
                        2 => {
                            options.high_slice = slice(output.high);
                            options.low_slice = slice(output.low);
                        }
                        _ => {}
                    }
                    let mut list = vec![options];
                    if extra == 1 {
                        list.push(Options { pooled_input: true, ..options });
                    }
                    for (q, options) in list.into_iter().enumerate() {
                        let plans = Plan::candidates(&spec, size, &options, &facts);
                        for (rank, plan) in plans.iter().enumerate() {
                            let v = plan.variant();
                            if v.family.name() != "winograd" {
                                continue;
                            }
                            let tile = v.family.tiles().iter().position(|t| Some(*t) == v.tile).unwrap();
                            let key = format!("{name} {device} {p}{extra}{q} {}/{}/{tile}", v.untiled(), rank);
                            for (i, step) in plan.steps.iter().enumerate() {
                                let kernel = step.kernel.name();
                                let first = kernel.split(' ').next().unwrap();
                                if first != "winograd" {
                                    continue;
                                }
                                let source = step.kernel.source();
                                let id = *written.entry(source.clone()).or_insert_with(|| {
                                    let id = fnv(source.as_bytes());
                                    std::fs::write(folder.join(format!("src/{id:016x}.wgsl")), &source).unwrap();
                                    id
                                });
                                writeln!(
                                    text,
                                    "{key} #{i}\t{kernel}\t{id:016x}\t{:?} {:?} {} {} {:?} {} {:?}",
                                    step.tensors,
                                    step.grid,
                                    step.packing
                                        .as_ref()
                                        .map_or(String::new(), |p| format!("{p} {:?}", p.offsets(&spec))),
                                    step.f16_terms,
                                    step.work,
                                    fnv(&step.shape),
                                    step.kernel.accesses()
                                )
                                .unwrap();
                            }
                        }
                    }
                }
            }
        }
    }
    #[cfg(feature = "network")]
    {
        use crate::network::{Graph, NetworkOptions, NetworkPlan, zoo};
        for (name, alpha) in
            [("resnet50", 0.5), ("mobilenet-v2", 0.375), ("resnet50", 0.0), ("se-resnet50", 0.5), ("densenet121", 0.25)]
        {
            let graph = Graph::new(&zoo::build(name, &zoo::Settings { alpha, ..Default::default() }).unwrap()).unwrap();
            for (device, facts) in facts() {
                for dtype in [Dtype::F32, Dtype::F16] {
                    let options = NetworkOptions { precision: Precision::of(dtype), ..Default::default() };
                    let Ok(plan) = NetworkPlan::new(&graph, InputSize::image(1, 224, 224), &options, &facts) else {
                        continue;
                    };
                    for (i, planned) in plan.steps.iter().enumerate() {
                        let step = &planned.step;
                        let kernel = step.kernel.name();
                        let first = kernel.split(' ').next().unwrap();
                        if ["direct", "direct-f16", "pointwise", "reduce", "pool", "staged", "staged-f16", "matrix"]
                            .contains(&first)
                        {
                            continue;
                        }
                        let source = step.kernel.source();
                        let id = *written.entry(source.clone()).or_insert_with(|| {
                            let id = fnv(source.as_bytes());
                            std::fs::write(folder.join(format!("src/{id:016x}.wgsl")), &source).unwrap();
                            id
                        });
                        writeln!(
                            text,
                            "{name}{alpha} {device} {dtype} #{i}\t{kernel}\t{id:016x}\t{:?} {:?} {} {:?} {:016x} {:?}",
                            step.tensors,
                            step.grid,
                            step.f16_terms,
                            step.work,
                            fnv(&step.shape),
                            step.kernel.accesses()
                        )
                        .unwrap();
                    }
                }
            }
        }
    }
    std::fs::write(folder.join("steps.txt"), text).unwrap();
    println!("{} sources", written.len());
}

#[test]
fn k3_time() {
    if std::env::var("K3_TIME").is_err() {
        return;
    }
    let facts = facts();
    for kernel in [1, 3] {
        let spec = Spec::builder(64, 64).alpha(0.5, 0.5).kernel([kernel; 2]).same_padding().build().unwrap();
        for (name, facts) in &facts {
            let mut best = f64::INFINITY;
            let mut count = 0;
            for _ in 0..60 {
                let start = std::time::Instant::now();
                count = Plan::candidates(&spec, InputSize::image(1, 56, 56), &Options::default(), facts).len();
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{kernel}x{kernel} {name}: {count} candidates, {:.1} us", best * 1e6);
        }
    }
}

/// Runs each pair of old and new sources on equal data and compares every buffer.
#[test]
fn k3_run() {
    use crate::context::{Context, ContextOptions};
    let Ok(old) = std::env::var("K3_RUN") else { return };
    let old = std::path::PathBuf::from(old);
    let text = std::fs::read_to_string(old.join("pairs.txt")).unwrap();
    let context = Context::new(&ContextOptions::default()).unwrap();
    let (device, queue) = (context.device(), context.queue());
    const BYTES: u64 = 16 << 20;
    let mut z = 1u64;
    let mut half = || {
        z = z.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        half::f16::from_f32(((z >> 40) as f32) / ((1 << 23) as f32) - 1.0).to_bits()
    };
    let data: Vec<u16> = (0..BYTES / 2).map(|_| half()).collect();
    let (mut same, mut different) = (0, 0);
    let mut first = None;
    for line in text.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let [name, a, b, x, y, bindings, shape] = parts[..] else { panic!("{line}") };
        let shape: Vec<u8> =
            (0..shape.len() / 2).map(|i| u8::from_str_radix(&shape[2 * i..2 * i + 2], 16).unwrap()).collect();
        let accesses: Vec<&str> = bindings.split(',').collect();
        let run = |path: &str| -> Vec<Vec<u8>> {
            let source = std::fs::read_to_string(path).unwrap();
            let module = unsafe {
                device.create_shader_module_trusted(
                    wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(source.into()) },
                    wgpu::ShaderRuntimeChecks::unchecked(),
                )
            };
            let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            };
            let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
            for (i, access) in accesses.iter().enumerate() {
                entries.push(entry(i as u32 + 1, wgpu::BufferBindingType::Storage { read_only: *access == "Read" }));
            }
            let layout =
                device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
            let pl = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&layout)],
                ..Default::default()
            });
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: Some(&pl),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            });
            let uniform = device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: shape.len() as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            queue.write_buffer(&uniform, 0, &shape);
            let buffers: Vec<_> = accesses
                .iter()
                .map(|_| {
                    let b = context.tensor(BYTES / 4, Dtype::F32).unwrap();
                    queue.write_buffer(&b, 0, bytemuck::cast_slice(&data));
                    b
                })
                .collect();
            let mut groups = vec![wgpu::BindGroupEntry { binding: 0, resource: uniform.as_entire_binding() }];
            for (i, b) in buffers.iter().enumerate() {
                groups.push(wgpu::BindGroupEntry { binding: i as u32 + 1, resource: b.as_entire_binding() });
            }
            let group =
                device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &groups });
            context
                .run_pass(|pass| {
                    pass.set_pipeline(&pipeline);
                    pass.set_bind_group(0, &group, &[]);
                    pass.dispatch_workgroups(x.parse().unwrap(), y.parse().unwrap(), 1);
                })
                .unwrap();
            buffers
                .iter()
                .zip(&accesses)
                .filter(|(_, access)| **access != "Read")
                .map(|(b, _)| context.read_bytes(b, 0, BYTES).unwrap())
                .collect()
        };
        let start = std::time::Instant::now();
        let (u, v) = (run(a), run(b));
        let changed = u.iter().any(|b| b != bytemuck::cast_slice::<u16, u8>(&data));
        if u == v && changed {
            same += 1;
        } else {
            different += 1;
            println!("DIFFERENT {name} {a} {b} {changed}");
        }
        if first.is_none() {
            println!("one takes {:?}", start.elapsed());
            first = Some(());
        }
    }
    println!("same {same}, different {different}");
}
