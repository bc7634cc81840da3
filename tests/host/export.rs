//! Bundles, without a device: a manifest says what is true, and kernels are written in every language.

use std::collections::HashSet;

use octconv::export::{
    Access, Binding, Bundle, BundleOptions, ElementType, Feature, Manifest, Matrix, ShaderLanguage, Usage,
};
use octconv::network::{Checkpoint, Graph, NetworkOptions, NetworkPlan, zoo};
use octconv::{DeviceFacts, Dtype, Error, InputSize, Options, Plan, Precision, Spec, Weights, wgpu};

fn plan(name: &str, side: u32, options: &NetworkOptions, facts: &DeviceFacts) -> NetworkPlan {
    let network = zoo::build(name, &zoo::Settings { alpha: 0.5, ..Default::default() }).unwrap();
    NetworkPlan::new(&Graph::new(&network).unwrap(), InputSize::image(1, side, side), options, facts).unwrap()
}

fn bundle(plan: &NetworkPlan, language: ShaderLanguage) -> Result<Bundle, Error> {
    let options = BundleOptions { language, ..BundleOptions::default() };
    Bundle::of_network(plan, &Checkpoint::random(plan.graph(), 1), options)
}

fn with_f16() -> (DeviceFacts, NetworkOptions) {
    let facts = DeviceFacts { features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() };
    (facts, NetworkOptions { precision: Precision::of(Dtype::F16), ..NetworkOptions::default() })
}

/// Fails if a player that does what the manifest says would leave a buffer, a limit or an order.
fn check(bundle: &Bundle) {
    let Manifest { buffers, kernels, dispatches, regions, requires, files, inputs, outputs, .. } = bundle.manifest();
    let written: Vec<(&str, u64)> = bundle.files().map(|(path, bytes)| (path, bytes.len() as u64)).collect();
    let listed = files.iter().map(|file| (file.path.as_str(), file.bytes));
    assert!(listed.eq(written[..files.len()].iter().copied()));
    assert_eq!(written[files.len()..].iter().map(|file| file.0).collect::<Vec<_>>(), [Bundle::MANIFEST]);
    for buffer in buffers {
        assert!(buffer.bytes.is_multiple_of(4) && buffer.bytes <= requires.limits.max_buffer_size);
        assert_eq!(buffer.file.is_some(), buffer.usage != Usage::Storage, "{}", buffer.name);
        let of_file = |name: &String| files.iter().find(|file| file.path == *name).unwrap().bytes;
        assert_eq!(buffer.file.as_ref().map_or(buffer.bytes, of_file), buffer.bytes, "{}", buffer.name);
    }
    for (i, dispatch) in dispatches.iter().enumerate() {
        let kernel = &kernels[dispatch.kernel];
        assert_eq!(kernel.bindings.len(), dispatch.bindings.len());
        for (binding, at) in kernel.bindings.iter().zip(&dispatch.bindings) {
            assert_eq!((binding.group, binding.binding), (0, at.binding));
            assert!(at.offset.is_multiple_of(requires.limits.offset_alignment.into()));
            assert!(binding.access != Access::Uniform || at.offset.is_multiple_of(256));
            assert!(at.offset + at.bytes <= buffers[at.buffer].bytes, "dispatch {i}");
            let usages = match binding.access {
                Access::Uniform => [Usage::Uniform].as_slice(),
                Access::Read => &[Usage::Constant, Usage::Storage],
                Access::ReadWrite => &[Usage::Storage],
            };
            assert!(usages.contains(&buffers[at.buffer].usage), "dispatch {i}");
            // WebGPU takes a buffer in one way alone.
            let same = kernel.bindings.iter().zip(&dispatch.bindings).filter(|(_, other)| other.buffer == at.buffer);
            assert!(same.into_iter().all(|(other, _)| other.access == binding.access), "dispatch {i}");
            // Nor bytes twice that a kernel may write.
            if bundle.manifest().language == ShaderLanguage::Wgsl && binding.access == Access::ReadWrite {
                let shares = |other: &&octconv::export::Range| {
                    let apart = at.offset + at.bytes <= other.offset || other.offset + other.bytes <= at.offset;
                    other.buffer == at.buffer && !apart
                };
                assert_eq!(dispatch.bindings.iter().filter(shares).count(), 1, "dispatch {i}");
            }
            if buffers[at.buffer].usage == Usage::Storage {
                let holds = |region: &&octconv::export::Region| {
                    let end = region.offset + region.bytes;
                    region.buffer == at.buffer
                        && (region.first..=region.last).contains(&i)
                        && at.offset + at.bytes <= end
                        && region.offset <= at.offset
                };
                assert!(regions.iter().any(|region| holds(&region)), "dispatch {i} binds what no region has then");
            }
        }
    }
    // Ranges of one region are the same or apart, so that an engine may give each a buffer of its own.
    for region in regions {
        let bound = dispatches[region.first..=region.last.min(dispatches.len() - 1)].iter().flat_map(|d| &d.bindings);
        let within = |at: &&octconv::export::Range| {
            let end = region.offset + region.bytes;
            at.buffer == region.buffer && region.offset <= at.offset && at.offset + at.bytes <= end
        };
        let ranges: HashSet<_> = bound.filter(within).map(|at| (at.offset, at.bytes)).collect();
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{region:?}: {ranges:?}");
    }
    for (i, a) in regions.iter().enumerate() {
        for b in &regions[..i] {
            let apart = a.buffer != b.buffer || a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
            assert!(apart || a.last < b.first || b.last < a.first, "{a:?} {b:?}");
        }
    }
    for tensor in inputs.iter().chain(outputs) {
        assert!(tensor.offset + tensor.bytes <= buffers[tensor.buffer].bytes);
    }
}

