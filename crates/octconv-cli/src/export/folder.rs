//! The folder of a bundle: never one that is half written, and never in place of anything else.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use octconv::export::{Bundle, Manifest};

use crate::limits::Limits;
use crate::output::{shown, shown_path};
use crate::target::without_interruption;

/// A folder that a bundle will be written to.
pub struct Folder {
    path: PathBuf,
    limits: Limits,
}

impl Folder {
    /// Refuses a folder that cannot be written, or that has anything but a bundle.
    pub fn new(path: &Path, limits: Limits) -> Result<Self> {
        // The folder that a link leads to is replaced, and the link stays.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let folder = Self { path, limits };
        folder.check()?;
        Ok(folder)
    }

    /// Writes the files into a new folder beside it, which then takes its place. A program that is killed just then may leave
    /// no folder, and the old bundle in a temporary one.
    pub fn write(&self, bundle: &Bundle) -> Result<()> {
        // Something else may have come to be there.
        self.check()?;
        without_interruption(|| self.replace(bundle)).with_context(|| self.writing())
    }

    fn writing(&self) -> String {
        format!("writing {}", shown_path(&self.path))
    }

    fn beside(&self) -> PathBuf {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }

    fn replace(&self, bundle: &Bundle) -> Result<()> {
        let room = tempfile::Builder::new().prefix(".octconv-").tempdir_in(self.beside())?;
        let [new, old] = ["new", "old"].map(|name| room.path().join(name));
        fs::create_dir(&new)?;
        for (path, bytes) in bundle.files() {
            let file = new.join(path);
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&file, bytes)?;
        }
        let is_there = self.path.exists();
        if is_there {
            fs::rename(&self.path, &old)?;
        }
        if let Err(error) = fs::rename(&new, &self.path) {
            if is_there && let Err(back) = fs::rename(&old, &self.path) {
                // It is removed otherwise.
                let kept = room.keep().join("old");
                return Err(error)
                    .with_context(|| format!("the bundle that was there is now {} ({back})", shown_path(&kept)));
            }
            return Err(error.into());
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.refusal().with_context(|| self.writing())
    }

    fn refusal(&self) -> Result<()> {
        let beside = self.beside();
        ensure!(beside.is_dir(), "there is no folder {}", shown_path(&beside));
        // It must take a new folder. This one does not stay.
        tempfile::tempdir_in(&beside)?;
        if !self.path.exists() {
            return Ok(());
        }
        ensure!(self.path.is_dir(), "it is a file: name a folder");
        if fs::read_dir(&self.path)?.next().is_none() {
            return Ok(());
        }
        let own = self.files_of_bundle().context("it exists and is not a bundle: name another folder, or remove it")?;
        match stranger(&self.path, &own)? {
            Some(other) => bail!("it has {}, which is not of its bundle: name another folder", shown(&other)),
            None => Ok(()),
        }
    }

    /// The files of the bundle that is there.
    fn files_of_bundle(&self) -> Result<BTreeSet<String>> {
        files_of(&self.limits.read_text(&self.path.join(Bundle::MANIFEST))?)
    }
}

/// The files of a bundle, from the text of its manifest.
pub fn files_of(manifest: &str) -> Result<BTreeSet<String>> {
    let manifest: Manifest = serde_json::from_str(manifest).context("its manifest.json is not a bundle's")?;
    let paths = manifest.files.into_iter().map(|file| file.path);
    Ok(paths.chain([Bundle::MANIFEST.to_owned()]).collect())
}

/// Whether one of the files is this one, or is in this folder, whose name ends in `/`.
pub fn is_own(files: &BTreeSet<String>, name: &str) -> bool {
    // What starts with a name comes right behind it. Folders are not listed: a path may have as many as it has bytes.
    let first = files.range::<str, _>((Bound::Included(name), Bound::Unbounded)).next();
    first.is_some_and(|first| first == name || (name.ends_with('/') && first.starts_with(name)))
}

/// A file or a folder that is not among `own`, with `/` between names. Only folders of `own` are searched.
fn stranger(folder: &Path, own: &BTreeSet<String>) -> Result<Option<String>> {
    let mut folders = vec![(folder.to_path_buf(), String::new())];
    while let Some((folder, name)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let mut name = format!("{name}{}", entry.file_name().to_string_lossy());
            let is_folder = entry.file_type()?.is_dir();
            if is_folder {
                name.push('/');
            }
            if !is_own(own, &name) {
                return Ok(Some(name));
            }
            if is_folder {
                folders.push((entry.path(), name));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use octconv::export::File;

    use super::*;

    #[test]
    fn files_are_those_of_the_manifest_and_folders_those_of_files() {
        let paths = ["kernels/a.wgsl", "kernels/b/c.wgsl", "weights.bin", &"/".repeat(200_000)];
        let manifest = include_str!("../../../../fuzz/corpus/bundle/manifest");
        let mut manifest: Manifest = serde_json::from_str(manifest).unwrap();
        let file = manifest.files[0].clone();
        manifest.files = paths.map(|path| File { path: path.into(), ..file.clone() }).into();
        let own = files_of(&serde_json::to_string(&manifest).unwrap()).unwrap();
        // One for each file, and the manifest: none for a folder.
        assert_eq!(own.len(), paths.len() + 1);
        for name in paths.into_iter().chain(["manifest.json", "kernels/", "kernels/b/", "/", "//"]) {
            assert!(is_own(&own, name), "{name}");
        }
        for name in ["", "kernels", "kernels/b", "kern", "kern/", "kernels/c/", "weights.bin/", "z", "kernels/a.wgs"] {
            assert!(!is_own(&own, name), "{name}");
        }
    }
}
