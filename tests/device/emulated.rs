//! Runs what GPUs run on a device that has none of it: the matrix kernel with matrices of 16x16 and 8x8 and subgroups of
//! any size, as `emulation.rs` rewrites it. Planning, packing, uniforms, bindings and grids are those of a GPU.
//!
//! A run is a row of the table of `cases.rs`, on one of the GPUs below, in one tile and strategy. All of these take turns.
//! With `OCTCONV_ALL_ROWS` set, every row that the kernel takes runs on every GPU, and there are many more random layers.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, OnceLock};

use crate::cases::{self, Row};
use crate::common::{family, open, runs_f16, split};
use crate::emulation::{Subgroups, emulated};
use octconv::verify::{Case, Values};
use octconv::{
    Context, ContextOptions, DeviceFacts, Dtype, Engine, InputSize, Options, Plan, Precision, Strategy, TensorBinding,
    Tensors, Variant, Weights, wgpu,
};

/// A buffer of a shader: its values, their type, and whether the shader writes it.
struct Buffer {
    values: Vec<f32>,
    dtype: Dtype,
    written: bool,
}

/// Runs a shader with these buffers at bindings 0 and on, and returns what the written ones then hold.
fn run(context: &Context, source: &str, buffers: &[Buffer], workgroups: u32) -> Vec<Vec<f32>> {
    let device = context.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let bound: Vec<_> = buffers.iter().map(|buffer| uploaded(context, buffer)).collect();
    let entries = (0..)
        .zip(&bound)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    let entries: Vec<_> = entries.collect();
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let recorded = context.run_pass(|pass| {
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &bind_group, &[]);
        pass.dispatch_workgroups(workgroups, 1, 1);
    });
    recorded.unwrap();
    let read = |(buffer, bound): (&Buffer, &wgpu::Buffer)| {
        buffer.written.then(|| context.read(bound, 0, buffer.values.len() as u64, buffer.dtype).unwrap())
    };
    buffers.iter().zip(&bound).filter_map(read).collect()
}

/// The buffer, for any use.
fn uploaded(context: &Context, buffer: &Buffer) -> wgpu::Buffer {
    let bytes: Vec<u8> = match buffer.dtype {
        Dtype::F32 => buffer.values.iter().flat_map(|value| value.to_ne_bytes()).collect(),
        Dtype::F16 => buffer.values.iter().flat_map(|&value| half::f16::from_f32(value).to_ne_bytes()).collect(),
    };
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::STORAGE;
    let usage = usage | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let size = bytes.len() as u64;
    let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
    let bound = context.device().create_buffer(&descriptor);
    context.queue().write_buffer(&bound, 0, &bytes);
    bound
}

const SIZES: [u32; 5] = [8, 16, 32, 64, 128];

fn all_subgroups() -> impl Iterator<Item = Subgroups> {
    SIZES.into_iter().flat_map(|size| [false, true].map(|interleaved| Subgroups { size, interleaved }))
}

/// Small whole numbers, so that sums are exact in any order.
fn whole_numbers(seed: u32, count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| ((i * 7 + seed * 5 + i * i % 11) % 9) as f32 - 4.0).collect()
}