#[test]
fn a_manifest_is_true() {
    let (facts, half) = with_f16();
    for name in ["mobilenet-v2", "densenet121"] {
        let one_buffer = NetworkOptions { one_buffer: true, ..NetworkOptions::default() };
        for (options, facts) in
            [(&half, &facts), (&NetworkOptions::default(), &DeviceFacts::default()), (&one_buffer, &facts)]
        {
            let plan = plan(name, 64, options, facts);
            let bundle = bundle(&plan, ShaderLanguage::Wgsl).unwrap();
            check(&bundle);
            let manifest = bundle.manifest();
            assert_eq!(manifest.dispatches.len(), plan.dispatches());
            let kernels: HashSet<String> = plan.sources().into_iter().map(|(_, source)| source).collect();
            // With one buffer some are bound in other ways.
            assert!(options.one_buffer || manifest.kernels.len() == kernels.len());
            let activations = manifest.buffers.iter().filter(|buffer| buffer.usage == Usage::Storage);
            assert_eq!(activations.map(|buffer| buffer.bytes).collect::<Vec<_>>(), plan.buffer_bytes());
            let [input] = manifest.inputs.as_slice() else { panic!("{:?}", manifest.inputs) };
            assert_eq!((input.name.as_str(), input.shape.as_slice()), ("input", [1, 3, 64, 64].as_slice()));
            assert_eq!(manifest.outputs[0].shape, [1, 1000]);
            let f16 = options.precision.activations == Dtype::F16;
            assert_eq!(manifest.requires.features, [Feature::ShaderF16][..f16.into()]);
            let limits = manifest.requires.limits;
            let usual = wgpu::Limits::default();
            assert!(limits.max_storage_buffers_per_shader_stage <= usual.max_storage_buffers_per_shader_stage);
            assert!(limits.max_storage_buffer_binding_size <= usual.max_storage_buffer_binding_size);
            assert!(limits.max_compute_workgroup_storage_size <= usual.max_compute_workgroup_storage_size);
            assert!(limits.max_compute_invocations_per_workgroup <= usual.max_compute_invocations_per_workgroup);
            assert!(limits.max_compute_workgroup_size_x <= usual.max_compute_workgroup_size_x);
            assert!(limits.offset_alignment == 256 && limits.max_buffer_size <= usual.max_buffer_size);
        }
    }
}

#[test]
fn weights_take_several_buffers_if_one_is_too_small() {
    let limits = wgpu::Limits { max_buffer_size: 16 << 20, ..wgpu::Limits::default() };
    let plan = plan("resnet50", 64, &NetworkOptions::default(), &DeviceFacts { limits, ..DeviceFacts::default() });
    let bundle = bundle(&plan, ShaderLanguage::Wgsl).unwrap();
    check(&bundle);
    let manifest = bundle.manifest();
    assert!(manifest.requires.limits.max_buffer_size <= 16 << 20);
    assert!(manifest.buffers.iter().filter(|buffer| buffer.usage == Usage::Constant).count() >= 7);
}

