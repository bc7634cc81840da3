//! Cooperative matrices and subgroups in plain WGSL: rewrites a shader, so that a device without matrix units runs it,
//! with matrices of any side and subgroups of any size.
//!
//! What calls a matrix unit or names a subgroup is replaced, and nothing else. naga then checks the types of all that
//! has been put there, as of any WGSL. What is not known here is refused by a panic: no such construct passes by chance.
//!
//! Threads hold matrices as they do on GPUs: in parts. Each thread of a subgroup has some elements of the sums, and the
//! rows of left factors and columns of right factors that make them. A load reads them, a store writes them. So a matrix
//! is only whole if all threads of its subgroup take part, and each reads what memory holds when it loads.
//!
//! A matrix that lies partly outside of its array is a fault, which GPUs do not report. So is one whose first element or
//! whose stride is not a multiple of 16 bytes, which Vulkan asks for (VUID-RuntimeSpirv-OpCooperativeMatrixLoadKHR-08986).
//! All that a workgroup stores then, and after it, is NaN.

use std::collections::BTreeMap;

/// How the threads of a workgroup form subgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subgroups {
    /// Threads of a subgroup, a power of two.
    pub size: u32,
    /// Adjacent threads are in different subgroups, which WGSL allows. If not, a subgroup has adjacent threads.
    pub interleaved: bool,
}

/// The shader without cooperative matrices and subgroups. One that has neither stays as it is.
///
/// # Panics
///
/// If it has anything of them that is not known here.
pub fn emulated(source: &str, subgroups: Subgroups) -> String {
    assert!(!source.contains("//") && !source.contains("/*"), "comments are not known");
    let has = |construct: &str| words(source).any(|(_, word)| word.contains(construct));
    if !["coop", "subgroup", "quad"].into_iter().any(has) {
        return source.to_string();
    }
    let mut emulation = Emulation::new(source, subgroups);
    let text = emulation.rewritten(source);
    let text = emulation.with_entry(&text);
    for (at, word) in words(&text) {
        let (before, after) = (text[..at].trim_end(), text[at + word.len()..].trim_start());
        let of_subgroups = ["subgroup", "quad"].iter().any(|start| word.starts_with(start)) && after.starts_with('(');
        let builtin = before.ends_with("@builtin(") && word.contains("subgroup");
        let enabled = before.ends_with("enable") && word != "f16";
        assert!(!word.starts_with("coop") && !of_subgroups && !builtin && !enabled, "{word} is not known in\n{source}");
    }
    text + &emulation.helpers()
}

/// A type `coop_mat{side}x{side}<scalar, role>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Matrix {
    side: u32,
    scalar: String,
    role: String,
}

/// A module-scope array whose elements are scalars.
struct Array {
    scalar: String,
    /// An expression of its elements.
    length: String,
}

struct Emulation {
    subgroups: Subgroups,
    aliases: BTreeMap<String, Matrix>,
    matrices: Vec<Matrix>,
    arrays: BTreeMap<String, Array>,
    /// Declarations by their names.
    helpers: BTreeMap<String, String>,
}

impl Emulation {
    fn new(source: &str, subgroups: Subgroups) -> Self {
        assert!(subgroups.size.is_power_of_two(), "{subgroups:?}");
        let mut emulation = Self {
            subgroups,
            aliases: BTreeMap::new(),
            matrices: Vec::new(),
            arrays: BTreeMap::new(),
            helpers: BTreeMap::new(),
        };
        let mut scalars = BTreeMap::from(["f16", "f32"].map(|scalar| (scalar, scalar)));
        for statement in source.split(';') {
            let alias = statement.find("alias ").map(|at| &statement[at + "alias ".len()..]);
            let Some((name, of)) = alias.and_then(|alias| alias.split_once(" = ")) else { continue };
            if of.starts_with("coop_mat") {
                let matrix = emulation.matrix(of);
                emulation.aliases.insert(name.into(), matrix);
            } else if let Some(&scalar) = scalars.get(of.trim()) {
                scalars.insert(name, scalar);
            }
        }
        emulation.arrays = source.split(';').filter_map(|statement| array(statement, &scalars)).collect();
        emulation
    }

