//! Puts reports side by side, and says what got slower.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use maud::{Markup, html};

use super::data::{Report, Times};
use super::folder;
use super::page;
use super::plots::figure;
use crate::limits::Limits;
use crate::output::{self, shown, shown_path};
use crate::target::{Kind, Target};
use crate::timing::geometric_mean;

/// A change below this is none, whatever the quartiles say.
const NOISE: f64 = 0.03;

/// What was timed, in every report that has it.
struct Row {
    name: String,
    times: Vec<Option<Times>>,
}

/// A row in two reports.
struct Change {
    /// The time in a later report over that in the first.
    ratio: f64,
    /// By how much the ratio may be off: half of the distance between the quartiles of both, as a share of the ratio.
    noise: f64,
}

impl Change {
    fn of(first: &Times, other: &Times) -> Self {
        let spread = |times: &Times| (times.upper_ms - times.lower_ms) / 2.0 / times.median_ms;
        let noise = spread(first).hypot(spread(other)).max(NOISE);
        Self { ratio: other.median_ms / first.median_ms, noise }
    }

    fn is_slower(&self) -> bool {
        self.ratio > 1.0 + self.noise
    }

    fn is_faster(&self) -> bool {
        self.ratio < 1.0 / (1.0 + self.noise)
    }
}

pub fn run(files: &[PathBuf], out: Option<&Path>, limits: Limits) -> Result<ExitCode> {
    let target = match out {
        Some(path) => {
            folder::make(path)?;
            Some(Target::new(&path.join("merge.html"), Kind::Page)?)
        }
        None => None,
    };
    let reports = files.iter().map(|file| folder::read(file, limits)).collect::<Result<Vec<_>>>()?;
    let [text, page] = side_by_side(&reports)?;
    if let Some(target) = &target {
        target.write(page.as_bytes())?;
    }
    output::print(&text)?;
    if let Some(target) = &target {
        output::print(&format!("{}\n", shown_path(target.path())))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reports side by side, as text and as a page.
pub fn side_by_side(reports: &[Report]) -> Result<[String; 2]> {
    let rows = rows(reports);
    let page = page::page("octconv reports, side by side", &merged(reports, &rows), None)?;
    Ok([text(reports, &rows), page])
}

/// A, B, and so on; numbers after Z.
fn letter(i: usize) -> String {
    match u8::try_from(i) {
        Ok(i @ 0..26) => char::from(b'A' + i).to_string(),
        _ => (i + 1).to_string(),
    }
}

/// Which report a letter stands for.
fn about(report: &Report) -> String {
    let left = if report.left > 0 { format!(", {} steps left", report.left) } else { String::new() };
    format!(
        "{} ({}, {}), {}, {}{left}",
        report.adapter.name, report.adapter.backend, report.adapter.driver, report.build, report.started
    )
}

/// Every network and layer that a report has, in the order in which they first appear.
fn rows(reports: &[Report]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (i, report) in reports.iter().enumerate() {
        for (name, times) in timed(report) {
            let place = rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
                rows.push(Row { name, times: vec![None; reports.len()] });
                rows.len() - 1
            });
            rows[place].times[i] = Some(times);
        }
    }
    rows
}

/// What a report has timed: networks, then layers, octave and plain.
fn timed(report: &Report) -> Vec<(String, Times)> {
    let networks = report.networks.iter().flat_map(|row| {
        let tuned = if row.tuned { ", tuned" } else { "" };
        let name = format!("{}, {}, batch {}{tuned}", row.network, row.dtype, row.size.batch);
        [(name.clone(), row.octave.times), (format!("{name}, plain"), row.plain.times)]
    });
    let layers = report.layers.iter().flat_map(|row| {
        let name = format!("{}, {}, batch {}", row.layer, row.dtype, row.size.batch);
        [(name.clone(), row.octave.times), (format!("{name}, plain"), row.plain.times)]
    });
    networks.chain(layers).collect()
}

impl Row {
    /// How a later report differs from the first, if both have the row.
    fn change(&self, other: usize) -> Option<Change> {
        Some(Change::of(self.times[0].as_ref()?, self.times[other].as_ref()?))
    }
}

/// What is slower and what is faster in a later report than in the first, the largest changes first.
fn changes(rows: &[Row], other: usize, counts: Counts) -> Vec<(&Row, Change)> {
    let found = rows.iter().filter_map(|row| Some((row, row.change(other)?)));
    let mut found: Vec<_> = found.filter(|(_, change)| counts(change)).collect();
    found.sort_by(|a, b| b.1.ratio.ln().abs().total_cmp(&a.1.ratio.ln().abs()));
    found
}

