//! Puts reports side by side, and says what got slower.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use maud::{Markup, html};

use super::data::{Quartiles, Report, Size};
use super::folder;
use super::page;
use super::plots::figure;
use crate::limits::Limits;
use crate::output::{self, one_line, shown, shown_path, thousands};
use crate::timing::geometric_mean;

/// A change below this is none, whatever the quartiles say.
const NOISE: f64 = 0.03;

/// What was timed, in every report that has it.
struct Row {
    timed: Timed,
    /// How it is shown: no other row is shown so.
    name: String,
    /// Milliseconds.
    ms: Vec<Option<Quartiles>>,
}

/// What was timed. Two reports may give a name to layers that differ in size or in multiply-adds.
#[derive(PartialEq)]
struct Timed {
    /// With its size.
    name: String,
    macs: u64,
}

/// A row in two reports.
struct Change {
    /// The time in a later report over that in the first.
    ratio: f64,
    /// By how much the ratio may be off: the distance between the quartiles of both, as a share of the ratio.
    noise: f64,
}

impl Change {
    /// `None` if times from a file are no times.
    fn of(first: &Quartiles, other: &Quartiles) -> Option<Self> {
        let spread = |ms: &Quartiles| (ms.upper - ms.lower) / ms.median;
        let (ratio, noise) = (other.median / first.median, spread(first).hypot(spread(other)));
        (ratio.is_finite() && ratio > 0.0 && noise.is_finite()).then_some(Self { ratio, noise: noise.max(NOISE) })
    }

    fn is_slower(&self) -> bool {
        self.ratio > 1.0 + self.noise
    }

    fn is_faster(&self) -> bool {
        self.ratio < 1.0 / (1.0 + self.noise)
    }
}

pub fn run(files: &[PathBuf], out: Option<&Path>, limits: Limits) -> Result<ExitCode> {
    let reports = files.iter().map(|file| folder::read(file, limits)).collect::<Result<Vec<_>>>()?;
    let target = match out {
        Some(path) => {
            folder::make(path)?;
            Some(folder::merge_page(path, files, limits)?)
        }
        None => None,
    };
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

/// Which report a letter stands for, and how it was made.
fn about(report: &Report) -> String {
    let Report { adapter, build, started, options, left, .. } = report;
    let mut about = format!("{} ({}, {}), {build}, {started}", adapter.name, adapter.backend, adapter.driver);
    if options.fast {
        about += ", with Winograd kernels allowed (--fast)";
    }
    if !adapter.features.timestamp_query {
        about += ", on the host's clock";
    }
    if *left > 0 {
        about += &format!(", {left} steps left");
    }
    about
}

/// Why times of two reports do not compare well.
fn misfits(first: &Report, other: &Report) -> Vec<&'static str> {
    let clock = |report: &Report| report.adapter.features.timestamp_query;
    let mut misfits = Vec::new();
    if first.options.fast != other.options.fast {
        misfits.push("only one of them allows Winograd kernels");
    }
    if clock(first) != clock(other) {
        misfits.push("one has the times of the host's clock, the other those of the device's");
    }
    if first.build.optimised != other.build.optimised {
        misfits.push("only one of the programs is optimised");
    }
    misfits
}

