//! Does the steps of a report.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use octconv::network::{Graph, Model, NetworkPlan};
use octconv::roofline::{Effort, Roofline};
use octconv::tuning;
use octconv::verify::{self, Case};
use octconv::{
    Context, ContextOptions, Dtype, Error, Family, InputSize, Options, Plan, Spec, Strategy, Tuned as TunedVariants,
    Tuning,
};

use super::code;
use super::data::{Layer, LayerForm, Network, NetworkForm, Quartiles, Report, Stage, Tuned, Verified, Wrong};
use super::refusal::{self, NoRoom};
use super::subjects::{LayerJob, Subjects};
use super::unit::{Mode, Unit, filling_batch};
use crate::bench::least_bytes;
use crate::device::{Device, identity};
use crate::info::About;
use crate::limits::Holds;
use crate::network_source::Source;
use crate::network_timing::{self, Form, Part};
use crate::output::one_line;
use crate::roofline::Measured;
use crate::timing::{self, LayerTimes};
use crate::tune::{Job, Tried};
use crate::weights;

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
        Unit::Verify { family, tile, mode, seed } => return verify_kernels(family, tile, mode, seed, report),
        Unit::VerifyNetworks { mode, seed } => return verify_networks(mode, seed, report),
        Unit::Roofline { full } => {
            // The narrowest factors come last, and what bounds wider ones is measured too.
            let factors = subjects.dtypes.last().copied().unwrap_or_default();
            let brief = Effort::Brief { factors, sums: Dtype::F32 };
            let roofline = Roofline::measure(context, if full { Effort::Full } else { brief })?;
            device.check()?;
            report.roofline = Some(Measured::from(&roofline));
        }
        Unit::Layer { index, dtype, filled } => {
            let filling = if filled { filling_batch(subjects, report) } else { None };
            let row = time_layer(context, subjects, index, dtype, filling)?;
            device.check()?;
            report.layers.push(row);
        }
        Unit::Network { index, dtype, batch, tuned } => {
            let row = time_network(context, subjects, report, (index, dtype, batch, tuned))?;
            device.check()?;
            report.networks.push(row);
        }
        Unit::TuneLayer { index, plain, dtype } => {
            let entry = &subjects.layers[index];
            let (spec, options) = (entry.layer.spec()?, subjects.layer_options(dtype));
            room(context, subjects, &spec, entry.size, &options)?;
            let spec = if plain { spec.plain() } else { spec };
            let tried = tune(device, &spec, entry.size, &options)?;
            let (layer, dtype) = (entry.name.clone(), dtype.to_string());
            report.tune.push(Tuned { network: None, layer, alike: 1, plain, dtype, tried });
        }
        Unit::TuneNetwork { job, dtype } => {
            let LayerJob { job, plain } = &subjects.jobs()[job];
            let tried = tune(device, &job.spec, job.size, &job.options)?;
            report.tune.push(Tuned {
                network: Some(subjects.networks[0].network.name.clone()),
                layer: first_name(job),
                alike: job.names.len(),
                plain: *plain,
                dtype: dtype.to_string(),
                tried,
            });
        }
    }
    Ok(())
}

/// The name by which a job is known.
fn first_name(job: &Job) -> String {
    job.names.first().cloned().unwrap_or_default()
}

fn verify_device(mode: Mode) -> Result<Device> {
    let software = mode.as_gpu.then_some(false);
    Ok(Device::require(&ContextOptions { checked: Some(mode.checked), software, ..untuned() })?)
}

fn verify_kernels(family: Family, tile: &'static str, mode: Mode, seed: u64, report: &mut Report) -> Result<()> {
    let device = verify_device(mode)?;
    let row = row_of(report, family.name(), Some(tile), mode);
    let Some(case) = Case::random_of(&device.context, family, Some(tile), seed) else { return Ok(()) };
    let mut outcome = Ok(());
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
        let found = ran.outcome.as_ref().map(|outcome| (outcome.worst, outcome.failure.as_deref()));
        outcome = row.count(found, device.stray_error(), case, repeat);
        outcome.is_ok()
    });
    outcome
}

fn verify_networks(mode: Mode, seed: u64, report: &mut Report) -> Result<()> {
    let device = verify_device(mode)?;
    let row = row_of(report, "networks", None, mode);
    let seeds = (0..RANDOM_NETWORKS).map(|i| seed * RANDOM_NETWORKS + i);
    let mut outcome = Ok(());
    verify::run_networks(&device.context, seeds, |seed, case, ran| {
        let repeat = format!("octconv verify --networks 1 --seed {seed}{}", mode.flags());
        let found = ran.as_ref().map(|outcome| (outcome.worst, outcome.failure.as_deref()));
        outcome = row.count(found, device.stray_error(), || format!("{:?}", case.size), repeat);
        outcome.is_ok()
    });
    outcome
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
            refused: 0,
            refusal: None,
        });
        report.verify.len() - 1
    });
    &mut report.verify[place]
}

