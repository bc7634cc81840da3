//! The figures in the documents of this repository, made from the reports in `docs/devices/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use octconv::network::{Graph, NetworkOptions, NetworkPlan, zoo};
use octconv::{DeviceFacts, InputSize};
use serde::Deserialize;

use super::data::{Layer, Network, Quartiles, Report};
use super::plots::figure;
use super::subjects::Subjects;
use super::{code, folder, page};
use crate::limits::Limits;
use crate::output::{several, thousands};
use crate::timing::geometric_mean;

/// Where reports lie: `NAME.json` of "octconv report", the page made from it, and `NAME.peers.jsonl` of
/// `benches/peers/peers.py`, if the device has run that.
const FOLDER: &str = "docs/devices";
/// Files with figures between [`Block`] marks.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/performance.md", "docs/devices/README.md"];

/// A device that was measured.
struct Known {
    /// The name of its files.
    name: String,
    report: Report,
    /// What octconv runs with other kernels than when it was timed.
    outdated: Vec<String>,
    peers: Vec<PeerRow>,
}

/// What [`update`] has found or done.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Files that were not as the reports say. They are, unless they were only checked.
    pub differing: Vec<PathBuf>,
    /// What octconv runs with other kernels than when it was timed, by device.
    pub outdated: BTreeMap<String, Vec<String>>,
}

/// Puts the figures of the reports into the documents of the repository in `root`, or only compares them (`check`).
pub fn update(root: &Path, check: bool) -> Result<Outcome> {
    let known = read_all(&root.join(FOLDER))?;
    let mut outcome = Outcome::default();
    for device in &known {
        outcome.outdated.insert(device.name.clone(), device.outdated.clone());
    }
    let page = |device: &Known| -> Result<_> {
        let path = root.join(FOLDER).join(format!("{}.html", device.name));
        Ok((path, page::of_report(&device.report)?))
    };
    let document = |name: &&str| -> Result<_> {
        let path = root.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        Ok((path, filled(&text, &known).with_context(|| format!("in {name}"))?))
    };
    for made in known.iter().map(page).chain(DOCUMENTS.iter().map(document)) {
        let (path, text) = made?;
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            if !check {
                fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            }
            outcome.differing.push(path);
        }
    }
    Ok(outcome)
}

/// All devices, in the order of their names.
fn read_all(folder: &Path) -> Result<Vec<Known>> {
    let mut known = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let report = folder::read(path, Limits::default())?;
        let outdated = code::outdated(&report, &Subjects::of_report(&report)?)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let peers = read_peers(&path.with_extension("peers.jsonl"))?;
        known.push(Known { name, report, outdated, peers });
    }
    ensure!(!known.is_empty(), "{} has no report", folder.display());
    Ok(known)
}

/// The text of a document with its figures.
fn filled(text: &str, known: &[Known]) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(Block::START) {
        let (name, after) = after.split_once(" -->\n").context("a mark does not end")?;
        let (_, after) = after.split_once(Block::END).with_context(|| format!("the figures {name} do not end"))?;
        let block = Block::named(name)?;
        write!(filled, "{before}{}{name} -->\n{}{}", Block::START, block.text(known)?, Block::END)?;
        rest = after;
    }
    Ok(filled + rest)
}

/// Figures of a document, between two marks.
#[derive(Clone, Copy)]
enum Block {
    Headline,
    Devices,
    Memory,
    Reports,
    Pages,
}

impl Block {
    const START: &str = "<!-- figures: ";
    const END: &str = "<!-- end of figures -->";

    fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "headline" => Self::Headline,
            "devices" => Self::Devices,
            "memory" => Self::Memory,
            "reports" => Self::Reports,
            "pages" => Self::Pages,
            _ => anyhow::bail!("no figures are named {name}"),
        })
    }

    fn text(self, known: &[Known]) -> Result<String> {
        match self {
            Self::Headline => Ok(known.iter().map(|device| device.headline()).collect()),
            Self::Devices => Ok(devices(known)),
            Self::Memory => memory(),
            Self::Reports => known.iter().map(Known::section).collect(),
            Self::Pages => Ok(pages(known)),
        }
    }
}

