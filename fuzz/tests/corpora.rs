//! Runs every fuzz target with the files of its corpus, and with each file changed in a few places.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use octconv_fuzz::{TARGETS, Target};
use rayon::prelude::*;

/// How often each file is changed.
const CHANGES: u64 = 16;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names in a folder, without those that begin with a dot.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn every_target_has_its_files() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(targets.len(), TARGETS.len());
    assert_eq!(names(&folder("corpus")), targets);
    let programs: BTreeSet<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&folder("libfuzzer/fuzz_targets")), programs);
    let manifest = fs::read_to_string(folder("libfuzzer/Cargo.toml")).unwrap();
    for name in &targets {
        let program = fs::read_to_string(folder("libfuzzer/fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(program.contains(&format!("octconv_fuzz::{name}(data)")), "{program}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        assert!(!names(&folder("corpus").join(name)).is_empty(), "the corpus of {name} is empty");
    }
}

#[test]
fn corpora() {
    let seeds: Vec<_> = TARGETS
        .iter()
        .flat_map(|&(name, target)| {
            let corpus = folder("corpus").join(name);
            names(&corpus).into_iter().map(move |seed| (target, corpus.join(seed)))
        })
        .collect();
    let fails = |target: Target, bytes: &[u8]| catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err();
    let failed: Vec<String> = seeds
        .into_par_iter()
        .flat_map_iter(|(target, path)| {
            let seed = fs::read(&path).unwrap();
            let changed = (0..CHANGES).map(|number| changed(&seed, number));
            let inputs = std::iter::once(seed.clone()).chain(changed);
            let failed = inputs.filter(|bytes| fails(target, bytes));
            failed.map(|bytes| format!("{}: \"{}\"", path.display(), bytes.escape_ascii())).collect::<Vec<_>>()
        })
        .collect();
    assert!(
        failed.is_empty(),
        "panics above come from these bytes, which are or were made from\n{}",
        failed.join("\n")
    );
}

/// The bytes with up to four changes, which `number` decides.
fn changed(seed: &[u8], number: u64) -> Vec<u8> {
    let mut random = Random(number << 32 | seed.len() as u64);
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(8)).min(bytes.len());
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at.min(end)..end)),
            2 => bytes.extend_from_within(at.min(end)..end),
            3 => bytes.insert(at, random.below(255) as u8),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(7)),
        }
    }
    bytes
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// From 0 to `most`.
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % (most as u64 + 1)) as usize
    }
}