/// A product and a sum of matrices in each layout. Each subgroup has operands of its own, whose rows and columns lie
/// some way apart, and B and the stored sums go through workgroup memory.
fn product(side: u32, sums: &str, layouts: [bool; 4]) -> String {
    let [a, b, c, y] = layouts.map(|by_rows| if by_rows { "T" } else { "" });
    format!(
        "enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity);
const SIDE: u32 = {side}u;
const APART: u32 = SIDE + 8u;
const EACH: u32 = SIDE * APART;
alias Left = coop_mat{side}x{side}<f16, A>;
alias Sum = coop_mat{side}x{side}<{sums}, C>;
var<workgroup> factors: array<f16, 2u * EACH + 8u>;
var<workgroup> products: array<{sums}, 2u * EACH + 16u>;
@group(0) @binding(0) var<storage, read> a: array<f16>;
@group(0) @binding(1) var<storage, read> b: array<f16>;
@group(0) @binding(2) var<storage, read> c: array<{sums}>;
@group(0) @binding(3) var<storage, read_write> y: array<{sums}>;
fn accumulate(left: array<Left, 1>, begin: u32, sums: ptr<function, array<Sum, 2>>, which: u32) {{
    let right = coopLoad{b}<coop_mat{side}x{side}<f16, B>>(&factors[begin + 8u], APART);
    (*sums)[which] = coopMultiplyAdd(left[0], right, (*sums)[which]);
}}
@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_id) subgroup: u32,
) {{
    for (var i = local; i < 2u * EACH; i += 256u) {{
        factors[i + 8u] = b[i];
    }}
    workgroupBarrier();
    if subgroup < 2u {{
        var sums: array<Sum, 2>;
        sums[1] = coopLoad{c}<Sum>(&c[subgroup * EACH], APART);
        for (var i = 0u; i < 2u; i++) {{
            var left: array<Left, 1>;
            left[0] = coopLoad{a}<Left>(&a[i * EACH], APART);
            accumulate(left, (i + subgroup) % 2u * EACH, &sums, 1u);
        }}
        coopStore{y}(sums[1], &products[16u + subgroup * EACH], APART);
    }}
    workgroupBarrier();
    for (var i = local; i < 2u * EACH; i += 256u) {{
        y[i] = products[16u + i];
    }}
}}
"
    )
}

/// What [`product`] computes, of an element of the matrix of a subgroup.
fn expected(side: usize, [a, b, c]: [&[f32]; 3], layouts: [bool; 4], subgroup: usize, row: usize, col: usize) -> f32 {
    let at = |values: &[f32], each: usize, by_rows: bool, row: usize, col: usize| {
        let (line, place) = if by_rows { (row, col) } else { (col, row) };
        values[each * side * (side + 8) + line * (side + 8) + place]
    };
    let term = |i: usize, k: usize| at(a, i, layouts[0], row, k) * at(b, (i + subgroup) % 2, layouts[1], k, col);
    let terms = (0..2).flat_map(|i| (0..side).map(move |k| term(i, k)));
    at(c, subgroup, layouts[2], row, col) + terms.sum::<f32>()
}

/// Matrices of every side and type, loaded and stored in every layout, in subgroups of every size. On a device that has
/// matrices of this side itself, it gives the same.
#[test]
fn emulated_matrices_are_multiplied() {
    let context = open(&ContextOptions { checked: Some(true), ..ContextOptions::default() });
    if !runs_f16(&context) {
        return;
    }
    for side in [8, 16] {
        for (i, size) in SIZES.into_iter().cycle().enumerate().take(8) {
            // The layouts take turns: over both sides there are all sixteen.
            let (i, subgroups) = (i + side as usize - 8, Subgroups { size, interleaved: i % 2 == 1 });
            let layouts = [0, 1, 2, 3].map(|bit| i >> bit & 1 == 1);
            let sums = if i % 3 == 2 { Dtype::F16 } else { Dtype::F32 };
            let source = product(side, &sums.to_string(), layouts);
            let side = side as usize;
            let each = side * (side + 8);
            let buffer = |seed, dtype, written| Buffer { values: whole_numbers(seed, 2 * each), dtype, written };
            let buffers = [
                buffer(1, Dtype::F16, false),
                buffer(2, Dtype::F16, false),
                buffer(3, sums, false),
                buffer(4, sums, true),
            ];
            let check = |found: &[f32], how: &str| {
                let values = [0, 1, 2].map(|i| buffers[i].values.as_slice());
                for subgroup in 0..2 {
                    for row in 0..side {
                        for col in 0..side {
                            let (line, place) = if layouts[3] { (row, col) } else { (col, row) };
                            let found = found[subgroup * each + line * (side + 8) + place];
                            let wanted = expected(side, values, layouts, subgroup, row, col);
                            assert_eq!(found, wanted, "{how}: {layouts:?} {subgroup} {row} {col} in\n{source}");
                        }
                    }
                }
            };
            check(&run(&context, &emulated(&source, subgroups), &buffers, 1)[0], &format!("{subgroups:?}"));
            if context.engine().facts().matrix == Some(side as u32) {
                check(&run(&context, &source, &buffers, 1)[0], "the device itself");
            } else {
                crate::report::missing("matrix units of a side");
            }
        }
    }
}

