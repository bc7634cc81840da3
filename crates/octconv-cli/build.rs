//! Tells the program the commit that it is built from, for `octconv report`. A crate that is not built in its repository
//! has none.

use std::env;
use std::path::Path;
use std::process::Command;

/// What the program is built from.
const PARTS: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "crates/octconv-cli/Cargo.toml",
    "crates/octconv-cli/assets",
    "crates/octconv-cli/build.rs",
    "crates/octconv-cli/src",
    "crates/octconv-import/Cargo.toml",
    "crates/octconv-import/src",
    "shaders",
    "src",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Some(root) = git(&["rev-parse", "--show-toplevel"]) else { return };
    let own = Path::new(&root).join("crates/octconv-cli").canonicalize().ok();
    // Another repository may hold a copy of this crate.
    let this = env::var_os("CARGO_MANIFEST_DIR").and_then(|this| Path::new(&this).canonicalize().ok());
    if own.is_none() || own != this {
        return;
    }
    for path in PARTS {
        println!("cargo::rerun-if-changed={}", Path::new(&root).join(path).display());
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return };
    let status = ["-C", &root, "status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(&[&status[..], &PARTS].concat()).is_some_and(|files| !files.is_empty());
    println!("cargo::rustc-env=OCTCONV_COMMIT={commit}{}", if changed { " with changes" } else { "" });
}

/// What git prints; `None` if it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