impl Known {
    /// The device and its driver.
    fn title(&self) -> String {
        let about = &self.report.adapter;
        format!("{}, {} ({})", plain_text(&about.name), plain_text(&about.driver), about.backend)
    }

    /// A line for the README.
    fn headline(&self) -> String {
        let mut text = format!("- [{}]({FOLDER}/{}.html): ", self.title(), self.name);
        let mut facts = vec![format!("right on {} random cases", thousands(self.report.cases().ran.into()))];
        if self.report.has_faults() {
            facts[0] = "**faulty: see its page**".into();
        }
        if let Some(row) = self.report.headline() {
            facts.push(format!(
                "{} takes {} of the plain network's time, with {} of its multiply-adds",
                network_title(row),
                figure(1.0 / row.over_plain.median),
                figure(share(row.octave.macs, row.plain.macs))
            ));
        }
        for (dtype, rows) in self.by_dtype() {
            let [plain, unfused] = means(&rows);
            facts.push(format!(
                "{} octave layers in {dtype} are {} times as fast as plain ones, and {} times as fast as one dispatch per operation",
                rows.len(),
                figure(plain),
                figure(unfused)
            ));
        }
        text += &facts.join("; ");
        text + ".\n"
    }

    /// Types with their layers at their own batch. Types without layers are left out.
    fn by_dtype(&self) -> Vec<(&str, Vec<&Layer>)> {
        let dtypes = self.report.options.dtypes.iter().map(String::as_str);
        let rows = dtypes.map(|dtype| (dtype, self.report.layers_of(dtype, false).collect::<Vec<_>>()));
        rows.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// All figures of a device.
    fn section(&self) -> Result<String> {
        let Report { build, started, options, left, done, .. } = &self.report;
        let mut text = format!("## {}\n\n", self.title());
        let accuracy = if options.fast { "Winograd kernels allowed" } else { "exact kernels" };
        let clock =
            if self.report.adapter.features.timestamp_query { "the device's clock" } else { "the host's clock" };
        writeln!(
            text,
            "[The page](devices/{}.html). {build}, {started}, {accuracy}, {clock}. {} steps in {} minutes, {left} left.\n",
            self.name,
            done.len(),
            figure(self.report.seconds() / 60.0)
        )?;
        page::summary(&self.report).lines().try_for_each(|line| writeln!(text, "- {line}"))?;
        if !self.outdated.is_empty() {
            let count = self.outdated.len();
            writeln!(
                text,
                "\nFigures of {} are of other kernels than today's: {}.",
                several(count, "row"),
                self.outdated.join("; ")
            )?;
        }
        match code::unknown(&self.report) {
            0 => (),
            count => writeln!(
                text,
                "\nFigures of {} may be of other kernels than today's: the build that timed them does not say.",
                several(count, "row")
            )?,
        }
        self.write_networks(&mut text)?;
        self.write_layers(&mut text)?;
        self.write_tuning(&mut text)?;
        self.write_roofline(&mut text)?;
        self.write_peers(&mut text)?;
        text.push('\n');
        Ok(text)
    }

    fn write_networks(&self, text: &mut String) -> Result<()> {
        if self.report.networks.is_empty() {
            return Ok(());
        }
        text.push_str("\n### Networks\n\n");
        text.push_str(&heads(&[
            "network",
            "octave, ms",
            "plain, ms",
            "octave / plain",
            "multiply-adds",
            "over",
            "unfused / octave",
            "activations",
            "dispatches",
            "first run, s",
        ]));
        for row in &self.report.networks {
            let (time, macs) = (1.0 / row.over_plain.median, share(row.octave.macs, row.plain.macs));
            let first = [row.octave.plan_ms, row.octave.compile_ms, row.octave.first_ms].iter().sum::<f64>() / 1e3;
            text.push_str(&cells(&[
                network_title(row),
                ms(&row.octave.ms),
                ms(&row.plain.ms),
                figure(time),
                figure(macs),
                figure(time / macs),
                row.over_unfused.map_or("–".into(), |over| figure(over.median)),
                figure(share(row.octave.activation_bytes, row.plain.activation_bytes)),
                row.octave.dispatches.to_string(),
                figure(first),
            ]));
        }
        let Some(row) = self.report.headline().filter(|row| !row.stages.is_empty()) else { return Ok(()) };
        write!(text, "\n{} by stage:\n\n", network_title(row))?;
        text.push_str(&heads(&["stage, up to", "octave, ms", "plain, ms", "octave / plain", "multiply-adds"]));
        for stage in &row.stages {
            let ratio = stage.octave_ms.median / stage.plain_ms.median;
            let times = [ms(&stage.octave_ms), ms(&stage.plain_ms)];
            text.push_str(&cells(
                &[&[plain_text(&stage.stage)], &times[..], &[figure(ratio), figure(stage.macs_ratio)]].concat(),
            ));
        }
        Ok(())
    }

    fn write_layers(&self, text: &mut String) -> Result<()> {
        if self.report.layers.is_empty() {
            return Ok(());
        }
        text.push_str("\n### Layers\n\n");
        text.push_str(&heads(&[
            "layer",
            "type",
            "batch",
            "octave, ms",
            "plain, ms",
            "unfused / octave",
            "plain / octave",
            "multiply-adds",
            "over",
            "% of roofline",
            "kernels",
        ]));
        let mut over = BTreeMap::<&str, Vec<f64>>::new();
        for row in &self.report.layers {
            let macs = share(row.octave.macs, row.plain.macs);
            let above = 1.0 / row.over_plain.median / macs;
            over.entry(&row.dtype).or_default().push(above);
            let roofline = self.report.percent_of_roofline(&row.octave, &row.dtype);
            text.push_str(&cells(&[
                plain_text(&row.layer),
                row.dtype.clone(),
                row.size.batch.to_string(),
                ms(&row.octave.ms),
                ms(&row.plain.ms),
                figure(row.over_unfused.median),
                figure(row.over_plain.median),
                figure(macs),
                figure(above),
                roofline.map_or("–".into(), |percent| format!("{percent:.0}")),
                row.octave.variant.clone(),
            ]));
        }
        text.push_str("\n`over` in the geometric mean:");
        let means = over
            .iter()
            .map(|(dtype, values)| format!(" {} in {dtype}", figure(geometric_mean(values.iter().copied()))));
        writeln!(text, "{}.", means.collect::<Vec<_>>().join(","))?;
        Ok(())
    }

    fn write_tuning(&self, text: &mut String) -> Result<()> {
        let gains: Vec<_> = self.report.tune.iter().filter_map(|row| row.tried.gain).collect();
        if !gains.is_empty() {
            let (most, count) = (gains.iter().copied().fold(0.0, f64::max), gains.len());
            writeln!(
                text,
                "\nTuning {count} layers: the planner's choices take {} times as long as the fastest, in the geometric mean; at most {} times.",
                figure(geometric_mean(gains)),
                figure(most)
            )?;
        }
        Ok(())
    }

    fn write_roofline(&self, text: &mut String) -> Result<()> {
        let Some(roofline) = &self.report.roofline else { return Ok(()) };
        text.push_str("\n### Roofline\n\n");
        text.push_str(&heads(&["probe", "rate", "reached by"]));
        for probe in &roofline.arithmetic {
            let what = match probe.matrix {
                Some(side) => format!("{side}x{side} matrices, {} into {}", probe.factors, probe.sums),
                None => format!("{} multiply-adds", probe.factors),
            };
            text.push_str(&cells(&[
                what,
                format!("{} GFLOP/s", figure(probe.gflops)),
                plain_text(&probe.configuration),
            ]));
        }
        for (what, probe) in [("memory, read", &roofline.read), ("memory, copied", &roofline.copy)] {
            text.push_str(&cells(&[
                what.into(),
                format!("{} GB/s", figure(probe.gb_per_s)),
                plain_text(&probe.configuration),
            ]));
        }
        text.push_str(&cells(&[
            "an empty dispatch".into(),
            format!("{} µs", figure(roofline.launch_us)),
            "one of many in a pass".into(),
        ]));
        Ok(())
    }

    /// Times of other libraries on the same layers.
    fn write_peers(&self, text: &mut String) -> Result<()> {
        let own: Vec<&PeerRow> = self.peers.iter().filter(|row| row.peer == OURS).collect();
        if own.is_empty() {
            return Ok(());
        }
        let mut names: Vec<(&str, &str)> = Vec::new();
        for row in self.peers.iter().filter(|row| row.peer != OURS) {
            let name = (row.peer.as_str(), row.version.as_deref().unwrap_or(""));
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for (form, what) in [("octave", "Octave layers"), ("plain", "Plain layers")] {
            let listed: Vec<_> = names.iter().map(|(name, version)| format!("{name} {version}, ms")).collect();
            write!(text, "\n### {what} in other libraries\n\n")?;
            let mut all = vec!["layer", "octconv, ms"];
            all.extend(listed.iter().map(String::as_str));
            all.push("fastest / octconv");
            text.push_str(&heads(&all));
            let mut ratios = Vec::new();
            for row in &own {
                let Some(ours) = (if form == "octave" { Some(row.ms) } else { row.plain_ms }) else { continue };
                let of = |peer: &str| {
                    let same = |other: &&PeerRow| {
                        other.peer == peer && other.layer == row.layer && other.form.as_deref() == Some(form)
                    };
                    self.peers.iter().find(same).map(|row| row.ms)
                };
                let times: Vec<_> = names.iter().map(|(name, _)| of(name)).collect();
                let fastest = times.iter().flatten().copied().fold(f64::INFINITY, f64::min);
                ratios.push(fastest / ours);
                let mut line = vec![plain_text(&row.layer), figure(ours)];
                line.extend(times.iter().map(|time| time.map_or("–".into(), figure)));
                line.push(figure(fastest / ours));
                text.push_str(&cells(&line));
            }
            let known = ratios.iter().copied().filter(|ratio| ratio.is_finite());
            writeln!(text, "\n`fastest / octconv` in the geometric mean: {}.", figure(geometric_mean(known)))?;
        }
        Ok(())
    }
}

/// The name of octconv's own rows.
const OURS: &str = "octconv";

/// A row that `benches/peers/peers.py --json` writes.
#[derive(Deserialize)]
struct PeerRow {
    peer: String,
    layer: String,
    ms: f64,
    /// Of octconv's rows, which have no `form`.
    plain_ms: Option<f64>,
    form: Option<String>,
    version: Option<String>,
}

/// The rows of a file; none if there is no such file.
fn read_peers(path: &Path) -> Result<Vec<PeerRow>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let row = |line: &str| serde_json::from_str(line).with_context(|| format!("reading {}", path.display()));
    text.lines().map(row).collect()
}

/// What all devices come to, a row each.
fn devices(known: &[Known]) -> String {
    let mut text = heads(&[
        "device",
        "type",
        "right on",
        "layers",
        "plain / octave",
        "unfused / octave",
        "network",
        "octave / plain",
        "multiply-adds",
        "not tuned / tuned",
    ]);
    for device in known {
        for (dtype, rows) in device.by_dtype() {
            let [plain, unfused] = means(&rows);
            let first = device.report.networks.iter().find(|row| row.dtype == dtype);
            let gains = device.report.tune.iter().filter(|row| row.dtype == dtype).filter_map(|row| row.tried.gain);
            text.push_str(&cells(&[
                format!("[{}](devices/{}.html)", device.title(), device.name),
                dtype.into(),
                thousands(device.report.cases().ran.into()),
                rows.len().to_string(),
                figure(plain),
                figure(unfused),
                first.map_or("–".into(), network_title),
                first.map_or("–".into(), |row| figure(1.0 / row.over_plain.median)),
                first.map_or("–".into(), |row| figure(share(row.octave.macs, row.plain.macs))),
                figure(geometric_mean(gains)),
            ]));
        }
    }
    text
}

/// The files of all devices, a row each.
fn pages(known: &[Known]) -> String {
    let mut text = heads(&["device", "minutes", "commit", "files"]);
    for Known { name, report, .. } in known {
        let commit = report.build.commit.as_deref().unwrap_or("–");
        let about = format!(
            "{}, {} ({})",
            plain_text(&report.adapter.name),
            plain_text(&report.adapter.driver),
            report.adapter.backend
        );
        let files = format!("[page]({name}.html), [data]({name}.json)");
        text.push_str(&cells(&[about, figure(report.seconds() / 60.0), commit.into(), files]));
    }
    text
}

/// Bytes of the activations of Oct-ResNet-50, planned for a GPU. No device takes part in it.
fn memory() -> Result<String> {
    let mut text = heads(&["α", "buffers, bytes", "of plain", "in one buffer, bytes", "of plain"]);
    let mut plain = None;
    for alpha in [0.0, 0.25, 0.5, 0.75] {
        let network = zoo::build("resnet50", &zoo::Settings { alpha, ..Default::default() })?;
        let graph = Graph::new(&network)?;
        let bytes = |one_buffer| -> Result<u64> {
            let (size, options) = (InputSize::image(1, 224, 224), NetworkOptions { one_buffer, ..Default::default() });
            Ok(NetworkPlan::new(&graph, size, &options, &DeviceFacts::default())?.activation_bytes())
        };
        let [apart, one] = [bytes(false)?, bytes(true)?];
        let [all_apart, all_in_one] = *plain.get_or_insert([apart, one]);
        text.push_str(&cells(&[
            alpha.to_string(),
            thousands(apart.into()),
            format!("{:.3}", share(apart, all_apart)),
            thousands(one.into()),
            format!("{:.3}", share(one, all_in_one)),
        ]));
    }
    Ok(text)
}

/// How many times as fast octave is as plain and as unfused, in the geometric mean.
fn means(rows: &[&Layer]) -> [f64; 2] {
    let mean = |of: fn(&Layer) -> Quartiles| geometric_mean(rows.iter().map(|row| of(row).median));
    [mean(|row| row.over_plain), mean(|row| row.over_unfused)]
}

fn network_title(row: &Network) -> String {
    plain_text(&row.title())
}

fn share(octave: u64, plain: u64) -> f64 {
    octave as f64 / plain.max(1) as f64
}

fn ms(quartiles: &Quartiles) -> String {
    figure(quartiles.median)
}

/// A text from a report, without what Markdown would take for its own.
fn plain_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || "|<>[]`*_\\".contains(c) { ' ' } else { c }).collect()
}

