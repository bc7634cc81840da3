//! The bundle of a network.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use octconv::export::Bundle;
use octconv::network::{Checkpoint, Graph, Network, NetworkOptions, NetworkPlan, Resize, random_input};
use octconv::reference::network as reference;
use octconv::{InputSize, reference::network::Value};

use super::{Args, RANDOM, SEED, device};
use crate::network_source::{Source, before_crop, check_picture, digits, is_file};
use crate::output::shown;
use crate::{picture, run, weights};

/// The licence of the weights that this program contains.
const OWN: &str = env!("CARGO_PKG_LICENSE");

pub fn bundle(args: &Args, source: Source) -> Result<Bundle> {
    let size = args.size(source.size);
    let mut network = source.network;
    resize_pictures(args, &mut network, size);
    if let Some(picture) = &network.picture {
        // The bundle has it too.
        check_picture(&network, picture)?;
    }
    let graph = Graph::new(&network)?;
    let facts = device::facts(&args.device, args.to.matrix_sides(), args.limits)?;
    let keep = run::kept(&args.keep, &network)?;
    let options = NetworkOptions { one_buffer: args.one_buffer, ..args.types.network_options(keep.clone()) };
    let plan = NetworkPlan::new(&graph, size, &options, &facts)?;
    let labels = labels(args, &graph)?;
    let is_own = args.subject == digits::NAME && args.weights.is_none() && !args.random_weights;
    let checkpoint = checkpoint(args, &graph, is_own)?;
    let mut bundle = Bundle::of_network(&plan, &checkpoint, args.options(labels, is_own.then_some(OWN)))?;
    if let Some(example) = &args.example {
        let mut input = input(args, example, &graph, size)?;
        input.iter_mut().for_each(|value| *value = args.rounded(*value));
        let right = answers(&graph, &checkpoint, size, &input, &keep)?;
        args.add_example(&mut bundle, &[input], &right)?;
    }
    Ok(bundle)
}

/// The reference's answer, and the values of `keep`: a list for each output of the bundle, in their order.
fn answers(
    graph: &Graph,
    checkpoint: &Checkpoint,
    size: InputSize,
    input: &[f32],
    keep: &[String],
) -> Result<Vec<Vec<f32>>> {
    let lists = |value: &Value| match value {
        Value::Map { high, low } => [high, low].into_iter().flatten().map(|map| map.to_f32()).collect(),
        vector => vec![vector.to_f32()],
    };
    let mut kept = BTreeMap::new();
    let answer = reference::run(graph, checkpoint, size, input, &mut |name, value| {
        if keep.iter().any(|asked| asked == name) {
            kept.insert(name.to_owned(), lists(value));
        }
    })?;
    let mut all = lists(&answer);
    all.extend(keep.iter().filter_map(|name| kept.remove(name)).flatten());
    Ok(all)
}

/// A built-in network takes larger and smaller pictures in the same way. Files say for themselves what they want.
fn resize_pictures(args: &Args, network: &mut Network, size: InputSize) {
    let Some(picture) = &mut network.picture else { return };
    let same = (picture.height, picture.width) == (size.h, size.w);
    (picture.height, picture.width) = (size.h, size.w);
    if let (Resize::Shorter(_), false, false) = (picture.resize, same, is_file(&args.subject)) {
        picture.resize = Resize::Shorter(before_crop(size.h.max(size.w)));
    }
}

fn checkpoint(args: &Args, graph: &Graph, is_own: bool) -> Result<Checkpoint> {
    if is_own {
        return digits::checkpoint()?.fit(graph).map_err(Into::into);
    }
    args.check_weights()?;
    match &args.weights {
        Some(path) => weights::fit(path, weights::read(path, args.limits)?.checkpoint, graph, None),
        None => weights::random(graph, SEED, args.limits),
    }
}

/// The names of the classes.
fn labels(args: &Args, graph: &Graph) -> Result<Vec<String>> {
    let text = match &args.labels {
        Some(path) => args.limits.read_text(path)?,
        None if args.subject == digits::NAME => digits::LABELS.to_owned(),
        None => return Ok(Vec::new()),
    };
    let labels: Vec<String> = text.lines().map(|label| label.trim().to_owned()).collect();
    let classes = graph.classes().context("--labels are for networks that answer with one vector")?;
    let count = labels.len();
    ensure!(count == classes as usize, "there are {count} labels, and {classes} classes: must be one for each");
    Ok(labels)
}

/// The input of an example.
fn input(args: &Args, example: &str, graph: &Graph, size: InputSize) -> Result<Vec<f32>> {
    let elements = graph.shapes(size)?[0].elements() as usize;
    if example == RANDOM {
        args.check_input(elements as u64)?;
        return Ok(random_input(elements, SEED));
    }
    let path = Path::new(example);
    let extension = path.extension().map(|end| end.to_string_lossy().to_lowercase());
    if !matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) {
        let (found, input) = run::read_input(path, args.limits)?;
        let InputSize { n, t, h, w } = size;
        ensure!(
            found == size && input.len() == elements,
            "the input of {} does not fit: must be {n} of {t} frames of {h}x{w}, {elements} numbers",
            shown(example)
        );
        return Ok(input);
    }
    let rule = graph.network().picture.as_ref();
    let rule =
        rule.with_context(|| format!("{} does not say how a picture becomes its input", graph.network().name))?;
    let one = picture::to_input(picture::read(path, args.limits)?, rule)?;
    ensure!(size.t == 1, "a picture has no frames, and the input has {}", size.t);
    Ok(one.repeat(size.n as usize))
}
