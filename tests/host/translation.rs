//! naga parses and validates every kind of WGSL source that the planner makes, and writes it for every backend.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module};
use octconv::network::{Graph, Network, NetworkOptions, NetworkPlan, zoo};
use octconv::{
    Accuracy, Activation, DeviceFacts, Downsample, Dtype, InputSize, Options, Plan, Precision, Rounding, Spec,
    SpecBuilder, Split,
};
use octconv::{TimeAxis, wgpu};
use rayon::prelude::*;

/// What a source has that only Vulkan and Metal can run.
const MATRICES: &str = "enable wgpu_cooperative_matrix;";

/// A source that naga has parsed and validated.
struct Shader {
    source: String,
    module: Module,
    info: ModuleInfo,
}

/// All distinct sources of [`layers`], of [`networks`], of the roofline, and of textures.
fn shaders() -> &'static [Shader] {
    static SHADERS: OnceLock<Vec<Shader>> = OnceLock::new();
    SHADERS.get_or_init(|| {
        let layers = layers();
        let mut sources: BTreeSet<String> = layers.par_iter().enumerate().flat_map_iter(sources_of_layer).collect();
        networks(|plan| sources.extend(plan.sources().into_iter().map(|(_, source)| source)));
        #[cfg(feature = "context")]
        sources.extend(octconv::roofline::sources().into_iter().map(|(_, source)| source));
        sources.extend(octconv::shaders::textures());
        sources.into_par_iter().map(parse).collect()
    })
}

fn parse(source: String) -> Shader {
    let module = naga::front::wgsl::parse_str(&source);
    let module = module.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(&source)));
    // Halves as bits need no feature. As a type they do, and the source has to enable it.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if source.starts_with("enable f16;") {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if source.contains("u64") {
        capabilities |= Capabilities::SHADER_INT64;
    }
    if source.contains(MATRICES) {
        capabilities |= Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP;
    }
    let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
    let info = info.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(&source)));
    Shader { source, module, info }
}

/// A GPU and a software device, each with wgpu's default limits and no features, and with all that octconv can use.
fn devices() -> [DeviceFacts; 4] {
    let [gpu, cpu] = [(false, 16, [32; 2]), (true, 8, [8; 2])].map(|(software, side, subgroup_sizes)| {
        let small = DeviceFacts { software, ..DeviceFacts::default() };
        let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 16, ..wgpu::Limits::default() };
        let features =
            wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        // For words of 64 bits, which only software devices use.
        let features = if software { features | wgpu::Features::SHADER_INT64 } else { features };
        [
            small,
            DeviceFacts { features, limits, software, matrix: Some(side), subgroup_sizes, ..DeviceFacts::default() },
        ]
    });
    let ([small, full], [software, full_software]) = (gpu, cpu);
    [small, full, software, full_software]
}

/// Networks that together have every kernel.
fn networks(mut visit: impl FnMut(NetworkPlan)) {
    let built_in = [("se-resnet50", 0.5), ("densenet121", 0.25), ("mobilenet-v2", 0.375), ("i3d-resnet50-nl", 0.5)]
        .map(|(name, alpha)| zoo::build(name, &zoo::Settings { alpha, ..Default::default() }).unwrap());
    let described = include_str!("../../examples/segmentation.json");
    let bilinear: Network = serde_json::from_str(described).unwrap();
    let nearest: Network = serde_json::from_str(&described.replace("bilinear", "nearest")).unwrap();
    for network in built_in.into_iter().chain([bilinear, nearest]) {
        let graph = Graph::new(&network).unwrap();
        let is_clip = network.name.starts_with("i3d");
        let size = if is_clip { InputSize::video(1, 8, 64, 64) } else { InputSize::image(1, 72, 80) };
        for facts in devices() {
            for dtype in [Dtype::F32, Dtype::F16] {
                let options = NetworkOptions { precision: Precision::of(dtype), ..Default::default() };
                // Without the feature there is no f16.
                if let Ok(plan) = NetworkPlan::new(&graph, size, &options, &facts) {
                    visit(plan);
                }
            }
        }
    }
}

fn split(input: [u32; 2], output: [u32; 2]) -> SpecBuilder {
    let [input, output] = [input, output].map(|[high, low]| Split { high, low });
    Spec::builder(input.channels(), output.channels()).split(input, output)
}

