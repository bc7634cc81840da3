//! Does the steps of a report.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use octconv::network::{Graph, NetworkPlan};
use octconv::roofline::{Effort, Roofline};
use octconv::tuning;
use octconv::verify::{self, Case};
use octconv::{
    Context, ContextOptions, Dtype, Family, InputSize, Options, Plan, Spec, Strategy, Tuned as TunedVariants, Tuning,
};

use super::data::{Layer, LayerForm, Network, NetworkForm, Report, Speedup, Stage, Times, Tuned, Verified, Wrong};
use super::subjects::Subjects;
use super::unit::{Mode, Unit, filling_batch};
use crate::bench::least_bytes;
use crate::device::{Device, identity};
use crate::network_source::Source;
use crate::network_timing::{self, Form, Part};
use crate::output::one_line;
use crate::roofline::Measured;
use crate::timing::{self, LayerTimes};
use crate::tune::Tried;

/// Timed rounds of a layer, and of a network.
const LAYER_ROUNDS: u32 = 11;
const NETWORK_ROUNDS: u32 = 9;
/// Cases that run the kernels of a random layer, besides the first.
const ALIKE: usize = 3;
/// Random networks of a step.
const RANDOM_NETWORKS: u64 = 2;
/// Wrong cases that are kept in full.
const EXAMPLES: usize = 3;
/// Shorter than in "octconv tune": more layers tell more than the last percent.
const TUNING: tuning::Effort = tuning::Effort { candidates: 6, rounds: 5, sample_us: 1000 };

/// Options of a device with nothing tuned: the planner's choices are what everybody gets.
pub fn untuned() -> ContextOptions {
    ContextOptions { tuned: Some(Arc::default()), ..ContextOptions::default() }
}

/// Does a step on a device that [`untuned`] has opened, and adds what it finds to the report.
pub fn perform(unit: Unit, subjects: &Subjects, device: &Device, report: &mut Report) -> Result<()> {
    let context = &device.context;
    match unit {
        Unit::Verify { family, tile, mode, seed } => verify_kernels(family, tile, mode, seed, report)?,
        Unit::VerifyNetworks { mode, seed } => verify_networks(mode, seed, report)?,
        Unit::Roofline { full } => {
            // The narrowest factors come last, and what bounds wider ones is measured too.
            let factors = subjects.dtypes.last().copied().unwrap_or_default();
            let brief = Effort::Brief { factors, sums: Dtype::F32 };
            let roofline = Roofline::measure(context, if full { Effort::Full } else { brief })?;
            report.roofline = Some(Measured::from(&roofline));
        }
        Unit::Layer { index, dtype, filled } => {
            let batch = if filled { filling_batch(subjects, report).unwrap_or(1) } else { 1 };
            report.layers.push(time_layer(context, subjects, index, dtype, batch)?);
        }
        Unit::Network { index, dtype, batch, tuned } => {
            let row = time_network(context, subjects, report, (index, dtype, batch, tuned))?;
            report.networks.push(row);
        }
        Unit::TuneLayer { index, plain, dtype } => {
            let entry = &subjects.layers[index];
            let (spec, options) = (entry.layer.spec()?, subjects.layer_options(dtype));
            let (spec, form) = if plain { (spec.plain(), "plain ") } else { (spec, "") };
            let row = tune(context, format!("{form}{}", entry.name), &spec, entry.size, &options)?;
            report.tune.push(row);
        }
        Unit::TuneNetwork { job, .. } => {
            let (name, job) = &subjects.jobs()[job];
            report.tune.push(tune(context, name.clone(), &job.spec, job.size, &job.options)?);
        }
    }
    device.check()
}

fn verify_device(mode: Mode) -> Result<Device> {
    let software = mode.as_gpu.then_some(false);
    Ok(Device::require(&ContextOptions { checked: Some(mode.checked), software, ..untuned() })?)
}

fn verify_kernels(family: Family, tile: &'static str, mode: Mode, seed: u64, report: &mut Report) -> Result<()> {
    let device = verify_device(mode)?;
    let row = row_of(report, family.name(), Some(tile), mode);
    let Some(case) = Case::random_of(&device.context, family, Some(tile), seed) else { return Ok(()) };
    verify::run_cases(&device.context, [case], ALIKE, |ran| {
        let repeat = format!(
            "octconv verify --kernels {family}/{tile} --seed {seed} --alike {} --cases {}{}",
            ALIKE + 1,
            ran.index + 1,
            mode.flags()
        );
        let case = || {
            format!("{:?}, {:?}, {:?}, {:?} values", ran.case.spec, ran.case.size, ran.case.options, ran.case.values)
        };
        let (worst, failure) = match ran.outcome {
            Ok(outcome) => (outcome.worst, outcome.failure.clone()),
            Err(error) => (0.0, Some(format!("refused: {error}"))),
        };
        row.count(worst, failure.or(device.stray_error()), case, repeat);
        true
    });
    Ok(())
}