#[test]
fn weights_and_uniforms_lie_as_the_device_wants() {
    let limits = wgpu::Limits { min_storage_buffer_offset_alignment: 1024, ..wgpu::Limits::default() };
    let facts = DeviceFacts { limits, ..DeviceFacts::default() };
    let plan = plan("mobilenet-v2", 64, &NetworkOptions::default(), &facts);
    let bundle = bundle(&plan, ShaderLanguage::Wgsl).unwrap();
    check(&bundle);
    assert_eq!(bundle.manifest().requires.limits.offset_alignment, 1024);
}

#[test]
fn a_map_that_a_kernel_reads_twice_is_refused_in_one_buffer() {
    let network = r#"{"name": "twice", "input": {"channels": 8}, "output": "b", "nodes": [
        {"name": "a", "op": "conv", "input": "input", "channels": 8, "kernel": [1, 1]},
        {"name": "b", "op": "conv", "input": "a", "channels": 8, "kernel": [1, 1], "residual": "a"}]}"#;
    let graph = Graph::new(&serde_json::from_str(network).unwrap()).unwrap();
    let plan = |one_buffer| {
        let options = NetworkOptions { one_buffer, ..NetworkOptions::default() };
        NetworkPlan::new(&graph, InputSize::image(1, 8, 8), &options, &DeviceFacts::default()).unwrap()
    };
    let refusal = bundle(&plan(true), ShaderLanguage::Wgsl).unwrap_err().to_string();
    assert!(refusal.contains("one_buffer is true: must be false in WGSL: "), "{refusal}");
    // Other languages allow it.
    check(&bundle(&plan(true), ShaderLanguage::Spirv).unwrap());
    check(&bundle(&plan(false), ShaderLanguage::Wgsl).unwrap());
}

/// Direct3D 11.0 has the registers u0 to u7, and OpenGL may have 8 bindings of storage buffers.
fn are_numbered_from_0(language: ShaderLanguage, bindings: &[Binding]) {
    let count = |access| bindings.iter().filter(|binding| binding.access == access).count();
    let wanted = |letter, access| (0..count(access)).map(move |i| format!("{letter}{i}"));
    if language == ShaderLanguage::Hlsl {
        let registers: HashSet<_> = bindings.iter().filter_map(|binding| binding.register.clone()).collect();
        let all = wanted('b', Access::Uniform).chain(wanted('t', Access::Read)).chain(wanted('u', Access::ReadWrite));
        assert_eq!(registers, all.collect());
    }
    let last = bindings.len() as u32 - 1;
    let numbers: Vec<_> = bindings.iter().map(|binding| binding.binding).collect();
    let uniform_first = language != ShaderLanguage::Glsl;
    let wanted: Vec<_> = if uniform_first { (0..=last).collect() } else { [last].into_iter().chain(0..last).collect() };
    assert_eq!((numbers, bindings[0].access), (wanted, Access::Uniform));
}

/// The largest kernels for WebGPU's default limits bind 8 storage buffers.
#[test]
fn opengl_and_direct3d_11_have_the_numbers_of_all_bindings() {
    let one_buffer = NetworkOptions { one_buffer: true, ..NetworkOptions::default() };
    for options in [NetworkOptions::default(), one_buffer] {
        let plan = plan("resnet50", 64, &options, &DeviceFacts::default());
        let mut most = 0;
        for language in [ShaderLanguage::Glsl, ShaderLanguage::Hlsl] {
            let bundle = bundle(&plan, language).unwrap();
            check(&bundle);
            for kernel in &bundle.manifest().kernels {
                are_numbered_from_0(language, &kernel.bindings);
                let storage = kernel.bindings.iter().filter(|binding| binding.access != Access::Uniform);
                for binding in storage {
                    let number = binding.register.as_ref().map_or(binding.binding, |r| r[1..].parse().unwrap());
                    assert!(number < 8, "{binding:?}");
                }
                most = most.max(kernel.bindings.len() - 1);
            }
        }
        assert_eq!(most, 8);
    }
}

