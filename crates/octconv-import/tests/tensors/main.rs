//! Files of tensors: what the programs write that others use, and what crafted files must not do.
//!
//! `tests/make_fixtures.py` writes the fixtures.

mod files;
mod hostile;
mod networks;
mod pickles;

use std::fs;
use std::path::{Path, PathBuf};

use octconv_import::tensors::{Error, Limits, Tensors, read};

/// The fixtures of a kind, or one of them.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(fixture(name)).unwrap()
}

fn read_bytes(bytes: &[u8]) -> Result<Tensors, Error> {
    read(bytes, Limits::default())
}

/// The message of the refusal of these bytes.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    read_bytes(bytes).unwrap_err().to_string()
}

/// The files of a folder of fixtures, without those that say what is expected.
fn files(kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(fixture(kind)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_none_or(|extension| extension != "safetensors"));
    files.sort();
    files
}
