//! `octconv verify --soak`: makes and drops layers and networks for a long time, and watches what stays.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use octconv::verify::{self, Growth, SoakRound};
use serde::Serialize;

use crate::device::{Device, describe};
use crate::output::{one_line, print, print_json, progress, thousands};

#[derive(Serialize)]
struct Report {
    adapter: String,
    seed: u64,
    seconds: f64,
    rounds: Vec<Round>,
    /// What grew, and what was refused or wrong.
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Round {
    seconds: f64,
    runs: u64,
    kernels: usize,
    objects: u64,
    buffer_bytes: u64,
    /// Resident memory of the process.
    memory_bytes: Option<u64>,
}

/// Runs layers and networks from `seed` on for `duration`.
pub fn run(device: &Device, seed: u64, duration: Duration, json: bool) -> Result<ExitCode> {
    let adapter = describe(&device.context.adapter().get_info());
    let mut report = Report { adapter, seed, seconds: 0.0, rounds: Vec::new(), problems: Vec::new() };
    let bar = progress(duration.as_secs(), "{bar:30} {pos}/{len} s")?;
    let memory = || memory_stats::memory_stats().map(|stats| stats.physical_mem as u64);
    let start = Instant::now();
    let mut printed = Ok(());
    let soak = verify::soak(&device.context, seed, duration, memory, |round| {
        let row = Round::new(round, start.elapsed().as_secs_f64());
        if !json {
            printed = bar.suspend(|| print(&row.text(report.rounds.len() + 1)));
        }
        report.rounds.push(row);
        report.problems.extend(round.failures.iter().map(|(seed, problem)| format!("seed {seed}: {problem}")));
        report.problems.extend(device.stray_error().map(|stray| format!("wgpu reported: {stray}")));
        bar.set_position(start.elapsed().as_secs());
        // The next round would have the same problems.
        printed.is_ok() && report.problems.is_empty()
    });
    bar.finish_and_clear();
    let soak = soak?;
    printed?;
    report.seconds = start.elapsed().as_secs_f64();
    report.problems.extend(soak.growth().iter().map(Growth::to_string));
    report.problems.iter_mut().for_each(|problem| *problem = one_line(problem));
    if json {
        print_json(&report)?;
    } else {
        print(&report.summary())?;
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Round {
    fn new(round: &SoakRound, seconds: f64) -> Self {
        Self {
            seconds,
            runs: round.runs,
            kernels: round.kernels,
            objects: round.objects.count(),
            buffer_bytes: round.objects.buffer_bytes,
            memory_bytes: round.memory,
        }
    }

    fn text(&self, number: usize) -> String {
        let Self { seconds, runs, kernels, objects, buffer_bytes, memory_bytes } = self;
        let bytes = |bytes: u64| thousands(bytes.into());
        let memory = memory_bytes.map_or("unknown".into(), bytes);
        format!(
            "round {number:>3}, {seconds:>6.0} s: {runs} runs, {kernels} kernels; then {objects} objects, {} bytes of \
             buffers, {memory} bytes of memory\n",
            bytes(*buffer_bytes),
        )
    }
}

impl Report {
    fn summary(&self) -> String {
        let runs: u64 = self.rounds.iter().map(|round| round.runs).sum();
        let rounds = self.rounds.len();
        let ran = format!(
            "ran {runs} layers and networks in {rounds} rounds from seed {}, {:.0} s\n",
            self.seed, self.seconds
        );
        if self.problems.is_empty() {
            return ran
                + match self.rounds.last().and_then(|round| round.memory_bytes) {
                    Some(_) => "nothing grew, and all agree with the reference\n",
                    None => "no objects grew, and all agree with the reference; the memory of the process is unknown\n",
                };
        }
        self.problems.iter().fold(ran, |text, problem| text + "FAILED: " + problem + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_stand_last() {
        let round =
            |memory_bytes| Round { seconds: 2.0, runs: 5, kernels: 9, objects: 7, buffer_bytes: 0, memory_bytes };
        assert_eq!(
            round(Some(1_000_000)).text(3),
            "round   3,      2 s: 5 runs, 9 kernels; then 7 objects, 0 bytes of buffers, 1,000,000 bytes of memory\n"
        );
        assert!(round(None).text(3).ends_with("unknown bytes of memory\n"));
        let rounds = vec![round(Some(9)), round(Some(9))];
        let mut report = Report { adapter: "a".into(), seed: 4, seconds: 4.0, rounds, problems: Vec::new() };
        let ran = "ran 10 layers and networks in 2 rounds from seed 4, 4 s\n";
        assert_eq!(report.summary(), format!("{ran}nothing grew, and all agree with the reference\n"));
        report.rounds[1].memory_bytes = None;
        assert!(report.summary().ends_with("the memory of the process is unknown\n"), "{}", report.summary());
        report.problems = vec!["seed 5: wrong".into(), "buffers grew".into()];
        assert_eq!(report.summary(), format!("{ran}FAILED: seed 5: wrong\nFAILED: buffers grew\n"));
    }
}
