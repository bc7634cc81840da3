//! `octconv verify`: compares random layers on this machine's adapter with the CPU reference.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use octconv::verify::{self, Case, Outcome};
use octconv::{ContextOptions, Error, Family};
use serde::Serialize;

use crate::device::{Device, describe};
use crate::output::{one_line, print, print_json, progress, several};
use crate::{verify_networks, verify_soak};

/// Compare random layers on this machine's adapter with the CPU reference.
///
/// Each seed draws a layer and its kernels, and several cases with them: sizes, batches and tensors. Some tensors have
/// infinities, NaNs, subnormals, or values of very different sizes. Every element of every output must agree with the
/// reference, within a bound on rounding errors, which are taken to be independent. Exits with 1 if any case disagrees.
#[derive(clap::Args)]
pub struct Args {
    /// Cases to run
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    cases: u64,
    /// Run cases for this many seconds, instead of a number of cases
    #[arg(long, value_name = "N", conflicts_with = "cases")]
    seconds: Option<u64>,
    /// Cases per layer; compiling a layer's kernels takes longer than running them
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    alike: u32,
    /// Only layers that this family of kernels runs, with this tile if one is given, such as direct or direct/t8c4h4w
    #[arg(long, value_name = "FAMILY[/TILE]", conflicts_with_all = ["networks", "soak"])]
    kernels: Option<Kernels>,
    /// Run this many random networks, in f32, instead of layers
    #[arg(long, value_name = "N", conflicts_with_all = ["cases", "seconds", "alike"],
        value_parser = clap::value_parser!(u64).range(1..))]
    networks: Option<u64>,
    /// For this long, such as 30s, 10m or 2h, run random layers and networks again and again, and fail if memory or
    /// wgpu's objects grow. All rounds run the same layers and networks, and drop everything at their end. Resident
    /// memory may grow by 2 MiB or 1 %, whichever is more, from the middle third of the rounds to the last
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration,
        conflicts_with_all = ["cases", "seconds", "alike", "networks"])]
    soak: Option<Duration>,
    /// Seed of the first layer or network; each next one has the next seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Keep wgpu's bounds checks in the kernels: slower, but it helps to find a bug
    #[arg(long)]
    checked: bool,
    /// Open the device with wgpu's default limits and no features, as most engines do
    #[arg(long)]
    default_device: bool,
    /// On a software device, run the kernels that a GPU would
    #[arg(long)]
    as_gpu: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// A family of kernels, and one of its tiles or all.
#[derive(Clone, Copy, Debug)]
struct Kernels {
    family: Family,
    tile: Option<&'static str>,
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.family)?;
        self.tile.map_or(Ok(()), |tile| write!(f, "/{tile}"))
    }
}

impl FromStr for Kernels {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (family, wanted) = s.split_once('/').map_or((s, None), |(family, tile)| (family, Some(tile)));
        let family: Family = family.parse().map_err(|error: Error| error.to_string())?;
        let find = |wanted: &str| {
            let tile = family.tiles().iter().copied().find(|tile| *tile == wanted);
            tile.ok_or_else(|| format!("{family} has the tiles {}", family.tiles().join(", ")))
        };
        Ok(Self { family, tile: wanted.map(find).transpose()? })
    }
}

impl Args {
    /// The arguments that change what a case is and how it runs.
    fn flags(&self) -> String {
        let kernels = self.kernels.map_or(String::new(), |kernels| format!(" --kernels {kernels}"));
        let checked = if self.checked { " --checked" } else { "" };
        let default_device = if self.default_device { " --default-device" } else { "" };
        let as_gpu = if self.as_gpu { " --as-gpu" } else { "" };
        format!("{kernels}{checked}{default_device}{as_gpu}")
    }
}

#[derive(Serialize)]
struct Report {
    adapter: String,
    checked: bool,
    as_gpu: bool,
    default_device: bool,
    seed: u64,
    cases: u64,
    /// How many distinct kernels ran.
    kernels: usize,
    seconds: f64,
    /// How many cases ran each variant.
    variants: BTreeMap<String, u64>,
    worst: Option<Worst>,
    failures: Vec<Failure>,
}

