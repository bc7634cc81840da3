//! The bundle of one layer.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use octconv::export::Bundle;
use octconv::network::random_input;
use octconv::reference::{self, Inputs};
use octconv::{BatchNorm, InputSize, LayerDescription, Path, Plan, Spec, Weights};

use super::{Args, RANDOM, SEED, device};
use crate::limits::Limits;
use crate::output::{shown, shown_path};
use crate::weights;

/// Tensors by name, as "octconv apply" has them.
type Tensors = BTreeMap<String, Vec<f32>>;

pub fn bundle(args: &Args, description: &LayerDescription) -> Result<Bundle> {
    let size = args.size.context("a layer needs --size HxW")?;
    let size = args.size(InputSize::image(1, size.h, size.w));
    let is_layer = args.labels.is_none() && !args.one_buffer && args.keep.is_empty();
    ensure!(is_layer, "--labels, --one-buffer and --keep are for networks");
    args.check_weights()?;
    let mut spec = description.spec()?;
    let given = args.weights.as_deref().map(|path| read(path, args.limits)).transpose()?;
    if given.as_ref().is_some_and(|tensors| tensors.contains_key("bias_h") || tensors.contains_key("bias_l")) {
        spec = description.builder()?.bias(true).build()?;
    }
    let facts = device::facts(&args.device, args.to.matrix_sides(), args.limits)?;
    let plan = Plan::new(&spec, size, &args.types.options(), &facts)?;
    let tensors = match given {
        Some(tensors) => tensors,
        None => random(&spec, size, description.fields.norm, args)?,
    };
    let weights = of(&tensors, description.norm_eps);
    let mut bundle = Bundle::of_layer(&plan, &weights, &facts, args.options(Vec::new(), None))?;
    if let Some(example) = &args.example {
        ensure!(example == RANDOM, "--example is {}: must be \"random\" for a layer", shown(example));
        for input in &bundle.manifest().inputs {
            args.check_input(elements(&input.shape))?;
        }
        let inputs = (SEED..).zip(&bundle.manifest().inputs).map(|(seed, input)| {
            let values = random_input(elements(&input.shape) as usize, seed);
            let values = values.into_iter().map(|value| args.rounded(value)).collect();
            (input.name.clone(), values)
        });
        let inputs: Tensors = inputs.collect();
        let get = |name: &str| inputs.get(name).map(Vec::as_slice);
        let [x_h, x_l, x_p] = ["x_h", "x_l", "x_p"].map(get);
        let [residual_h, residual_l] = ["residual_h", "residual_l"].map(get);
        let right = reference::octave_conv(&spec, size, &weights, &Inputs { x_h, x_l, x_p, residual_h, residual_l })?;
        let right: Vec<_> = [right.y_h, right.y_l].into_iter().flatten().map(|y| y.to_f32()).collect();
        let ordered: Vec<_> = bundle.manifest().inputs.iter().map(|input| inputs[&input.name].clone()).collect();
        args.add_example(&mut bundle, &ordered, &right)?;
    }
    Ok(bundle)
}

/// The elements of a shape.
fn elements(shape: &[u32]) -> u64 {
    shape.iter().fold(1, |all: u64, &d| all.saturating_mul(d.into()))
}

/// The tensors of a file.
fn read(path: &std::path::Path, limits: Limits) -> Result<Tensors> {
    let tensors = weights::read(path, limits)?.checkpoint.tensors;
    // A file of "octconv apply" has inputs too.
    let is_input = |name: &str| name.starts_with("x_") || name.starts_with("residual_");
    let known = |name: &str| NAMES.contains(&name) || is_input(name);
    if let Some(name) = tensors.keys().find(|name| !known(name)) {
        anyhow::bail!(
            "{}: {} is no tensor of a layer: must be one of {}",
            shown_path(path),
            shown(name),
            NAMES.join(", ")
        );
    }
    Ok(tensors.into_iter().filter(|(name, _)| !is_input(name)).map(|(name, tensor)| (name, tensor.data)).collect())
}

const NAMES: [&str; 14] = [
    "w_hh", "w_hl", "w_lh", "w_ll", "bias_h", "bias_l", "gamma_h", "beta_h", "mean_h", "var_h", "gamma_l", "beta_l",
    "mean_l", "var_l",
];

/// Random numbers for all tensors of a layer.
fn random(spec: &Spec, size: InputSize, norm: bool, args: &Args) -> Result<Tensors> {
    let norms = if norm { 4 * u64::from(spec.output().channels()) } else { 0 };
    weights::check_random(&args.subject, spec.cost(size)?.params.saturating_add(norms), args.limits)?;
    let mut tensors = Tensors::new();
    for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
        let shape = spec.weight_shape(path).map(|d| d as usize);
        let scale = (6.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
        let seed = SEED + path as u64;
        let weights = random_input(shape.iter().product(), seed).into_iter().map(|v| v * scale).collect();
        tensors.insert(path.weight_name().to_owned(), weights);
    }
    for (end, channels) in [("h", spec.output().high), ("l", spec.output().low)] {
        let mut vector = |name: &str, middle: f32, seed: u64| {
            let values = random_input(channels as usize, seed).into_iter().map(|v| middle + v / 8.0).collect();
            tensors.insert(format!("{name}_{end}"), values);
        };
        if channels > 0 && spec.has_bias() {
            vector("bias", 0.0, SEED);
        }
        if channels > 0 && norm {
            for (name, middle) in [("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("var", 1.0)] {
                vector(name, middle, SEED + 1);
            }
        }
    }
    Ok(tensors)
}

fn of(tensors: &Tensors, eps: f32) -> Weights<'_> {
    let get = |name: &str| tensors.get(name).map(Vec::as_slice);
    let norm = |[gamma, beta, mean, var]: [&str; 4]| {
        Some(BatchNorm { gamma: get(gamma)?, beta: get(beta)?, mean: get(mean)?, var: get(var)?, eps })
    };
    Weights {
        w_hh: get("w_hh"),
        w_hl: get("w_hl"),
        w_lh: get("w_lh"),
        w_ll: get("w_ll"),
        bias_h: get("bias_h"),
        bias_l: get("bias_l"),
        norm_h: norm(["gamma_h", "beta_h", "mean_h", "var_h"]),
        norm_l: norm(["gamma_l", "beta_l", "mean_l", "var_l"]),
    }
}
