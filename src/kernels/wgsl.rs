//! Puts a kernel's source together: constants and bindings as text in front, then the files of `shaders/` as they are.

use std::fmt::Write;

use super::Access;
use crate::device::Words;
use crate::precision::Dtype;

/// A WGSL source under assembly.
pub(crate) struct Source {
    text: String,
    accesses: Vec<Access>,
    activations: Dtype,
    /// The type of what [`Source::output`] declares.
    outputs: Dtype,
    words: Words,
}

impl Source {
    /// Starts a source whose tensors have elements of type `activations`. Binding 0 is the uniform `shape`.
    pub(crate) fn new(activations: Dtype, workgroup: u32) -> Self {
        let directives: &[&str] = if activations == Dtype::F16 { &["enable f16;"] } else { &[] };
        Self::with_directives(directives, activations, workgroup)
    }

    /// As [`Source::new`], for a source that multiplies matrices of f16.
    pub(crate) fn for_matrices(workgroup: u32) -> Self {
        // naga filters by this rule all that it wants in uniform control flow, and takes a branch on any local variable,
        // the counter of a loop included, for one that is not uniform.
        let uniform = "diagnostic(off, derivative_uniformity);";
        let directives = ["enable f16;", "enable wgpu_cooperative_matrix;", uniform];
        Self::with_directives(&directives, Dtype::F16, workgroup)
    }

    fn with_directives(directives: &[&str], activations: Dtype, workgroup: u32) -> Self {
        let mut source = Self {
            text: String::new(),
            accesses: Vec::new(),
            activations,
            outputs: activations,
            words: Words::default(),
        };
        directives.iter().for_each(|directive| source.line(directive));
        source.line("@group(0) @binding(0) var<uniform> shape: Shape;");
        source.constant("WORKGROUP", workgroup);
        source
    }

    /// From here on outputs are f32, whatever the type of activations: partial sums of slices.
    pub(crate) fn outputs_are_partial_sums(&mut self) {
        self.outputs = Dtype::F32;
    }

    /// Vectors and pairs of elements are such words, from here on.
    pub(crate) fn with_words(self, words: Words) -> Self {
        Self { words, ..self }
    }

    /// The types `Left`, `Right` and `Sum`: matrices of f16 whose products are summed in `sums`.
    pub(crate) fn matrices(&mut self, side: u32, sums: Dtype) {
        for (name, element, role) in [("Left", "f16", 'A'), ("Right", "f16", 'B'), ("Sum", sums.wgsl(), 'C')] {
            self.line(&format!("alias {name} = coop_mat{side}x{side}<{element}, {role}>;"));
        }
    }

    pub(crate) fn text(self) -> String {
        self.text
    }