/// What a thread is told of its subgroup, and what subgroups then can do together.
#[test]
fn emulated_subgroups_have_every_thread_once() {
    let context = open(&ContextOptions::default());
    let source = "
@group(0) @binding(0) var<storage, read_write> told: array<f32>;
@compute @workgroup_size(128)
fn main(
    @builtin(subgroup_size) size: u32,
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(subgroup_invocation_id) thread: u32,
    @builtin(local_invocation_index) local: u32,
    @builtin(num_subgroups) count: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let own = array(size, count, subgroup, thread);
    for (var i = 0u; i < 4u; i++) {
        told[(id.x * 128u + local) * 4u + i] = f32(own[i]);
    }
}
";
    for subgroups in all_subgroups() {
        let told = Buffer { values: vec![f32::NAN; 2 * 128 * 4], dtype: Dtype::F32, written: true };
        let told = run(&context, &emulated(source, subgroups), &[told], 2).remove(0);
        let Subgroups { size, interleaved } = subgroups;
        for (local, own) in told.chunks(4).enumerate() {
            let (local, count) = (local as u32 % 128, 128 / size);
            let [subgroup, thread] =
                if interleaved { [local % count, local / count] } else { [local / size, local % size] };
            assert_eq!(own, [size, count, subgroup, thread].map(|number| number as f32), "{subgroups:?} {local}");
        }
    }
}

/// What lies outside of an array or is not aligned shows: all that such a store and those after it store is NaN.
#[test]
fn emulated_matrices_outside_of_arrays_are_nans() {
    let context = open(&ContextOptions::default());
    if !runs_f16(&context) {
        return;
    }
    let source = |load: &str, store: &str, last: &str| {
        format!(
            "enable f16;
enable wgpu_cooperative_matrix;
diagnostic(off, derivative_uniformity);
var<workgroup> kept: array<f32, 64>;
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) local: u32, @builtin(subgroup_id) subgroup: u32) {{
    kept[2u * local] = 1.0;
    kept[2u * local + 1u] = 1.0;
    workgroupBarrier();
    let matrix = coopLoadT<coop_mat8x8<f32, C>>(&kept[{load}], 8u);
    workgroupBarrier();
    coopStoreT(matrix, &kept[{store}], 8u);
    workgroupBarrier();
    coopStoreT(matrix, &y[{last}], 8u);
}}
"
        )
    };
    let cases = [
        ("0u", "0u", "0u", 0),
        ("8u", "0u", "0u", 64),
        ("1u", "0u", "0u", 64),
        ("0u", "8u", "0u", 64),
        ("0u", "2u", "0u", 64),
        // The last store itself: what lies inside shows it.
        ("0u", "0u", "8u", 56),
    ];
    for (load, store, last, wanted) in cases {
        let y = Buffer { values: vec![2.0; 64], dtype: Dtype::F32, written: true };
        let subgroups = Subgroups { size: 32, interleaved: false };
        let y = run(&context, &emulated(&source(load, store, last), subgroups), &[y], 1).remove(0);
        let stored = &y[64 - if wanted > 0 { wanted } else { 64 }..];
        let right = |value: &f32| if wanted > 0 { value.is_nan() } else { *value == 1.0 };
        assert!(stored.iter().all(right), "{load} {store} {last}: {y:?}");
    }
}

