//! A network with octaves against the same without.

use std::ops::Range;
use std::rc::Rc;

use octconv::network::{Checkpoint, Graph, Inference, Model, Network, NetworkOptions, NetworkPlan, random_input, zoo};
use octconv::{Accuracy, Error, InputSize, Timing};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use web_time::Instant;

use crate::clock::Clock;
use crate::engine::{Device, Shared};
use crate::js::{failure, goes_on, next_frame, refusal};
use crate::network::compile;
use crate::report::{FormReport, NetworkReport};

/// What is timed.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchOptions {
    network: String,
    alpha: f64,
    side: u32,
    rounds: usize,
    fast: bool,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self { network: "resnet50".into(), alpha: 0.5, side: 224, rounds: 9, fast: true }
    }
}

/// What was timed so far.
#[derive(Clone, Serialize)]
pub struct Benched {
    /// What is being done.
    pub doing: String,
    /// Rounds that are over. Each times all parts, with and without octaves.
    pub round: usize,
    pub rounds: usize,
    /// Whether the GPU's own clock measures.
    pub device: bool,
    /// Stages in order; the last is the whole network.
    pub parts: Vec<Part>,
}

/// A stage, or the whole network.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    pub name: String,
    /// The octave form's multiply-adds over those of the plain one.
    pub macs_ratio: f64,
    /// Milliseconds in each round.
    pub octave_ms: Vec<f64>,
    pub plain_ms: Vec<f64>,
}

/// A network that is compiled, with random weights.
struct Form {
    context: Rc<Device>,
    inference: Inference,
    /// Multiply-adds of each node.
    macs: Vec<u64>,
    weight_bytes: u64,
    /// Seconds of planning, of compiling with the weights packed, and of the first run.
    ready: [f64; 3],
}

impl Form {
    /// `goes_on` is told how many dispatches of how many are compiled, and may end it: then there is none.
    async fn new(
        context: &Rc<Device>,
        network: &Network,
        size: InputSize,
        fast: bool,
        goes_on: impl FnMut(usize, usize) -> bool,
    ) -> Result<Option<Self>, Error> {
        let graph = Graph::new(network)?;
        let macs = graph.macs(size)?;
        let accuracy = if fast { Accuracy::Fast } else { Accuracy::Exact };
        let (engine, options) = (context.engine(), NetworkOptions { accuracy, ..NetworkOptions::default() });
        let start = Instant::now();
        let plan = NetworkPlan::with_choices(&graph, size, &options, engine.facts(), engine.choices())?;
        let planned = start.elapsed().as_secs_f64();
        // What cannot be planned may be too large to have weights.
        let checkpoint = Checkpoint::try_random(&graph, 1)?;
        let model = Model::new(engine, graph, checkpoint)?;
        let start = Instant::now();
        let made = compile(engine, &model, plan, goes_on).await?;
        let Some(inference) = made else { return Ok(None) };
        let compiled = start.elapsed().as_secs_f64();
        let elements = inference.input().map_or(0, |view| view.dims.elements());
        inference.write_input(context, &random_input(elements as usize, 1))?;
        let first = Instant::now();
        context.run_pass_async(|pass| inference.record(pass)).await?;
        let ready = [planned, compiled, first.elapsed().as_secs_f64()];
        Ok(Some(Self { context: context.clone(), weight_bytes: model.weight_bytes(), inference, macs, ready }))
    }

    /// How long a range of its dispatches takes, again and again in one pass.
    async fn time(&self, steps: &Range<usize>, repeats: usize) -> Result<Timing, Error> {
        let record = |pass: &mut octconv::wgpu::ComputePass<'_>| {
            (0..repeats).for_each(|_| self.inference.record_range(pass, steps.clone()));
        };
        self.context.time_pass_async(record).await
    }
}

/// The most runs of a part in a pass.
const MOST_REPEATS: usize = 1000;

/// A part of both forms: nodes and dispatches of each.
type Ranges = [(Range<usize>, Range<usize>); 2];

/// The stages that both forms have, and the whole. If one form runs a stage together with the next, they are one stage.
fn parts(forms: &[Form; 2]) -> Vec<(String, Ranges)> {
    let stages = forms.each_ref().map(|form| form.inference.plan().stages());
    let mut parts: Vec<(String, Ranges)> = Vec::new();
    let mut from = [(0, 0); 2];
    for stage in &stages[0] {
        let Some(other) = stages[1].iter().find(|other| other.name == stage.name) else { continue };
        let ends = [stage, other].map(|stage| (stage.nodes.end, stage.steps.end));
        let ranges = [0, 1].map(|i: usize| (from[i].0..ends[i].0, from[i].1..ends[i].1));
        from = ends;
        parts.push((stage.name.clone(), ranges));
    }
    let whole = forms.each_ref().map(|form| (0..form.macs.len(), 0..form.inference.plan().dispatches()));
    parts.push(("all".into(), whole));
    parts
}

