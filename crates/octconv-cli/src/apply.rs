//! `octconv apply`: runs one layer from files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use octconv::reference::{self, Inputs};
use octconv::{
    BatchNorm, Context, ContextOptions, Dims, Downsample, Dtype, Error, Frequency, InputSize, LayerDescription,
    Options, Path, PlanTensor, Precision, Shapes, Spec, Tensors, TimeAxis, Variant, Weights,
};

use crate::device::{Device, describe};
use crate::limits::{Holds, Limits};
use crate::output::shown_path;
use crate::size::Size;
use crate::target::{Kind, Target};
use crate::tensor_file::{self, Named, Views};
use crate::types::AccuracyArgs;
use crate::{layer_file, output};

/// The text of `--help`, in lines short enough for every terminal.
const HELP: &str = "\
Run one layer from files.

IN.safetensors holds, in F32 or F16, exactly the tensors that the layer has:
  x_h, x_l                inputs, [n, c, h, w] or [n, c, t, h, w]; x_l has half
                          of x_h's height and width
  x_p                     optional: x_h averaged 2x2, so that the layer need not
                          pool it
  w_hh, w_hl, w_lh, w_ll  kernels, named input to output: [c_out, c_in / groups,
                          h, w], or [c_out, c_in / groups, t, h, w]
  bias_h, bias_l          optional, [c_out]: for both outputs, or for neither
  residual_h, residual_l  optional, each of its output's shape: added before the
                          activation
  gamma_h, beta_h, mean_h, var_h, gamma_l, beta_l, mean_l, var_l
                          optional, [c_out]: batch norm of both outputs, or of
                          neither
The optional tensors are needed if SPEC.json sets bias, norm or residual.

The size is that of x_h. Without x_h it is twice that of x_l, or else of x_p; if
x_h would be odd, give --size. An x_h or x_l that no path reads may be left out.

OUT.safetensors holds y_h and y_l, if the layer has them, with the same number
of axes as the inputs. It is written whole or not at all.

If there is no GPU adapter, the CPU reference runs, in f64. A line on standard
error says what ran.";

/// Run one layer from files
#[derive(clap::Args)]
#[command(long_about = HELP, after_long_help = layer_file::help())]
pub struct Args {
    /// The layer: a JSON object (--help lists its fields)
    #[arg(value_name = "SPEC.json")]
    spec: PathBuf,
    /// Inputs and weights (--help lists the tensors)
    #[arg(value_name = "IN.safetensors")]
    input: PathBuf,
    /// Where the outputs go; a safetensors file that is there is replaced
    #[arg(value_name = "OUT.safetensors")]
    output: PathBuf,
    /// Run the CPU reference, in f64
    #[arg(long)]
    reference: bool,
    /// Type of inputs and weights on the device, and of outputs in OUT. The reference rounds inputs and outputs to it
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    dtype: Dtype,
    /// The narrowest type for sums on the device: f16 needs --dtype f16
    #[arg(long, value_name = "f32|f16", default_value = "f32", conflicts_with = "reference")]
    sums: Dtype,
    #[command(flatten)]
    accuracy: AccuracyArgs,
    /// Run this variant (fused/direct, unfused/direct, ...) instead of the planner's choice, or fail
    #[arg(long, conflicts_with = "reference")]
    variant: Option<Variant>,
    /// Height and width of x_h in pixels, if IN has no x_h and they are odd
    #[arg(long, value_name = "HxW")]
    size: Option<Size>,
    /// Also write y_p: y_h averaged 2x2
    #[arg(long)]
    pooled_output: bool,
    #[command(flatten)]
    limits: Limits,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let description = layer_file::read(&args.spec, args.limits)?;
    let output = Target::new(&args.output, Kind::Tensors)?.apart_from(std::slice::from_ref(&args.input))?;
    let bytes = args.limits.read(&args.input, Holds::Tensors)?;
    let layer = tensor_file::views(&bytes).and_then(|views| Layer::new(args, &description, &views));
    let layer = layer.with_context(|| shown_path(&args.input))?;
    drop(bytes);

    let device = (!args.reference).then(|| Device::require(&ContextOptions::default()));
    let (outputs, ran) = match (device, args.variant) {
        (Some(Ok(device)), _) => layer.on_device(&device)?,
        (Some(Err(error @ Error::NoAdapter { .. })), Some(variant)) => {
            bail!("variant {variant} needs a GPU, and {error}")
        }
        (Some(Err(Error::NoAdapter { .. })), None) => {
            (layer.on_reference()?, "the CPU reference (no GPU adapter found)".into())
        }
        (Some(Err(error)), _) => return Err(error.into()),
        (None, _) => (layer.on_reference()?, "the CPU reference".into()),
    };
    let overflow = layer.overflow(&outputs, args.dtype);
    let bytes = tensor_file::serialize(&layer.named(outputs), args.dtype)?;
    output.write(&bytes)?;
    output::tell(&format!("ran on {ran}"));
    Ok(match overflow {
        None => ExitCode::SUCCESS,
        Some(overflow) => {
            output::tell(&overflow);
            ExitCode::FAILURE
        }
    })
}

