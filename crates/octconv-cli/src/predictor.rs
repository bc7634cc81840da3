//! A network that answers: on the adapter, or on the CPU reference if there is none.

use anyhow::{Context as _, Result, bail, ensure};
use octconv::network::{Checkpoint, Graph, Inference, Model, NetworkPlan, TensorView, ValueView};
use octconv::reference::network as reference;
use octconv::{Dims, Dtype, InputSize, Tuning};

use crate::device::{self, Device};
use crate::hint::hint;
use crate::output::progress;
use crate::tensor_file::Named;
use crate::types::TypeArgs;

/// Where and how a network runs.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    /// Run on the CPU reference instead of the adapter
    #[arg(long)]
    pub reference: bool,
    #[command(flatten)]
    pub types: TypeArgs,
}

/// A network at one size, for batches of up to `size.n`.
pub struct Predictor {
    size: InputSize,
    /// Elements of one sample of the input, and of the answer.
    input: usize,
    answer: usize,
    form: Form,
}

enum Form {
    Device { device: Device, inference: Box<Inference> },
    Reference { graph: Graph, checkpoint: Checkpoint, why: &'static str },
}

/// The two parts of a map as numbers: channels, height, width, elements.
pub type Features = [Option<([u32; 3], Vec<f32>)>; 2];

impl Predictor {
    /// Compiles the network for batches of `size`, showing progress. `keep` are nodes whose values will be asked for.
    pub fn new(
        graph: &Graph,
        checkpoint: Checkpoint,
        size: InputSize,
        args: &RunArgs,
        keep: Vec<String>,
    ) -> Result<Self> {
        let shapes = graph.shapes(size)?;
        let answer = graph.output_shape(&shapes).elements() / u64::from(size.n);
        let input = shapes[0].elements() / u64::from(size.n);
        let opened = if args.reference { None } else { Device::open(&device::cached())? };
        let form = match opened {
            Some(device) => {
                let model = Model::new(device.context.engine(), graph.clone(), checkpoint)?;
                let plan = model.plan(size, &args.types.network_options(keep))?;
                let inference = Box::new(compile(&model, plan)?);
                device.keep_pipelines();
                Form::Device { device, inference }
            }
            None => {
                for (name, dtype) in [("--dtype", args.types.dtype), ("--sums", args.types.sums)] {
                    ensure!(dtype == Dtype::F32, "{name} is {dtype}: must be f32 on the reference");
                }
                let why = if args.reference { "as asked" } else { "there is no GPU adapter" };
                Form::Reference { graph: graph.clone(), checkpoint: checkpoint.fit(graph)?, why }
            }
        };
        Ok(Self { size, input: input as usize, answer: answer as usize, form })
    }

    /// What runs it, in one line.
    pub fn describe(&self) -> String {
        match &self.form {
            Form::Device { device, .. } => device::describe(&device.context.adapter().get_info()),
            Form::Reference { why, .. } => format!("the CPU reference ({why})"),
        }
    }

    /// How many of its layers run as they were tuned, in one line with its end; empty on the reference. `command` tunes
    /// them.
    pub fn tuned(&self, command: &str) -> String {
        match &self.form {
            Form::Device { inference, .. } => {
                let (tuned, layers) = tuned_layers(inference.plan());
                format!("tuned: {tuned} of {layers} layers{}\n", hint(tuned, command))
            }
            Form::Reference { .. } => String::new(),
        }
    }

