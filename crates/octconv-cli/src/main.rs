//! The command `octconv`.

use std::process::ExitCode;

fn main() -> ExitCode {
    octconv_cli::run()
}
