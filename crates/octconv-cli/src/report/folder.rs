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
    limits: Limits,
}

impl Folder {
    /// Makes the folder if it is not there, in one that is. Refuses files that cannot be written.
    pub fn new(path: &Path, limits: Limits) -> Result<Self> {
        make(path)?;
        let data = Target::new(&path.join("report.json"), Kind::Report)?;
        Ok(Self { data, page: Target::new(&path.join("report.html"), Kind::Page)?, limits })
    }

    /// The report to go on with: the one in the folder if it is of the same device, build and options, or `fresh` if
    /// there is none.
    pub fn report(&self, fresh: Report) -> Result<Report> {
        let page = if is_empty(self.page.path()) { None } else { Some(read(self.page.path(), self.limits)?) };
        if is_empty(self.data.path()) {
            ensure!(page.is_none(), "{} has no report.json beside it: {ELSEWHERE}", shown_path(self.page.path()));
            return Ok(fresh);
        }
        let old = read(self.data.path(), self.limits)?;
        if let Some(differs) = difference(&old, &fresh) {
            bail!("{} is a report of {differs}: {ELSEWHERE}", shown_path(self.data.path()));
        }
        // The page may be older than the data by a step.
        let is_own = |page: &Report| difference(page, &old).is_none() && page.started == old.started;
        ensure!(
            page.as_ref().is_none_or(is_own),
            "{} is the page of another report than report.json: {ELSEWHERE}",
            shown_path(self.page.path())
        );
        Ok(old)
    }

    /// Writes both files, each whole.
    pub fn write(&self, report: &Report) -> Result<()> {
        self.write_data(report)?;
        self.page.write(page::of_report(report)?.as_bytes())
    }

    /// Writes report.json alone.
    pub fn write_data(&self, report: &Report) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(report)?;
        text.push(b'\n');
        self.data.write(&text)
    }

    pub fn data(&self) -> PathBuf {
        self.data.path().to_owned()
    }

    pub fn page(&self) -> PathBuf {
        self.page.path().to_owned()
    }
}

/// What to do about a file that must stay.
const ELSEWHERE: &str = "name another folder with --out, or remove it";

/// In what a report differs from another one so that neither can go on with the other.
fn difference(old: &Report, fresh: &Report) -> Option<String> {
    let (name, driver) = (shown(&old.adapter.name), shown(&old.adapter.driver));
    match () {
        () if old.adapter != fresh.adapter => Some(format!("another device, {name} ({driver})")),
        () if old.build != fresh.build => Some(format!("another build, {}", old.build)),
        () if old.options != fresh.options => Some("other networks, layers, types or accuracy".into()),
        () => None,
    }
}

fn is_empty(path: &Path) -> bool {
    !fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
}

/// The page that puts `files` side by side. Refuses one of them, and the page of a report, which may be the only copy.
pub fn merge_page(folder: &Path, files: &[PathBuf], limits: Limits) -> Result<Target> {
    let path = folder.join("merge.html");
    let page = Target::new(&path, Kind::Page)?.apart_from(files)?;
    let is_report = !is_empty(&path) && page::data_in(&limits.read_text(&path)?).is_some();
    ensure!(!is_report, "{} is the page of a report: {ELSEWHERE}", shown_path(&path));
    Ok(page)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(folder: &Path, fresh: &Report) -> String {
        let found = Folder::new(folder, Limits::default()).and_then(|folder| folder.report(fresh.clone()));
        format!("{:#}", found.unwrap_err())
    }

    #[test]
    fn a_page_of_another_report_stays() {
        let folder = tempfile::tempdir().unwrap();
        let [data, page] = ["report.json", "report.html"].map(|name| folder.path().join(name));
        let report = Report::example();
        Folder::new(folder.path(), Limits::default()).unwrap().write(&report).unwrap();
        let go_on = || Folder::new(folder.path(), Limits::default()).unwrap().report(report.clone());
        assert_eq!(go_on().unwrap(), report);
        // The process ended between the two files: the page is older, or not there yet.
        let mut older = report.clone();
        older.done.pop();
        fs::write(&page, page::of_report(&older).unwrap()).unwrap();
        assert_eq!(go_on().unwrap(), report);
        fs::remove_file(&page).unwrap();
        assert_eq!(go_on().unwrap(), report);

        let mut other = report.clone();
        other.started = "2026-11-30T04:00:00Z".into();
        for text in [page::of_report(&other).unwrap(), page::page("a merge", &maud::html! {}, None).unwrap()] {
            fs::write(&page, &text).unwrap();
            assert!(!refusal(folder.path(), &report).is_empty());
            assert_eq!(fs::read_to_string(&page).unwrap(), text);
        }
        fs::write(&page, page::of_report(&report).unwrap()).unwrap();
        fs::remove_file(&data).unwrap();
        let refusal = refusal(folder.path(), &report);
        assert!(refusal.contains("report.html has no report.json beside it: name another folder"), "{refusal}");
    }

    #[test]
    fn a_merge_writes_over_no_report() {
        let folder = tempfile::tempdir().unwrap();
        let [page, input] = ["merge.html", "input.html"].map(|name| folder.path().join(name));
        let merge = |files: &[PathBuf]| merge_page(folder.path(), files, Limits::default());
        let text = page::of_report(&Report::example()).unwrap();
        fs::write(&page, &text).unwrap();
        fs::write(&input, &text).unwrap();
        let (both, one) = ([page.clone(), input.clone()], [input]);
        for (files, wanted) in [(&both[..], "it is read too"), (&one, "is the page of a report")] {
            let refusal = format!("{:#}", merge(files).unwrap_err());
            assert!(refusal.contains(wanted), "{refusal}");
        }
        fs::write(&page, page::page("a merge", &maud::html! {}, None).unwrap()).unwrap();
        merge(&one).unwrap();
    }

    #[test]
    fn reports_are_read_within_the_limits() {
        let folder = tempfile::tempdir().unwrap();
        Folder::new(folder.path(), Limits::default()).unwrap().write(&Report::example()).unwrap();
        let found = Folder::new(folder.path(), Limits::of(100)).unwrap().report(Report::example());
        let refusal = format!("{:#}", found.unwrap_err());
        assert!(refusal.ends_with("100 are allowed; --max-bytes allows more"), "{refusal}");
    }
}