    /// The answers to up to `size.n` inputs.
    pub fn answer(&self, inputs: &[Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        let answers = match &self.form {
            Form::Device { device, inference } => {
                let answers = inference.run(&device.context, &self.batch(inputs))?;
                device.check()?;
                answers
            }
            Form::Reference { graph, checkpoint, .. } => {
                // Not the whole batch: the reference is slow.
                let size = InputSize { n: inputs.len() as u32, ..self.size };
                reference::run(graph, checkpoint, size, &inputs.concat(), &mut |_, _| {})?.to_f32()
            }
        };
        Ok(answers.chunks(self.answer.max(1)).take(inputs.len()).map(<[f32]>::to_vec).collect())
    }

    /// The values of nodes for one whole batch, as tensors: that of the output, and those that were kept.
    pub fn values(&self, input: &[f32], names: &[String]) -> Result<Vec<Named>> {
        let shape = |dims: &Dims| match dims.t {
            1 if self.size.t == 1 => vec![dims.n, dims.c, dims.h, dims.w],
            t => vec![dims.n, dims.c, t, dims.h, dims.w],
        };
        let named = |name: String, shape: Vec<u32>, values: Vec<f32>| {
            let shape = shape.into_iter().map(|d| d as usize).collect();
            Named { name, shape, values }
        };
        let mut tensors = Vec::new();
        match &self.form {
            Form::Device { device, inference } => {
                inference.write_input(&device.context, input)?;
                device.context.run_pass(|pass| inference.record(pass))?;
                let read =
                    |view: TensorView| device.context.read(view.buffer, view.offset, view.dims.elements(), view.dtype);
                for name in names {
                    match inference.value(name).with_context(|| format!("{name} has no value"))? {
                        ValueView::Map { high, low } => {
                            for (view, letter) in [(high, 'h'), (low, 'l')] {
                                let Some(view) = view else { continue };
                                tensors.push(named(format!("{name}.{letter}"), shape(&view.dims), read(view)?));
                            }
                        }
                        ValueView::Vector(view) => {
                            tensors.push(named(name.clone(), vec![view.dims.n, view.dims.c], read(view)?));
                        }
                        _ => bail!("{name} is neither a map nor a vector"),
                    }
                }
                device.check()?;
            }
            Form::Reference { graph, checkpoint, .. } => {
                let mut visit = |node: &str, value: &reference::Value| {
                    if !names.iter().any(|name| name == node) {
                        return;
                    }
                    match value {
                        reference::Value::Map { high, low } => {
                            for (tensor, letter) in [(high, 'h'), (low, 'l')] {
                                let Some(tensor) = tensor else { continue };
                                tensors.push(named(format!("{node}.{letter}"), shape(&tensor.dims), tensor.to_f32()));
                            }
                        }
                        reference::Value::Vector { n, c, .. } => {
                            tensors.push(named(node.to_owned(), vec![*n, *c], value.to_f32()));
                        }
                        _ => {}
                    }
                };
                reference::run(graph, checkpoint, self.size, input, &mut visit)?;
            }
        }
        Ok(tensors)
    }

    fn batch(&self, inputs: &[Vec<f32>]) -> Vec<f32> {
        let mut batch = inputs.concat();
        batch.resize(self.size.n as usize * self.input, 0.0);
        batch
    }

    /// The maps of a node that was kept, for the first sample of a batch.
    pub fn features(&self, input: &[f32], node: &str) -> Result<Features> {
        match &self.form {
            Form::Device { device, inference } => {
                inference.run(&device.context, &self.batch(&[input.to_vec()]))?;
                let value = inference.value(node).with_context(|| format!("{node} is no node of the network"))?;
                let ValueView::Map { high, low } = value else { bail!("{node} is no map") };
                let mut parts: Features = [None, None];
                for (part, view) in parts.iter_mut().zip([high, low]) {
                    let Some(view) = view else { continue };
                    let one = u64::from(view.dims.c) * u64::from(view.dims.h) * u64::from(view.dims.w);
                    let values = device.context.read(view.buffer, view.offset, one, view.dtype)?;
                    *part = Some(([view.dims.c, view.dims.h, view.dims.w], values));
                }
                Ok(parts)
            }
            Form::Reference { graph, checkpoint, .. } => {
                let mut parts: Option<Features> = None;
                let size = InputSize { n: 1, ..self.size };
                reference::run(graph, checkpoint, size, input, &mut |name, value| {
                    if let (true, reference::Value::Map { high, low }) = (name == node, value) {
                        parts = Some(
                            [high, low]
                                .map(|tensor| tensor.as_ref().map(|t| ([t.dims.c, t.dims.h, t.dims.w], t.to_f32()))),
                        );
                    }
                })?;
                parts.with_context(|| format!("{node} is no map of the network"))
            }
        }
    }
}

/// How many layers run as they were tuned, and how many there are.
pub fn tuned_layers(plan: &NetworkPlan) -> (usize, usize) {
    (plan.layers().filter(|layer| layer.tuning == Tuning::Used).count(), plan.layers().count())
}

/// Compiles with a progress bar.
pub fn compile(model: &Model, plan: NetworkPlan) -> Result<Inference> {
    let bar = progress(plan.dispatches() as u64, "compiling {bar:30} {pos}/{len} dispatches")?;
    let inference = model.compile(plan, |progress| bar.set_position(progress.done as u64));
    bar.finish_and_clear();
    Ok(inference?)
}

/// The `count` largest values of a list with their indices, the largest first.
pub fn top(values: &[f32], count: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<(usize, f32)> = values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order.truncate(count);
    order
}

/// Refuses an answer with a NaN or an infinity, which no class can be read from. `positions` has each class.
pub fn check_finite(values: &[f32], positions: usize) -> Result<()> {
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((i, value)) => bail!("the network's answer is not finite: class {} is {value}", i / positions),
        None => Ok(()),
    }
}

/// The size of a batch of a network's pictures.
pub fn picture_size(picture: &octconv::network::Picture, batch: u32) -> InputSize {
    InputSize::image(batch, picture.height, picture.width)
}