/// Layers that differ in all that kernels are specialised for.
fn layers() -> Vec<Spec> {
    const CHANNELS: [[u32; 2]; 3] = [[24, 20], [24, 0], [0, 20]];
    let mut builders = Vec::new();
    let mut vary = |spec: SpecBuilder| {
        for stride in [1, 2] {
            for downsample in [Downsample::AveragePool, Downsample::StridedConv] {
                for rounding in [Rounding::Ceil, Rounding::Floor] {
                    builders.push(spec.clone().stride(stride).downsample(downsample).rounding(rounding));
                }
            }
        }
    };
    for input in CHANNELS {
        for output in CHANNELS {
            for kernel in [[1, 1], [3, 3]] {
                vary(split(input, output).kernel(kernel).same_padding());
            }
        }
    }
    // These have enough input channels for slices.
    for kernel in [[1, 1], [3, 3]] {
        vary(split([40, 33], [8, 8]).kernel(kernel).same_padding());
    }
    for kernel in [[1, 3], [3, 1], [5, 5], [7, 7], [1, 11], [9, 9], [3, 5]] {
        vary(split([8, 8], [8, 8]).kernel(kernel).same_padding());
    }
    vary(split([8, 8], [8, 8]).kernel([2, 2]));
    vary(split([8, 8], [8, 8]).kernel([3, 3]).dilation([2, 2]).same_padding());
    vary(split([8, 8], [8, 8]).kernel([3, 3]).dilation([2, 1]).same_padding());
    for (high_to_low, low_to_high) in [(true, false), (false, true), (false, false)] {
        for kernel in [[1, 1], [3, 3]] {
            let spec = split([8, 8], [8, 8]).kernel(kernel).same_padding();
            vary(spec.high_to_low(high_to_low).low_to_high(low_to_high));
        }
    }
    for (input, output) in [([1, 1], [1, 1]), ([2, 1], [1, 2]), ([3, 5], [2, 2]), ([5, 3], [70, 1]), ([5, 3], [2, 70])]
    {
        for kernel in [[1, 1], [3, 3]] {
            vary(split(input, output).kernel(kernel).same_padding());
        }
    }
    for (groups, per_group) in [(2, 1), (2, 2), (4, 3), (8, 8)] {
        let channels = [groups * per_group; 2];
        vary(split(channels, channels).kernel([3, 3]).same_padding().groups(groups));
    }
    for multiple in [1, 2, 4] {
        vary(split([6, 4], [6 * multiple, 4 * multiple]).kernel([3, 3]).same_padding().depthwise());
    }
    let time = TimeAxis { kernel: 3, stride: 2, padding: 1, dilation: 1 };
    vary(split([8, 8], [8, 8]).kernel([3, 3]).same_padding().time(time));

    // These differ only in the epilogue.
    for kernel in [[1, 1], [3, 3]] {
        let spec = split([8, 8], [8, 8]).kernel(kernel).same_padding();
        for activation in Activation::all() {
            builders.push(spec.clone().activation(activation));
        }
        for (high, low) in [(true, false), (false, true), (true, true)] {
            builders.push(spec.clone().residual(high, low).activation(Activation::Relu));
            builders.push(spec.clone().residual(high, low).stride(2).bias(true));
        }
    }
    builders.into_iter().map(|builder| builder.build().unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// All that a layer can be planned with.
fn all_options() -> Vec<Options> {
    let mut all = Vec::new();
    for activations in [Dtype::F32, Dtype::F16] {
        for weights in [Dtype::F32, Dtype::F16] {
            let precision = Precision { activations, weights, ..Precision::default() };
            all.push(Options { precision, accuracy: Accuracy::Fast, ..Options::default() });
        }
    }
    let half = Dtype::F16;
    let precision = Precision { activations: half, weights: half, sums: half };
    all.push(Options { precision, ..Options::default() });
    for (pooled_input, pooled_output) in [(true, false), (false, true), (true, true)] {
        all.push(Options { pooled_input, pooled_output, accuracy: Accuracy::Fast, ..Options::default() });
    }
    all
}

/// The sources of the `i`th layer: at several sizes, on every kind of device, in all types, and with all pooled maps.
fn sources_of_layer((i, spec): (usize, &Spec)) -> BTreeSet<String> {
    let mut sources = BTreeSet::new();
    // Tiles differ only in numbers of one source, so each layer takes the next tile.
    let wanted = |plan: &&Plan| {
        let tiles = plan.variant().family.tiles();
        plan.variant().tile == Some(tiles[i / 2 % tiles.len()])
    };
    let mut plan = |size, options: &Options, facts: &DeviceFacts| {
        let candidates = Plan::candidates(spec, size, options, facts);
        sources.extend(candidates.iter().filter(wanted).flat_map(Plan::sources));
    };
    let [small, full, software, full_software] = devices();
    for size in [InputSize::image(1, 56, 56), InputSize::video(2, 3, 6, 4)] {
        plan(size, &Options { accuracy: Accuracy::Fast, ..Options::default() }, [&small, &software][i % 2]);
    }
    // Two layers in a row differ in little, so each takes only a part of the options.
    for (options, j) in all_options().iter().zip(0usize..) {
        if (i / 2 + j) % 3 == 0 {
            // Rows of even length are read in pairs.
            let (w, facts) = [(11, &full), (12, &full_software), (12, &full)][(i / 6 + j) % 3];
            plan(InputSize::image(1, 9, w), options, facts);
        }
    }
    sources
}

/// The sources have each kernel, and each alternative that kernels are specialised for.
#[test]
fn the_table_has_every_kernel_and_constant() {
    let sources: Vec<&str> = shaders().iter().map(|shader| shader.source.as_str()).collect();
    assert!(sources.len() > 400, "only {} sources", sources.len());
    let mut wanted: Vec<String> = [
        // One line of each kernel.
        "fn owner_of(o: OutputShape, workgroup: u32, local: u32, slice: u32) -> Owner",
        "fn finish_cell(sums: vec4<f32>",
        "fn make_low(workgroup: u32, local: u32, slice: u32)",
        "fn put(gathered",
        "fn place_of(o: Output, thread: u32) -> Place",
        "m_store(first + (i * 4u + k) * distance + j",
        "fn mean_at(top: u32, bottom: u32, left: u32) -> f32",
        "y_store(thread, x_load((plane * shape.h_in + row)",
        "a_load(thread) + b_load(thread)",
        "fn store_row(row: u32, col: u32, values: array<f32, COLS>)",
        "x_load(plane.x + at) * plane.scale.x + plane.scale.y",
        "x_load(x_row + nearest(shape.cols",
        "sum += x_load(plane * shape.size + i)",
        "sum += hidden[k] * weights_load(e + k * shape.channels + c)",
        "fn partial_sums(column: u32, sample: u32, part: u32)",
        "exp_or_nan(x_load(row + i) - largest) / sum",
        "fn exp_or_nan(x: vec4<f32>) -> vec4<f32>",
        "fn partial_sum(is_high: bool, i: u32) -> f32",
        "textureLoad(texels, vec2(shape.left + col, shape.top + row), 0u)",
        "textureStore(texels, vec2(shape.left + col, shape.top + row), values)",
        // One line of each alternative.
        "fn hh_add_products(",
        "alias HhShortSums",
        "var short_sums",
        "fn lh_multiply_cells(cell_sums",
        "coop_mat8x8",
        "coop_mat16x16",
        "enable f16;",
        "unpack2x16float(weights[i >> 1u])",
        "unpack2x16float(weights[i])",
        "unpack2x16float(weights[i].x)",
        "const SLICED: bool = true",
        "const LOW_SHIFT: u32 = 0u",
        "const LOW_SHIFT: u32 = 1u",
        "const WRITES_Y_P: bool = true",
        "const WRITES_Y_P: bool = false",
        "const HIGH_POOLED: bool = true",
        "const HIGH_POOLED: bool = false",
        "const LOW_IS_FINE: bool = true",
        "const STRIDED: bool = true",
        "const GIVEN: bool = true",
        "const HIGH_GIVEN: bool = true",
        "const X_H_PAIRED: bool = true",
        "const X_L_PAIRED: bool = true",
        "const HIGH_PAIRED: bool = true",
        "const LOW_PAIRED: bool = true",
        "const Y_P_PAIRED: bool = true",
        "const BILINEAR: bool = true",
        "const BILINEAR: bool = false",
        "const WINDOWED: bool = true",
        "const WINDOWED: bool = false",
        "const ENCODES_SRGB: bool = true",
        "texture_storage_2d<rgba8unorm, write>",
        "texture_storage_2d<rgba16float, write>",
        "texture_storage_2d<r32float, write>",
        "texture_storage_2d<rgba32float, write>",
        "const REPLICATES: bool = true",
        "const REPLICATES: bool = false",
        "const PAIRS_STRADDLE: bool = true",
        "const PAIRS_STRADDLE: bool = false",
        "_WHOLE: bool = true",
        "_WHOLE: bool = false",
        // Every form of a tensor.
        "read> x0_elements: array<u64>",
        "read> x0_elements: array<u32>",
        "alias X0Pair = vec2<f32>",
        "alias X0Pair = vec2<f16>",
        "alias X0Element = f32",
        "alias X0Element = f16",
        "alias HighYPair = vec2<f16>",
        "read_write> high_y_elements: array<u64>",
        "read_write> high_pooled_elements",
        "read> high_residual_elements",
        "read> low_residual_elements",
    ]
    .map(String::from)
    .into();
    let mut constant = |name: &str, values: &[u32]| {
        wanted.extend(values.iter().map(|value| format!("const {name}: u32 = {value}u;")));
    };
    constant("ACTIVATION", &Vec::from_iter(0..Activation::all().len() as u32));
    constant("WORKGROUP", &[8, 16, 32, 64]);
    constant("LANES", &[1, 2, 4]);
    constant("HH_STRIDE", &[1, 2]);
    constant("HL_STRIDE", &[1, 2, 4]);
    constant("HH_LEVEL", &[0, 1]);
    constant("HL_LEVEL", &[0, 1, 2]);
    constant("LL_LEVEL", &[0, 1]);
    constant("HH_INNER_H", &[1, 3]);
    constant("HH_INNER_W", &[1, 3, 5, 7]);
    constant("HIGH_ROWS", &[2, 4]);
    constant("HIGH_VECTORS", &[1, 2]);
    constant("HIGH_LEVEL", &[0, 1]);
    constant("HIGH_STRIDE", &[1, 2]);
    constant("MATRIX_ROWS", &[2, 4]);
    constant("MATRIX_COLS", &[2, 4]);
    constant("DEPTH", &[1, 2]);
    constant("WORD", &[1, 2, 4]);
    wanted.retain(|text| !sources.iter().any(|source| source.contains(text)));
    assert_eq!(wanted, [""; 0], "no source has these");
}

/// wgpu does not check what a workgroup takes, nor what an embedder's device grants.
#[test]
fn fits_the_default_limits() {
    let limits = wgpu::Limits::default();
    for Shader { source, module, .. } in shaders() {
        let [entry] = module.entry_points.as_slice() else {
            panic!("{} entries in {source}", module.entry_points.len())
        };
        assert_eq!(entry.name, "main");
        let [x, y, z] = entry.workgroup_size;
        assert!(x * y * z <= limits.max_compute_invocations_per_workgroup, "{x}x{y}x{z} threads in {source}");
        assert!(x <= limits.max_compute_workgroup_size_x && y <= limits.max_compute_workgroup_size_y);
        let shared = module.global_variables.iter().filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx())).sum();
        assert!(bytes <= limits.max_compute_workgroup_storage_size, "{bytes} bytes of workgroup memory in {source}");
        let buffers = module.global_variables.iter().filter(|(_, v)| matches!(v.space, AddressSpace::Storage { .. }));
        assert!(buffers.count() <= 16, "{source}");
    }
}

