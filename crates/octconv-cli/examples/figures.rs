//! Puts the figures of the reports in docs/devices/ into the documents of this repository. See `USAGE`.

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: figures [--check]

Makes docs/performance.md, the README's figures and the pages in docs/devices/ from docs/devices/*.json, and prints what
octconv runs with other kernels than when it was timed. With --check nothing is written, and a file that differs is an
error.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        ["-h" | "--help"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match octconv_cli::figures::update(&root, check) {
        Ok(outcome) => {
            for (device, outdated) in outcome.outdated.iter().filter(|(_, outdated)| !outdated.is_empty()) {
                println!("{device}: {} figures are of other kernels than today's", outdated.len());
            }
            for path in &outcome.differing {
                println!("{} {}", path.display(), if check { "differs" } else { "is written" });
            }
            if check && !outcome.differing.is_empty() {
                eprintln!("figures differ from the reports in docs/devices/: run this without --check");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
