//! Counts what ran and what could not, for `scripts/test.sh`: lines in the file that `OCTCONV_TEST_REPORT` names.

use std::fs::OpenOptions;
use std::io::Write;

use octconv::{Context, Dtype, Plan, wgpu};

/// Counts a comparison that ran, and the kinds of kernels that not every device can run.
pub fn ran(context: &Context, plan: &Plan) {
    let facts = context.engine().facts();
    line("ran", "cases");
    if plan.options().precision.activations == Dtype::F16 {
        line("ran", "f16");
    }
    if facts.software && facts.features.contains(wgpu::Features::SHADER_INT64) {
        line("ran", "64-bit words");
    }
    if plan.variant().family.name() == "matrix" {
        // The adapter of emulated.rs has none.
        let emulated = context.engine().adapter_facts().cooperative_matrices.is_empty();
        line("ran", if emulated { "emulated matrix units" } else { "matrix units" });
    }
}

/// Counts a comparison that did not run, because the device lacks a feature.
pub fn missing(feature: &str) {
    line("missing", feature);
}

fn line(event: &str, kind: &str) {
    let Some(file) = std::env::var_os("OCTCONV_TEST_REPORT") else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(file).expect("the report can be written");
    // One write per line, so that lines of threads do not mix.
    file.write_all(format!("{event}\t{kind}\t1\n").as_bytes()).expect("the report can be written");
}