fn verify_networks(mode: Mode, seed: u64, report: &mut Report) -> Result<()> {
    let device = verify_device(mode)?;
    let row = row_of(report, "networks", None, mode);
    let seeds = (0..RANDOM_NETWORKS).map(|i| seed * RANDOM_NETWORKS + i);
    verify::run_networks(&device.context, seeds, |seed, case, outcome| {
        let (worst, failure) = match outcome {
            Ok(outcome) => (outcome.worst, outcome.failure.clone()),
            Err(error) => (0.0, Some(format!("refused: {error}"))),
        };
        let repeat = format!("octconv verify --networks 1 --seed {seed}{}", mode.flags());
        row.count(worst, failure.or(device.stray_error()), || format!("{:?}", case.size), repeat);
        true
    });
    Ok(())
}

/// The row of what is verified, which may be there from an earlier seed.
fn row_of<'a>(report: &'a mut Report, family: &str, tile: Option<&str>, mode: Mode) -> &'a mut Verified {
    let same = |row: &Verified| {
        row.family == family && row.tile.as_deref() == tile && (row.checked, row.as_gpu) == (mode.checked, mode.as_gpu)
    };
    let place = report.verify.iter().position(same).unwrap_or_else(|| {
        report.verify.push(Verified {
            family: family.to_owned(),
            tile: tile.map(str::to_owned),
            checked: mode.checked,
            as_gpu: mode.as_gpu,
            cases: 0,
            worst: 0.0,
            wrong: 0,
            examples: Vec::new(),
        });
        report.verify.len() - 1
    });
    &mut report.verify[place]
}

impl Verified {
    fn count(&mut self, worst: f64, failure: Option<String>, case: impl FnOnce() -> String, repeat: String) {
        self.cases += 1;
        let Some(failure) = failure else {
            self.worst = self.worst.max(worst);
            return;
        };
        self.wrong += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(Wrong { case: one_line(&case()), problem: one_line(&failure), repeat });
        }
    }
}

fn time_layer(context: &Context, subjects: &Subjects, index: usize, dtype: Dtype, batch: u32) -> Result<Layer> {
    let entry = &subjects.layers[index];
    let (spec, options) = (entry.layer.spec()?, subjects.layer_options(dtype));
    let size = InputSize { n: entry.size.n.saturating_mul(batch), ..entry.size };
    let times = LayerTimes::measure(context, &spec, size, &options, &options, LAYER_ROUNDS)?;
    let form = |i: usize, spec: &Spec| -> Result<LayerForm> {
        let (plan, cost) = (&times.plans[i], spec.cost(size)?);
        Ok(LayerForm {
            times: Times::of(&times.seconds[i]),
            macs: cost.macs,
            bytes: least_bytes(plan, cost.params, dtype),
            dispatches: plan.dispatches(),
            variant: plan.variant().to_string(),
            ready_ms: 1e3 * times.ready[i],
        })
    };
    let [octave, unfused, plain] = &times.seconds;
    Ok(Layer {
        layer: entry.name.clone(),
        size: size.into(),
        dtype: dtype.to_string(),
        filled: batch > 1,
        octave: form(0, &spec)?,
        unfused: form(1, &spec)?,
        plain: form(2, &spec.plain())?,
        over_unfused: Speedup::of(octave, unfused),
        over_plain: Speedup::of(octave, plain),
    })
}

