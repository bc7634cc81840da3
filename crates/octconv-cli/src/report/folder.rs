//! Where a report lies: `report.json` and `report.html` in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::data::{Report, VERSION};
use super::page;
use crate::limits::{Holds, Limits};
use crate::output::{shown, shown_path};
use crate::target::{Kind, Target};

/// The folder of a report.
pub struct Folder {
    data: Target,
    page: Target,
}

impl Folder {
    /// Makes the folder if it is not there, in one that is. Refuses files that cannot be written.
    pub fn new(path: &Path) -> Result<Self> {
        make(path)?;
        let data = Target::new(&path.join("report.json"), Kind::Report)?;
        Ok(Self { data, page: Target::new(&path.join("report.html"), Kind::Page)? })
    }

    /// The report to go on with: the one in the folder if it is of the same device, build and options, or `fresh` if
    /// there is none.
    pub fn report(&self, fresh: Report) -> Result<Report> {
        if !fs::metadata(self.data.path()).is_ok_and(|metadata| metadata.len() > 0) {
            return Ok(fresh);
        }
        let old = read(self.data.path(), Limits::default())?;
        let differs = match () {
            () if old.adapter != fresh.adapter => {
                format!("another device, {} ({})", shown(&old.adapter.name), shown(&old.adapter.driver))
            }
            () if old.build != fresh.build => format!("another build, {}", old.build),
            () if old.options != fresh.options => "other networks, layers, types or accuracy".into(),
            () => return Ok(old),
        };
        bail!("{} is a report of {differs}: name another folder with --out, or remove it", shown_path(self.data.path()))
    }

    /// Writes both files, each whole.
    pub fn write(&self, report: &Report) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        self.data.write(&text)?;
        self.page.write(page::of_report(report)?.as_bytes())
    }

    pub fn data(&self) -> PathBuf {
        self.data.path().to_owned()
    }

    pub fn page(&self) -> PathBuf {
        self.page.path().to_owned()
    }
}

/// Makes a folder, if it is not there, in one that is.
pub fn make(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir(path).with_context(|| format!("making the folder {}", shown_path(path)))
}

/// Reads `report.json`, or a page that has it inside.
pub fn read(path: &Path, limits: Limits) -> Result<Report> {
    let text = String::from_utf8(limits.read(path, Holds::Text)?);
    let report = text.context("it is not UTF-8").and_then(|text| parse(&text));
    report.with_context(|| format!("reading {}", shown_path(path)))
}

/// The report in the text of `report.json`, or of a page.
pub fn parse(text: &str) -> Result<Report> {
    #[derive(Deserialize)]
    struct Head {
        octconv_report: u32,
    }
    let text = page::data_in(text).unwrap_or(text);
    let Head { octconv_report } = serde_json::from_str(text).context("it is no report")?;
    ensure!(
        octconv_report == VERSION,
        "it is a report of version {octconv_report}, and this program reads version {VERSION}"
    );
    Ok(serde_json::from_str(text)?)
}