    pub(crate) fn accesses(self) -> Vec<Access> {
        self.accesses
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(crate) fn constant(&mut self, name: &str, value: u32) {
        let _ = writeln!(self.text, "const {name}: u32 = {value}u;");
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        let _ = writeln!(self.text, "const {name}: bool = {value};");
    }

    /// Appends a file of `shaders/`.
    pub(crate) fn file(&mut self, text: &str) {
        self.text.push('\n');
        self.text.push_str(text);
    }

    /// Appends a template with `path_` and `PATH_` renamed to `name` and its upper case.
    pub(crate) fn instance(&mut self, template: &str, name: &str) {
        let upper = name.to_uppercase();
        self.file(&template.replace("path_", &format!("{name}_")).replace("PATH_", &format!("{upper}_")));
    }

    /// A storage buffer, whatever the type of activations.
    pub(crate) fn binding(&mut self, access: Access, name: &str, element: &str) {
        self.accesses.push(access);
        let mode = match access {
            Access::Read => "read",
            Access::Write => "read_write",
        };
        let index = self.accesses.len();
        let _ = writeln!(self.text, "@group(0) @binding({index}) var<storage, {mode}> {name}: array<{element}>;");
    }

    /// A tensor that is read, with `load_NAME(i) -> f32`.
    pub(crate) fn input(&mut self, name: &str) {
        self.binding(Access::Read, name, self.activations.wgsl());
        self.loader(&format!("load_{name}"), Some(name));
    }

    /// `NAME(i) -> f32` over an input, or over nothing: zero.
    pub(crate) fn loader(&mut self, function: &str, input: Option<&str>) {
        let value = input.map_or("0.0".into(), |input| format!("f32({input}[i])"));
        let _ = writeln!(self.text, "fn {function}(i: u32) -> f32 {{ return {value}; }}");
    }

    /// A tensor that may be read: `load_NAME` gives zero where it is absent.
    pub(crate) fn optional_input(&mut self, name: &str, present: bool) {
        if present { self.input(name) } else { self.loader(&format!("load_{name}"), None) }
    }

    /// A tensor that may be written, with `store_NAME(i, value)`, which does nothing where it is absent.
    pub(crate) fn output(&mut self, name: &str, present: bool) {
        let element = self.outputs.wgsl();
        let mut body = String::new();
        if present {
            self.binding(Access::Write, name, element);
            body = format!("{name}[i] = {element}(value);");
        }
        let _ = writeln!(self.text, "fn store_{name}(i: u32, value: f32) {{ {body} }}");
    }

    /// A tensor that may be read, with `load_NAME(i) -> f32` and, for two elements of which the first has an even index,
    /// `load_NAME_2(i) -> vec2<f32>`: one word where it is `paired`, the `load_NAME_word(i / 2)`. All give zero where it is
    /// absent.
    pub(crate) fn paired_input(&mut self, name: &str, present: bool, paired: bool) {
        if !(present && paired) {
            self.optional_input(name, present);
            self.line(&format!("fn load_{name}_2(i: u32) -> vec2<f32> {{"));
            self.line(&format!("    return vec2(load_{name}(i), load_{name}(i + 1u));\n}}"));
            self.line(&format!("fn load_{name}_word(i: u32) -> vec2<f32> {{ return load_{name}_2(2u * i); }}"));
            return;
        }
        let word = format!("{name}[i]");
        let (element, values) = match (self.words, self.activations) {
            (Words::Integers, Dtype::F32) => ("u64", format!("wide_2({word})")),
            (Words::Integers, Dtype::F16) => ("u32", format!("unpack2x16float({word})")),
            (_, Dtype::F32) => ("vec2<f32>", word),
            (_, Dtype::F16) => ("vec2<f16>", format!("vec2<f32>({word})")),
        };
        self.wide();
        self.binding(Access::Read, name, element);
        self.line(&format!("fn load_{name}_word(i: u32) -> vec2<f32> {{ return {values}; }}"));
        self.line(&format!("fn load_{name}_2(i: u32) -> vec2<f32> {{ return load_{name}_word(i >> 1u); }}"));
        self.line(&format!("fn load_{name}(i: u32) -> f32 {{"));
        self.line(&format!("    let pair = load_{name}_2(i);\n    return select(pair.x, pair.y, (i & 1u) != 0u);\n}}"));
    }

    /// `NAME(i)`, `NAME_2(i)` and `NAME_word(i)` over a [`Source::paired_input`], or over nothing.
    pub(crate) fn paired_loader(&mut self, function: &str, input: Option<&str>) {
        let [one, two, word] = match input {
            Some(input) => ["", "_2", "_word"].map(|form| format!("load_{input}{form}(i)")),
            None => ["0.0", "vec2(0.0)", "vec2(0.0)"].map(String::from),
        };
        self.line(&format!("fn {function}(i: u32) -> f32 {{ return {one}; }}"));
        self.line(&format!("fn {function}_2(i: u32) -> vec2<f32> {{ return {two}; }}"));
        self.line(&format!("fn {function}_word(i: u32) -> vec2<f32> {{ return {word}; }}"));
    }

    /// A tensor that may be written, with `store_NAME(i, value)` and, for two elements of which the first has an even
    /// index, `store_NAME_2(i, values)`; they do nothing where it is absent. One that is `paired` is written by the
    /// latter only, a word at a time.
    pub(crate) fn paired_output(&mut self, name: &str, present: bool, paired: bool) {
        if !(present && paired) {
            self.output(name, present);
            self.line(&format!("fn store_{name}_2(i: u32, values: vec2<f32>) {{"));
            self.line(&format!("    store_{name}(i, values.x);\n    store_{name}(i + 1u, values.y);\n}}"));
            return;
        }
        let (element, word) = match (self.words, self.outputs) {
            (Words::Integers, Dtype::F32) => ("u64", "narrow_2(values)"),
            (Words::Integers, Dtype::F16) => ("u32", "pack2x16float(values)"),
            (_, Dtype::F32) => ("vec2<f32>", "values"),
            (_, Dtype::F16) => ("vec2<f16>", "vec2<f16>(values)"),
        };
        self.wide();
        self.binding(Access::Write, name, element);
        self.line(&format!("fn store_{name}(i: u32, value: f32) {{}}"));
        self.line(&format!("fn store_{name}_2(i: u32, values: vec2<f32>) {{ {name}[i >> 1u] = {word}; }}"));
    }

    /// What `shaders/wide.wgsl` has, once, where words are integers.
    fn wide(&mut self) {
        let file = include_str!("../../shaders/wide.wgsl");
        if self.words == Words::Integers && !self.text.contains(file) {
            self.file(file);
        }
    }

    /// The packed weights: `Lane` (LANES output channels), `weight(i) -> Lane`, `bias(i) -> Lane`, `lane(v, k)`
    /// and what `shaders/lanes.wgsl` has.
    ///
    /// Halves are kept as bits and unpacked, which needs no device feature. Biases are f32 in any case.
    pub(crate) fn weights(&mut self, dtype: Dtype, lanes: u32) {
        let lane = vector(lanes);
        self.constant("LANES", lanes);
        self.line(&format!("alias Lane = {lane};"));
        let scalars = if dtype == Dtype::F16 { lanes / 2 } else { lanes };
        let wide = self.words == Words::Integers && scalars > 1;
        let (element, weight, bias) = match (dtype, lanes) {
            (Dtype::F32, 2) if wide => ("u64", "wide_2(weights[i])", "wide_2(weights[i])"),
            (Dtype::F32, _) if wide => ("vec2<u64>", "wide_4(weights[i])", "wide_4(weights[i])"),
            (Dtype::F16, _) if wide => {
                ("u64", "wide_halves(weights[i])", "vec4(wide_2(weights[2u * i]), wide_2(weights[2u * i + 1u]))")
            }
            (Dtype::F32, _) => (lane, "weights[i]", "weights[i]"),
            (Dtype::F16, 1) => ("u32", "unpack2x16float(weights[i >> 1u])[i & 1u]", "bitcast<f32>(weights[i])"),
            (Dtype::F16, 2) => (
                "u32",
                "unpack2x16float(weights[i])",
                "vec2(bitcast<f32>(weights[2u * i]), bitcast<f32>(weights[2u * i + 1u]))",
            ),
            (Dtype::F16, _) => (
                "vec2<u32>",
                "vec4(unpack2x16float(weights[i].x), unpack2x16float(weights[i].y))",
                "vec4(bitcast<vec2<f32>>(weights[2u * i]), bitcast<vec2<f32>>(weights[2u * i + 1u]))",
            ),
        };
        self.wide();
        self.binding(Access::Read, "weights", element);
        self.line(&format!("fn weight(i: u32) -> Lane {{ return {weight}; }}"));
        self.line(&format!("fn bias(i: u32) -> Lane {{ return {bias}; }}"));
        self.lane(lanes);
    }

    /// As [`Source::weights`], where `weight` gives vectors of f16, of 2 or 4. The buffer is bound twice: naga 30 takes a
    /// bitcast of words to halves, and writes another type for Metal.
    pub(crate) fn weights_of_f16(&mut self, lanes: u32) {
        let lane = vector(lanes);
        self.constant("LANES", lanes);
        self.line(&format!("alias Lane = {lane};"));
        self.binding(Access::Read, "weights", &format!("vec{lanes}<f16>"));
        self.binding(Access::Read, "biases", lane);
        self.line(&format!("fn weight(i: u32) -> vec{lanes}<f16> {{ return weights[i]; }}"));
        self.line("fn bias(i: u32) -> Lane { return biases[i]; }");
        self.lane(lanes);
    }

    /// `lane(v, k)`, and what `shaders/lanes.wgsl` has.
    fn lane(&mut self, lanes: u32) {
        let index = if lanes == 1 { "v" } else { "v[k]" };
        self.line(&format!("fn lane(v: Lane, k: u32) -> f32 {{ return {index}; }}"));
        self.file(include_str!("../../shaders/lanes.wgsl"));
    }
}

/// The type of so many f32.
pub(crate) fn vector(lanes: u32) -> &'static str {
    match lanes {
        1 => "f32",
        2 => "vec2<f32>",
        _ => "vec4<f32>",
    }
}
