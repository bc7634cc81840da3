//! `octconv verify --networks`: compares random networks on this machine's adapter with the CPU reference.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use octconv::Error;
use octconv::network::Network;
use octconv::verify::{self, NetworkCase, NetworkOutcome};
use serde::Serialize;

use crate::device::{Device, describe};
use crate::output::{one_line, print, print_json, progress};

#[derive(Default, Serialize)]
struct Report {
    adapter: String,
    seed: u64,
    networks: u64,
    dispatches: u64,
    seconds: f64,
    /// The largest error over its bound. For a NaN it is infinite, which is null in JSON.
    worst_fraction_of_bound: f64,
    failures: Vec<Failure>,
}

#[derive(Serialize)]
struct Failure {
    seed: u64,
    network: Network,
    size: String,
    keep: Vec<String>,
    problem: String,
    repeat: String,
}

/// Runs `networks` random networks, the first of seed `seed`. `flags` are the other arguments that repeat a failure.
pub fn run(device: &Device, seed: u64, networks: u64, flags: &str, json: bool) -> Result<ExitCode> {
    let adapter = describe(&device.context.adapter().get_info());
    let mut report = Report { adapter, seed, ..Report::default() };
    let bar = progress(networks, "{bar:30} {pos}/{len} {msg}")?;
    let start = Instant::now();
    let mut printed = Ok(());
    let seeds = (0..networks).map_while(|i| seed.checked_add(i));
    verify::run_networks(&device.context, seeds, |seed, case, outcome| {
        if let Some(failure) = report.add(seed, case, outcome, device.stray_error(), flags)
            && !json
        {
            printed = bar.suspend(|| failure.text().and_then(|text| print(&text)));
        }
        bar.inc(1);
        bar.set_message(format!("{} wrong", report.failures.len()));
        printed.is_ok()
    });
    bar.finish_and_clear();
    printed?;
    report.seconds = start.elapsed().as_secs_f64();
    if json {
        print_json(&report)?;
    } else {
        print(&report.summary())?;
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Report {
    /// Counts a network, and returns its failure if it is one.
    fn add(
        &mut self,
        seed: u64,
        case: &NetworkCase,
        outcome: &Result<NetworkOutcome, Error>,
        stray: Option<String>,
        flags: &str,
    ) -> Option<&Failure> {
        self.networks += 1;
        let problem = match outcome {
            Ok(outcome) => {
                self.dispatches += outcome.dispatches.len() as u64;
                self.worst_fraction_of_bound = self.worst_fraction_of_bound.max(outcome.worst);
                outcome.failure.clone()
            }
            Err(error) => Some(format!("refused: {error}")),
        };
        let problem = problem.or(stray.map(|stray| format!("wgpu reported: {stray}")))?;
        self.failures.push(Failure {
            seed,
            network: case.network.clone(),
            size: format!("{:?}", case.size),
            keep: case.keep.clone(),
            problem: one_line(&problem),
            repeat: format!("octconv verify --networks 1 --seed {seed}{flags}"),
        });
        self.failures.last()
    }

    fn summary(&self) -> String {
        let Self { seed, networks, dispatches, seconds, worst_fraction_of_bound, failures, .. } = self;
        let ran = format!("ran {networks} networks, {dispatches} dispatches, from seed {seed} in {seconds:.1} s\n");
        let worst = format!("worst error: {worst_fraction_of_bound:.3} of its bound\n");
        match failures.len() {
            0 => ran + &worst + "all agree with the reference\n",
            wrong => ran + &worst + &format!("{wrong} of {networks} networks DISAGREE with the reference\n"),
        }
    }
}

impl Failure {
    fn text(&self) -> Result<String> {
        let Self { seed, network, size, keep, problem, repeat } = self;
        let (network, keep) = (serde_json::to_string(network)?, keep.join(", "));
        Ok(format!("seed {seed}: {problem}\n  network: {network}\n  {size}, keeps: {keep}\n  repeat: {repeat}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_how_to_repeat_them() {
        let case = NetworkCase::random(7);
        let mut report = Report::default();
        let outcome =
            |worst, failure| Ok(NetworkOutcome { dispatches: vec![("a".into(), "add".into())], worst, failure });
        assert!(report.add(6, &case, &outcome(0.5, None), None, " --as-gpu").is_none());
        assert!(report.add(8, &case, &outcome(0.25, None), Some("out of memory".into()), "").is_some());
        let wrong = outcome(f64::INFINITY, Some("n0 is\nNaN".into()));
        let text = report.add(7, &case, &wrong, None, " --as-gpu").unwrap().text().unwrap();
        assert!(text.starts_with("seed 7: n0 is NaN\n  network: {\"name\":\"random\","), "{text}");
        assert!(text.ends_with("\n  repeat: octconv verify --networks 1 --seed 7 --as-gpu\n"), "{text}");
        let summary = report.summary();
        assert!(summary.starts_with("ran 3 networks, 3 dispatches, from seed 0"), "{summary}");
        assert!(summary.ends_with("2 of 3 networks DISAGREE with the reference\n"), "{summary}");
        assert!(serde_json::to_value(&report).unwrap()["worst_fraction_of_bound"].is_null());
    }
}