/// The outputs, with their shapes.
type Outputs = Vec<(&'static str, Dims, Vec<f32>)>;

/// A layer with all of its tensors.
pub struct Layer {
    spec: Spec,
    size: InputSize,
    options: Options,
    norm_eps: f32,
    /// Whether tensors have a time axis in their files.
    clips: bool,
    /// Inputs that the layer reads, and weights.
    tensors: BTreeMap<&'static str, Vec<f32>>,
}

/// A tensor that the file should or may have.
struct Expected {
    name: &'static str,
    /// `None` if the file does not tell its size.
    shape: Option<Vec<usize>>,
    /// If false, it may be there, and is not used.
    required: bool,
}

const BIASES: [&str; 2] = ["bias_h", "bias_l"];
const NORMS: [[&str; 4]; 2] = [["gamma_h", "beta_h", "mean_h", "var_h"], ["gamma_l", "beta_l", "mean_l", "var_l"]];
const FREQUENCIES: [Frequency; 2] = [Frequency::High, Frequency::Low];

impl Layer {
    /// Builds the layer that the files describe, or lists everything that is wrong with its tensors.
    pub fn new(args: &Args, description: &LayerDescription, views: &Views) -> Result<Self> {
        let given = |name: &str| views.contains_key(name);
        let LayerDescription { fields, norm_eps, .. } = description;
        let output = description.spec()?.output();
        let residual = |name, frequency| (fields.residual || given(name)) && output.of(frequency) > 0;
        let spec = description
            .builder()?
            .bias(fields.bias || BIASES.into_iter().any(given))
            .residual(residual("residual_h", Frequency::High), residual("residual_l", Frequency::Low))
            .build()?;
        let norm = fields.norm || NORMS.into_iter().flatten().any(given);
        // The reference and the planner both refuse a pooled input that nothing would read.
        let pools = spec.has(Path::HL) || (spec.has(Path::HH) && spec.stride() == 2);
        let pooled_input = given("x_p") && pools && spec.downsample() == Downsample::AveragePool;

        let mut problems = Problems::default();
        let source = SizeSource::find(&spec, views, args.size, &mut problems);
        let shapes = match &source {
            Some(source) => Some(spec.shapes(source.size)?),
            None => None,
        };
        let clips = source.as_ref().is_some_and(|source| source.clips);
        let expected = expected(&spec, shapes.as_ref(), clips, norm, pooled_input, views);
        problems.compare(&expected, views);
        problems.none()?;
        let (Some(SizeSource { size, .. }), Some(shapes)) = (source, shapes) else {
            bail!("no input tells the layer's size");
        };
        // Indices have 32 bits with a sign. A small file can ask for more, with a large padding.
        let most = u64::from(u32::MAX / 2);
        for dims in [shapes.y_h, shapes.y_l].into_iter().flatten() {
            ensure!(dims.elements() <= most, "an output of {dims} has more than {most} elements");
            args.limits.check(
                &format!("an output of {dims} takes"),
                dims.elements().saturating_mul(4),
                Holds::Tensors,
            )?;
        }
        ensure!(
            !args.pooled_output || shapes.y_p.is_some(),
            "--pooled-output asks for y_p, but the layer has no y_h that can be pooled"
        );

        let mut tensors = BTreeMap::new();
        for Expected { name, required, .. } in expected {
            if let (true, Some(view)) = (required, views.get(name)) {
                tensors.insert(name, tensor_file::values(view).with_context(|| format!("tensor {name}"))?);
            }
        }
        let options = Options {
            precision: Precision { activations: args.dtype, weights: args.dtype, sums: args.sums },
            accuracy: args.accuracy.accuracy(),
            pooled_input,
            pooled_output: args.pooled_output,
            variant: args.variant,
            ..Options::default()
        };
        let layer = Self { spec, size, options, norm_eps: *norm_eps, clips, tensors };
        layer.weights().validate(&layer.spec)?;
        Ok(layer)
    }

    /// What to say if outputs are not finite although all tensors are.
    fn overflow(&self, outputs: &Outputs, dtype: Dtype) -> Option<String> {
        let finite = |v: &f32| match dtype {
            Dtype::F32 => v.is_finite(),
            // Of the reference, which computes in f64.
            Dtype::F16 => half::f16::from_f32(*v).is_finite(),
        };
        let counts = outputs.iter().map(|(name, _, values)| (name, values.iter().filter(|v| !finite(v)).count()));
        let lost: Vec<_> =
            counts.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} of {name}")).collect();
        let given = self.tensors.values().flatten().all(|v| v.is_finite());
        (given && !lost.is_empty()).then(|| {
            format!(
                "error: outputs overflow {dtype}: infinite or NaN are {}, though all inputs and weights are finite",
                lost.join(" and ")
            )
        })
    }

    fn tensor(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(Vec::as_slice)
    }

    fn weights(&self) -> Weights<'_> {
        let [w_hh, w_hl, w_lh, w_ll] = Path::ALL.map(|path| self.tensor(path.weight_name()));
        let [bias_h, bias_l] = BIASES.map(|name| self.tensor(name));
        let [norm_h, norm_l] = NORMS.map(|[gamma, beta, mean, var]| {
            Some(BatchNorm {
                gamma: self.tensor(gamma)?,
                beta: self.tensor(beta)?,
                mean: self.tensor(mean)?,
                var: self.tensor(var)?,
                eps: self.norm_eps,
            })
        });
        Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, norm_h, norm_l }
    }

    fn on_reference(&self) -> Result<Outputs> {
        let rounded = |name: &str| -> Option<Vec<f32>> {
            let round = |&v: &f32| match self.options.precision.activations {
                Dtype::F32 => v,
                Dtype::F16 => half::f16::from_f32(v).to_f32(),
            };
            Some(self.tensor(name)?.iter().map(round).collect())
        };
        let inputs = ["x_h", "x_l", "x_p", "residual_h", "residual_l"].map(rounded);
        let [x_h, x_l, x_p, residual_h, residual_l] = inputs.each_ref().map(|input| input.as_deref());
        let inputs = Inputs { x_h, x_l, x_p, residual_h, residual_l };
        let outputs = reference::octave_conv(&self.spec, self.size, &self.weights(), &inputs)?;
        let y_p = outputs.y_p.filter(|_| self.options.pooled_output);
        let named = [("y_h", outputs.y_h), ("y_l", outputs.y_l), ("y_p", y_p)];
        Ok(named.into_iter().filter_map(|(name, y)| y.map(|y| (name, y.dims, y.to_f32()))).collect())
    }

    /// The outputs, and what ran on which adapter.
    fn on_device(&self, device: &Device) -> Result<(Outputs, String)> {
        let context = &device.context;
        let outcome = self.dispatch(context);
        // An error that wgpu reported to its callback is the cause of what the call returned.
        device.check()?;
        let (outputs, variant) = outcome?;
        Ok((outputs, format!("{}: {variant}", describe(&context.adapter().get_info()))))
    }

    fn dispatch(&self, context: &Context) -> Result<(Outputs, Variant), Error> {
        let dtype = self.options.precision.activations;
        let plan = context.engine().plan(&self.spec, self.size, &self.options)?;
        let packed = context.engine().pack(&plan, &self.weights())?;
        let mut buffers = Vec::new();
        for tensor in plan.tensors() {
            let buffer = match self.tensor(tensor.name).filter(|_| !tensor.written) {
                Some(values) => context.upload(values, dtype)?,
                None => context.tensor(tensor.dims.elements(), dtype)?,
            };
            buffers.push((tensor, buffer));
        }
        let mut tensors = Tensors::default();
        for (tensor, buffer) in &buffers {
            tensors.set(tensor.name, buffer.into())?;
        }
        let layer = context.engine().bind(&plan, &packed, &tensors)?;
        context.run(&[&layer])?;
        let mut read = Vec::new();
        for (PlanTensor { name, dims, .. }, buffer) in buffers.into_iter().filter(|(tensor, _)| tensor.written) {
            read.push((name, dims, context.read(&buffer, 0, dims.elements(), dtype)?));
        }
        Ok((read, plan.variant()))
    }

    fn named(&self, outputs: Outputs) -> Vec<Named> {
        let named = |(name, dims, values): (&str, _, _)| Named {
            name: name.to_owned(),
            shape: file_shape(dims, self.clips),
            values,
        };
        outputs.into_iter().map(named).collect()
    }
}

