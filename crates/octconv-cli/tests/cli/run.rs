//! Runs the program as its users do.

use std::env::{self, consts};
use std::ffi::OsStr;
use std::process::{Command, Output};

use serde_json::Value;

/// The environment variable, and its value, with which wgpu finds no adapter.
pub const NO_ADAPTER: (&str, &str) = ("WGPU_BACKEND", "noop");

/// The program. If cargo has a runner for this target, the runner starts it, because the runner may bring the device.
pub fn octconv() -> Command {
    let mut command = bare_octconv();
    // Neither read nor write the user's cache.
    command.env("OCTCONV_CACHE", "");
    if env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Without it, Mesa's device selection complains on standard error.
        command.env("XDG_RUNTIME_DIR", env::temp_dir());
    }
    command
}

fn bare_octconv() -> Command {
    let program = env!("CARGO_BIN_EXE_octconv");
    let (target, os) = (format!("CARGO_TARGET_{}_", consts::ARCH.to_uppercase()), consts::OS.to_uppercase());
    let is_runner = |name: &str| name.starts_with(&target) && name.contains(&os) && name.ends_with("_RUNNER");
    let runner = env::vars().find(|(name, _)| is_runner(name)).map(|(_, runner)| runner);
    match runner.as_deref().map(|runner| runner.split_whitespace().collect::<Vec<_>>()).as_deref() {
        Some([runner, arguments @ ..]) => {
            let mut command = Command::new(runner);
            command.args(arguments).arg(program);
            command
        }
        _ => Command::new(program),
    }
}

/// The result of a run of the program.
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code().expect("ended by a signal"), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs the program with these arguments.
    pub fn with(arguments: &[impl AsRef<OsStr>]) -> Self {
        Self::of(octconv().args(arguments))
    }

    /// Standard output of a run that succeeded and wrote nothing to standard error.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""));
        self.stdout
    }

    /// The one JSON value on standard output, whatever the exit code.
    #[track_caller]
    pub fn json(&self) -> Value {
        let Self { stdout, stderr, .. } = self;
        serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"))
    }

    /// The JSON values on standard output, one per line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The one line on standard error.
    #[track_caller]
    pub fn error(&self) -> &str {
        let line = self.stderr.strip_suffix('\n').unwrap_or(&self.stderr);
        assert!(!line.is_empty() && !line.contains('\n'), "not one line: {:?}", self.stderr);
        line
    }

    #[track_caller]
    pub fn assert_refused(&self, wanted: &str) {
        let line = self.error();
        assert!(line.starts_with("error: ") && line.contains(wanted), "{line}\nshould have: {wanted}");
        assert_eq!((self.code, self.stdout.as_str()), (1, ""));
    }
}

/// The one JSON value of a run that succeeded and wrote nothing to standard error.
#[track_caller]
pub fn json_of(arguments: &[&str]) -> Value {
    let text = Outcome::with(arguments).succeeded();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
}

/// Fails unless the program refuses these arguments in one line that has all of `wanted`.
#[track_caller]
pub fn refused(arguments: &[&str], wanted: &[&str]) {
    let outcome = Outcome::with(arguments);
    wanted.iter().for_each(|wanted| outcome.assert_refused(wanted));
}
