//! Layers in files: SPEC.json has one, and the files that `--layers` names have a list.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use octconv::{
    Activation, DeviceFacts, InputSize, LayerDescription, ListedLayer, Options, Path as ConvPath, Plan, Spec,
};

use crate::limits::Limits;
use crate::output::shown_path;

/// Columns of the help.
const WIDTH: usize = 80;

/// The fields of SPEC.json, for `--help`.
pub fn help() -> String {
    let names: Vec<_> = Activation::json_names().iter().map(|name| format!("\"{name}\"")).collect();
    let activations = format!("one of {} (\"none\");", names.join(", "));
    format!(
        "\
SPEC.json is one object. input and channels are needed. Any other field may be
left out; its default stands in parentheses:
  input            the channels of the input: {{\"channels\": c}}, with \"alpha\" or
                   \"split\" as for the output
  channels         output channels, high and low together
  alpha            share of low-frequency output channels, from 0 to 1 (0): low
                   channels are int(alpha * channels)
  split            exact output channels, [high, low], instead of alpha
  kernel           [h, w], or [t, h, w] with a time axis ([1, 1])
  padding          zeros at each end, [h, w] or [t, h, w] ([0, 0]), or \"same\":
                   dilation * (kernel - 1) / 2
  dilation         [h, w] or [t, h, w] ([1, 1])
  stride           1 or 2 (1); with a time axis also [t, h, w], with h = w
  time             the time axis, instead of three numbers elsewhere:
                   {{\"kernel\", \"stride\", \"padding\", \"dilation\"}}
  groups           groups on each path (1)
  depthwise        true or false (false): one filter per channel, on the paths
                   high to high and low to low only
  bias, norm       true or false (false): whether each output has a bias, and a
                   batch norm
  residual         true or false (false): whether a residual is added to each
                   output before the activation
{}
                   {{\"leaky_relu\": {{\"slope\": 0.1}}}} sets its slope
  rounding         \"ceil\" or \"floor\" (\"ceil\"): how half of an odd size is
                   rounded
  downsample       \"average\" or \"strided\" (\"average\"): pool and convolve, or
                   convolve with a stride
  high_to_low, low_to_high
                   true or false (true): whether the layer has these paths
  norm_eps         added to the variance of batch norm (0.00001)
kernel, padding and dilation have two numbers each, or three each: three make a
time axis. A \"conv\" in a network's description has the same fields, without
rounding and norm_eps; its input and residual are names of nodes.",
        field("activation", &activations)
    )
}

/// A field of the help, with its text in lines.
fn field(name: &str, text: &str) -> String {
    let mut lines = vec![format!("  {name:<16}")];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => *line += &format!(" {word}"),
            _ => lines.push(format!("{:<18} {word}", "")),
        }
    }
    lines.join("\n")
}

/// Reads SPEC.json. Errors name the file and the field.
pub fn read(file: &Path, limits: Limits) -> Result<LayerDescription> {
    parse(file, &limits.read_text(file)?)
}

/// The layer in the text of SPEC.json.
pub fn parse(file: &Path, text: &str) -> Result<LayerDescription> {
    let layer = serde_json::from_str(text).map_err(Into::into).and_then(|layer| check(&layer).map(|()| layer));
    layer.with_context(|| shown_path(file))
}

/// Reads a list of layers, and keeps those whose name contains `only`: at least one.
pub fn read_list(file: &Path, limits: Limits, only: Option<&str>) -> Result<Vec<ListedLayer>> {
    let mut layers = parse_list(file, &limits.read_text(file)?)?;
    layers.retain(|entry| only.is_none_or(|only| entry.name.contains(only)));
    ensure!(!layers.is_empty(), "{} has no layer of this name", shown_path(file));
    Ok(layers)
}

/// The layers in the text of a file: at least one.
pub fn parse_list(file: &Path, text: &str) -> Result<Vec<ListedLayer>> {
    let shown = shown_path(file);
    let layers: Vec<ListedLayer> = serde_json::from_str(text).with_context(|| shown.clone())?;
    ensure!(!layers.is_empty(), "{shown} has no layer");
    for entry in &layers {
        check(&entry.layer).with_context(|| format!("{shown}: layer {}", entry.name))?;
    }
    Ok(layers)
}

/// Refuses layers that cannot be built, and those whose weights no machine holds: counting them must not overflow.
fn check(layer: &LayerDescription) -> Result<()> {
    const MOST: u128 = 1 << 48;
    let spec = layer.spec()?;
    let product = |path| spec.weight_shape(path).iter().map(|&d| u128::from(d)).product::<u128>();
    let weights: u128 = ConvPath::ALL.into_iter().map(product).sum();
    if weights > MOST {
        bail!("kernel is too large: the layer has {weights} weights, more than {MOST}");
    }
    Ok(())
}

/// As layers stand in a network: pool(X_H) is at hand if the layer has a use for it, and pool(Y_H) is wanted.
pub fn pooled(spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Options {
    let takes = Options { pooled_input: true, ..*options };
    let pooled_input = Plan::new(spec, size, &takes, facts).is_ok();
    Options { pooled_input, pooled_output: spec.output().high > 0, ..*options }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal() {
        let help = help();
        assert!(help.lines().all(|line| line.len() <= WIDTH), "{help}");
        assert!(Activation::json_names().iter().all(|name| help.contains(&format!("\"{name}\""))), "{help}");
    }

    #[test]
    fn absurd_kernels_are_refused() {
        let text = r#"{"input": {"channels": 1048576}, "channels": 1048576, "kernel": [1048576, 1048576]}"#;
        let refusal = check(&serde_json::from_str(text).unwrap()).unwrap_err().to_string();
        assert!(refusal.starts_with("kernel is too large: the layer has "), "{refusal}");
    }
}