/// What the emulation does not know, it refuses.
#[test]
fn unknown_constructs_are_refused() {
    let matrices = "enable wgpu_cooperative_matrix;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
var<workgroup> halves: array<f16, 99>;
var<workgroup> numbers: array<f32, 99>;
var<workgroup> vectors: array<vec4<f32>, 99>;
fn f(x: Left, y: Right, z: Sum, p: ptr<workgroup, array<f32, 99>>) { TEXT }
";
    let main = "@compute @workgroup_size(64)\nfn main(@builtin(subgroup_id) subgroup: u32) {}\n";
    let with = |text: &str| matrices.replace("TEXT", text) + main;
    let runs = |source: &str| {
        std::panic::catch_unwind(|| emulated(source, Subgroups { size: 32, interleaved: false })).is_ok()
    };
    for known in [
        "let a = coopLoad<Sum>(&numbers[1u], 8u);",
        "let a = coopLoadT<Right>(&halves[1u], 8u);",
        "coopStore(z, &numbers[1u], 8u);",
        "let a = coopMultiplyAdd(x, y, z);",
        "let a = subgroup + 1u;",
    ] {
        assert!(runs(&with(known)), "{known}");
    }
    for unknown in [
        "let a = coopLoad<Left>(&numbers[1u], 8u);",
        "let a = coopLoad<Left>(&vectors[1u], 8u);",
        "let a = coopLoad<Sum>(&(*p)[1u], 8u);",
        "let a = coopLoad<Sum>(&numbers[1u]);",
        "let a = coopLoad<Sum>(p, 8u);",
        "let a = coopLoad<coop_mat8x16<f32, C>>(&numbers[1u], 8u);",
        "let a = coopLoad<coop_mat32x32<f32, C>>(&numbers[1u], 8u);",
        "let a = coopLoad<coop_mat8x8<i32, C>>(&numbers[1u], 8u);",
        "var a: coop_mat8x8<f16, C>; let b = coopMultiplyAdd(x, y, z);",
        "let a = coopMultiply(x, y);",
        "let a = subgroupAdd(1u);",
        "subgroupBarrier();",
        "let a = quadSwapX(1u);",
        "let a = x; // a comment",
    ] {
        assert!(!runs(&with(unknown)), "{unknown}");
    }
    let without = |text: &str, other: &str| (with("") + text).replace(text, other);
    assert!(!runs(&without("@workgroup_size(64)", "@workgroup_size(8, 8)")));
    assert!(!runs(&without("enable wgpu_cooperative_matrix", "enable subgroups, wgpu_cooperative_matrix")));
    assert!(!runs(&without("@builtin(subgroup_id)", "@builtin(subgroup_max_size)")));
    let plain = "@compute @workgroup_size(64)\nfn main() {}\n";
    assert_eq!(emulated(plain, Subgroups { size: 32, interleaved: false }), plain);
}

/// The roofline's products of matrices.
#[test]
fn the_probe_multiplies_in_every_subgroup() {
    let context = open(&ContextOptions::default());
    if !runs_f16(&context) {
        return;
    }
    let sources: HashMap<_, _> = octconv::roofline::sources().into_iter().collect();
    for (side, sums) in [(8, Dtype::F32), (16, Dtype::F32), (8, Dtype::F16), (16, Dtype::F16)] {
        let source = &sources[&format!("probe of {side}x{side} matrices, 4 chains into {sums}")];
        for size in [16, 32, 64] {
            let subgroups = Subgroups { size, interleaved: side == 16 };
            let (side, count) = (side as usize, 64 / size as usize);
            let each = side * side;
            // Of two workgroups.
            let products = 2 * count * 4;
            let buffer = |values, dtype, written| Buffer { values, dtype, written };
            let buffers = [
                buffer(vec![f32::from_bits(2), 0.0, 0.0, 0.0], Dtype::F32, false),
                buffer(signs(1, 16 * each), Dtype::F16, false),
                buffer(signs(2, 4 * each), Dtype::F16, false),
                buffer(vec![f32::NAN; products * each], sums, true),
                buffer(vec![0.0], Dtype::F32, true),
            ];
            let found = run(&context, &emulated(source, subgroups), &buffers, 2);
            assert_eq!(found[1][0].to_bits(), count as u32);
            let (lefts, rights) = (&buffers[1].values, &buffers[2].values);
            for (i, &found) in found[0].iter().enumerate() {
                let (right, row, col) = (i / each % 4, i / side % side, i % side);
                let term = |i: usize| {
                    lefts[i / side * each + row * side + i % side] * rights[right * each + i % side * side + col]
                };
                let wanted: f32 = (0..8 * side).map(term).sum();
                assert_eq!(found, wanted, "{side} {sums} {size} {i}");
            }
        }
    }
}

/// -1, 0 and 1.
fn signs(seed: u32, count: usize) -> Vec<f32> {
    whole_numbers(seed, count).into_iter().map(|number| number.clamp(-1.0, 1.0)).collect()
}

/// A GPU, as far as the matrix kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Gpu {
    /// Rows and columns of its matrices.
    side: u32,
    /// The fewest and the most threads of a subgroup, as it says.
    sizes: [u32; 2],
    /// Those that it has.
    size: u32,
    interleaved: bool,
    /// More threads and more workgroup memory than wgpu's default limits.
    large: bool,
    /// With wgpu's checks in the kernels.
    checked: bool,
}