fn time_network(
    context: &Context,
    subjects: &Subjects,
    report: &Report,
    (index, dtype, batch, tuned): (usize, Dtype, u32, bool),
) -> Result<Network> {
    let Source { network, size } = &subjects.networks[index];
    let size = InputSize { n: batch, ..*size };
    let options = subjects.network_options(dtype);
    // The other device follows other choices: what was tuned, or one dispatch per operation.
    let follow = |tuned: TunedVariants| Device::require(&ContextOptions { tuned: Some(Arc::new(tuned)), ..untuned() });
    let tuned_device = if tuned { Some(follow(found(context, subjects, report)?)?) } else { None };
    let unfused_device = match batch == 1 && !tuned {
        true => Some(follow(unfused_layers(context, &Graph::new(network)?, size, dtype, subjects)?)?),
        false => None,
    };
    let context = tuned_device.as_ref().map_or(context, |device| &device.context);
    let prepare =
        |context, network| Form::new(context, network, size, &options, |model, plan| Ok(model.compile(plan, |_| ())?));
    let plain = network.plain();
    let mut forms = vec![prepare(context, network)?, prepare(context, &plain)?];
    if let Some(device) = &unfused_device {
        forms.push(prepare(&device.context, network)?);
    }
    let parts = network_timing::time(&forms.iter().collect::<Vec<_>>(), NETWORK_ROUNDS, || ())?;
    for device in [&tuned_device, &unfused_device].into_iter().flatten() {
        device.check()?;
    }
    let Some((whole, stages)) = parts.split_first() else { bail!("the network has no dispatches") };
    let over = |i: usize| Speedup::of(&whole.seconds[0], &whole.seconds[i]);
    Ok(Network {
        network: network.name.clone(),
        size: size.into(),
        dtype: dtype.to_string(),
        tuned,
        octave: network_form(&forms[0], whole, 0),
        plain: network_form(&forms[1], whole, 1),
        unfused: forms.get(2).map(|form| network_form(form, whole, 2)),
        over_plain: over(1),
        over_unfused: forms.get(2).map(|_| over(2)),
        stages: stages.iter().map(stage).collect(),
    })
}

fn network_form(form: &Form, whole: &Part, i: usize) -> NetworkForm {
    let plan = form.inference.plan();
    let [plan_ms, compile_ms, first_ms] = form.ready.map(|seconds| 1e3 * seconds);
    NetworkForm {
        times: Times::of(&whole.seconds[i]),
        macs: whole.macs[i],
        dispatches: plan.dispatches(),
        layers: plan.layers().count(),
        as_wanted: plan.layers().filter(|layer| layer.tuning == Tuning::Used).count(),
        activation_bytes: plan.activation_bytes(),
        weight_bytes: form.weight_bytes,
        plan_ms,
        compile_ms,
        first_ms,
    }
}

fn stage(part: &Part) -> Stage {
    let [macs, plain_macs] = [0, 1].map(|i: usize| part.macs[i] as f64);
    Stage {
        stage: part.name.clone(),
        octave: Times::of(&part.seconds[0]),
        plain: Times::of(&part.seconds[1]),
        macs_ratio: if plain_macs > 0.0 { macs / plain_macs } else { 1.0 },
    }
}

/// Every octave layer of a network as one dispatch per operation, if it can run so.
fn unfused_layers(
    context: &Context,
    graph: &Graph,
    size: InputSize,
    dtype: Dtype,
    subjects: &Subjects,
) -> Result<TunedVariants> {
    let plan = NetworkPlan::new(graph, size, &subjects.network_options(dtype), context.engine().facts())?;
    let mut unfused = TunedVariants::default();
    for layer in plan.layers().filter(|layer| layer.spec.input().low + layer.spec.output().low > 0) {
        if let Some(plan) = timing::unfused(context, layer.spec, layer.size, &layer.options) {
            debug_assert_eq!(plan.variant().strategy, Strategy::Unfused);
            unfused.insert(&identity(context)?, &plan);
        }
    }
    Ok(unfused)
}

/// The variants that tuning found for the layers of the first network.
fn found(context: &Context, subjects: &Subjects, report: &Report) -> Result<TunedVariants> {
    let mut found = TunedVariants::default();
    for (name, job) in subjects.jobs() {
        let Some(row) = report.tune.iter().find(|row| row.layer == *name) else { continue };
        let variant = Some(row.tried.winner.parse()?);
        let plan: Plan = context.engine().plan(&job.spec, job.size, &Options { variant, ..job.options })?;
        found.insert(&identity(context)?, &plan);
    }
    Ok(found)
}

fn tune(context: &Context, layer: String, spec: &Spec, size: InputSize, options: &Options) -> Result<Tuned> {
    let outcome = tuning::tune(context, spec, size, options, &TUNING, |_| ()).with_context(|| layer.clone())?;
    let dtype = options.precision.activations.to_string();
    Ok(Tuned { layer, dtype, tried: Tried::of(&outcome) })
}
