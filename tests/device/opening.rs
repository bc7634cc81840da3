//! What opening a device refuses.

use std::process::Command;

use octconv::{Context, ContextOptions, wgpu};

pub fn limits_beyond_the_adapter() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: u32::MAX, ..wgpu::Limits::default() };
    let options = ContextOptions { limits: Some(limits), ..ContextOptions::default() };
    let message = Context::new(&options).unwrap_err().to_string();
    assert!(message.starts_with("opening the device failed: "), "{message}");
    assert!(message.contains("max_compute_workgroups_per_dimension"), "{message}");
}

/// Runs this test again in an environment of its own. Started by its own name: where a loader was told to run the binary,
/// the current executable is the loader.
pub fn an_adapter_that_is_not_there() {
    if std::env::var("WGPU_ADAPTER_NAME").as_deref() != Ok("no such thing") {
        let mut command = Command::new(std::env::args_os().next().unwrap());
        command.args(["--exact", "opening::an_adapter_that_is_not_there"]).env("WGPU_ADAPTER_NAME", "no such thing");
        let output = command.env_remove("OCTCONV_TEST_REPORT").output().unwrap();
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|printed| String::from_utf8_lossy(printed));
        assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}{stderr}");
        return;
    }
    let message = Context::new(&ContextOptions::default()).unwrap_err().to_string();
    let wanted = "WGPU_ADAPTER_NAME is no such thing: must be part of the name of an adapter; found: ";
    assert!(message.starts_with(wanted), "{message}");
}
