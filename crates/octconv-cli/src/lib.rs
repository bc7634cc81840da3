//! The command `octconv`: one module per subcommand, and what they share. `src/main.rs` only calls [`run`].

use std::env;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::builder::Styles;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

mod apply;
mod bench;
mod bench_network;
mod class_map;
mod classify;
mod confusion;
mod convert;
mod cost;
mod cost_network;
mod device;
mod evaluate;
mod export;
mod features;
#[doc(hidden)]
pub mod fuzzing;
mod hint;
mod import;
mod info;
mod labelled;
mod layer_file;
mod limits;
mod network_folder;
mod network_source;
mod network_timing;
mod octave;
mod output;
mod picture;
mod plot;
mod predictor;
mod report;
mod roofline;
mod run;
mod size;
mod target;
mod tensor_file;
mod timing;
mod tune;
mod types;
mod verify;
mod verify_networks;
mod verify_soak;
mod weights;

/// What the example `figures` calls.
#[doc(hidden)]
pub mod figures {
    pub use crate::report::{Outcome, update};
}

/// Octave convolution as one GPU operator.
///
/// wgpu chooses the adapter. WGPU_ADAPTER_NAME, WGPU_BACKEND and WGPU_POWER_PREF tell it which one. Tuning results and
/// compiled pipelines are kept in the system's cache folder, or in the folder that OCTCONV_CACHE names. If that variable
/// is set but empty, nothing is kept. A command that fails prints one line, "error: ...", to standard error, and exits
/// with 1. If weights do not fit a network, up to twelve lines about its nodes follow. Wrong arguments exit with 2.
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
    Import(import::Args),
    Octave(octave::Args),
    Export(export::Args),
    Run(run::Args),
    Info(info::Args),
    Verify(verify::Args),
    Apply(apply::Args),
    Convert(convert::Args),
    Cost(cost::Args),
    Bench(bench::Args),
    Report(report::Args),
    Roofline(roofline::Args),
    Tune(tune::Args),
}

/// Runs the command with the arguments of this process.
pub fn run() -> ExitCode {
    target::outlive_full_files();
    let outcome = match Cli::try_parse() {
        Ok(cli) => start(&cli.command),
        Err(error) => refuse(&error),
    };
    match outcome {
        Ok(code) => code,
        // The reader of the output has closed it, as in `octconv info | head`.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::tell(&format!("error: {}", output::reason(&error)));
            if let Some(misfits) = error.downcast_ref::<weights::Misfits>() {
                misfits.lines().iter().for_each(|line| output::tell(line));
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints what clap says instead of running a command, and gives the exit code.
fn refuse(error: &clap::Error) -> Result<ExitCode> {
    let code = ExitCode::from(error.exit_code() as u8);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.print().context("writing to standard output")?;
        }
        // It has arguments, which may be names of files. Without colours, all control characters are theirs.
        _ => {
            let plain = Cli::command().styles(Styles::plain()).try_get_matches_from(env::args_os());
            let text = plain.err().as_ref().unwrap_or(error).render().ansi().to_string();
            output::tell_lines(&text);
        }
    }
    Ok(code)
}

fn start(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Classify(args) => classify::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Import(args) => import::run(args),
        Command::Octave(args) => octave::run(args),
        Command::Export(args) => export::run(args),
        Command::Run(args) => run::run(args),
        Command::Info(args) => info::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Apply(args) => apply::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Cost(args) => cost::run(args),
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Report(args) => report::run(args),
        Command::Roofline(args) => roofline::run(args),
        Command::Tune(args) => tune::run(args).map(|()| ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn arguments_are_consistent() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