const fn plain(side: u32, size: u32) -> Gpu {
    Gpu { side, sizes: [size; 2], size, interleaved: false, large: false, checked: false }
}

/// The GPUs that run every tile.
const PLAIN: [Gpu; 6] = [plain(16, 16), plain(16, 32), plain(16, 64), plain(8, 16), plain(8, 32), plain(8, 64)];

/// The others: with smaller subgroups than the kernel has to plan for, with the largest, with the limits of a desktop
/// GPU, and with subgroups whose threads are not adjacent.
const OTHERS: [Gpu; 6] = [
    Gpu { sizes: [32, 64], large: true, ..plain(16, 32) },
    Gpu { sizes: [8, 32], interleaved: true, checked: true, ..plain(16, 16) },
    Gpu { large: true, interleaved: true, ..plain(16, 128) },
    Gpu { sizes: [4, 64], checked: true, ..plain(8, 32) },
    Gpu { sizes: [8, 32], interleaved: true, large: true, ..plain(8, 8) },
    Gpu { large: true, checked: true, ..plain(8, 128) },
];

fn gpus() -> impl Iterator<Item = Gpu> + Clone {
    PLAIN.into_iter().chain(OTHERS)
}

impl Gpu {
    fn facts(self) -> DeviceFacts {
        let default = wgpu::Limits::default();
        let limits = match self.large {
            false => default,
            true => wgpu::Limits {
                max_compute_invocations_per_workgroup: 1024,
                max_compute_workgroup_size_x: 1024,
                max_compute_workgroup_storage_size: 32 << 10,
                max_storage_buffers_per_shader_stage: 16,
                ..default
            },
        };
        let features =
            wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let (matrix, subgroup_sizes) = (Some(self.side), self.sizes);
        DeviceFacts { limits, features, matrix, subgroup_sizes, ..DeviceFacts::default() }
    }

    /// A device in the place of this GPU. None, which is counted, if it cannot be.
    fn context(self) -> Option<&'static Context> {
        static CONTEXTS: Mutex<Vec<(Gpu, &'static Context)>> = Mutex::new(Vec::new());
        let mut contexts = CONTEXTS.lock().unwrap();
        if let Some((_, context)) = contexts.iter().find(|(gpu, _)| *gpu == self) {
            return Some(context);
        }
        let context = open(&ContextOptions::default());
        if !runs_f16(&context) {
            return None;
        }
        if !self.facts().limits.check_limits(&context.device().limits()) {
            crate::report::missing("limits of a GPU");
            return None;
        }
        let subgroups = Subgroups { size: self.size, interleaved: self.interleaved };
        let context = emulating(context, self.facts(), self.checked, subgroups);
        contexts.push((self, Box::leak(Box::new(context))));
        contexts.last().map(|&(_, context)| context)
    }
}

/// A context for the same device that plans for other facts, and runs kernels emulated.
fn emulating(context: Context, facts: DeviceFacts, checked: bool, subgroups: Subgroups) -> Context {
    // SAFETY: the emulation checks every index that it adds, and its loops have constant lengths. It leaves the rest of a
    // source as it is. The limits are within the device's: `Gpu::context`.
    let engine = unsafe { Engine::emulating(context.device(), facts, checked, translation(subgroups)) };
    context.with_engine(engine)
}

/// The emulation, as the engine takes it.
fn translation(subgroups: Subgroups) -> fn(String) -> String {
    fn of<const SIZE: u32, const INTERLEAVED: bool>(source: String) -> String {
        emulated(&source, Subgroups { size: SIZE, interleaved: INTERLEAVED })
    }
    match (subgroups.size, subgroups.interleaved) {
        (8, false) => of::<8, false>,
        (8, true) => of::<8, true>,
        (16, false) => of::<16, false>,
        (16, true) => of::<16, true>,
        (32, false) => of::<32, false>,
        (32, true) => of::<32, true>,
        (64, false) => of::<64, false>,
        (64, true) => of::<64, true>,
        (128, false) => of::<128, false>,
        (128, true) => of::<128, true>,
        _ => panic!("add {subgroups:?}"),
    }
}