/// The first two lines of a table.
fn heads(names: &[&str]) -> String {
    format!("| {} |\n|{}\n", names.join(" | "), "---|".repeat(names.len()))
}

/// A line of a table.
fn cells(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            name: "a-device".into(),
            report: Report::example(),
            outdated: vec!["res2.conv1".into()],
            peers: Vec::new(),
        }
    }

    #[test]
    fn figures_stand_between_their_marks() {
        let known = [known()];
        let text = format!(
            "before\n{}pages -->\nold\n{}\nbetween\n{}headline -->\n{}\nafter\n",
            Block::START,
            Block::END,
            Block::START,
            Block::END
        );
        let made = filled(&text, &known).unwrap();
        assert!(
            made.starts_with("before\n<!-- figures: pages -->\n| device |") && made.ends_with("\nafter\n"),
            "{made}"
        );
        assert!(!made.contains("old\n") && made.contains("[page](a-device.html), [data](a-device.json)"), "{made}");
        assert!(made.contains("(docs/devices/a-device.html): right on 10 random cases; "), "{made}");
        assert_eq!(filled(&made, &known).unwrap(), made);
        let none = format!("{}none -->\n{}", Block::START, Block::END);
        assert_eq!(filled(&none, &known).unwrap_err().to_string(), "no figures are named none");
        let open = format!("{}pages -->\n", Block::START);
        assert_eq!(filled(&open, &known).unwrap_err().to_string(), "the figures pages do not end");
    }

    #[test]
    fn a_section_names_what_is_of_other_kernels() {
        let mut known = known();
        let section = known.section().unwrap();
        assert!(section.contains("\nFigures of 1 row are of other kernels than today's: res2.conv1."), "{section}");
        known.outdated.clear();
        known.report.layers.iter_mut().for_each(|row| row.code = Some("0".into()));
        known.report.networks.iter_mut().for_each(|row| row.code = Some("0".into()));
        assert!(!known.section().unwrap().contains("other kernels"));
        known.report.layers[0].code = None;
        assert!(known.section().unwrap().contains("\nFigures of 1 row may be of other kernels"));
    }

    #[test]
    fn faults_come_first() {
        let mut known = known();
        known.report.verify[0].wrong = 1;
        assert!(known.headline().contains(": **faulty: see its page**; "));
    }

    #[test]
    fn names_of_devices_are_text() {
        let mut known = known();
        known.report.adapter.name = "a|b](http://c)\n<img>".into();
        let table = pages(&[known]);
        assert!(table.lines().count() == 3 && !table.contains("<img>") && table.contains("a b (http://c)"), "{table}");
    }

    #[test]
    fn other_libraries_stand_beside_their_form() {
        let row = |text: &str| serde_json::from_str::<PeerRow>(text).unwrap();
        let mut known = known();
        known.peers = vec![
            row(r#"{"peer": "octconv", "layer": "a", "ms": 2.0, "plain_ms": 4.0}"#),
            row(r#"{"peer": "ncnn", "version": "1", "layer": "a", "form": "octave", "ms": 5.0}"#),
            row(r#"{"peer": "onnxruntime", "version": "2", "layer": "a", "form": "octave", "ms": 3.0}"#),
            row(r#"{"peer": "ncnn", "version": "1", "layer": "a", "form": "plain", "ms": 6.0}"#),
        ];
        let section = known.section().unwrap();
        assert!(
            section.contains("| layer | octconv, ms | ncnn 1, ms | onnxruntime 2, ms | fastest / octconv |"),
            "{section}"
        );
        assert!(section.contains("| a | 2.00 | 5.00 | 3.00 | 1.50 |\n"), "{section}");
        assert!(section.contains("| a | 4.00 | 6.00 | – | 1.50 |\n"), "{section}");
    }

    #[test]
    fn a_change_of_kernels_is_noticed() {
        let mut report = Report::example();
        let subjects = Subjects::of_report(&report).unwrap();
        let spec = subjects.layers[0].layer.spec().unwrap();
        let size = subjects.layers[0].size;
        report.networks.clear();
        report.layers.truncate(1);
        report.layers[0].layer = subjects.layers[0].name.clone();
        report.layers[0].size = size.into();
        report.layers[0].dtype = "f32".into();
        let code = code::of_layer(&report.adapter, &subjects, &spec, size, octconv::Dtype::F32).unwrap();
        report.layers[0].code = Some(code.clone());
        assert_eq!(code::outdated(&report, &subjects).unwrap(), Vec::<String>::new());
        report.layers[0].code = Some("0".repeat(8));
        assert_eq!(code::outdated(&report, &subjects).unwrap().len(), 1);
        // A device that runs other kernels.
        report.layers[0].code = Some(code);
        report.adapter.device_type = if report.adapter.device_type == "Cpu" { "DiscreteGpu" } else { "Cpu" }.into();
        assert_eq!(code::outdated(&report, &subjects).unwrap().len(), 1);
    }
}
