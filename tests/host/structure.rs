//! Modules of the library form no cycle.
//!
//! A module is a file. It depends on what it names by `crate::`, `super::` and `self::` paths, and in `use`. A path leads
//! to the deepest module that has a file. A `mod.rs` is a module too: it depends on the children that it re-exports, not
//! on those that it only declares. `lib.rs` is left out, because it names all. So is what is compiled only for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};

/// The path of a module, without `crate`.
type Module = Vec<String>;

/// All modules that have a file, with its text.
fn files(folder: &Path, module: &[String], found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, &[module, &[stem]].concat(), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = match stem.as_str() {
                "mod" | "lib" => module.to_vec(),
                _ => [module, &[stem]].concat(),
            };
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn for_tests_alone(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let mut is = false;
        if attribute.path().is_ident("cfg") {
            // `test`, or `all(test, ...)`.
            let _ = attribute.parse_nested_meta(|meta| {
                is |= meta.path.is_ident("test");
                if meta.path.is_ident("all") || meta.path.is_ident("any") || meta.path.is_ident("not") {
                    let all = meta.path.is_ident("all");
                    return meta.parse_nested_meta(|meta| {
                        is |= all && meta.path.is_ident("test");
                        skip_value(&meta)
                    });
                }
                skip_value(&meta)
            });
        }
        is
    })
}

fn skip_value(meta: &syn::meta::ParseNestedMeta) -> syn::Result<()> {
    if meta.input.peek(syn::Token![=]) { meta.value()?.parse::<syn::Lit>().map(drop) } else { Ok(()) }
}

/// The paths that a file names, from the crate's root on.
struct Named<'a> {
    module: &'a [String],
    /// Modules inside the file.
    inside: Vec<String>,
    paths: Vec<Module>,
}

impl Named<'_> {
    fn add(&mut self, segments: &[String]) {
        let here = || [self.module, self.inside.as_slice()].concat();
        let mut base = match segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self") => here(),
            Some("super") => {
                let mut base = here();
                base.pop();
                base
            }
            // Another crate's path, or a relative one, as `use` of a child in a mod.rs has.
            Some(_) => [here().as_slice(), &segments[..1]].concat(),
            None => return,
        };
        for segment in &segments[1..] {
            if segment == "super" {
                base.pop();
            } else {
                base.push(segment.clone());
            }
        }
        self.paths.push(base);
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => self.add(before),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }
}

impl<'a> Visit<'a> for Named<'_> {
    fn visit_item(&mut self, item: &'a syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !for_tests_alone(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        self.inside.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.inside.pop();
    }

    /// `pub(in crate::plan)` says who may see something. It depends on nothing.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }
}

/// Each module's file, and the modules that it names.
fn graph() -> BTreeMap<Module, BTreeSet<Module>> {
    let mut texts = BTreeMap::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut texts);
    let edges = |module: &Module, text: &str| {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
        let mut named = Named { module, inside: Vec::new(), paths: Vec::new() };
        named.visit_file(&file);
        let deepest = |path: &Module| {
            let length = (1..=path.len()).rev().find(|&length| texts.contains_key(&path[..length]))?;
            Some(path[..length].to_vec())
        };
        named.paths.iter().filter_map(deepest).filter(|to| to != module).collect()
    };
    let library = |(module, _): &(&Module, &String)| !module.is_empty();
    texts.iter().filter(library).map(|(module, text)| (module.clone(), edges(module, text))).collect()
}

/// Modules that name each other in a circle. Circles that share a module count as one.
fn circles(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<Module>> {
    let reach = |from: &Module| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(module) = left.pop() {
            let next = graph.get(&module).into_iter().flatten().cloned();
            left.extend(next.filter(|next| seen.insert(next.clone())));
        }
        seen
    };
    let reached: BTreeMap<_, _> = graph.keys().map(|module| (module.clone(), reach(module))).collect();
    let mut circles: Vec<Vec<Module>> = Vec::new();
    for (module, reaches) in &reached {
        let circle: Vec<_> = reaches.iter().filter(|other| reached[*other].contains(module)).cloned().collect();
        if reaches.contains(module) && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

#[test]
fn modules_form_no_cycle() {
    let graph = graph();
    assert!(graph.len() > 60, "only {} modules", graph.len());
    let mut report = String::new();
    for circle in circles(&graph) {
        report += "modules that name each other:\n";
        for module in &circle {
            let named = graph[module].iter().filter(|to| circle.contains(to)).map(|to| to.join("::"));
            report += &format!("  {} names {}\n", module.join("::"), named.collect::<Vec<_>>().join(", "));
        }
    }
    assert!(report.is_empty(), "{report}");
}