/// A row of the table on a GPU.
struct Run {
    theme: &'static str,
    gpu: Gpu,
    case: Case,
}

/// What runs: each plain GPU in every tile, and the others in some, each time with another theme of the table. It depends
/// on the table and the planner alone.
fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    RUNS.get_or_init(|| {
        let themes = cases::themes();
        let tiles = family("matrix").tiles().len();
        let mut turns = Turns::default();
        if all_rows() {
            let rows = themes.iter().flat_map(|theme| theme.rows.iter().map(|row| (theme.name, row)));
            let on_gpus = rows.flat_map(|row| (0..).zip(gpus()).map(move |(tile, gpu)| (row, tile, gpu)));
            return on_gpus.filter_map(|(row, tile, gpu)| turns.take([row], gpu, turns.taken + tile)).collect();
        }
        let plain = PLAIN.into_iter().flat_map(|gpu| (0..ROWS_PER_TILE * tiles).map(move |tile| (gpu, tile)));
        let others = (0..).zip(OTHERS).flat_map(|(i, gpu)| (0..ROWS_PER_GPU).map(move |tile| (gpu, i + tile)));
        let run = |(gpu, tile)| {
            let turn = turns.taken;
            let starting = themes.iter().cycle().skip(turn).take(themes.len());
            let rows = starting.flat_map(|theme| {
                let first = 5 * turn % theme.rows.len();
                let rows = theme.rows.iter().cycle().skip(first).take(theme.rows.len());
                rows.map(|row| (theme.name, row))
            });
            turns.take(rows, gpu, tile).unwrap_or_else(|| panic!("no row for tile {tile} on {gpu:?}"))
        };
        plain.chain(others).map(run).collect()
    })
}

/// Rows that each plain GPU runs in each tile, and that each of the others runs in all.
const ROWS_PER_TILE: usize = 1;
const ROWS_PER_GPU: usize = 2;

fn all_rows() -> bool {
    std::env::var_os("OCTCONV_ALL_ROWS").is_some()
}

/// What has had its turn.
#[derive(Default)]
struct Turns {
    taken: usize,
    strategies: HashMap<Strategy, u32>,
}

impl Turns {
    /// The first of the rows that the GPU can run, in the first tile from `first_tile` on in which it can, and in the
    /// strategy that had the fewest turns.
    fn take<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (&'static str, &'a Row)>,
        gpu: Gpu,
        first_tile: usize,
    ) -> Option<Run> {
        let rows: Vec<_> = rows.into_iter().collect();
        let facts = gpu.facts();
        for tile in rotated(family("matrix").tiles().to_vec(), first_tile) {
            for &(theme, row) in &rows {
                let of = |strategy| {
                    let variant = Some(Variant { strategy, family: family("matrix"), tile: Some(tile) });
                    let options = Options { variant, precision: Precision::of(Dtype::F16), ..row.options };
                    Plan::new(&row.spec, row.size, &options, &facts).ok().map(|plan| (strategy, *plan.options()))
                };
                // Unfused kernels do the least that is of interest.
                let had = |strategy: &Strategy| {
                    let weight = if *strategy == Strategy::Unfused { 8 } else { 1 };
                    weight * self.strategies.get(strategy).copied().unwrap_or(0)
                };
                let legal = Strategy::all().filter_map(of);
                let Some((strategy, options)) = legal.min_by_key(|(strategy, _)| had(strategy)) else { continue };
                let kinds: Vec<_> = Values::all().collect();
                let values =
                    if self.taken.is_multiple_of(2) { Values::Even } else { kinds[self.taken / 2 % kinds.len()] };
                let (spec, size, batch_norm) = (row.spec.clone(), row.size, row.batch_norm);
                let case = Case { spec, size, options, batch_norm, one_buffer: false, values, seed: self.taken as u64 };
                *self.strategies.entry(strategy).or_default() += 1;
                self.taken += 1;
                return Some(Run { theme, gpu, case });
            }
        }
        None
    }
}

/// The list from this place on, then what comes before.
fn rotated<T>(mut list: Vec<T>, first: usize) -> Vec<T> {
    let first = first % list.len();
    list.rotate_left(first);
    list
}

