//! Makes the text of a kernel from its recipe.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::LazyLock;

use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};

use super::error::AssembleError;
use super::files::FILES;
use super::module::{Item, ItemKind, Library, Module};
use super::recipe::{New, Recipe, Value};
use super::tokens::Scope;
use crate::kernels::access::Access;

static SHADERS: LazyLock<Library> = LazyLock::new(|| Library::new(FILES));

/// The WGSL of a kernel.
pub(crate) fn assemble(recipe: &Recipe) -> Result<String, AssembleError> {
    Ok(Assembler::new(&SHADERS, recipe, false).program()?.text)
}

/// The same, with a test's own files.
#[cfg(test)]
pub(super) fn assemble_from(library: &Library, recipe: &Recipe) -> Result<String, AssembleError> {
    Ok(Assembler::new(library, recipe, false).program()?.text)
}

/// The WGSL of a file with its default constants. Bindings are numbered in the order in which they are declared.
#[cfg(test)]
pub(crate) fn assemble_alone(file: &'static str) -> Result<String, AssembleError> {
    Ok(program_alone(&SHADERS, file)?.text)
}

/// The same, with other files, and with the places that tokens come from.
pub(super) fn program_alone(library: &Library, file: &'static str) -> Result<Program, AssembleError> {
    Assembler::new(library, &Recipe::new(file), true).program()
}

/// A text, and the places that its tokens come from.
pub(super) struct Program {
    pub(super) text: String,
    /// In the order of the text.
    pub(super) places: Vec<Place>,
}

/// Where a token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where it begins in the text, in bytes.
    pub(super) at: usize,
    pub(super) file: &'static str,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A declaration of the program. Its text is only made at the end, because most declarations are left out.
struct Declaration<'a> {
    name: Rc<str>,
    file: &'static str,
    item: &'a Item,
    names: Rc<Names>,
    /// The binding's number, if it is a storage buffer or a texture.
    number: Option<usize>,
    /// How the recipe binds it.
    access: Option<Access>,
    /// What the recipe puts in place of its value.
    new: Option<New>,
}

/// From names within a file to names in the program, if these differ.
type Names = HashMap<Cow<'static, str>, Rc<str>>;

impl Program {
    /// Appends the text of a declaration, with the names and the number of the binding that it has in the program.
    fn push(&mut self, declaration: &Declaration) {
        let Declaration { name, file, item, names, number, access, new } = declaration;
        let text = &mut self.text;
        let mut line = item.tokens.first().map_or(0, |token| token.line);
        for (i, token) in item.tokens.iter().enumerate() {
            if token.line != line {
                line = token.line;
                text.push('\n');
            }
            if i > 0 {
                text.push_str(token.space);
            }
            self.places.push(Place { at: text.len(), file, line, column: token.column });
            if let Some(new) = new {
                text.push_str(&match new {
                    New::Constant(value) => format!("const {name}: u32 = {value}u;"),
                    New::Flag(value) => format!("const {name}: bool = {value};"),
                    New::Alias(wgsl) => format!("alias {name} = {wgsl};"),
                });
                break;
            }
            let is_number = i >= 2 && item.tokens[i - 1].is("(") && item.tokens[i - 2].is("binding");
            match (number, access) {
                (Some(number), _) if is_number => text.push_str(&number.to_string()),
                // No other word of such a declaration is this one: nothing may be named like an access.
                (_, Some(Access::Shared)) if token.is("read") => text.push_str("read_write"),
                (_, Some(Access::StorageTexture(format))) if i > 0 && item.tokens[i - 1].is("<") => {
                    text.push_str(format.wgsl());
                }
                _ if item.names[i] => text.push_str(names.get(token.text).map_or(token.text, |name| name)),
                _ => text.push_str(token.text),
            }
        }
        text.push('\n');
    }
}

impl<'a> Declaration<'a> {
    /// The names that it uses, as they are in the program.
    fn uses(&self) -> impl Iterator<Item = &str> {
        let (of_item, of_alias) = match self.new {
            None => (self.item.uses.as_slice(), ""),
            Some(New::Alias(wgsl)) => (&[] as &[_], wgsl),
            Some(New::Constant(_) | New::Flag(_)) => (&[] as &[_], ""),
        };
        let own = of_item.iter().map(|&name| self.names.get(name).map_or(name, |name| name));
        own.chain(of_alias.split(|c: char| !c.is_alphanumeric() && c != '_'))
    }