impl Verified {
    /// Counts a case. `found`: its largest error over the bound, and what is wrong; or why it did not run. An error if
    /// that is a fault of the device, or if wgpu has reported one besides (`stray`).
    fn count(
        &mut self,
        found: Result<(f64, Option<&str>), &Error>,
        stray: Option<String>,
        case: impl FnOnce() -> String,
        repeat: String,
    ) -> Result<()> {
        if let Some(stray) = stray {
            bail!("wgpu reported: {stray}, in {repeat}");
        }
        match found {
            Ok((worst, None)) => {
                self.cases += 1;
                self.worst = self.worst.max(worst);
            }
            Ok((_, Some(problem))) => {
                self.cases += 1;
                self.wrong += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.push(Wrong { case: one_line(&case()), problem: one_line(problem), repeat });
                }
            }
            Err(error) if refusal::of_library(error) => {
                self.refused += 1;
                self.refusal.get_or_insert_with(|| one_line(&error.to_string()));
            }
            Err(error) => bail!("{error}, in {repeat}"),
        }
        Ok(())
    }
}

/// Times a layer at its own batch; or, if `filling` is a batch that fills the device, at so many times its own.
fn time_layer(
    context: &Context,
    subjects: &Subjects,
    index: usize,
    dtype: Dtype,
    filling: Option<u32>,
) -> Result<Layer> {
    let entry = &subjects.layers[index];
    let (spec, options) = (entry.layer.spec()?, subjects.layer_options(dtype));
    let size = match filling {
        Some(batch) => largest(entry.size, batch, |size| room(context, subjects, &spec, size, &options))?,
        None => room(context, subjects, &spec, entry.size, &options).map(|()| entry.size)?,
    };
    let times = LayerTimes::measure(context, &spec, size, &options, &options, LAYER_ROUNDS)?;
    let form = |i: usize, spec: &Spec| -> Result<LayerForm> {
        let (plan, cost) = (&times.plans[i], spec.cost(size)?);
        Ok(LayerForm {
            ms: Quartiles::ms(&times.seconds[i]),
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
        filled: filling.is_some(),
        rounds: octave.len(),
        octave: form(0, &spec)?,
        unfused: form(1, &spec)?,
        plain: form(2, &spec.plain())?,
        over_unfused: Quartiles::speedup(octave, unfused),
        over_plain: Quartiles::speedup(octave, plain),
        code: Some(code::of_layer(&About::of(context.adapter()), subjects, &spec, size, dtype)?),
    })
}

/// The size with `times` as large a batch, or half as often, and so on, until there is room. At least twice the batch.
fn largest(size: InputSize, times: u32, room: impl Fn(InputSize) -> Result<()>) -> Result<InputSize> {
    let mut times = times.max(2);
    loop {
        let larger = InputSize { n: size.n.saturating_mul(times), ..size };
        match room(larger) {
            Ok(()) => return Ok(larger),
            Err(error) if times < 4 || !refusal::is_one(&error) => return Err(error),
            Err(_) => times /= 2,
        }
    }
}

/// Refuses a layer that the device cannot run in all of its forms, and one whose tensors take more bytes than allowed.
fn room(context: &Context, subjects: &Subjects, spec: &Spec, size: InputSize, options: &Options) -> Result<()> {
    let mut bytes = 0u64;
    for plan in timing::forms(context, spec, size, options, options)? {
        let elements = plan.tensors().iter().map(|tensor| tensor.dims.elements()).fold(0, u64::saturating_add);
        let tensors = elements.saturating_mul(options.precision.activations.bytes());
        bytes = bytes.saturating_add(tensors).saturating_add(plan.scratch_bytes());
    }
    let allowed = subjects.limits.check("the tensors of its forms take", bytes, Holds::Tensors);
    allowed.map_err(|error| NoRoom(error.to_string()).into())
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
    let compile = |model: &Model, plan| Ok(model.compile(plan, |_| ())?);
    let prepare = |context, network| Form::new(context, network, size, &options, subjects.limits, compile);
    let plain = network.plain();
    for network in [network, &plain] {
        let allowed = weights::check_random_of(&Graph::new(network)?, subjects.limits);
        allowed.map_err(|error| NoRoom(error.to_string()))?;
    }
    let mut forms = vec![prepare(context, network)?, prepare(context, &plain)?];
    if let Some(device) = &unfused_device {
        forms.push(prepare(&device.context, network)?);
    }
    let as_tuned = |form: &Form| form.inference.plan().layers().any(|layer| layer.tuning == Tuning::Used);
    ensure!(!tuned || forms.iter().all(as_tuned), "no layer runs what tuning found");
    let parts = network_timing::time(&forms.iter().collect::<Vec<_>>(), NETWORK_ROUNDS, || ())?;
    for device in [&tuned_device, &unfused_device].into_iter().flatten() {
        device.check()?;
    }
    let Some((whole, stages)) = parts.split_first() else { bail!("the network has no dispatches") };
    let over = |i: usize| Quartiles::speedup(&whole.seconds[0], &whole.seconds[i]);
    Ok(Network {
        network: network.name.clone(),
        size: size.into(),
        dtype: dtype.to_string(),
        tuned,
        rounds: whole.seconds[0].len(),
        octave: network_form(&forms[0], whole, 0),
        plain: network_form(&forms[1], whole, 1),
        unfused: forms.get(2).map(|form| network_form(form, whole, 2)),
        over_plain: over(1),
        over_unfused: forms.get(2).map(|_| over(2)),
        stages: stages.iter().map(stage).collect(),
        code: Some(code::of_network(&report.adapter, subjects, network, size, dtype)?),
    })
}

fn network_form(form: &Form, whole: &Part, i: usize) -> NetworkForm {
    let plan = form.inference.plan();
    let [plan_ms, compile_ms, first_ms] = form.ready.map(|seconds| 1e3 * seconds);
    NetworkForm {
        ms: Quartiles::ms(&whole.seconds[i]),
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
        octave_ms: Quartiles::ms(&part.seconds[0]),
        plain_ms: Quartiles::ms(&part.seconds[1]),
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
    let network = &subjects.networks[0].network.name;
    let mut found = TunedVariants::default();
    for LayerJob { job, plain } in subjects.jobs() {
        let wanted = (Some(network), &first_name(job), *plain);
        let same = |row: &&Tuned| (row.network.as_ref(), &row.layer, row.plain) == wanted;
        let Some(row) = report.tune.iter().find(same) else { continue };
        let variant = Some(row.tried.winner.parse()?);
        let plan: Plan = context.engine().plan(&job.spec, job.size, &Options { variant, ..job.options })?;
        found.insert(&identity(context)?, &plan);
    }
    Ok(found)
}

fn tune(device: &Device, spec: &Spec, size: InputSize, options: &Options) -> Result<Tried> {
    let outcome = tuning::tune(&device.context, spec, size, options, &TUNING, |_| ())?;
    device.check()?;
    Ok(Tried::of(&outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Verified {
        let json = r#"{"family": "direct", "tile": null, "checked": false, "as_gpu": false, "cases": 0, "worst": 0,
            "wrong": 0, "examples": [], "refused": 0, "refusal": null}"#;
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn refusals_are_not_wrong_and_faults_are_the_steps_error() {
        let mut row = row();
        let mut count = |found, stray: Option<&str>| {
            row.count(found, stray.map(str::to_owned), || "a case".into(), "octconv verify --seed 1".into())
        };
        let room = Error::OutOfMemory { operation: "creating a buffer".into() };
        let lost = Error::DeviceLost { operation: "waiting".into(), message: "it is gone".into() };
        for found in [Ok((0.25, None)), Ok((0.5, None)), Ok((f64::INFINITY, Some("y_h is NaN"))), Err(&room)] {
            count(found, None).unwrap();
        }
        let fault = count(Err(&lost), None).unwrap_err().to_string();
        assert_eq!(fault, "waiting failed: the device is lost: it is gone, in octconv verify --seed 1");
        let fault = count(Ok((0.75, None)), Some("a fault")).unwrap_err().to_string();
        assert_eq!(fault, "wgpu reported: a fault, in octconv verify --seed 1");
        assert_eq!((row.cases, row.wrong, row.refused, row.worst), (3, 1, 1, 0.5));
        assert_eq!(row.examples[0].problem, "y_h is NaN");
        assert_eq!(row.refusal.as_deref(), Some("creating a buffer failed: out of memory"));
    }

    #[test]
    fn batches_are_halved_until_there_is_room() {
        let size = InputSize::image(3, 8, 8);
        let most = |most: u32| {
            move |size: InputSize| match size.n <= most {
                true => Ok(()),
                false => Err(NoRoom(format!("{} are too many", size.n)).into()),
            }
        };
        let batch =
            |times, room| largest(size, times, most(room)).map(|size| size.n).map_err(|error| error.to_string());
        assert_eq!(batch(16, 48), Ok(48));
        assert_eq!(batch(16, 47), Ok(24));
        assert_eq!(batch(16, 6), Ok(6));
        // At its own batch it has been timed.
        assert_eq!(batch(16, 5), Err("6 are too many".into()));
        // What is no matter of room does not become right at another batch.
        assert!(largest(size, 16, |size| if size.n > 40 { bail!("a fault") } else { Ok(()) }).is_err());
    }
}