/// One line about a later report: how much slower it is on the whole, and how many rows are slower and faster.
fn sentence(rows: &[Row], other: usize) -> String {
    let both: Vec<f64> = rows.iter().filter_map(|row| Some(row.change(other)?.ratio)).collect();
    let [slower, faster] = [Change::is_slower, Change::is_faster].map(|counts| changes(rows, other, counts).len());
    let letter = letter(other);
    match both.len() {
        0 => format!("{letter} has nothing that A has too"),
        all => format!(
            "{letter} takes {}× the time of A, in the geometric mean of {all}: {slower} slower, {faster} faster, {} the same within noise",
            figure(geometric_mean(both)),
            all - slower - faster
        ),
    }
}

fn text(reports: &[Report], rows: &[Row]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (i, report) in reports.iter().enumerate() {
        let _ = writeln!(out, "{}: {}", letter(i), shown(&about(report)));
        for line in page::summary(report).lines() {
            let _ = writeln!(out, "   {line}");
        }
    }
    let name = rows.iter().map(|row| shown(&row.name).chars().count()).max().unwrap_or(0);
    let _ = write!(out, "\n{:<name$}", "milliseconds, median");
    for i in 0..reports.len() {
        let _ = write!(out, "  {:>9}", letter(i));
        if i > 0 {
            let _ = write!(out, " {:>8} {:>6}", format!("/ A"), "±");
        }
    }
    for row in rows {
        let _ = write!(out, "\n{:<name$}", shown(&row.name));
        for (i, times) in row.times.iter().enumerate() {
            let _ = write!(out, "  {:>9}", times.map_or("-".into(), |times| figure(times.median_ms)));
            if i > 0 {
                let [ratio, noise] =
                    row.change(i).map_or(["-".into(), "-".into()], |c| [figure(c.ratio), figure(c.noise)]);
                let _ = write!(out, " {ratio:>8} {noise:>6}");
            }
        }
    }
    out.push_str("\n\n");
    for other in 1..reports.len() {
        let _ = writeln!(out, "{}", sentence(rows, other));
        for (what, counts) in KINDS {
            for (row, change) in changes(rows, other, counts) {
                let _ = writeln!(out, "  {what} {:>6}×  {}", figure(change.ratio), shown(&row.name));
            }
        }
    }
    out
}

/// Whether a change counts.
type Counts = fn(&Change) -> bool;

/// What a change can be, beyond noise.
const KINDS: [(&str, Counts); 2] = [("slower", Change::is_slower), ("faster", Change::is_faster)];

fn merged(reports: &[Report], rows: &[Row]) -> Markup {
    let mut heads = vec!["".to_owned()];
    for i in 0..reports.len() {
        heads.push(format!("{}, ms", letter(i)));
        if i > 0 {
            heads.push(format!("{} / A", letter(i)));
            heads.push("±".into());
        }
    }
    let heads: Vec<_> = heads.iter().map(String::as_str).collect();
    html! {
        h1 { "Side by side" }
        ul class="cards" {
            @for other in 1..reports.len() {
                @let slower = changes(rows, other, Change::is_slower).len();
                li class=(if slower > 0 { "bad" } else { "good" }) {
                    strong { (if slower > 0 { format!("{slower} slower") } else { "nothing slower".into() }) }
                    (sentence(rows, other))
                }
            }
        }
        h2 { "The reports" }
        @for (i, report) in reports.iter().enumerate() {
            p { strong { (letter(i)) } " " (about(report)) }
            p class="soft" { @for line in page::summary(report).lines() { (line) br; } }
        }
        @for other in 1..reports.len() {
            @for (what, counts) in KINDS {
                @let found = changes(rows, other, counts);
                @if !found.is_empty() {
                    h2 { (letter(other)) ": what is " (what) " than in A" }
                    (page::table(&["", "time of A", "±"], html! {
                        @for (row, change) in &found { tr { td { (row.name) } td { (figure(change.ratio)) "×" } td { (figure(change.noise)) } } }
                    }))
                }
            }
        }
        h2 { "Everything" }
        p class="soft" { "Medians. ± is the noise of a ratio: what lies between the quartiles of both, and at least 0.03. Beyond it, a time is slower or faster." }
        (page::table(&heads, html! {
            @for row in rows { tr {
                td { (row.name) }
                @for (i, times) in row.times.iter().enumerate() {
                    td { (times.map_or("–".into(), |times| figure(times.median_ms))) }
                    @if i > 0 {
                        @let change = row.change(i);
                        td class=(match &change { Some(c) if c.is_slower() => "bad-text", Some(c) if c.is_faster() => "good-text", _ => "" }) {
                            (change.as_ref().map_or("–".into(), |change| format!("{}×", figure(change.ratio))))
                        }
                        td class="soft" { (change.map_or(String::new(), |change| figure(change.noise))) }
                    }
                }
            } }
        }))
    }
}
