//! Puts the WGSL of a kernel together from the files under `shaders/`, as a [`Recipe`] says.
//!
//! # How a file declares what it uses
//!
//! | line in a file | meaning |
//! |---|---|
//! | `#import common/turns` | all of `shaders/common/turns.wgsl`, once per program, names as they are |
//! | `#import direct/path as hh` | an *instance*: every name of that file gets the instance's name in front |
//! | `#import direct/window as self` | a *part*: the file's names belong to the importing file, as if written there |
//!
//! The name in front takes the case of the name after it: in the instance `hh`, `accumulate` is `hh_accumulate`,
//! `LEVEL` is `HH_LEVEL` and `Window` is `HhWindow`. The importing file uses these names. An instance inside of an
//! instance has both names: if `direct/path` has `#import tensors/input as source`, then `hh` has the instance
//! `hh_source`, and `direct/path` still uses `source_load`. A plain import is shared, even if it is inside of an
//! instance. Use a part if two files share constants that differ between instances: both import a third file `as self`.
//!
//! What several files of a family use (`Shape`, the variable `shape`, tile sizes) is in a file that all of them import
//! plainly. The root file imports the rest. Imports must not form a cycle.
//!
//! # What the host chooses
//!
//! Constants and aliases have a default, so that each file can be validated by itself. A recipe replaces values, files
//! and instances by name:
//!
//! ```ignore
//! Recipe::new("direct/direct")
//!     .constant("WORKGROUP", 64)               // const WORKGROUP: u32 = 64u; of the root or of a plain import
//!     .flag("MASKED", true)                    // const MASKED: bool = true;
//!     .alias("Factor", "f16")                  // alias Factor = f16;
//!     .constant_in("hh", "LEVEL", 1)           // in the instance hh: HH_LEVEL
//!     .file("hl", "direct/path_absent")        // another file behind the instance hl
//!     .file("common/lanes", "common/lanes_1")  // another file wherever common/lanes is imported
//!     .same("hh_source", "x0")                 // hh_source is the instance x0,
//!     .file("x0", "tensors/input_pairs")       // which no file needs to import
//!     .binding_in("x0", "elements", Access::Read)
//! ```
//!
//! Bindings are numbered in the order in which the recipe lists them, from 1 on. Binding 0 is the uniform `shape`. The
//! numbers in the files are only there for editors. A storage texture gets the format that its binding has. For tensors and weights, `tensors.rs` has one call each:
//! [`Recipe::input`], [`Recipe::output`], [`Recipe::weights`] and so on set file, types and binding together.
//!
//! Planning assembles no text: a recipe has only static strings and numbers, and is the key under which pipelines are
//! shared. A name that does not exist is an [`AssembleError`], which tests find.
//!
//! # Checking files
//!
//! `cargo run --all-features --example shaders -- check shaders/direct/path.wgsl` validates a file by itself, and names
//! the line of an error. Without a file, it checks all files. So does a test.
//!
//! # Rules for files
//!
//! - A local variable or parameter must not have the name of a module-scope declaration of its file, or of an instance
//!   that the file imports.
//! - The case of a module-scope name says what it is: `LIKE_THIS` constants, `LikeThis` types, `like_this` the rest.
//! - `enable`, `requires` and `diagnostic` lines are in the file that needs them. They are moved to the top, once each.
//!   If only a replaced alias uses `f16`, `enable f16;` is added.
//! - Comments, blank lines, and declarations that no entry point needs are left out. Bindings stay.

mod aliases;
mod alone;
mod assemble;
mod error;
mod files;
mod module;
mod recipe;
mod tensors;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use aliases::without_aliases;
pub use alone::{Alone, Place, Wrong};
pub(crate) use assemble::assemble;
pub(crate) use recipe::Recipe;
pub(crate) use tensors::{Form, INPUTS};