/// The largest error of all cases.
#[derive(Serialize)]
struct Worst {
    /// The error over its bound. For a NaN it is infinite, which is null in JSON.
    fraction_of_bound: f64,
    seed: u64,
}

#[derive(Serialize)]
struct Failure {
    seed: u64,
    spec: String,
    size: String,
    options: String,
    values: String,
    batch_norm: bool,
    ran: Option<String>,
    problem: String,
    repeat: String,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let checked = args.checked.then_some(true);
    let software = args.as_gpu.then_some(false);
    let options =
        ContextOptions { default_device: args.default_device, checked, software, ..ContextOptions::default() };
    let device = Device::require(&options)?;
    let context = &device.context;
    let mut report = Report {
        adapter: describe(&context.adapter().get_info()),
        checked: context.engine().is_checked(),
        as_gpu: args.as_gpu,
        default_device: args.default_device,
        seed: args.seed,
        cases: 0,
        kernels: 0,
        seconds: 0.0,
        variants: BTreeMap::new(),
        worst: None,
        failures: Vec::new(),
    };
    if !args.json {
        print(&report.heading())?;
    }
    if let Some(networks) = args.networks {
        return verify_networks::run(&device, args.seed, networks, &args.flags(), args.json);
    }
    if let Some(duration) = args.soak {
        return verify_soak::run(&device, args.seed, duration, args.json);
    }

    let draw = |seed| match args.kernels {
        None => Some(Case::random(context, seed)),
        Some(Kernels { family, tile }) => Case::random_of(context, family, tile, seed),
    };
    if let Some(kernels) = args.kernels.filter(|_| draw(args.seed).is_none()) {
        bail!("no layer was found that runs {kernels} on this device");
    }
    let cases = (args.seed..=u64::MAX).filter_map(draw);
    let unit = if args.seconds.is_some() { " s" } else { "" };
    let length = args.seconds.unwrap_or(args.cases);
    let bar = progress(length, &format!("{{bar:30}} {{pos}}/{{len}}{unit} {{msg}}"))?;
    let start = Instant::now();
    let mut printed = Ok(());
    verify::run_cases(context, cases, args.alike as usize - 1, |ran| {
        report.kernels = ran.kernels;
        if let Some(failure) = report.add(args, (ran.seed, ran.index), ran.case, ran.outcome, device.stray_error())
            && !args.json
        {
            printed = bar.suspend(|| print(&failure.text()));
        }
        match args.seconds {
            Some(_) => bar.set_position(start.elapsed().as_secs()),
            None => bar.inc(1),
        }
        bar.set_message(format!("{} cases, {} wrong", report.cases, report.failures.len()));
        let goes_on = match args.seconds {
            Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
            None => report.cases < args.cases,
        };
        printed.is_ok() && goes_on
    });
    bar.finish_and_clear();
    printed?;
    report.seconds = start.elapsed().as_secs_f64();