/// All tensors that belong to a layer.
fn expected(
    spec: &Spec,
    shapes: Option<&Shapes>,
    clips: bool,
    norm: bool,
    pooled_input: bool,
    views: &Views,
) -> Vec<Expected> {
    let mut all = Vec::new();
    for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
        let name = path.weight_name();
        let [n, c, t, h, w] = spec.weight_shape(path).map(|d| d as usize);
        // The kernels of an image layer may also be written with a time axis of 1.
        let flat = t == 1 && views.get(name).is_none_or(|view| view.shape().len() != 5);
        let shape = if flat { vec![n, c, h, w] } else { vec![n, c, t, h, w] };
        all.push(Expected { name, shape: Some(shape), required: true });
    }
    for (i, frequency) in FREQUENCIES.into_iter().enumerate() {
        let channels = spec.output().of(frequency) as usize;
        let mut vector = |name| all.push(Expected { name, shape: Some(vec![channels]), required: true });
        if channels > 0 && spec.has_bias() {
            vector(BIASES[i]);
        }
        if channels > 0 && norm {
            NORMS[i].into_iter().for_each(vector);
        }
    }
    let full = match pooled_input {
        true => spec.has(Path::HH) && spec.stride() == 1,
        false => spec.reads(Frequency::High),
    };
    let mut map = |name, there: bool, dims: fn(&Shapes) -> Option<Dims>, required| {
        if there {
            let shape = shapes.and_then(dims).map(|dims| file_shape(dims, clips));
            all.push(Expected { name, shape, required });
        }
    };
    map("x_h", spec.input().high > 0, |shapes| shapes.x_h, full);
    map("x_l", spec.input().low > 0, |shapes| shapes.x_l, spec.reads(Frequency::Low));
    map("x_p", pooled_input, |shapes| shapes.x_p, true);
    map("residual_h", spec.has_residual(Frequency::High), |shapes| shapes.y_h, true);
    map("residual_l", spec.has_residual(Frequency::Low), |shapes| shapes.y_l, true);
    all
}

