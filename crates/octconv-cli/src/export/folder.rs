//! The folder of a bundle: written whole or not at all, and never in place of anything else.

use std::collections::BTreeSet;
use std::fs;
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

    /// Writes the files into a new folder beside it, which then takes its place.
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
            if is_there {
                fs::rename(&old, &self.path)?;
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
        let found = files_in(&self.path)?;
        if found.is_empty() {
            return Ok(());
        }
        let own = self.files_of_bundle().context("it exists and is not a bundle: name another folder, or remove it")?;
        match found.iter().find(|file| !own.contains(*file)) {
            Some(other) => bail!("it has {}, which is not of its bundle: name another folder", shown(other)),
            None => Ok(()),
        }
    }

    /// The files of the bundle that is there.
    fn files_of_bundle(&self) -> Result<BTreeSet<String>> {
        let text = self.limits.read_text(&self.path.join(Bundle::MANIFEST))?;
        let manifest: Manifest = serde_json::from_str(&text).context("its manifest.json is not a bundle's")?;
        let files = manifest.files.into_iter().map(|file| file.path);
        Ok(files.chain([Bundle::MANIFEST.to_owned()]).collect())
    }
}

/// The paths of all files in a folder, with `/` between names.
fn files_in(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_path_buf(), String::new())];
    while let Some((folder, name)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = format!("{name}{}", entry.file_name().to_string_lossy());
            match entry.file_type()?.is_dir() {
                true => folders.push((entry.path(), name + "/")),
                false => found.push(name),
            }
        }
    }
    found.sort();
    Ok(found)
}