#[test]
fn writes_spirv() {
    shaders().par_iter().for_each(|Shader { source, module, info }| {
        let words = spv::write_vec(module, info, &spv::Options::default(), None);
        let words = words.unwrap_or_else(|error| panic!("{error}\n{source}"));
        assert_eq!(words[0], 0x0723_0203);
    });
}

#[test]
fn writes_msl() {
    shaders().par_iter().for_each(|Shader { source, module, info }| {
        let lang_version = if source.contains(MATRICES) { (2, 3) } else { (2, 0) };
        let options = msl::Options { lang_version, ..msl::Options::default() };
        let written = msl::write_string(module, info, &options, &msl::PipelineOptions::default());
        let (text, translation) = written.unwrap_or_else(|error| panic!("{error}\n{source}"));
        let entry = translation.entry_point_names[0].as_ref().unwrap_or_else(|error| panic!("{error}\n{source}"));
        assert!(text.contains(&format!("kernel void {entry}(")), "{text}");
    });
}

#[test]
fn writes_hlsl() {
    let others = shaders().par_iter().filter(|shader| !shader.source.contains(MATRICES));
    others.for_each(|Shader { source, .. }| {
        // The shader model of Direct3D's own compiler. For halves, that of DXC.
        let f16 = source.starts_with("enable f16;");
        let shader_model = if f16 { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V5_1 };
        let options = hlsl::Options { shader_model, ..hlsl::Options::default() };
        let Shader { module, info, .. } = &parse(octconv::shaders::without_aliases(source));
        let mut text = String::new();
        let written =
            hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default()).write(module, info, None);
        let reflection = written.unwrap_or_else(|error| panic!("{error}\n{source}"));
        let entry = reflection.entry_point_names[0].as_ref().unwrap_or_else(|error| panic!("{error}\n{source}"));
        assert!(text.contains(&format!("void {entry}(")), "{text}");
        let is_definition = |line: &&str| line.ends_with("() {") && line.contains(" ZeroValue");
        let defined: Vec<&str> = text.lines().filter(is_definition).collect();
        let twice = defined.len() - defined.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(twice, 0, "functions are defined twice in {text}");
    });
}