/// Runs a layer on a GPU against the reference.
fn check(gpu: Gpu, context: &Context, case: &Case) {
    let outcome = case.run(context).unwrap_or_else(|error| panic!("{error}: {case:?} on {gpu:?}"));
    assert!(outcome.failure.is_none(), "{outcome:?}: {case:?} on {gpu:?}");
    assert!(outcome.kernels.iter().any(|kernel| kernel.starts_with("matrix")), "{outcome:?}");
    let plan = context.engine().plan(&case.spec, case.size, &case.options).unwrap();
    crate::report::ran(context, &plan);
    let Gpu { side, size, .. } = gpu;
    println!("{side}x{side} subgroups of {size} {} {:?} error {:.4}", outcome.variant, case.values, outcome.worst);
    if context.engine().pipelines() > 100 {
        context.engine().forget_pipelines();
    }
}

fn run_on(gpus: &[Gpu]) {
    for &gpu in gpus {
        let Some(context) = gpu.context() else { continue };
        let runs = runs().iter().filter(|run| run.gpu == gpu);
        runs.for_each(|run| check(gpu, context, &run.case));
    }
}

#[test]
fn matrices_of_16_in_subgroups_of_16() {
    run_on(&PLAIN[..1]);
}

#[test]
fn matrices_of_16_in_subgroups_of_32() {
    run_on(&PLAIN[1..2]);
}

#[test]
fn matrices_of_16_in_subgroups_of_64() {
    run_on(&PLAIN[2..3]);
}

#[test]
fn matrices_of_8_in_larger_subgroups() {
    run_on(&PLAIN[3..]);
}

#[test]
fn other_gpus() {
    run_on(&OTHERS);
}

/// The runs meet every plain GPU in every tile, every strategy, every theme that has rows for the kernel, and all kinds of
/// values.
#[test]
fn runs_meet_everything() {
    let met: HashSet<_> = runs().iter().map(|run| (run.gpu, run.case.options.variant.unwrap().tile)).collect();
    for gpu in PLAIN {
        for &tile in family("matrix").tiles() {
            assert!(met.contains(&(gpu, Some(tile))), "{tile} on {gpu:?}");
        }
    }
    let strategies: HashSet<_> = runs().iter().map(|run| run.case.options.variant.unwrap().strategy).collect();
    use Strategy::{Fused, LowFirst, PoolFirst, Split, SplitK, Unfused};
    assert_eq!(strategies, HashSet::from([Fused, LowFirst, PoolFirst, Split, SplitK, Unfused]));
    let kinds: HashSet<_> = runs().iter().map(|run| format!("{:?}", run.case.values)).collect();
    assert_eq!(kinds.len(), Values::all().len());
    let themes: HashSet<_> = runs().iter().map(|run| run.theme).collect();
    let without: Vec<_> =
        cases::themes().iter().map(|theme| theme.name).filter(|name| !themes.contains(name)).collect();
    assert_eq!(without, ["groups", "depthwise"]);
    println!("{} runs", runs().len());
}

/// Random layers, each on another GPU, and others that run the same kernels.
#[test]
fn random_layers() {
    let (seeds, alike) = if all_rows() { (0..600, 4) } else { (0..60, 2) };
    let (mut layers, mut absent) = (0, 0);
    for (seed, gpu) in seeds.zip(gpus().cycle()) {
        let Some(context) = gpu.context() else {
            absent += 1;
            continue;
        };
        let mut case = Case::random(context, seed);
        case.options.precision = Precision::of(Dtype::F16);
        let plans = Plan::candidates(&case.spec, case.size, &case.options, context.engine().facts());
        let variants: Vec<_> = plans.iter().map(Plan::variant).filter(|v| v.family == family("matrix")).collect();
        // Not every layer has one group.
        let Some(&variant) = variants.get(seed as usize * 7 % variants.len().max(1)) else { continue };
        case.options.variant = Some(variant);
        layers += 1;
        check(gpu, context, &case);
        case.alike(context, alike).iter().for_each(|case| check(gpu, context, case));
    }
    assert!(layers + absent >= 10, "{layers} layers of one group, {absent} without a device");
}

