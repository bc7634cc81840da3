//! A file of `shaders/` as a list of its declarations at module scope.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::error::AssembleError;
use super::tokens::{Import, Kind, Token, tokens};

/// What a declaration at module scope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    Constant,
    Alias,
    /// A function; whether it is an entry point.
    Function(bool),
    Uniform,
    /// A storage buffer; whether it is written.
    Storage(bool),
    /// A texture; whether it is written.
    Texture(bool),
    /// `enable`, `requires` and `diagnostic`.
    Directive,
    /// `struct`, `override`, other variables and, without a name, `const_assert`.
    Other,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    /// Its name; empty if it has none.
    pub(super) name: &'static str,
    pub(super) tokens: Vec<Token>,
    /// For each token, whether it can be the name of a declaration at module scope.
    pub(super) names: Vec<bool>,
    /// The names among the tokens, each once.
    pub(super) uses: Vec<&'static str>,
    /// Names of local variables and parameters.
    pub(super) locals: Vec<Token>,
}

#[derive(Debug)]
pub(super) struct Module {
    pub(super) file: &'static str,
    pub(super) imports: Vec<Import>,
    pub(super) items: Vec<Item>,
}

/// Words with a meaning in `var<...>` and `ptr<...>`. Declarations must not have these names, because renaming would
/// change them there too.
const ADDRESS_SPACES: [&str; 8] =
    ["function", "private", "workgroup", "uniform", "storage", "read", "write", "read_write"];

/// Files by name. Each is parsed when it is first used.
pub(super) struct Library {
    files: HashMap<&'static str, (&'static str, Parsed)>,
}

type Parsed = OnceLock<Result<Module, AssembleError>>;

impl Library {
    pub(super) fn new(files: &[(&'static str, &'static str)]) -> Self {
        Self { files: files.iter().map(|&(name, text)| (name, (text, OnceLock::new()))).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// A file, which `by` wants.
    pub(super) fn module(&self, file: &str, by: &str) -> Result<&Module, AssembleError> {
        let Some((&name, (text, parsed))) = self.files.get_key_value(file) else {
            return Err(AssembleError::NoFile { file: file.into(), by: by.into() });
        };
        parsed.get_or_init(|| parse(name, text)).as_ref().map_err(Clone::clone)
    }
}

fn parse(file: &'static str, text: &'static str) -> Result<Module, AssembleError> {
    let (tokens, imports) = tokens(file, text)?;
    let mut items = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some(first) = rest.first() {
        let error = |what| AssembleError::Syntax { file, line: first.line, what };
        let (own, others) = rest.split_at(length(rest).ok_or(error("a declaration that does not end"))?);
        rest = others;
        if own.len() == 1 {
            continue; // A semicolon without a declaration, as after a struct.
        }
        items.push(item(own).map_err(error)?);
    }
    Ok(Module { file, imports, items })
}

/// Number of tokens of the first declaration, which ends with a semicolon or with its body.
fn length(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token.is(";") || token.is("}")) {
            return Some(i + 1);
        }
    }
    None
}

/// The index after the bracket that closes the one at `open`.
fn behind(tokens: &[Token], open: usize, [opening, closing]: [&str; 2]) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        depth += i32::from(token.is(opening)) - i32::from(token.is(closing));
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

