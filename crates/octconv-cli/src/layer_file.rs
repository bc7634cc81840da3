//! Lists of layers that commands time.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use octconv::{DeviceFacts, InputSize, Options, Plan, Spec};
use serde::Deserialize;

/// One entry of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerEntry {
    pub name: String,
    n: u32,
    cin: u32,
    cout: u32,
    k: u32,
    stride: u32,
    alpha_in: f64,
    alpha_out: f64,
    h: u32,
    w: u32,
    #[serde(default = "one")]
    groups: u32,
}

fn one() -> u32 {
    1
}

impl LayerEntry {
    pub fn spec(&self) -> Result<Spec, octconv::Error> {
        let builder = Spec::builder(self.cin, self.cout)
            .alpha(self.alpha_in, self.alpha_out)
            .kernel([self.k; 2])
            .padding([self.k / 2; 2])
            .stride(self.stride);
        let depthwise = self.groups == self.cin && self.cin > 1 && self.alpha_in == self.alpha_out;
        if depthwise { builder.depthwise().build() } else { builder.groups(self.groups).build() }
    }

    pub fn size(&self) -> InputSize {
        InputSize::image(self.n, self.h, self.w)
    }
}

/// The layers of a file, those alone whose name contains `only`. At least one.
pub fn read(file: &Path, only: Option<&str>) -> Result<Vec<LayerEntry>> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {shown}"))?;
    let mut entries: Vec<LayerEntry> = serde_json::from_str(&text).with_context(|| format!("reading {shown}"))?;
    entries.retain(|entry| only.is_none_or(|only| entry.name.contains(only)));
    ensure!(!entries.is_empty(), "{shown} has no layer to time");
    Ok(entries)
}

/// As layers stand in a network: pool(X_H) is at hand where the layer has a use for it, and pool(Y_H) is wanted.
pub fn pooled(spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Options {
    let takes = Options { pooled_input: true, ..*options };
    let pooled_input = Plan::new(spec, size, &takes, facts).is_ok();
    Options { pooled_input, pooled_output: spec.output().high > 0, ..*options }
}