    fn is_directive(&self, text: &str) -> bool {
        let words = self.item.tokens.iter().map(|token| token.text);
        self.item.kind == ItemKind::Directive && words.eq(text.split(' '))
    }
}

struct Assembler<'a> {
    library: &'a Library,
    recipe: &'a Recipe,
    /// The recipe lists no bindings: they are numbered in the order in which they are declared.
    numbers_itself: bool,
    directives: Vec<Declaration<'a>>,
    declarations: Vec<Declaration<'a>>,
    /// Files that are being added: each imports the next.
    stack: Vec<&'static str>,
    /// Files that have been added, each with the instance to which it was added.
    added: HashSet<(&'static str, String)>,
    /// The file behind each instance.
    instances: HashMap<String, &'static str>,
    /// Names from [`Recipe::same`] and [`Recipe::file`] that have been found in files.
    used: HashSet<&'static str>,
    used_values: HashSet<usize>,
    used_bindings: HashSet<usize>,
}

impl<'a> Assembler<'a> {
    fn new(library: &'a Library, recipe: &'a Recipe, numbers_itself: bool) -> Self {
        Self {
            library,
            recipe,
            numbers_itself,
            directives: Vec::new(),
            declarations: Vec::new(),
            stack: Vec::new(),
            added: HashSet::default(),
            instances: HashMap::default(),
            used: HashSet::default(),
            used_values: HashSet::default(),
            used_bindings: HashSet::default(),
        }
    }

    fn program(mut self) -> Result<Program, AssembleError> {
        self.check_given_once()?;
        self.add(self.library.module(self.recipe.root, "the host")?, "")?;
        self.check_all_used()?;
        self.check_no_clash()?;
        let kept = self.reachable();
        let kept = self.declarations.iter().zip(kept).filter(|(_, kept)| *kept).map(|(declaration, _)| declaration);
        let kept: Vec<_> = kept.collect();
        let mut program = Program { text: String::new(), places: Vec::new() };
        let (f16, others): (Vec<_>, Vec<_>) =
            self.directives.iter().partition(|directive| directive.is_directive("enable f16 ;"));
        // A file that uses f16 has its own `enable`. An alias that the recipe replaces cannot have one.
        if f16.is_empty() && kept.iter().any(|declaration| declaration.uses().any(|name| name == "f16")) {
            program.text.push_str("enable f16;\n");
        }
        for part in f16.into_iter().chain(others).chain(kept) {
            program.push(part);
        }
        Ok(program)
    }

    /// Adds a file to an instance, after all that it imports. If the name of the instance is empty, adds the file
    /// without an instance.
    fn add(&mut self, module: &'a Module, instance: &str) -> Result<(), AssembleError> {
        let file = module.file;
        if self.stack.contains(&file) {
            return Err(AssembleError::Cycle { file });
        }
        if !self.added.insert((file, instance.into())) {
            return Ok(());
        }
        self.stack.push(file);
        let mut names = Names::default();
        for import in &module.imports {
            match import.scope {
                Scope::Shared => {
                    let shared = self.replaced(import.file, file)?;
                    self.add(shared, "")?;
                }
                Scope::Part => {
                    let part = self.replaced(import.file, file)?;
                    self.add(part, instance)?;
                }
                Scope::Instance(name) => {
                    let (whole, imported) = self.instance(instance, name, import.file, file)?;
                    for own in self.exports(imported, 0)? {
                        names.insert(prefixed(name, own).into(), prefixed(&whole, own).into());
                    }
                    self.add(imported, &whole)?;
                }
            }
        }
        self.stack.pop();
        for own in self.exports(module, 0)? {
            names.insert(own.into(), prefixed(instance, own).into());
        }
        let names = Rc::new(names);
        for item in &module.items {
            if let Some(local) = item.locals.iter().find(|local| names.contains_key(local.text)) {
                return Err(AssembleError::LocalName { file, line: local.line, name: local.text.into() });
            }
            self.declare(file, instance, item, &names)?;
        }
        Ok(())
    }

    /// A file, or the file that the recipe puts in its place.
    fn replaced(&mut self, file: &'static str, by: &str) -> Result<&'a Module, AssembleError> {
        let replacement = self.replacement(file);
        self.library.module(replacement.unwrap_or(file), by)
    }

    fn replacement(&mut self, what: &str) -> Option<&'static str> {
        let &(what, file) = self.recipe.files.iter().find(|(name, _)| *name == what)?;
        self.used.insert(what);
        Some(file)
    }

