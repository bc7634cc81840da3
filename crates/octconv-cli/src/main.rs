//! The command line: what this machine's adapters are and would run, whether layers are right on them, one layer from
//! files, what a layer costs, and how long layers take.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apply;
mod bench;
mod bench_network;
mod classify;
mod cost;
mod cost_network;
mod device;
mod evaluate;
mod features;
mod info;
mod layer_file;
mod network_source;
mod output;
mod picture;
mod plot;
mod predictor;
mod roofline;
mod size;
mod tensor_file;
mod tune;
mod types;
mod verify;

/// Octave convolution as one GPU operator.
///
/// The adapter is wgpu's choice, or what WGPU_ADAPTER_NAME, WGPU_BACKEND and WGPU_POWER_PREF name. What is tuned and
/// compiled is kept in the system's folder for caches, or in OCTCONV_CACHE (empty: nowhere). A command that fails prints
/// one line, "error: ...", to standard error, and exits with 1; one that is spelled wrong exits with 2.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Evaluate(evaluate::Args),
    Info(info::Args),
    Verify(verify::Args),
    Apply(apply::Args),
    Cost(cost::Args),
    Bench(bench::Args),
    Roofline(roofline::Args),
    Tune(tune::Args),
}

fn main() -> ExitCode {
    let outcome = match &Cli::parse().command {
        Command::Classify(args) => classify::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Info(args) => info::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Apply(args) => apply::run(args),
        Command::Cost(args) => cost::run(args),
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Roofline(args) => roofline::run(args),
        Command::Tune(args) => tune::run(args).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        // Who reads the output has seen enough of it, as with `octconv info | head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told where standard error is gone as well.
            let _ = writeln!(io::stderr(), "error: {}", output::one_line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn arguments_are_consistent() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