/// On a device with matrix units, the emulation gives what they give, bit by bit: of whole numbers, whose sums are exact
/// in any order.
#[test]
fn emulation_gives_the_bits_of_matrix_units() {
    let own = open(&ContextOptions { software: Some(false), ..ContextOptions::default() });
    let facts = own.engine().facts().clone();
    let [size, most] = facts.subgroup_sizes;
    if facts.matrix.is_none() || size != most {
        crate::report::missing("matrix units");
        return;
    }
    let again = open(&ContextOptions::default());
    let emulated = emulating(again, facts.clone(), false, Subgroups { size, interleaved: false });
    let octave = || split((20, 17), (22, 19)).bias(true);
    let mut compared = 0;
    for (i, (spec, size)) in [
        (octave().kernel([3, 3]).same_padding(), InputSize::image(2, 9, 12)),
        (octave().kernel([3, 3]).same_padding(), InputSize::image(1, 14, 7)),
        (octave(), InputSize::image(1, 10, 12)),
        (octave().kernel([3, 2]).padding([1, 1]).stride(2), InputSize::image(1, 13, 18)),
        (split((20, 0), (0, 22)).kernel([5, 5]).same_padding(), InputSize::image(1, 12, 12)),
        (split((0, 20), (22, 0)).kernel([3, 3]).same_padding(), InputSize::image(1, 12, 12)),
    ]
    .into_iter()
    .enumerate()
    {
        let spec = spec.build().unwrap();
        let options = Options { precision: Precision::of(Dtype::F16), ..Options::default() };
        let plans = Plan::candidates(&spec, size, &options, &facts);
        // In the tile that compiles fastest.
        let small = |variant: &Variant| variant.family == family("matrix") && variant.tile == Some("g2m4m-s2m2m");
        for variant in plans.iter().map(Plan::variant).filter(small).skip(i % 2).step_by(2) {
            let options = Options { variant: Some(variant), ..options };
            let [wanted, found] = [&own, &emulated].map(|context| {
                let plan = context.engine().plan(&spec, size, &options).unwrap();
                outputs(context, &plan)
            });
            assert!(wanted == found, "{variant} of {spec:?}: {wanted:?}, {found:?}");
            compared += 1;
        }
    }
    assert!(compared >= 6, "{compared} plans");
}

/// What a plan makes of small whole numbers.
fn outputs(context: &Context, plan: &Plan) -> Vec<Vec<f32>> {
    let spec = plan.spec();
    let weights = octconv::Path::ALL.map(|path| {
        let count = spec.weight_shape(path).iter().product::<u32>() as usize;
        spec.has(path).then(|| signs(path as u32, count))
    });
    let [w_hh, w_hl, w_lh, w_ll] = weights.each_ref().map(Option::as_deref);
    let [bias_h, bias_l] = [spec.output().high, spec.output().low]
        .map(|channels| (spec.has_bias() && channels > 0).then(|| signs(7, channels as usize)));
    let weights =
        Weights { w_hh, w_hl, w_lh, w_ll, bias_h: bias_h.as_deref(), bias_l: bias_l.as_deref(), ..Weights::default() };
    let tensors = plan.tensors();
    let bound: HashMap<_, _> = (10..)
        .zip(&tensors)
        .map(|(seed, tensor)| {
            let elements = tensor.dims.elements() as usize;
            let values =
                if tensor.written { vec![f32::NAN; elements.next_multiple_of(2)] } else { signs(seed, elements) };
            (tensor.name, context.upload(&values, Dtype::F16).unwrap())
        })
        .collect();
    let buffer = |name: &str| bound.get(name).map(TensorBinding::from);
    let given = Tensors {
        x_h: buffer("x_h"),
        x_l: buffer("x_l"),
        y_h: buffer("y_h"),
        y_l: buffer("y_l"),
        ..Tensors::default()
    };
    let engine = context.engine();
    let layer = engine.bind(plan, &engine.pack(plan, &weights).unwrap(), &given).unwrap();
    context.run(&[&layer]).unwrap();
    let read = |tensor: &octconv::PlanTensor| {
        let values = context.read(&bound[tensor.name], 0, tensor.dims.elements(), Dtype::F16).unwrap();
        assert!(values.iter().all(|value| value.is_finite()), "{}: {values:?}", tensor.name);
        values
    };
    tensors.iter().filter(|tensor| tensor.written).map(read).collect()
}
