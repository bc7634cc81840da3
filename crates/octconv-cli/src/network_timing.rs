//! Times the forms of a network against each other, stage by stage and whole.

use std::ops::Range;
use std::time::Instant;

use anyhow::{Result, ensure};
use octconv::network::{Graph, Inference, Model, Network, NetworkOptions, NetworkPlan, Stage, random_input};
use octconv::roofline::{Bound, Roofline};
use octconv::{Context, Error, InputSize};

use crate::limits::Limits;
use crate::timing::{Clock, Clocks};
use crate::types::TypeArgs;
use crate::weights;

/// A network, compiled, with random weights.
pub struct Form<'a> {
    context: &'a Context,
    pub inference: Inference,
    /// Multiply-adds of each node.
    pub macs: Vec<u64>,
    /// Bytes that each node must move.
    pub bytes: Vec<u64>,
    /// Bytes of its weights on the device.
    pub weight_bytes: u64,
    /// Seconds of planning it, of compiling it with its weights packed, and of its first run.
    pub ready: [f64; 3],
}

impl<'a> Form<'a> {
    /// `compile`: [`Model::compile`], with the progress that the command shows. `limits`: those of its weights.
    pub fn new(
        context: &'a Context,
        network: &Network,
        size: InputSize,
        options: &NetworkOptions,
        limits: Limits,
        compile: impl FnOnce(&Model, NetworkPlan) -> Result<Inference>,
    ) -> Result<Self> {
        let graph = Graph::new(network)?;
        let [stored, weights] = [options.precision.activations, options.precision.weights].map(|dtype| dtype.bytes());
        let (macs, bytes) = (graph.macs(size)?, graph.min_bytes(size, stored, weights)?);
        let engine = context.engine();
        let start = Instant::now();
        let plan = NetworkPlan::with_choices(&graph, size, options, engine.facts(), engine.choices())?;
        let planned = start.elapsed();
        let checkpoint = weights::random(&graph, 1, limits)?;
        let model = Model::new(engine, graph, checkpoint)?;
        let start = Instant::now();
        let inference = compile(&model, plan)?;
        let compiled = start.elapsed();
        let elements = inference.input().map_or(0, |view| view.dims.elements());
        inference.write_input(context, &random_input(elements as usize, 1))?;
        let start = Instant::now();
        // Run everything once: a stage that is timed alone reads what the stage before has left.
        context.run_pass(|pass| inference.record(pass))?;
        let ready = [planned, compiled, start.elapsed()].map(|time| time.as_secs_f64());
        Ok(Self { context, macs, bytes, weight_bytes: model.weight_bytes(), ready, inference })
    }

    /// Times a range of its dispatches.
    fn time(&self, range: Range<usize>) -> Result<Clocks, Error> {
        Ok(Clocks::of(self.context.time_pass(|pass| self.inference.record_range(pass, range))?, 1))
    }

    /// The least seconds that some nodes take one after the other, and what bounds most of that time.
    pub fn bound(&self, roofline: &Roofline, nodes: Range<usize>, types: TypeArgs) -> (f64, Bound) {
        let mut seconds = 0.0;
        let mut shares = [(Bound::Arithmetic, 0.0), (Bound::Memory, 0.0), (Bound::Launch, 0.0)];
        for node in nodes.filter(|&node| self.bytes[node] > 0 || self.macs[node] > 0) {
            let (least, bound) = roofline.bound(self.macs[node], self.bytes[node], types.dtype, types.sums);
            seconds += least;
            let share = if bound == Bound::Launch { roofline.launch } else { least };
            shares.iter_mut().filter(|(other, _)| *other == bound).for_each(|(_, sum)| *sum += share);
        }
        let most = shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        (seconds, most.map_or(Bound::Launch, |(bound, _)| bound))
    }
}

/// A stage of a network, or all of it, with an entry for each of its forms.
pub struct Part {
    /// The name of the stage's last node, or "all".
    pub name: String,
    pub nodes: Vec<Range<usize>>,
    pub dispatches: Vec<usize>,
    /// Multiply-adds.
    pub macs: Vec<u64>,
    /// Seconds, round by round.
    pub seconds: Vec<Vec<f64>>,
}

/// Times the forms of a network in turn, whole and stage by stage, `rounds` times. The first part is the whole network.
/// Calls `round` after each round and once before, when everything has warmed up.
pub fn time(forms: &[&Form], rounds: u32, mut round: impl FnMut()) -> Result<Vec<Part>> {
    let stages = all_have(forms.iter().map(|form| form.inference.plan().stages()).collect());
    let names: Vec<_> = stages[0].iter().map(|stage| stage.name.clone()).collect();
    for stages in &stages {
        ensure!(names.iter().eq(stages.iter().map(|stage| &stage.name)), "the forms have different stages");
    }
    let whole = |form: &&Form| (0..form.macs.len(), 0..form.inference.plan().dispatches());
    let mut parts = vec![("all".to_owned(), forms.iter().map(whole).collect::<Vec<_>>())];
    for (i, name) in names.into_iter().enumerate() {
        let ranges = stages.iter().map(|stages| (stages[i].nodes.clone(), stages[i].steps.clone()));
        parts.push((name, ranges.collect()));
    }
    let mut runs = vec![vec![Vec::new(); forms.len()]; parts.len()];
    for number in 0..=rounds {
        for ((_, ranges), runs) in parts.iter().zip(&mut runs) {
            for ((form, (_, steps)), runs) in forms.iter().zip(ranges).zip(runs) {
                let run = form.time(steps.clone())?;
                // The first round compiles and warms up.
                if number > 0 {
                    runs.push(run);
                }
            }
        }
        round();
    }
    let timed = parts.into_iter().zip(runs).map(|((name, ranges), runs)| Part {
        name,
        macs: forms.iter().zip(&ranges).map(|(form, (nodes, _))| form.macs[nodes.clone()].iter().sum()).collect(),
        dispatches: ranges.iter().map(|(_, steps)| steps.len()).collect(),
        nodes: ranges.into_iter().map(|(nodes, _)| nodes).collect(),
        seconds: runs.iter().map(|form| Clock::of(&runs).seconds(form)).collect(),
    });
    Ok(timed.collect())
}

/// The stages that all forms have. If one form runs a stage together with the next one, they are one stage in all.
fn all_have(stages: Vec<Vec<Stage>>) -> Vec<Vec<Stage>> {
    let names: Vec<Vec<_>> =
        stages.iter().map(|stages| stages.iter().map(|stage| stage.name.clone()).collect()).collect();
    let merge = |stages: Vec<Stage>| {
        let (mut node, mut step) = (0, 0);
        let merged = stages.into_iter().filter(|stage| names.iter().all(|names| names.contains(&stage.name)));
        let extended = merged.map(|mut stage| {
            (stage.nodes.start, stage.steps.start) = (node, step);
            (node, step) = (stage.nodes.end, stage.steps.end);
            stage
        });
        extended.collect()
    };
    stages.into_iter().map(merge).collect()
}