    /// The type that is written so, as itself or as an alias.
    fn matrix(&mut self, text: &str) -> Matrix {
        let text = text.trim();
        if let Some(matrix) = self.aliases.get(text) {
            return matrix.clone();
        }
        let parts = || {
            let (sides, parts) = text.strip_prefix("coop_mat")?.strip_suffix('>')?.split_once('<')?;
            let ((rows, columns), (scalar, role)) = (sides.split_once('x')?, parts.split_once(',')?);
            let (side, scalar, role) = (rows.parse().ok()?, scalar.trim().to_string(), role.trim().to_string());
            let known = rows == columns && [8, 16].contains(&side) && ["f16", "f32"].contains(&scalar.as_str());
            known.then_some(Matrix { side, scalar, role })
        };
        let matrix = parts().unwrap_or_else(|| panic!("{text} is no matrix that is known"));
        if !self.matrices.contains(&matrix) {
            self.matrices.push(matrix.clone());
        }
        matrix
    }

    /// The only type with a role: a module with several would need a function for each.
    fn of_role(&self, role: &str) -> Matrix {
        let mut of_role = self.matrices.iter().filter(|matrix| matrix.role == role);
        match (of_role.next(), of_role.next()) {
            (Some(matrix), None) => matrix.clone(),
            _ => panic!("not one type of role {role}: {:?}", self.matrices),
        }
    }

    /// The text with other types, loads, stores and products.
    fn rewritten(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut at = 0;
        while let Some((start, word)) = words(&text[at..]).next() {
            out += &text[at..at + start];
            at += start + word.len();
            let rest = &text[at..];
            let (replaced, taken) = match word {
                "enable" => {
                    let (names, _) = rest.split_once(';').expect("a directive ends");
                    let others: Vec<_> =
                        names.split(',').map(str::trim).filter(|name| *name != "wgpu_cooperative_matrix").collect();
                    let enable =
                        if others.is_empty() { String::new() } else { format!("enable {};", others.join(", ")) };
                    (enable, names.len() + 1)
                }
                "coopLoad" | "coopLoadT" => {
                    let of = enclosed(rest, '<', '>');
                    let matrix = self.matrix(of);
                    let arguments = enclosed(&rest[of.len() + 2..], '(', ')');
                    let call = self.load(matrix, word == "coopLoadT", arguments);
                    (call, of.len() + 2 + arguments.len() + 2)
                }
                "coopStore" | "coopStoreT" => {
                    let arguments = enclosed(rest, '(', ')');
                    (self.store(word == "coopStoreT", arguments), arguments.len() + 2)
                }
                "coopMultiplyAdd" => {
                    let arguments = enclosed(rest, '(', ')');
                    (self.multiply_add(arguments), arguments.len() + 2)
                }
                _ if word.starts_with("coop_mat") => {
                    let of = enclosed(rest, '<', '>');
                    let matrix = self.matrix(&format!("{word}<{of}>"));
                    (self.declared(&matrix), of.len() + 2)
                }
                _ => (word.to_string(), 0),
            };
            out += &replaced;
            at += taken;
        }
        out + &text[at..]
    }

    /// Threads of a subgroup side by side along the rows, and along the columns, of a matrix of sums. If there are more
    /// threads than elements, several have the same.
    fn threads(&self, side: u32) -> [u32; 2] {
        let across = self.subgroups.size.min(side);
        [(self.subgroups.size / across).min(side), across]
    }

    /// Declares a type, and returns its name.
    ///
    /// A value is the number of a slot, in which a thread has its part of the matrix. Each load and each product takes the
    /// next slot of a ring. If a slot has been taken again before its value is used, that is a fault. As copies are
    /// numbers, compilers have little to do.
    fn declared(&mut self, matrix: &Matrix) -> String {
        let Matrix { side, scalar, role } = matrix;
        let [down, across] = self.parts(*side);
        let name = format!("Emulated{role}{side}{scalar}");
        // Factors are f32, which holds every f16, and four by four.
        let (element, each, ring) = match role.as_str() {
            "A" => ("vec4<f32>", down * side / 4, 4),
            "B" => ("vec4<f32>", across * side / 4, 8),
            "C" => (scalar.as_str(), down * across, 32),
            _ => panic!("the role {role} is not known"),
        };
        let declared = format!(
            "struct {name} {{ number: u32 }}
var<private> {name}_parts: array<{element}, {}>;
var<private> {name}_numbers: array<u32, {slots}>;
var<private> {name}_last: u32;
fn {name}_next() -> {name} {{
    {name}_last += 1u;
    {name}_numbers[1u + {name}_last % {ring}u] = {name}_last;
    return {name}({name}_last);
}}
// Where the part of a matrix begins. That of number 0 is zero, as every variable is at first.
fn {name}_begin(matrix: {name}) -> u32 {{
    let slot = select(1u + matrix.number % {ring}u, 0u, matrix.number == 0u);
    if {name}_numbers[slot] != matrix.number {{ atomicStore(&emulated_fault, 1u); }}
    return slot * {each}u;
}}\n",
            (ring + 1) * each,
            slots = ring + 1,
        );
        self.helpers.insert(name.clone(), declared);
        name
    }

