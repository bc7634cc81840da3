//! What can be wrong with a recipe or a file.

/// Why no source can be made from a recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssembleError {
    #[error("there is no shader file {file}, which {by} wants")]
    NoFile { file: String, by: String },
    #[error("{file}, line {line}: {what}")]
    Syntax { file: &'static str, line: u32, what: &'static str },
    #[error("{file}, line {line}: the local variable or parameter {name} has a module-scope name")]
    LocalName { file: &'static str, line: u32, name: String },
    #[error("{file} imports itself, directly or through others")]
    Cycle { file: &'static str },
    #[error("{first} and {second} both declare {name}")]
    Clash { name: String, first: &'static str, second: &'static str },
    #[error("the instance {instance} is {first} in one file and {second} in another")]
    TwoFiles { instance: String, first: &'static str, second: &'static str },
    #[error("{root}: no instance or import is called {name}")]
    NoInstance { root: &'static str, name: &'static str },
    #[error("{root}: no {kind} {name} in {}", if instance.is_empty() { "the program" } else { instance })]
    NoValue { root: &'static str, instance: &'static str, kind: &'static str, name: &'static str },
    #[error("{root}: {name} is given twice")]
    GivenTwice { root: &'static str, name: String },
    #[error("{root}: no file declares the binding {name}")]
    NoBinding { root: &'static str, name: String },
    #[error("{file}: the recipe of {root} does not list the binding {name}")]
    UnlistedBinding { root: &'static str, file: &'static str, name: String },
    #[error("{file}: {name} is read and written differently from what the recipe of {root} says")]
    OtherAccess { root: &'static str, file: &'static str, name: String },
}
