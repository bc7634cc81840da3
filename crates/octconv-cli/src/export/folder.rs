//! The folder of a bundle: never one that is half written, and never in place of anything else.

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

    /// The files of the bundle that is there, and their folders, whose names end in `/`.
    fn files_of_bundle(&self) -> Result<BTreeSet<String>> {
        let text = self.limits.read_text(&self.path.join(Bundle::MANIFEST))?;
        let manifest: Manifest = serde_json::from_str(&text).context("its manifest.json is not a bundle's")?;
        let mut own = BTreeSet::from([Bundle::MANIFEST.to_owned()]);
        for file in manifest.files {
            own.extend(file.path.match_indices('/').map(|(end, slash)| file.path[..end].to_owned() + slash));
            own.insert(file.path);
        }
        Ok(own)
    }
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
            if !own.contains(&name) {
                return Ok(Some(name));
            }
            if is_folder {
                folders.push((entry.path(), name));
            }
        }
    }
    Ok(None)
}