/// Every network and layer that a report has, in the order in which they first appear.
fn rows(reports: &[Report]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (i, report) in reports.iter().enumerate() {
        for (timed, ms) in timed(report) {
            let place = rows.iter().position(|row| row.timed == timed).unwrap_or_else(|| {
                rows.push(Row { name: timed.name.clone(), timed, ms: vec![None; reports.len()] });
                rows.len() - 1
            });
            rows[place].ms[i] = Some(ms);
        }
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    rows.iter().for_each(|row| *counts.entry(row.name.clone()).or_default() += 1);
    for row in rows.iter_mut().filter(|row| counts[&row.name] > 1) {
        row.name += &format!(", {} multiply-adds", thousands(row.timed.macs.into()));
    }
    rows
}

/// What a report has timed: networks, then layers, octave and plain.
fn timed(report: &Report) -> impl Iterator<Item = (Timed, Quartiles)> {
    let networks = report.networks.iter().flat_map(|row| {
        let (octave, plain) = (&row.octave, &row.plain);
        both(&row.title(), row.size, [(octave.macs, octave.ms), (plain.macs, plain.ms)])
    });
    let layers = report.layers.iter().flat_map(|row| {
        let (octave, plain) = (&row.octave, &row.plain);
        both(&row.title(), row.size, [(octave.macs, octave.ms), (plain.macs, plain.ms)])
    });
    networks.chain(layers)
}

/// The octave and the plain form of a layer or network.
fn both(title: &str, size: Size, [octave, plain]: [(u64, Quartiles); 2]) -> [(Timed, Quartiles); 2] {
    let form = |form: &str, (macs, ms)| (Timed { name: format!("{title}, {size}{form}"), macs }, ms);
    [form("", octave), form(", plain", plain)]
}

impl Row {
    /// How a later report differs from the first, if both have the row.
    fn change(&self, other: usize) -> Option<Change> {
        Change::of(self.ms[0].as_ref()?, self.ms[other].as_ref()?)
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
fn sentence(reports: &[Report], rows: &[Row], other: usize) -> String {
    let both: Vec<f64> = rows.iter().filter_map(|row| Some(row.change(other)?.ratio)).collect();
    let [slower, faster] = [Change::is_slower, Change::is_faster].map(|counts| changes(rows, other, counts).len());
    let letter = letter(other);
    if both.is_empty() {
        return format!("{letter} has nothing that A has too");
    }
    let all = both.len();
    let mut sentence = format!(
        "{letter} takes {}× the time of A, in the geometric mean of {all}: {slower} slower, {faster} faster, {} the same within noise",
        figure(geometric_mean(both)),
        all - slower - faster
    );
    let misfits = misfits(&reports[0], &reports[other]);
    if !misfits.is_empty() {
        sentence += &format!(". They do not compare well: {}", misfits.join("; "));
    }
    sentence
}

/// What a card about a later report says, and whether that is good.
fn card(rows: &[Row], other: usize) -> (Option<bool>, String) {
    let has_any = rows.iter().any(|row| row.change(other).is_some());
    match changes(rows, other, Change::is_slower).len() {
        0 if !has_any => (None, "nothing to compare".into()),
        0 => (Some(true), "nothing slower".into()),
        slower => (Some(false), format!("{slower} slower")),
    }
}

fn text(reports: &[Report], rows: &[Row]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    for (i, report) in reports.iter().enumerate() {
        let _ = writeln!(out, "{}: {}", letter(i), one_line(&about(report)));
        for line in page::summary(report).lines() {
            let _ = writeln!(out, "   {line}");
        }
    }
    let name = rows.iter().map(|row| shown(&row.name).chars().count()).max().unwrap_or(0);
    let _ = write!(out, "\n{:<name$}", "milliseconds, median");
    for i in 0..reports.len() {
        let _ = write!(out, "  {:>9}", letter(i));
        if i > 0 {
            let _ = write!(out, " {:>8} {:>6}", "/ A", "±");
        }
    }
    for row in rows {
        let _ = write!(out, "\n{:<name$}", shown(&row.name));
        for (i, ms) in row.ms.iter().enumerate() {
            let _ = write!(out, "  {:>9}", ms.map_or("-".into(), |ms| figure(ms.median)));
            if i > 0 {
                let [ratio, noise] =
                    row.change(i).map_or(["-".into(), "-".into()], |c| [figure(c.ratio), figure(c.noise)]);
                let _ = write!(out, " {ratio:>8} {noise:>6}");
            }
        }
    }
    out.push_str("\n\n");
    for other in 1..reports.len() {
        let _ = writeln!(out, "{}", sentence(reports, rows, other));
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
                @let (good, says) = card(rows, other);
                (page::card(good, &says, &sentence(reports, rows, other)))
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
                @for (i, ms) in row.ms.iter().enumerate() {
                    td { (ms.map_or("–".into(), |ms| figure(ms.median))) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::data::Layer;

    fn sides(other: &Report) -> [String; 2] {
        side_by_side(&[Report::example(), other.clone()]).unwrap()
    }

    #[test]
    fn reports_without_common_rows_are_neither_good_nor_bad() {
        let mut other = Report::example();
        other.networks.clear();
        other.layers.iter_mut().for_each(|row| row.size.width += 1);
        let [text, page] = sides(&other);
        assert!(text.ends_with("\nB has nothing that A has too\n"), "{text}");
        assert!(page.contains("<li class=\"\"><strong>nothing to compare</strong>"), "{page}");
        assert!(sides(&Report::example())[1].contains("<li class=\"good\"><strong>nothing slower</strong>"));
    }

    #[test]
    fn layers_of_one_name_that_differ_are_not_compared() {
        let count = sides(&Report::example())[0].matches("res2.3x3, f32, batch 1, 56×56").count();
        for change in [
            |row: &mut Layer| row.size.height += 1,
            |row: &mut Layer| row.size.frames += 1,
            |row: &mut Layer| row.octave.macs += 1,
        ] {
            let mut other = Report::example();
            change(&mut other.layers[0]);
            other.layers[0].octave.ms.median *= 100.0;
            let [text, _] = sides(&other);
            assert!(text.contains(": 0 slower, 0 faster, "), "{text}");
            // Rows that are not the same are shown differently.
            let start = |line: &&str| line.starts_with("res2.3x3, f32, batch 1, ") && !line.contains("plain");
            let names: Vec<_> = text.lines().filter(start).map(|line| line.split("  ").next().unwrap()).collect();
            assert!(names.len() == 2 && names[0] != names[1], "{text}");
            assert!(text.matches("res2.3x3, f32, batch 1, 56×56").count() >= count - 1);
        }
    }

    #[test]
    fn a_change_counts_beyond_the_quartiles_of_both() {
        let of = |median: f64, spread: f64| Quartiles {
            median,
            lower: median * (1.0 - spread / 2.0),
            upper: median * (1.0 + spread / 2.0),
        };
        let slower = |spread, ratio| Change::of(&of(1.0, spread), &of(ratio, 0.0)).unwrap().is_slower();
        // The quartiles are 0.2 apart, and a change of 0.15 is noise.
        assert_eq!(
            [slower(0.2, 1.15), slower(0.2, 1.25), slower(0.0, 1.02), slower(0.0, 1.04)],
            [false, true, false, true]
        );
        for (first, other) in [(0.0, 1.0), (1.0, f64::NAN), (1.0, f64::INFINITY), (1.0, -1.0), (f64::NAN, 1.0)] {
            assert!(Change::of(&of(first, 0.1), &of(other, 0.1)).is_none(), "{first} and {other}");
        }
    }

    #[test]
    fn numbers_that_are_no_times_are_left_out() {
        let mut other = Report::example();
        other.layers[0].octave.ms.median = 0.0;
        other.layers[1].octave.ms.median = f64::INFINITY;
        let [text, page] = sides(&other);
        assert!(
            !text.contains("NaN") && !page.contains("NaN") && text.contains("B takes 1.00× the time of A"),
            "{text}"
        );
    }

    #[test]
    fn reports_say_how_they_were_made() {
        let mut other = Report::example();
        assert!(!sides(&other)[0].contains("--fast") && !sides(&other)[0].contains("host's clock"));
        other.options.fast = true;
        other.adapter.features.timestamp_query = false;
        let [text, page] = sides(&other);
        for wanted in [
            "with Winograd kernels allowed (--fast), on the host's clock",
            "They do not compare well: only one of them",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in {text}");
        }
        assert!(page.contains("They do not compare well"), "{page}");
    }
}