    /// The name in the program, and the file, of an instance. A file of the instance `outer` imports `file` as `name`.
    fn instance(
        &mut self,
        outer: &str,
        name: &str,
        file: &'static str,
        by: &str,
    ) -> Result<(String, &'a Module), AssembleError> {
        let mut whole = if outer.is_empty() { name.into() } else { format!("{outer}_{name}") };
        // As many steps as there are entries, so that this ends even if entries of `same` form a cycle.
        for _ in 0..=self.recipe.same.len() {
            let Some(&(one, other)) = self.recipe.same.iter().find(|(one, _)| *one == whole) else { break };
            self.used.insert(one);
            whole = other.into();
        }
        let replacement = self.replacement(&whole);
        let module = match replacement {
            Some(file) => self.library.module(file, "the host")?,
            None => self.replaced(file, by)?,
        };
        let first = *self.instances.entry(whole.clone()).or_insert(module.file);
        if first != module.file {
            return Err(AssembleError::TwoFiles { instance: whole, first, second: module.file });
        }
        Ok((whole, module))
    }

    /// The names that a file and its parts declare.
    fn exports(&mut self, module: &'a Module, depth: usize) -> Result<Vec<&'static str>, AssembleError> {
        if depth > self.library.len() {
            return Err(AssembleError::Cycle { file: module.file });
        }
        let mut names: Vec<_> = module.items.iter().map(|item| item.name).filter(|name| !name.is_empty()).collect();
        for import in module.imports.iter().filter(|import| import.scope == Scope::Part) {
            let part = self.replaced(import.file, module.file)?;
            names.extend(self.exports(part, depth + 1)?);
        }
        Ok(names)
    }

    fn declare(
        &mut self,
        file: &'static str,
        instance: &str,
        item: &'a Item,
        names: &Rc<Names>,
    ) -> Result<(), AssembleError> {
        let name: Rc<str> = names.get(item.name).cloned().unwrap_or_default();
        let number = match item.kind {
            ItemKind::Storage(_) | ItemKind::Texture(_) if self.numbers_itself => {
                self.used_bindings.insert(self.used_bindings.len());
                Some(self.used_bindings.len())
            }
            ItemKind::Storage(_) | ItemKind::Texture(_) => Some(self.number(file, instance, item, &name)?),
            _ => None,
        };
        let access = number.and_then(|number| self.recipe.bindings.get(number - 1)).map(|binding| binding.access);
        let new = self.new_value(instance, item);
        let declaration = Declaration { name, file, item, names: names.clone(), number, access, new };
        let same =
            |other: &Declaration| other.item.tokens.iter().map(|t| t.text).eq(item.tokens.iter().map(|t| t.text));
        if item.kind != ItemKind::Directive {
            self.declarations.push(declaration);
        } else if !self.directives.iter().any(same) {
            self.directives.push(declaration);
        }
        Ok(())
    }

    /// The number of a storage buffer or a texture.
    fn number(&mut self, file: &'static str, instance: &str, item: &Item, name: &str) -> Result<usize, AssembleError> {
        let (root, name) = (self.recipe.root, name.to_string());
        let mut bindings = self.recipe.bindings.iter();
        let Some(place) = bindings.position(|b| b.instance == instance && b.name == item.name) else {
            return Err(AssembleError::UnlistedBinding { root, file, name });
        };
        let fits = match self.recipe.bindings[place].access {
            Access::Read | Access::Shared => item.kind == ItemKind::Storage(false),
            Access::Write => item.kind == ItemKind::Storage(true),
            Access::Texture => item.kind == ItemKind::Texture(false),
            Access::StorageTexture(_) => item.kind == ItemKind::Texture(true),
        };
        if !fits {
            return Err(AssembleError::OtherAccess { root, file, name });
        }
        self.used_bindings.insert(place);
        Ok(place + 1)
    }

    /// The value that the recipe puts in place of a declaration's own, if it is of the same kind.
    fn new_value(&mut self, instance: &str, item: &Item) -> Option<New> {
        let declares = |value: &Value| {
            let typed = |wgsl: &str| {
                let mut behind = item.tokens.iter().skip_while(|token| !token.is(":")).skip(1);
                item.kind == ItemKind::Constant && behind.next().is_some_and(|token| token.is(wgsl))
            };
            value.instance == instance
                && value.name == item.name
                && match value.new {
                    New::Constant(_) => typed("u32"),
                    New::Flag(_) => typed("bool"),
                    New::Alias(_) => item.kind == ItemKind::Alias,
                }
        };
        let place = self.recipe.values.iter().position(declares)?;
        self.used_values.insert(place);
        Some(self.recipe.values[place].new)
    }

    fn check_given_once(&self) -> Result<(), AssembleError> {
        let values = self.recipe.values.iter().map(|value| (value.instance, value.name));
        let bindings = self.recipe.bindings.iter().map(|binding| (binding.instance, binding.name));
        let files = self.recipe.files.iter().map(|(what, _)| ("", *what));
        let same = self.recipe.same.iter().map(|(what, _)| ("", *what));
        let twice = [values.collect::<Vec<_>>(), bindings.collect(), files.collect(), same.collect()];
        for list in twice {
            let mut seen = HashSet::default();
            if let Some((instance, name)) = list.into_iter().find(|given| !seen.insert(*given)) {
                return Err(AssembleError::GivenTwice { root: self.recipe.root, name: prefixed(instance, name) });
            }
        }
        Ok(())
    }

    fn check_all_used(&self) -> Result<(), AssembleError> {
        let root = self.recipe.root;
        let mut names = self.recipe.files.iter().chain(&self.recipe.same).map(|(name, _)| *name);
        if let Some(name) = names.find(|name| !self.used.contains(name)) {
            return Err(AssembleError::NoInstance { root, name });
        }
        let unused = |used: &HashSet<usize>, all: usize| (0..all).find(|i| !used.contains(i));
        if let Some(i) = unused(&self.used_values, self.recipe.values.len()) {
            let Value { instance, name, new } = self.recipe.values[i];
            if !instance.is_empty() && !self.instances.contains_key(instance) {
                return Err(AssembleError::NoInstance { root, name: instance });
            }
            let kind = match new {
                New::Constant(_) => "constant of type u32",
                New::Flag(_) => "constant of type bool",
                New::Alias(_) => "alias",
            };
            return Err(AssembleError::NoValue { root, instance, kind, name });
        }
        if let Some(i) = unused(&self.used_bindings, self.recipe.bindings.len()) {
            let binding = self.recipe.bindings[i];
            return Err(AssembleError::NoBinding { root, name: prefixed(binding.instance, binding.name) });
        }
        Ok(())
    }

    fn check_no_clash(&self) -> Result<(), AssembleError> {
        let mut owners = HashMap::default();
        for Declaration { name, file, .. } in &self.declarations {
            if !name.is_empty()
                && let Some(first) = owners.insert(name, *file)
            {
                return Err(AssembleError::Clash { name: name.to_string(), first, second: file });
            }
        }
        Ok(())
    }

    /// For each declaration, whether an entry point, a binding or an assertion needs it. If there is no entry point,
    /// all are needed.
    fn reachable(&self) -> Vec<bool> {
        let places: HashMap<_, _> = self.declarations.iter().enumerate().map(|(i, d)| (&*d.name, i)).collect();
        let is_entry = |d: &Declaration| d.item.kind == ItemKind::Function(true);
        let all = !self.declarations.iter().any(is_entry);
        let is_bound =
            |d: &Declaration| matches!(d.item.kind, ItemKind::Uniform | ItemKind::Storage(_) | ItemKind::Texture(_));
        let is_root = |d: &Declaration| all || is_entry(d) || d.name.is_empty() || is_bound(d);
        let mut kept: Vec<_> = self.declarations.iter().map(is_root).collect();
        let mut open: Vec<_> = (0..kept.len()).filter(|&i| kept[i]).collect();
        while let Some(i) = open.pop() {
            for &place in self.declarations[i].uses().filter_map(|name| places.get(name)) {
                if !kept[place] {
                    kept[place] = true;
                    open.push(place);
                }
            }
        }
        kept
    }
}

/// The name in the program of a file's `name`, within an instance of the file.
fn prefixed(instance: &str, name: &str) -> String {
    if instance.is_empty() {
        return name.into();
    }
    let has = |kind: fn(&char) -> bool| name.chars().any(|c| kind(&c));
    if !has(|c| c.is_lowercase()) && has(|c| c.is_uppercase()) {
        return format!("{}_{name}", instance.to_uppercase());
    }
    if !name.starts_with(char::is_uppercase) {
        return format!("{instance}_{name}");
    }
    let mut pascal = String::new();
    for word in instance.split('_') {
        let mut chars = word.chars();
        pascal.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        pascal.push_str(chars.as_str());
    }
    pascal + name
}