/// The input that tells the size.
struct SizeSource {
    size: InputSize,
    clips: bool,
}

impl SizeSource {
    fn find(spec: &Spec, views: &Views, asked: Option<Size>, problems: &mut Problems) -> Option<Self> {
        let (high, low) = (spec.input().high > 0, spec.input().low > 0);
        let sources = [("x_h", high, 1), ("x_l", low, 2), ("x_p", high, 2)];
        let (name, view, factor) = sources
            .into_iter()
            .filter(|&(_, there, _)| there)
            .find_map(|(name, _, factor)| Some((name, views.get(name)?, factor)))?;
        let shape = view.shape();
        let (sizes, clips) = match *shape {
            [n, _, h, w] => ([n, 1, h, w], false),
            [n, _, t, h, w] => ([n, t, h, w], true),
            _ => {
                problems.add(format!("{name} is {shape:?}, must be [n, c, h, w] or [n, c, t, h, w]"));
                return None;
            }
        };
        if !clips && spec.time() != TimeAxis::IMAGE {
            problems.add(format!("{name} is {shape:?}, must be [n, c, t, h, w] because the layer has a time axis"));
            return None;
        }
        let sizes = sizes.map(|size| u32::try_from(size).ok());
        let scaled = |size: Option<u32>| size.and_then(|size| size.checked_mul(factor));
        let [Some(n), Some(t), Some(h), Some(w)] = [sizes[0], sizes[1], scaled(sizes[2]), scaled(sizes[3])] else {
            problems.add(format!("{name} is {shape:?}, which is too large"));
            return None;
        };
        let Size { h, w } = asked.unwrap_or(Size { h, w });
        Some(Self { size: InputSize::video(n, t, h, w), clips })
    }
}

/// What is wrong with a file's tensors.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    fn compare(&mut self, expected: &[Expected], views: &Views) {
        for Expected { name, shape, required } in expected {
            match (views.get(*name), shape) {
                (None, Some(shape)) if *required => self.add(format!("{name} {shape:?} is missing")),
                (None, None) if *required => self.add(format!("{name} is missing")),
                (Some(view), Some(shape)) if view.shape() != shape => {
                    self.add(format!("{name} is {:?}, must be {shape:?}", view.shape()));
                }
                (Some(view), _) if !tensor_file::is_readable(view.dtype()) => {
                    self.add(format!("{name} is {}, must be F32 or F16", view.dtype()));
                }
                _ => {}
            }
        }
        for (name, view) in views {
            if !expected.iter().any(|expected| expected.name == name) {
                self.add(format!("{name} {:?} is not one of the layer's", view.shape()));
            }
        }
    }

    fn none(self) -> Result<()> {
        ensure!(self.0.is_empty(), "{}", self.0.join("; "));
        Ok(())
    }
}

fn file_shape(dims: Dims, clips: bool) -> Vec<usize> {
    let Dims { n, c, t, h, w } = dims;
    let axes = if clips { vec![n, c, t, h, w] } else { vec![n, c, h, w] };
    axes.into_iter().map(|axis| axis as usize).collect()
}