#[test]
fn every_language_has_the_kernels() {
    let (facts, half) = with_f16();
    for (options, facts) in [(&half, &facts), (&NetworkOptions::default(), &DeviceFacts::default())] {
        let plan = plan("mobilenet-v2", 64, options, facts);
        for name in ["wgsl", "spirv", "msl", "hlsl", "glsl"] {
            let language: ShaderLanguage = name.parse().unwrap();
            let found = bundle(&plan, language);
            if language == ShaderLanguage::Glsl && options.precision.activations == Dtype::F16 {
                let refusal = found.unwrap_err().to_string();
                assert!(refusal.contains(" cannot be written in glsl: "), "{refusal}");
                continue;
            }
            let bundle = found.unwrap();
            check(&bundle);
            for kernel in &bundle.manifest().kernels {
                let code = bundle.files().find(|(path, _)| *path == kernel.file).unwrap().1;
                if language == ShaderLanguage::Spirv {
                    // The magic number, and version 1.3.
                    assert_eq!(code[..8], [3, 2, 0x23, 7, 0, 3, 1, 0]);
                    // OpCapability StorageInputOutput16, which needs a feature that the kernels do not.
                    let words = code.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
                    assert!(!words.collect::<Vec<_>>().windows(2).any(|pair| pair == [0x0002_0011, 4436]));
                    continue;
                }
                let code = std::str::from_utf8(code).unwrap();
                if language == ShaderLanguage::Msl {
                    // Metal may leave out a dispatch of more threads than a kernel's pipeline allows, without an error.
                    let [x, y, z] = kernel.workgroup_size;
                    assert!(code.contains(&format!("max_total_threads_per_threadgroup({})", x * y * z)), "{code}");
                }
                assert!(code.contains(&format!("{}(", kernel.entry_point)), "{code}");
                for binding in &kernel.bindings {
                    let text = match (binding.index, &binding.register) {
                        (Some(index), _) => format!("[[buffer({index})]]"),
                        (None, Some(register)) => format!("register({register})"),
                        (None, None) if language == ShaderLanguage::Glsl => {
                            let kind = if binding.access == Access::Uniform { "140" } else { "430" };
                            format!("layout(std{kind}, binding = {})", binding.binding)
                        }
                        (None, None) => format!("@binding({})", binding.binding),
                    };
                    assert_eq!(code.matches(&text).count(), 1, "{text}: {code}");
                }
                are_numbered_from_0(language, &kernel.bindings);
                if language == ShaderLanguage::Hlsl {
                    let defined: Vec<_> =
                        code.lines().filter(|line| line.contains(" ZeroValue") && line.ends_with("() {")).collect();
                    assert_eq!(defined.iter().collect::<HashSet<_>>().len(), defined.len(), "{code}");
                }
            }
        }
    }
    assert!("dxil".parse::<ShaderLanguage>().is_err());
}

#[test]
fn matrices_are_those_that_the_language_and_the_device_have() {
    let features =
        wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let (_, half) = with_f16();
    for (side, threads) in [(8, 8), (16, 32)] {
        let facts =
            DeviceFacts { features, matrix: Some(side), subgroup_sizes: [threads; 2], ..DeviceFacts::default() };
        let plan = plan("resnet50", 64, &half, &facts);
        let spirv = bundle(&plan, ShaderLanguage::Spirv).unwrap();
        check(&spirv);
        let requires = &spirv.manifest().requires;
        assert_eq!(requires.features, [Feature::ShaderF16, Feature::Subgroups, Feature::CooperativeMatrix]);
        assert_eq!(requires.subgroup_sizes, Some([threads; 2]));
        let wanted = Matrix { side, factors: ElementType::F16, sums: ElementType::F32 };
        assert_eq!(requires.matrix, Some(wanted));
        assert!(ShaderLanguage::Spirv.matrix_sides().contains(&side));
        match bundle(&plan, ShaderLanguage::Msl) {
            Ok(msl) => {
                assert!(ShaderLanguage::Msl.matrix_sides().contains(&side));
                assert_eq!(msl.manifest().requires.matrix, Some(wanted));
                assert!(msl.manifest().kernels.iter().any(|kernel| kernel.language_version == "2.3"));
            }
            Err(error) => {
                assert!(!ShaderLanguage::Msl.matrix_sides().contains(&side));
                assert!(error.to_string().ends_with("Metal multiplies matrices of 8x8 alone"), "{error}");
            }
        }
    }
    let without = bundle(&plan("resnet50", 64, &half, &with_f16().0), ShaderLanguage::Spirv).unwrap();
    assert_eq!((without.manifest().requires.matrix, without.manifest().requires.subgroup_sizes), (None, None));
}