    if args.json {
        print_json(&report)?
    } else {
        print(&report.summary())?
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Report {
    /// Counts a case, and returns its failure if it is one.
    fn add(
        &mut self,
        args: &Args,
        (seed, index): (u64, usize),
        case: &Case,
        outcome: &Result<Outcome, Error>,
        stray: Option<String>,
    ) -> Option<&Failure> {
        self.cases += 1;
        let ran = outcome.as_ref().ok().map(|o| format!("{}: {}", o.variant, o.kernels.join(", ")));
        let variant = outcome.as_ref().map_or_else(|_| "none".into(), |o| o.variant.to_string());
        *self.variants.entry(variant).or_default() += 1;
        if let Ok(outcome) = outcome
            && self.worst.as_ref().is_none_or(|worst| outcome.worst > worst.fraction_of_bound)
        {
            self.worst = Some(Worst { fraction_of_bound: outcome.worst, seed });
        }
        let problem = match outcome {
            Ok(outcome) => outcome.failure.clone(),
            Err(error) => Some(format!("refused: {error}")),
        };
        let problem = problem.or(stray.map(|stray| format!("wgpu reported: {stray}")))?;
        self.failures.push(Failure {
            seed,
            spec: format!("{:?}", case.spec),
            size: format!("{:?}", case.size),
            options: format!("{:?}", case.options),
            values: format!("{:?}", case.values),
            batch_norm: case.batch_norm,
            ran,
            problem: one_line(&problem),
            repeat: format!(
                "octconv verify --seed {seed} --cases {} --alike {}{}",
                index + 1,
                args.alike,
                args.flags()
            ),
        });
        self.failures.last()
    }

    fn heading(&self) -> String {
        let device = if self.default_device { ", as a default device" } else { "" };
        let checked = if self.checked { ", kernels checked" } else { "" };
        let as_gpu = if self.as_gpu { ", with what GPUs run" } else { "" };
        format!("adapter: {}{device}{checked}{as_gpu}\n", self.adapter)
    }

    fn summary(&self) -> String {
        let (cases, seed, failures) = (self.cases, self.seed, self.failures.len());
        let kernels = self.kernels;
        let mut out = format!(
            "ran {} on {kernels} distinct kernels from seed {seed} in {:.1} s:\n",
            several(cases as usize, "case"),
            self.seconds
        );
        for (variant, count) in &self.variants {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {variant:<24} {count}");
        }
        if let Some(Worst { fraction_of_bound, seed }) = &self.worst {
            let _ = writeln!(out, "worst error: {fraction_of_bound:.3} of its bound, at seed {seed}");
        }
        match failures {
            0 => out + "all agree with the reference\n",
            _ => out + &format!("{failures} of {} DISAGREE with the reference\n", several(cases as usize, "case")),
        }
    }
}

impl Failure {
    fn text(&self) -> String {
        let Self { seed, spec, size, options, values, batch_norm, ran, problem, repeat } = self;
        let ran = ran.as_deref().unwrap_or("nothing");
        format!(
            "seed {seed}: {problem}\n  layer: {spec}, {size}, {options}, batch norm: {batch_norm}, {values} values\n  \
             ran: {ran}\n  repeat: {repeat}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use octconv::verify::Values;
    use octconv::{InputSize, Options, Spec};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn failures_say_how_to_repeat_them() {
        let args = Line::parse_from(["verify", "--checked", "--as-gpu"]).args;
        let mut report = Report {
            adapter: "a".into(),
            checked: true,
            as_gpu: true,
            default_device: false,
            seed: 6,
            cases: 0,
            kernels: 2,
            seconds: 0.5,
            variants: BTreeMap::new(),
            worst: None,
            failures: Vec::new(),
        };
        let spec = Spec::builder(3, 8).build().unwrap();
        let (size, options) = (InputSize::image(1, 4, 4), Options::default());
        let case = Case { spec, size, options, batch_norm: false, one_buffer: false, values: Values::Even, seed: 7 };
        let outcome = |worst, failure| {
            let variant = "fused/direct".parse().unwrap();
            Ok(Outcome { variant, kernels: vec!["direct".into()], worst, failure })
        };
        assert!(report.add(&args, (6, 0), &case, &outcome(0.25, None), None).is_none());
        assert!(report.add(&args, (8, 0), &case, &outcome(0.5, None), Some("out of memory".into())).is_some());
        let failure = report.add(&args, (7, 4), &case, &outcome(f64::INFINITY, Some("y_h is\nNaN".into())), None);
        let text = failure.unwrap().text();
        assert!(text.starts_with("seed 7: y_h is NaN\n  layer: Spec { "), "{text}");
        assert!(
            text.ends_with("\n  repeat: octconv verify --seed 7 --cases 5 --alike 8 --checked --as-gpu\n"),
            "{text}"
        );
        let summary = report.summary();
        assert!(summary.contains("  fused/direct             3\n"), "{summary}");
        assert!(summary.ends_with("at seed 7\n2 of 3 cases DISAGREE with the reference\n"), "{summary}");
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["worst"]["fraction_of_bound"].is_null());
        assert_eq!(json["failures"][1]["seed"], 7);
    }
}