pub async fn run(
    shared: &Shared,
    options: &BenchOptions,
    progress: Option<&js_sys::Function>,
) -> Result<Benched, JsValue> {
    shared.device("measuring")?;
    if options.rounds == 0 {
        return Err(refusal("rounds is 0: must be at least 1"));
    }
    let step = shared.report.borrow_mut().start(&format!("network {}", options.network));
    // The memory of both networks goes with it.
    let benched = match shared.another_device().await {
        Ok(context) => measure(shared, &context, options, progress).await,
        Err(error) => Err(failure(error)),
    };
    shared.report.borrow_mut().end(step, benched.as_ref().err());
    benched
}

async fn measure(
    shared: &Shared,
    context: &Rc<Device>,
    options: &BenchOptions,
    progress: Option<&js_sys::Function>,
) -> Result<Benched, JsValue> {
    let settings = zoo::Settings { alpha: options.alpha, ..zoo::Settings::default() };
    let octave = zoo::build(&options.network, &settings).map_err(failure)?;
    let size = InputSize::image(1, options.side, options.side);
    let mut benched =
        Benched { doing: String::new(), round: 0, rounds: options.rounds, device: true, parts: Vec::new() };
    let mut forms = Vec::new();
    for (name, network) in [("with octaves", &octave), ("without octaves", &octave.plain())] {
        let begins = format!("compiling {} {name}", options.network);
        let mut broken = None;
        let mut tell = |doing: String| {
            benched.doing = doing;
            goes_on(progress, &benched).unwrap_or_else(|error| {
                broken = Some(error);
                false
            })
        };
        let mut form = None;
        if tell(begins.clone()) {
            // The page shows it before the thread is busy.
            next_frame().await;
            let each = |done, of| tell(format!("{begins}: {done} of {of} kernels"));
            form = Form::new(context, network, size, options.fast, each).await.map_err(failure)?;
        }
        if let Some(error) = broken {
            return Err(error);
        }
        let Some(form) = form else {
            benched.doing = "stopped".into();
            return Ok(benched);
        };
        forms.push(form);
    }
    let Ok(forms) = <[Form; 2]>::try_from(forms) else { return Ok(benched) };
    let parts = parts(&forms);
    let macs = |i: usize, nodes: &Range<usize>| forms[i].macs[nodes.clone()].iter().sum::<u64>();
    benched.parts = parts
        .iter()
        .map(|(name, [octave, plain])| Part {
            name: name.clone(),
            macs_ratio: match macs(1, &plain.0) {
                0 => 1.0,
                plain => macs(0, &octave.0) as f64 / plain as f64,
            },
            octave_ms: Vec::new(),
            plain_ms: Vec::new(),
        })
        .collect();
    benched.doing = "measuring".into();
    let clock = Clock::new(context).await.map_err(failure)?;
    let mut repeats = vec![1; parts.len()];
    'rounds: for round in 0..=options.rounds {
        for (i, (_, [octave, plain])) in parts.iter().enumerate() {
            let time = async |repeats| {
                let octave = forms[0].time(&octave.1, repeats).await.map_err(failure)?;
                let plain = forms[1].time(&plain.1, repeats).await.map_err(failure)?;
                Ok::<_, JsValue>(clock.seconds(&[octave, plain]))
            };
            let mut found = time(repeats[i]).await?;
            if round == 0 {
                // It warms up, and finds how often a part runs in a pass.
                while let Some(more) = clock.more(repeats[i], &found, MOST_REPEATS) {
                    repeats[i] = more;
                    found = time(more).await?;
                }
            } else if let Some((seconds, device)) = found {
                let [octave, plain] = seconds.map(|seconds| 1e3 * seconds / repeats[i] as f64);
                benched.parts[i].octave_ms.push(octave);
                benched.parts[i].plain_ms.push(plain);
                benched.device &= device;
            }
            if !goes_on(progress, &benched)? {
                break 'rounds;
            }
        }
        benched.round = round;
    }
    benched.doing = if benched.round == options.rounds { "done" } else { "stopped" }.into();
    let form = |i: usize| {
        let plan = forms[i].inference.plan();
        FormReport {
            macs: forms[i].macs.iter().sum(),
            dispatches: plan.dispatches(),
            layers: plan.layers().count(),
            as_wanted: plan.layers().filter(|layer| layer.tuning == octconv::Tuning::Used).count(),
            activation_bytes: plan.activation_bytes(),
            weight_bytes: forms[i].weight_bytes,
            ready: forms[i].ready,
        }
    };
    let report =
        NetworkReport { name: octave.name.clone(), side: options.side, fast: options.fast, forms: [form(0), form(1)] };
    shared.report.borrow_mut().add_network(&report, &benched);
    Ok(benched)
}