fn item(tokens: &[Token]) -> Result<Item, &'static str> {
    let is = |i: usize, text: &str| tokens.get(i).is_some_and(|token| token.is(text));
    // Attributes, then the keyword.
    let mut at = 0;
    let mut entry = false;
    while is(at, "@") {
        entry |= is(at + 1, "compute");
        at += 2;
        if is(at, "(") {
            at = behind(tokens, at, ["(", ")"]);
        }
    }
    let keyword = tokens.get(at).map_or("", |token| token.text);
    let mut name_at = at + 1;
    if is(name_at, "<") {
        name_at = behind(tokens, name_at, ["<", ">"]);
    }
    let template = |text: &str| tokens[at..name_at].iter().any(|token| token.is(text));
    let kind = match keyword {
        "const" => ItemKind::Constant,
        "alias" => ItemKind::Alias,
        "fn" => ItemKind::Function(entry),
        "var" if template("uniform") => ItemKind::Uniform,
        "var" if template("storage") => ItemKind::Storage(template("read_write")),
        "var" if tokens[..at].iter().any(|token| token.is("binding")) => {
            ItemKind::Texture(tokens.iter().any(|token| token.is("texture_storage_2d")))
        }
        "enable" | "requires" | "diagnostic" => ItemKind::Directive,
        "struct" | "override" | "var" | "const_assert" => ItemKind::Other,
        _ => return Err("no declaration that the assembler knows"),
    };
    let named = kind != ItemKind::Directive && keyword != "const_assert";
    let name = if named { tokens.get(name_at).map_or("", |token| token.text) } else { "" };
    if ADDRESS_SPACES.contains(&name) {
        return Err("a declaration with the name of an address space or access mode");
    }
    let names = (0..tokens.len()).map(|i| {
        let before = |k: usize, text: &str| i >= k && tokens[i - k].is(text);
        let member = before(1, ".") || (keyword == "struct" && is(i + 1, ":"));
        let attribute = before(1, "@") || (before(1, "(") && before(2, "builtin") && before(3, "@"));
        tokens[i].kind == Kind::Word && kind != ItemKind::Directive && !member && !attribute
    });
    let names: Vec<_> = names.collect();
    let mut uses: Vec<_> =
        tokens.iter().zip(&names).filter(|(_, is_name)| **is_name).map(|(token, _)| token.text).collect();
    uses.sort_unstable();
    uses.dedup();
    let mut locals = Vec::new();
    if matches!(kind, ItemKind::Function(_)) {
        let body = behind(tokens, name_at + 1, ["(", ")"]);
        for i in name_at + 1..tokens.len() {
            let parameter = i < body && is(i + 1, ":");
            if parameter {
                locals.push(tokens[i]);
            }
            if ["let", "var", "const"].iter().any(|keyword| is(i, keyword)) {
                let at = if is(i + 1, "<") { behind(tokens, i + 1, ["<", ">"]) } else { i + 1 };
                locals.extend(tokens.get(at));
            }
        }
    }
    Ok(Item { kind, name, names, uses, tokens: tokens.to_vec(), locals })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_declarations() {
        let module = parse(
            "test",
            "enable f16;
            diagnostic(off, derivative_uniformity);
            const A: u32 = 1u;
            alias B = array<f32, A>;
            struct C { a: u32, @size(16) b: B, };
            override d: f32 = 1.0;
            const_assert A == 1u;
            var<workgroup> e: array<C, A>;
            @group(0) @binding(0) var<uniform> shape: C;
            @group(0) @binding(1) var<storage, read> f: array<f32>;
            @group(0) @binding(2) var<storage, read_write> g: array<f32>;
            @group(0) @binding(3) var r: texture_2d<f32>;
            @group(0) @binding(4) var s: texture_storage_2d<rgba8unorm, write>;
            fn h(i: u32, c: C) -> f32 { var j = 1; for (var k = 0; k < j; k++) { let l = c.a; } return f[i]; }
            @compute @workgroup_size(A, 1) fn main(@builtin(workgroup_id) id: vec3<u32>) { var<function> m: u32; }",
        )
        .unwrap();
        let found: Vec<_> = module.items.iter().map(|item| (item.name, item.kind)).collect();
        use ItemKind::*;
        let wanted = [
            ("", Directive),
            ("", Directive),
            ("A", Constant),
            ("B", Alias),
            ("C", Other),
            ("d", Other),
            ("", Other),
            ("e", Other),
            ("shape", Uniform),
            ("f", Storage(false)),
            ("g", Storage(true)),
            ("r", Texture(false)),
            ("s", Texture(true)),
            ("h", Function(false)),
            ("main", Function(true)),
        ];
        assert_eq!(found, wanted);
        let locals = |i: usize| module.items[i].locals.iter().map(|token| token.text).collect::<Vec<_>>();
        assert_eq!(locals(13), ["i", "c", "j", "k", "l"]);
        assert_eq!(locals(14), ["id", "m"]);
    }

    #[test]
    fn tells_names_from_members_and_attributes() {
        let module =
            parse("test", "struct A { a: B, } @compute fn f(@builtin(b) c: A) { c.d = e(c.f[g].h); }").unwrap();
        let names = |item: &Item| -> Vec<_> {
            item.tokens.iter().zip(&item.names).filter(|(_, name)| **name).map(|(token, _)| token.text).collect()
        };
        assert_eq!(names(&module.items[0]), ["struct", "A", "B"]);
        assert_eq!(names(&module.items[1]), ["fn", "f", "c", "A", "c", "e", "c", "g"]);
    }

    #[test]
    fn refuses() {
        let what = |text| match parse("test", text) {
            Err(AssembleError::Syntax { what, line, .. }) => (line, what),
            other => panic!("{other:?}"),
        };
        assert_eq!(what("\nfn f() {"), (2, "a declaration that does not end"));
        assert_eq!(what("let a = 1;"), (1, "no declaration that the assembler knows"));
        assert_eq!(what("fn read() {}"), (1, "a declaration with the name of an address space or access mode"));
    }
}
