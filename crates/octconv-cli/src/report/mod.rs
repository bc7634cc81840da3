//! `octconv report`: everything that this machine's adapter tells in the minutes given, as a file for programs and a page
//! for people.

mod code;
mod data;
mod figures;
mod folder;
mod merge;
mod page;
mod plots;
mod refusal;
mod subjects;
mod unit;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use octconv::Dtype;

use crate::device::Device;
use crate::info::About;
use crate::limits::Limits;
use crate::output::{self, one_line, shown, shown_path};
use crate::target;
use crate::types::AccuracyArgs;
use data::{Build, Done, Problem, Report, VERSION};
pub use figures::{Outcome, update};
use folder::Folder;
use subjects::{Subjects, Wanted};
use unit::{Unit, Worth};

/// Measure this machine's adapter, and write a page about it that can be attached to an issue.
///
/// Compares every family and tile of kernels with the reference; measures the roofline, layers and whole networks in each
/// type, memory, compile times, and what tuning brings. The most telling steps come first, and a step begins only if it is
/// expected to end in the minutes given. FOLDER/report.json and FOLDER/report.html are whole after every step. The same
/// command goes on where it stopped, and skips a step in which the process was killed or crashed. Exits with 1 if a result
/// is wrong or a step failed, in this run or before.
///
/// Of names, the files hold those of the device, its driver, the networks and the layers.
///
/// With --merge: puts reports of devices or commits side by side, and says what got slower.
#[derive(clap::Args)]
pub struct Args {
    /// The folder for report.json and report.html, or for merge.html (default: octconv-report; with --merge: none)
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// How long to measure
    #[arg(long, value_name = "M", default_value = "10")]
    minutes: Minutes,
    /// A built-in network, "digits", or FILE.json with a description; may be given several times. The first one is in the
    /// headline (default: resnet50, mobilenet-v1, resnext50)
    #[arg(long = "network", value_name = "NETWORK")]
    networks: Vec<String>,
    /// A JSON list of layers, as for "octconv bench", the most telling first (default: about forty of many networks)
    #[arg(long, value_name = "FILE.json")]
    layers: Option<PathBuf>,
    /// The type of activations and weights; may be given twice (default: f32, and f16 if the device has it)
    #[arg(long = "dtype", value_name = "f32|f16")]
    dtypes: Vec<Dtype>,
    #[command(flatten)]
    accuracy: AccuracyArgs,
    /// Put these reports side by side instead: report.json or report.html of several devices or commits
    #[arg(long, value_name = "REPORT", num_args = 2.., conflicts_with_all = ["minutes", "networks", "layers", "dtypes", "fast", "exact"])]
    merge: Vec<PathBuf>,
    #[command(flatten)]
    limits: Limits,
}

/// The folder of a report if none is named.
const FOLDER: &str = "octconv-report";

/// Minutes on the command line.
#[derive(Clone, Copy, Debug)]
struct Minutes(f64);

