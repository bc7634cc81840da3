//! Assembles small files of these tests, and every file under `shaders/`.

use std::collections::BTreeSet;
use std::path::Path;

use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::assemble::{assemble, assemble_alone, assemble_from};
use super::error::AssembleError;
use super::files::FILES;
use super::module::Library;
use super::recipe::Recipe;
use super::tensors::Form;
use crate::device::Words;
use crate::kernels::access::{Access, TexelFormat};
use crate::precision::Dtype;

fn made(files: &[(&'static str, &'static str)], recipe: &Recipe) -> Result<String, AssembleError> {
    assemble_from(&Library::new(files), recipe)
}

/// Validates a source, with all features that a kernel may use.
fn validate(name: &str, source: &str) {
    let module = naga::front::wgsl::parse_str(source);
    let module = module.unwrap_or_else(|error| panic!("{name}: {}\n{source}", error.emit_to_string(source)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module);
    info.unwrap_or_else(|error| panic!("{name}: {}\n{source}", error.emit_to_string(source)));
}

#[test]
fn the_table_has_every_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut found = BTreeSet::new();
    let mut open = vec![folder.clone()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(&folder).unwrap().with_extension("");
                found.insert(name.to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    let listed: Vec<_> = FILES.iter().map(|(name, _)| *name).collect();
    assert!(listed.is_sorted(), "FILES are in the order of their names");
    assert_eq!(listed.into_iter().map(String::from).collect::<BTreeSet<_>>(), found);
}

#[test]
fn every_file_validates_by_itself() {
    for &(name, _) in FILES {
        let source = assemble_alone(name).unwrap_or_else(|error| panic!("{error}"));
        validate(name, &source);
    }
}

/// WGSL sets a variable without a value to zero each time that its declaration is reached. SwiftShader in Chromium 148 does
/// that only the first time, if the variable is declared in a loop.
#[test]
fn variables_in_loops_have_a_value() {
    // Browsers cannot run these, and matrices have no zero value.
    for &(name, source) in FILES.iter().filter(|(name, _)| !name.starts_with("matrix/")) {
        // For each open block, whether it is in a loop.
        let mut blocks = vec![false];
        for line in source.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            let in_loop = blocks.last() == Some(&true);
            let bare = line.starts_with("var ") && !line.contains('=');
            assert!(!(in_loop && bare), "shaders/{name}.wgsl: {line}");
            let begins = ["for ", "while ", "loop "].iter().any(|word| line.starts_with(word));
            for c in line.chars() {
                match c {
                    '{' => blocks.push(in_loop || begins),
                    '}' => drop(blocks.pop()),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn renames_what_an_instance_declares() {
    let files = [
        (
            "root",
            "#import part as hh\n// hh_f\nfn f() -> u32 { var hh_g: HhWindow; hh_g.f = HH_N; return hh_f(hh_g).f; }",
        ),
        (
            "part",
            "const N: u32 = 1u; // N
            struct Window { f: u32 }
            fn f(g: Window) -> Window { /* f */ var a: array<Window, N>; a[0].f = g.f; return a[0]; }",
        ),
    ];
    let source = made(&files, &Recipe::new("root")).unwrap();
    assert_eq!(
        source,
        "const HH_N: u32 = 1u;
struct HhWindow { f: u32 }
fn hh_f(g: HhWindow) -> HhWindow { var a: array<HhWindow, HH_N>; a[0].f = g.f; return a[0]; }
fn f() -> u32 { var hh_g: HhWindow; hh_g.f = HH_N; return hh_f(hh_g).f; }
"
    );
    validate("root", &source);
}

#[test]
fn nests_instances_and_shares_plain_imports() {
    let files = [
        ("root", "#import b as low_h\n#import a\nfn f() -> u32 { return low_h_f() + N; }"),
        ("b", "#import c as source\n#import a\nfn f() -> u32 { return source_f() + SOURCE_M + N; }"),
        ("c", "#import a\nconst M = N;\nfn f() -> u32 { return M; }"),
        ("a", "const N = 1u;"),
    ];
    let source = made(&files, &Recipe::new("root")).unwrap();
    assert_eq!(
        source,
        "const N = 1u;
const LOW_H_SOURCE_M = N;
fn low_h_source_f() -> u32 { return LOW_H_SOURCE_M; }
fn low_h_f() -> u32 { return low_h_source_f() + LOW_H_SOURCE_M + N; }
fn f() -> u32 { return low_h_f() + N; }
"
    );
    validate("root", &source);
}

#[test]
fn parts_share_the_names_of_their_instance() {
    let files = [
        ("root", "#import path as hh\n#import path as ll\nfn f() -> u32 { return hh_f() + ll_f() + LL_N; }"),
        ("path", "#import size as self\n#import products as self\nfn f() -> u32 { return g() + N; }"),
        ("products", "#import size as self\nfn g() -> u32 { return N; }"),
        ("products_b", "fn g() -> u32 { return 5; }"),
        ("size", "const N: u32 = 1u;"),
    ];
    let recipe = Recipe::new("root").constant_in("ll", "N", 3).file("products", "products_b");
    let source = made(&files, &recipe).unwrap();
    assert_eq!(
        source,
        "const HH_N: u32 = 1u;
fn hh_g() -> u32 { return 5; }
fn hh_f() -> u32 { return hh_g() + HH_N; }
const LL_N: u32 = 3u;
fn ll_g() -> u32 { return 5; }
fn ll_f() -> u32 { return ll_g() + LL_N; }
fn f() -> u32 { return hh_f() + ll_f() + LL_N; }
"
    );
    validate("root", &source);
}

/// Two paths that read one tensor, and a third that is absent.
const PATHS: [(&str, &str); 5] = [
    (
        "root",
        "#import path as a\n#import path as b\n#import path as c\n#import tensor as y
        @compute @workgroup_size(1) fn main() { y_store(a_f() + b_f() + c_f()); }",
    ),
    ("path", "#import tensor as x\nconst ODD: bool = false;\nfn f() -> f32 { return select(x_load(), 1, ODD); }"),
    ("absent", "fn f() -> f32 { return 0.0; }"),
    (
        "tensor",
        "alias Element = f32;\n@group(0) @binding(9) var<storage, read_write> e: array<Element>;
        fn load() -> f32 { return f32(e[0]); }
        fn store(v: f32) { e[0] = Element(v); }",
    ),
    (
        "half",
        "alias Element = vec2<f32>;\n@group(0) @binding(9) var<storage, read> e: array<Element>;
        fn load() -> f32 { return f32(e[1].x); }",
    ),
];

fn paths() -> Recipe {
    Recipe::new("root")
        .same("a_x", "x0")
        .same("b_x", "x0")
        .file("x0", "half")
        .alias_in("x0", "Element", "vec2<f16>")
        .flag_in("b", "ODD", true)
        .file("c", "absent")
        .binding_in("x0", "e", Access::Read)
        .binding_in("y", "e", Access::Write)
}

#[test]
fn replaces_values_files_and_instances() {
    let source = made(&PATHS, &paths()).unwrap();
    assert_eq!(
        source,
        "enable f16;
alias X0Element = vec2<f16>;
@group(0) @binding(1) var<storage, read> x0_e: array<X0Element>;
fn x0_load() -> f32 { return f32(x0_e[1].x); }
const A_ODD: bool = false;
fn a_f() -> f32 { return select(x0_load(), 1, A_ODD); }
const B_ODD: bool = true;
fn b_f() -> f32 { return select(x0_load(), 1, B_ODD); }
fn c_f() -> f32 { return 0.0; }
alias YElement = f32;
@group(0) @binding(2) var<storage, read_write> y_e: array<YElement>;
fn y_store(v: f32) { y_e[0] = YElement(v); }
@compute @workgroup_size(1) fn main() { y_store(a_f() + b_f() + c_f()); }
"
    );
    validate("root", &source);
}

/// A buffer that holds what is read and what is written is bound as written by all.
#[test]
fn shared_buffers_are_bound_as_written() {
    let recipe = paths();
    let [alone, shared] = [&recipe, &recipe.sharing(|_| true)].map(|recipe| made(&PATHS, recipe).unwrap());
    assert_eq!(shared, alone.replace("<storage, read>", "<storage, read_write>"));
    assert_ne!(shared, alone);
    validate("root", &shared);
    assert_eq!(recipe.sharing(|i| i == 1), recipe);
    let accesses: Vec<_> = recipe.sharing(|i| i == 0).accesses().collect();
    assert_eq!(accesses, [Access::Shared, Access::Write]);
}

/// The recipe numbers textures too, and says which format is written.
#[test]
fn textures_are_bound_with_their_format() {
    let text = "@group(0) @binding(7) var x: texture_2d<f32>;
        @group(0) @binding(8) var y: texture_storage_2d<rgba8unorm, write>;
        @compute @workgroup_size(1) fn main() { textureStore(y, vec2(0u), textureLoad(x, vec2(0u), 0u)); }";
    let storage = Access::StorageTexture(TexelFormat::R32Float);
    let recipe = |x, y| Recipe::new("root").binding("y", y).binding("x", x);
    let source = made(&[("root", text)], &recipe(Access::Texture, storage)).unwrap();
    assert!(source.contains("@binding(2) var x: texture_2d<f32>;"), "{source}");
    assert!(source.contains("@binding(1) var y: texture_storage_2d<r32float, write>;"), "{source}");
    validate("root", &source);
    for wrong in [recipe(Access::Read, storage), recipe(storage, storage), recipe(Access::Texture, Access::Write)] {
        let error = made(&[("root", text)], &wrong).unwrap_err().to_string();
        assert!(error.ends_with("is read and written differently from what the recipe of root says"), "{error}");
    }
    // Textures are never bound as written because of what else a dispatch writes.
    assert_eq!(recipe(Access::Texture, storage).sharing(|_| true), recipe(Access::Texture, storage));
}

#[test]
fn leaves_out_what_no_entry_point_needs() {
    let text = "enable f16;
        const A = 1u; const B = A; const C = B;
        fn f() -> u32 { return C; }
        fn g() -> u32 { return f(); }
        @group(0) @binding(0) var<uniform> shape: Shape;
        struct Shape { a: u32 }
        const_assert B == 1u;
        @compute @workgroup_size(1) fn main() { _ = f(); }";
    let source = made(&[("root", text)], &Recipe::new("root")).unwrap();
    assert!(!source.contains("g()"), "{source}");
    for kept in ["enable f16;\nconst A = 1u;", "const C", "fn f", "shape: Shape", "struct Shape", "const_assert"] {
        assert!(source.contains(kept), "{kept} in {source}");
    }
}

#[test]
fn names_what_is_wrong() {
    let error = |recipe: Recipe| made(&PATHS, &recipe).unwrap_err().to_string();
    assert_eq!(error(paths().constant("ODD", 1)), "root: no constant of type u32 ODD in the program");
    assert_eq!(error(paths().constant_in("a", "ODD", 1)), "root: no constant of type u32 ODD in a");
    assert_eq!(error(paths().flag_in("c", "ODD", true)), "root: no constant of type bool ODD in c");
    assert_eq!(error(paths().flag_in("d", "ODD", true)), "root: no instance or import is called d");
    assert_eq!(error(paths().alias_in("a_x", "Element", "f16")), "root: no instance or import is called a_x");
    assert_eq!(error(paths().file("d", "absent")), "root: no instance or import is called d");
    assert_eq!(error(paths().same("c_x", "x0")), "root: no instance or import is called c_x");
    assert_eq!(error(paths().file("c", "half")), "root: c is given twice");
    assert_eq!(error(paths().flag_in("b", "ODD", true)), "root: B_ODD is given twice");
    assert_eq!(error(paths().binding("z", Access::Read)), "root: no file declares the binding z");
    assert_eq!(error(paths().file("y", "none")), "there is no shader file none, which the host wants");
    assert_eq!(error(paths().file("y", "absent")), "root: no file declares the binding y_e");
    assert_eq!(error(Recipe::new("root")), "tensor: the recipe of root does not list the binding a_x_e");
    let read = Recipe::new("path").binding_in("x", "e", Access::Read);
    assert_eq!(error(read), "tensor: x_e is read and written differently from what the recipe of path says");

    let error = |files: &[(&'static str, &'static str)]| made(files, &Recipe::new("a")).unwrap_err().to_string();
    assert_eq!(error(&[("a", "#import b"), ("b", "#import a as x")]), "a imports itself, directly or through others");
    assert_eq!(
        error(&[("a", "#import b as self"), ("b", "#import b as self")]),
        "b imports itself, directly or through others"
    );
    assert_eq!(error(&[("a", "#import b\nconst N = 1;"), ("b", "const N = 2;")]), "b and a both declare N");
    assert_eq!(
        error(&[("a", "#import b\nconst B_N = 1;\n#import b as b"), ("b", "const N = 2;")]),
        "b and a both declare B_N"
    );
    assert_eq!(error(&[("a", "#import c")]), "there is no shader file c, which a wants");
    assert_eq!(
        error(&[("a", "const n = 1;\nfn f(n: u32) {}")]),
        "a, line 2: the local variable or parameter n has a module-scope name"
    );
    assert_eq!(
        error(&[("a", "#import b as x\nfn f() { let x_g = 1; }"), ("b", "fn g() {}")]),
        "a, line 2: the local variable or parameter x_g has a module-scope name"
    );
    assert_eq!(
        error(&[("a", "#import b\n#import d as x"), ("b", "#import c as x"), ("c", ""), ("d", "")]),
        "the instance x is c in one file and d in another"
    );
}

#[test]
fn every_form_of_a_tensor_validates() {
    let root = (
        "root",
        "#import tensors/input as x
        #import tensors/output as y
        #import tensors/vectors_in as v
        #import tensors/vectors_out as m
        #import tensors/weights
        #import common/lanes
        @compute @workgroup_size(1) fn main() {
            m_store(0u, v_load(0u));
            y_store(0u, x_load(1u) + x_load_2(2u).x + x_load_word(3u).y + lane(bias(1u), 0u));
            y_store_2(0u, x_load_2(2u) + f32(live_lanes(2u, 3u)) + f32(LANES));
            _ = weight(1u);
            var l: Lane;
        }",
    );
    let library = Library::new(&FILES.iter().copied().chain([root]).collect::<Vec<_>>());
    for dtype in [Dtype::F32, Dtype::F16] {
        for words in [Words::Elements, Words::Integers, Words::Vectors] {
            for lanes in [1, 2, 4] {
                for form in [Form::Absent, Form::Elements(dtype), Form::Pairs(dtype, words)] {
                    let tensors = Recipe::new("root").input("x", form).output("y", form);
                    let recipe = tensors.clone().input_vectors("v", words, lanes).output_vectors("m", words, lanes);
                    let mut recipes = vec![recipe.clone().weights(dtype, words, lanes)];
                    if lanes > 1 {
                        recipes.push(recipe.weights_as_f16(lanes));
                    }
                    for recipe in recipes {
                        let source = assemble_from(&library, &recipe);
                        let source = source.unwrap_or_else(|error| panic!("{error}: {recipe:?}"));
                        validate("root", &source);
                        assert_eq!(recipe.accesses().count(), source.matches("var<storage").count());
                    }
                }
            }
        }
    }
}

/// The text has what the files declare, in the order of imports, without comments.
#[test]
fn assembles_a_kernel() {
    let recipe = Recipe::new("layer/upsample")
        .constant("WORKGROUP", 8)
        .input("x", Form::Elements(Dtype::F16))
        .output("y", Form::Elements(Dtype::F16));
    let source = assemble(&recipe).unwrap();
    let begin = "enable f16;
alias XElement = f16;
@group(0) @binding(1) var<storage, read> x_elements: array<XElement>;
fn x_load(i: u32) -> f32 {
    return f32(x_elements[i]);
}
alias YElement = f16;
@group(0) @binding(2) var<storage, read_write> y_elements: array<YElement>;
fn y_store(i: u32, value: f32) {
    y_elements[i] = YElement(value);
}
const WORKGROUP: u32 = 8u;
struct Shape {
    threads: u32,
";
    assert!(source.starts_with(begin), "{source}");
}

/// WGSL lets a driver assume that nothing overflows, and promises nothing of a division by what has overflowed. Each of these
/// is at most zero, or as small as its comment in the shader says.
#[test]
fn no_exponential_overflows() {
    const KNOWN: [(&str, &str); 11] = [
        ("activate", "exp(-0.5 * abs(x))"),
        ("activate", "exp(-abs(x))"),
        ("activate", "exp(-2.0 * abs(x))"),
        ("activate", "exp(-0.5 * z * z)"),
        ("activate", "exp(-2.0 * a)"),
        ("nan", "exp(x)"),
        ("attention", "exp(x)"),
        ("excite", "exp_or_nan(-abs(sum))"),
        ("attention", "exp_or_nan(largest - new_largest)"),
        ("attention", "exp_or_nan(scores[i] - largest)"),
        ("softmax", "exp_or_nan(x_load(row + i) - largest)"),
    ];
    for (name, text) in FILES {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//") && !line.starts_with("fn ")) {
            for (at, _) in line.match_indices("exp") {
                let call = &line[at..];
                let is_call = call.starts_with("exp(") || call.starts_with("exp_or_nan(");
                let is_known = KNOWN.iter().any(|(file, known)| name.contains(file) && call.starts_with(known));
                assert!(!is_call || is_known, "{name}: {line}");
            }
        }
    }
}