    /// Rows and columns of a matrix of sums that a thread has.
    fn parts(&self, side: u32) -> [u32; 2] {
        self.threads(side).map(|threads| side / threads)
    }

    fn array(&self, name: &str) -> &Array {
        self.arrays.get(name).unwrap_or_else(|| panic!("{name} is no array of scalars that is known"))
    }

    /// A call that loads a matrix, from arguments `&ARRAY[FIRST], STRIDE`. Element (r, c) lies at r * stride + c if
    /// `by_rows`, or else at c * stride + r.
    fn load(&mut self, matrix: Matrix, by_rows: bool, arguments: &str) -> String {
        let [pointer, stride] = arguments_of(arguments);
        let (name, first) = element(pointer);
        self.read(name);
        let declared = self.declared(&matrix);
        let Matrix { side, scalar, role } = &matrix;
        assert_eq!(*scalar, self.array(name).scalar, "{pointer}");
        let [rows, columns] = self.threads(*side);
        let [down, across] = self.parts(*side);
        let read = |row: &str, column: &str| {
            let [line, place] = if by_rows { [row, column] } else { [column, row] };
            format!("emulated_read_{name}(first + {line} * stride + {place})")
        };
        let four = |read: &dyn Fn(&str) -> String| {
            let values: Vec<_> = (0..4).map(|k| read(&format!("(4u * j + {k}u)"))).collect();
            format!("vec4<f32>({})", values.join(", "))
        };
        let (outer, inner, value) = match role.as_str() {
            "A" => (down, side / 4, four(&|k| read(&format!("(row + i * {rows}u)"), k))),
            "B" => (across, side / 4, four(&|k| read(k, &format!("(column + i * {columns}u)")))),
            _ => {
                let value = read(&format!("(row + i * {rows}u)"), &format!("(column + j * {columns}u)"));
                (down, across, format!("{scalar}({value})"))
            }
        };
        let load = format!("{declared}_load_{}_{name}", if by_rows { "rows" } else { "columns" });
        let helper = format!(
            "fn {load}(first: u32, stride: u32) -> {declared} {{
    {}
    {}
    let loaded = {declared}_next();
    let begin = {declared}_begin(loaded);
    {}
        {declared}_parts[begin + i * {inner}u + j] = {value};
    }} }}
    return loaded;
}}\n",
            aligned(scalar),
            place(rows, columns),
            loops(outer, inner),
        );
        self.helpers.insert(load.clone(), helper);
        format!("{load}({}, {})", self.rewritten(first), self.rewritten(stride))
    }

    /// Declares how an element of an array is read.
    fn read(&mut self, name: &str) {
        let length = &self.array(name).length;
        let helper = format!(
            "fn emulated_read_{name}(i: u32) -> f32 {{
    if i >= {length} {{ atomicStore(&emulated_fault, 1u); }}
    return f32({name}[min(i, {length} - 1u)]);
}}\n"
        );
        self.helpers.insert(format!("emulated_read_{name}"), helper);
    }

    /// A call that stores a matrix of sums, with arguments `MATRIX, &ARRAY[FIRST], STRIDE`.
    fn store(&mut self, by_rows: bool, arguments: &str) -> String {
        let [value, pointer, stride] = arguments_of(arguments);
        let (name, first) = element(pointer);
        let matrix = self.of_role("C");
        let declared = self.declared(&matrix);
        let [rows, columns] = self.threads(matrix.side);
        let [down, across] = self.parts(matrix.side);
        let Array { scalar, length } = self.array(name);
        let last = matrix.side - 1;
        let store = format!("{declared}_store_{}_{name}", if by_rows { "rows" } else { "columns" });
        let (r, c) = (format!("(row + i * {rows}u)"), format!("(column + j * {columns}u)"));
        let index = if by_rows { format!("{r} * stride + {c}") } else { format!("{c} * stride + {r}") };
        let helper = format!(
            "fn {store}(matrix: {declared}, first: u32, stride: u32) {{
    {}
    // Every thread looks at the whole matrix: another one may store before the fault is known.
    if first + {last}u * (stride + 1u) >= {length} {{ atomicStore(&emulated_fault, 1u); }}
    {}
    let begin = {declared}_begin(matrix);
    {}
        let at = first + {index};
        if at < {length} {{
            let element = {declared}_parts[begin + i * {across}u + j];
            {name}[at] = select(element, {scalar}(emulated_nan()), atomicLoad(&emulated_fault) != 0u);
        }}
    }} }}
}}\n",
            aligned(scalar),
            place(rows, columns),
            loops(down, across),
        );
        self.helpers.insert(store.clone(), helper);
        format!("{store}({}, {}, {})", self.rewritten(value), self.rewritten(first), self.rewritten(stride))
    }

    /// A call that multiplies two matrices and adds a third.
    fn multiply_add(&mut self, arguments: &str) -> String {
        let values = arguments_of::<3>(arguments);
        let [left, right, sum] = ["A", "B", "C"].map(|role| self.of_role(role));
        let side = sum.side;
        assert!(left.side == side && right.side == side, "{:?}", self.matrices);
        let [left, right, sums] = [&left, &right, &sum].map(|matrix| self.declared(matrix));
        let [down, across] = self.parts(side);
        let quarters = side / 4;
        let dot = |k| {
            let [left_at, right_at] =
                [("a", "i"), ("b", "j")].map(|(begin, i)| format!("{begin} + {i} * {quarters}u + {k}u"));
            format!("dot({left}_parts[{left_at}], {right}_parts[{right_at}])")
        };
        let dots: Vec<_> = (0..quarters).map(dot).collect();
        let helper = format!(
            "fn emulated_multiply_add(left: {left}, right: {right}, added: {sums}) -> {sums} {{
    let a = {left}_begin(left);
    let b = {right}_begin(right);
    let from_added = {sums}_begin(added);
    let sum = {sums}_next();
    let begin = {sums}_begin(sum);
    {}
        let at = i * {across}u + j;
        {sums}_parts[begin + at] = {sums}_parts[from_added + at] + {}({});
    }} }}
    return sum;
}}\n",
            loops(down, across),
            sum.scalar,
            dots.join(" + "),
        );
        self.helpers.insert("emulated_multiply_add".into(), helper);
        format!("emulated_multiply_add({})", values.map(|value| self.rewritten(value)).join(", "))
    }

    /// The text with an entry point that is told nothing of subgroups, and finds out itself.
    fn with_entry(&self, text: &str) -> String {
        let (head, rest) = text.split_once("@compute").expect("an entry point");
        assert!(!rest.contains("@compute"), "two entry points are not known");
        let (attributes, rest) = rest.split_once("fn ").expect("a function");
        let threads = attributes.trim().strip_prefix("@workgroup_size").map(|size| enclosed(size, '(', ')'));
        let threads = threads.filter(|size| !size.contains(',')).expect("a workgroup of one dimension");
        let (name, rest) = rest.split_once('(').expect("parameters");
        let (parameters, body) = rest.split_once('{').expect("a body");
        let parameters = parameters.trim_end().strip_suffix(')').expect("a function without result");
        let size = self.subgroups.size;
        let [thread, subgroup] = match self.subgroups.interleaved {
            false => [format!("emulated_local % {size}u"), format!("emulated_local / {size}u")],
            true => ["emulated_local / emulated_subgroups", "emulated_local % emulated_subgroups"].map(String::from),
        };
        let (mut kept, mut found) = (Vec::new(), String::new());
        for parameter in arguments_in(parameters) {
            let value = [
                ("subgroup_id", subgroup.as_str()),
                ("subgroup_invocation_id", "emulated_thread"),
                ("num_subgroups", "emulated_subgroups"),
                ("subgroup_size", &format!("{size}u")),
                ("local_invocation_index", "emulated_local"),
            ];
            let of = |(builtin, value): (&str, &str)| {
                let declared = parameter.strip_prefix(&format!("@builtin({builtin})"))?;
                Some(format!("let {} = {value};\n", declared.trim()))
            };
            match value.into_iter().find_map(of) {
                Some(value) => found += &value,
                None => kept.push(parameter),
            }
        }
        kept.push("@builtin(local_invocation_index) emulated_local: u32");
        format!(
            "{head}
const emulated_subgroups: u32 = {threads} / {size}u;
const_assert emulated_subgroups * {size}u == {threads};
@compute{attributes}fn {name}({}) {{
    emulated_thread = {thread};
    if emulated_local == 0u {{
        atomicStore(&emulated_fault, 0u);
        emulated_shared_zero = 0u;
    }}
    workgroupBarrier();
    emulated_zero = emulated_shared_zero;
    {found}{body}",
            kept.join(", "),
        )
    }

    /// What the rewritten text calls.
    fn helpers(&self) -> String {
        let fixed = "
var<private> emulated_thread: u32;
var<private> emulated_nan_bits: u32 = 0x7fc00000u;
var<private> emulated_zero: u32;
var<workgroup> emulated_shared_zero: u32;
var<workgroup> emulated_fault: atomic<u32>;
fn emulated_nan() -> f32 { return bitcast<f32>(emulated_nan_bits); }
";
        self.helpers.values().fold(fixed.to_string(), |text, helper| text + helper)
    }
}

/// A fault unless the first element and the stride are multiples of 16 bytes.
fn aligned(scalar: &str) -> String {
    let elements = if scalar == "f16" { 8 } else { 4 };
    format!("if (first | stride) % {elements}u != 0u {{ atomicStore(&emulated_fault, 1u); }}")
}

/// The first row and column of a thread, of this many threads along the rows and along the columns.
fn place(rows: u32, columns: u32) -> String {
    format!("let column = emulated_thread % {columns}u; let row = emulated_thread / {columns}u % {rows}u;")
}

/// The heads of two loops of these lengths, over i and j. Compilers do not see the lengths, so they do not unroll: loops of
/// the kernel's own are around it.
fn loops(outer: u32, inner: u32) -> String {
    let head = |i, count| format!("for (var {i} = 0u; {i} < {count}u + emulated_zero; {i}++) {{");
    format!("{} {}", head("i", outer), head("j", inner))
}

/// The array that `var<SPACE> NAME: array<SCALAR>` or `array<SCALAR, LENGTH>` declares, at the end of a statement. Scalars
/// are found by their names.
fn array(statement: &str, scalars: &BTreeMap<&str, &str>) -> Option<(String, Array)> {
    let declared = &statement[statement.find("var<")?..];
    let space = enclosed(&declared[3..], '<', '>');
    let (name, of) = declared[5 + space.len()..].split_once(": array")?;
    let (scalar, length) = match *arguments_in(enclosed(of, '<', '>')) {
        [scalar] => (scalar, format!("arrayLength(&{})", name.trim())),
        [scalar, length] => (scalar, format!("({length})")),
        _ => return None,
    };
    Some((name.trim().into(), Array { scalar: scalars.get(scalar)?.to_string(), length }))
}

/// Name and index of `&NAME[INDEX]`.
fn element(pointer: &str) -> (&str, &str) {
    let parts = || pointer.strip_prefix('&')?.strip_suffix(']')?.split_once('[');
    let (name, index) = parts().unwrap_or_else(|| panic!("{pointer} is no element of an array"));
    assert_eq!(enclosed(&pointer[1 + name.len()..], '[', ']'), index, "{pointer} is no element of an array");
    (name, index)
}

/// Words and where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(is_word)?;
        at = text[start..].find(|c| !is_word(c)).map_or(text.len(), |length| start + length);
        Some((start, &text[start..at]))
    })
}

/// What is between the mark that the text begins with and the one that closes it.
fn enclosed(text: &str, open: char, close: char) -> &str {
    assert!(text.starts_with(open), "no {open} begins {}", text.lines().next().unwrap_or_default());
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        depth += i32::from(c == open) - i32::from(c == close);
        if depth == 0 {
            return &text[1..at];
        }
    }
    panic!("{open} is not closed in {text}")
}

/// Arguments or parameters, at the commas that nothing encloses.
fn arguments_in(text: &str) -> Vec<&str> {
    let (mut arguments, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '<' | '{' => depth += 1,
            ')' | ']' | '>' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    arguments.push(text[start..].trim());
    // A comma may come after the last one.
    arguments.retain(|argument| !argument.is_empty());
    arguments
}

/// As many arguments as a function takes.
fn arguments_of<const N: usize>(text: &str) -> [&str; N] {
    arguments_in(text).try_into().unwrap_or_else(|_| panic!("{N} arguments, not {text}"))
}