impl FromStr for Minutes {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        /// A week.
        const MOST: f64 = 7.0 * 24.0 * 60.0;
        let minutes = s.parse().ok().filter(|minutes| *minutes > 0.0 && *minutes <= MOST);
        minutes.map(Self).ok_or("must be a number of minutes, above 0 and at most 10080")
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    if !args.merge.is_empty() {
        return merge::run(&args.merge, args.out.as_deref(), args.limits);
    }
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(60.0 * args.minutes.0);
    let device = Device::require(&work::untuned())?;
    let wanted = Wanted {
        layers: args.layers.clone(),
        networks: args.networks.clone(),
        dtypes: args.dtypes.clone(),
        accuracy: args.accuracy,
        limits: args.limits,
    };
    let subjects = Subjects::new(&wanted, device.context.engine().facts())?;
    let fresh = empty(About::of(device.context.adapter()), &subjects)?;
    let path = args.out.clone().unwrap_or_else(|| FOLDER.into());
    let folder = Folder::new(&path, args.limits)?;
    let mut report = folder.report(fresh)?;
    skip_begun(&mut report);
    measure(&subjects, device, &folder, &mut report, end, args.minutes.0)?;
    output::print(&format!(
        "{}{} steps in {:.0} s, {} left\n{}\n{}\n",
        page::summary(&report),
        report.done.len(),
        report.seconds(),
        report.left,
        shown_path(&folder.page()),
        shown_path(&folder.data())
    ))?;
    Ok(if report.has_faults() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A report without results.
fn empty(adapter: About, subjects: &Subjects) -> Result<Report> {
    let refused = subjects
        .unplanned
        .iter()
        .map(|why| Problem { step: format!("network {}", subjects.networks[0].network.name), problem: why.clone() });
    Ok(Report {
        octconv_report: VERSION,
        started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        build: Build {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: option_env!("OCTCONV_COMMIT").map(str::to_owned),
            optimised: !cfg!(debug_assertions),
        },
        options: subjects.options()?,
        adapter,
        done: Vec::new(),
        begun: None,
        left: 0,
        verify: Vec::new(),
        roofline: None,
        layers: Vec::new(),
        networks: Vec::new(),
        tune: Vec::new(),
        refused: refused.collect(),
        problems: Vec::new(),
    })
}

/// A step that was begun and has not ended would end the process again, for ever: it has failed.
fn skip_begun(report: &mut Report) {
    if let Some(step) = report.begun.take() {
        report.problems.push(Problem { step, problem: "the process ended in it".into() });
    }
}

/// Does the steps that are left and end in time, and writes the report after each.
fn measure(
    subjects: &Subjects,
    mut device: Device,
    folder: &Folder,
    report: &mut Report,
    end: Instant,
    minutes: f64,
) -> Result<()> {
    let bar = output::progress((60.0 * minutes).ceil() as u64, "{bar:30} {elapsed} {msg}")?;
    bar.enable_steady_tick(Duration::from_millis(500));
    let start = Instant::now();
    let mut left = unit::all(subjects);
    left.retain(|unit| !report.has_ended(&unit.name(subjects)));
    loop {
        left.retain(|&unit| unit::worth(unit, subjects, report) != Worth::No);
        report.left = left.len();
        folder.write(report)?;
        bar.set_position(start.elapsed().as_secs());
        let time = end.saturating_duration_since(Instant::now()).as_secs_f64();
        let fits = |unit: &Unit| unit.estimate(subjects, report) <= time;
        let next = left.iter().position(|&unit| unit::worth(unit, subjects, report) == Worth::Yes && fits(&unit));
        let Some(next) = next.filter(|_| time > 0.0) else { break };
        bar.set_message(shown(&left[next].name(subjects)));
        let succeeded = step(left.remove(next), subjects, &device, folder, report)?;
        // Pipelines of a step are of no use to the next, and a device that has failed may be of no use at all.
        device.context.engine().forget_pipelines();
        if !succeeded {
            drop(device);
            // There may be no other.
            folder.write(report)?;
            device = Device::require(&work::untuned()).context("opening the device again")?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Does a step, and notes how it ended, in report.json alone. Returns whether it succeeded.
fn step(unit: Unit, subjects: &Subjects, device: &Device, folder: &Folder, report: &mut Report) -> Result<bool> {
    let step = unit.name(subjects);
    let before = report.clone();
    // Who stops the program does not say that the step is at fault. If this cannot be written, the step is skipped.
    let stopped = || drop(folder.write_data(&before));
    target::with_last_act(stopped, || {
        report.begun = Some(step.clone());
        folder.write_data(report)?;
        let start = Instant::now();
        let outcome = work::perform(unit, subjects, device, report);
        report.begun = None;
        report.left -= 1;
        report.done.push(Done { step: step.clone(), seconds: start.elapsed().as_secs_f64() });
        if let Err(error) = &outcome {
            let list = if refusal::is_one(error) { &mut report.refused } else { &mut report.problems };
            list.push(Problem { step, problem: one_line(&output::reason(error)) });
        }
        folder.write_data(report)?;
        Ok(outcome.is_ok())
    })
}

/// The page of a report in a text, for fuzz targets. What puts reports side by side runs too.
pub fn repeated(text: &str) -> Result<String> {
    let report = folder::parse(text)?;
    merge::side_by_side(&[report.clone(), report.clone()])?;
    page::of_report(&report)
}