#[test]
fn a_layer_is_a_bundle_too() {
    let spec = Spec::builder(6, 4).alpha(0.5, 0.5).kernel([3, 3]).same_padding().build().unwrap();
    let facts = DeviceFacts::default();
    let [w, short] = [vec![0.5; 54], vec![0.5; 53]];
    let weights = Weights { w_hh: Some(&w), w_hl: Some(&w), w_lh: Some(&w), w_ll: Some(&w), ..Weights::default() };
    // Also with scratch, and several dispatches.
    for variant in [None, Some("unfused/direct".parse().unwrap())] {
        let options = Options { variant, ..Options::default() };
        let plan = Plan::new(&spec, InputSize::image(2, 9, 7), &options, &facts).unwrap();
        let mut bundle = Bundle::of_layer(&plan, &weights, &facts, BundleOptions::default()).unwrap();
        check(&bundle);
        let manifest = bundle.manifest();
        let names = |list: &[octconv::export::Tensor]| {
            list.iter().map(|t| (t.name.clone(), t.shape.clone())).collect::<Vec<_>>()
        };
        assert_eq!(names(&manifest.inputs), [("x_h".into(), vec![2, 3, 9, 7]), ("x_l".into(), vec![2, 3, 5, 4])]);
        assert_eq!(names(&manifest.outputs), [("y_h".into(), vec![2, 2, 9, 7]), ("y_l".into(), vec![2, 2, 5, 4])]);

        let [x_h, x_l, y_h, y_l] = [378, 120, 252, 80].map(|count| vec![1.0; count]);
        bundle.add_example(&[&x_h, &x_l], &[&y_h, &y_l], 0.5).unwrap();
        check(&bundle);
        let refusal = bundle.add_example(&[&x_h], &[&y_h, &y_l], 0.5).unwrap_err().to_string();
        assert_eq!(refusal, "inputs is lists of [378] numbers: must be lists of [378, 120]");

        let other = DeviceFacts { software: true, ..facts.clone() };
        assert!(matches!(Bundle::of_layer(&plan, &weights, &other, BundleOptions::default()), Err(Error::Plan { .. })));
        let few = Weights { w_ll: Some(&short), ..weights };
        assert!(matches!(Bundle::of_layer(&plan, &few, &facts, BundleOptions::default()), Err(Error::Length { .. })));
    }
}

#[test]
fn a_manifest_is_read_as_it_was_written() {
    let plan = plan("mobilenet-v1", 32, &NetworkOptions::default(), &DeviceFacts::default());
    let bundle = bundle(&plan, ShaderLanguage::Msl).unwrap();
    let (_, json) = bundle.files().last().unwrap();
    let read: Manifest = serde_json::from_slice(json).unwrap();
    assert_eq!(read, *bundle.manifest());
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let plan = plan("mobilenet-v1", 32, &NetworkOptions::default(), &DeviceFacts::default());
    let mut checkpoint = Checkpoint::random(plan.graph(), 1);
    checkpoint.tensors.pop_first();
    let mut more = Checkpoint::random(plan.graph(), 1);
    more.tensors.insert("more".into(), Default::default());
    for checkpoint in [checkpoint, more] {
        let refusal = Bundle::of_network(&plan, &checkpoint, BundleOptions::default()).unwrap_err();
        assert!(matches!(refusal, Error::Checkpoint { .. }), "{refusal}");
    }
}

#[test]
fn weights_may_have_the_names_of_another_dialect() {
    let plan = plan("cifar-resnet20", 32, &NetworkOptions::default(), &DeviceFacts::default());
    let own = Checkpoint::random(plan.graph(), 1);
    let tensors = own.tensors.iter().map(|(name, tensor)| (format!("module.{name}"), tensor.clone()));
    let prefixed = Checkpoint { tensors: tensors.collect() };
    let bundle = |weights: &Checkpoint| Bundle::of_network(&plan, weights, BundleOptions::default()).unwrap();
    let prefixed = bundle(&prefixed);
    assert!(prefixed == bundle(&own));
    // It is printed without what is in its files.
    assert!(format!("{prefixed:?}").len() < 20_000);
}
