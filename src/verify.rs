//! Random layers on this machine's adapter, against the reference.
//!
//! # What is compared
//!
//! Every output of a [`Case`] is compared with [`reference::octave_conv`] element by element. Before the run outputs
//! are filled with NaN; every tensor lies between guard bands: NaN around inputs, so that a read outside shows in the
//! sums, and a bit pattern around outputs, which must be as it was afterwards.
//!
//! # The bound
//!
//! With u = 2^-24 (the unit roundoff of f32), K terms in a sum and S = sum of |w * x|, |bias| and |residual| over them
//! ([`reference::magnitude`]), a sum in f32 errs by at most K u S whatever the order, and by (8 sqrt(K) + 16) u S but
//! for a chance of 2 exp(-32) where rounding errors are independent (Higham and Mary, 2019): the 16 holds the folding of
//! batch norm, up to 15 additions of a mean, and the epilogue. The tighter one is used: it notices a wrong tap in sums
//! of thousands of terms. A Winograd convolution errs in proportion not to S but to W, which src/winograd.rs derives: there
//! W stands for S, and the roundings of its transforms come on top of those of the sum. Besides come
//! - f16 weights: 2^-11 S, half an ulp of every weight;
//! - sums of n products in f16: (n + 2) 2^-11 S, since each product, each sum and a mean of X_H before may be rounded, and
//!   2^-24 a term for those that are subnormal, or 16 of 2^-14 where a device flushes those few to zero;
//! - f16 intermediates, where a variant or a pooled input has any: 3 * 2^-11 S, for a map that is pooled twice and a
//!   partial sum;
//! - the activation: its Lipschitz constant times the above; for SiLU also exp's error, (3 + 2 |x|) ulp in WGSL;
//! - f16 outputs: 2^-10 |y|, since WGSL may round either way, and 2^-14, since subnormals may be flushed to zero.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::bounds::Bounds;
use crate::context::{Context, decode, encode};
use crate::error::Error;
use crate::gpu::{TensorBinding, Tensors};
use crate::plan::{Dtype, Options, Plan, Slice, TensorId, Variant};
use crate::reference::{self, Inputs, Outputs, Tensor};
use crate::spec::{Activation, Dims, Downsample, Frequency, InputSize, Path, Rounding, Spec, Split, TimeAxis};
use crate::weights::{BatchNorm, Weights};
use crate::winograd::Transform;

/// One layer to be compared: what it computes, how it is run, and the seed of its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it computes.
    pub spec: Spec,
    /// At which size.
    pub size: InputSize,
    /// How it is run.
    pub options: Options,
    /// Whether batch norm is folded into the weights.
    pub batch_norm: bool,
    /// The seed of weights and inputs.
    pub seed: u64,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The plan's variant.
    pub variant: Variant,
    /// The plan's kernels.
    pub kernels: Vec<String>,
    /// The largest error over its bound: at most 1 where all is well.
    pub worst: f64,
    /// What is wrong, if anything is.
    pub failure: Option<String>,
}

impl Case {
    /// A random case out of the whole space of specifications that the context's device can run. `seed` determines it.
    pub fn random(context: &Context, seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let f16 = context.octconv().facts().features.contains(wgpu::Features::SHADER_F16);
        loop {
            let mut case = draw(&mut rng, f16, seed);
            let Ok(cost) = case.spec.cost(case.size) else { continue };
            let elements = cost.input_elements + cost.output_elements;
            if cost.macs > 4_000_000 || elements > 400_000 || cost.params > 200_000 {
                continue;
            }
            let facts = context.octconv().facts();
            let candidates = Plan::candidates(&case.spec, case.size, &case.options, facts);
            if candidates.is_empty() {
                // The draw asked for a pooled map that this layer has no use for.
                continue;
            }
            // Half of the cases run what the planner would choose.
            if rng.random() {
                case.options.variant = Some(candidates[rng.random_range(0..candidates.len())].variant());
            }
            return case;
        }
    }

    /// Runs the case on the device and on the reference. An `Err` is a refusal by library or device, not a wrong value.
    pub fn run(&self, context: &Context) -> Result<Outcome, Error> {
        let octconv = context.octconv();
        let plan = octconv.plan(&self.spec, self.size, &self.options)?;
        let data = Data::new(self, &plan);
        let weights = data.weights();
        let packed = octconv.pack(&plan, &weights)?;

        let interface = plan.interface();
        let dtype = self.options.activations;
        let guard = u64::from(octconv.facts().limits.min_storage_buffer_offset_alignment).max(256);
        let mut buffers = Vec::new();
        for &(id, dims, written) in &interface {
            let mut bytes = guarded(data.tensor(id), dims, written, dtype, guard);
            if let Some(slice) = self.slice(id) {
                let own = self.channels(&plan, id);
                let size = dtype.bytes() as usize;
                for i in (0..dims.elements() as usize).filter(|&i| slice_index(dims, slice, own, i).is_none()) {
                    bytes[guard as usize + i * size..][..size].fill(0xa5);
                }
            }
            let buffer = context.tensor(bytes.len() as u64 / 4, Dtype::F32)?;
            context.queue().write_buffer(&buffer, 0, &bytes);
            buffers.push((id, buffer, bytes));
        }
        let binding = |id| {
            let (_, buffer, _) = buffers.iter().find(|(other, ..)| *other == id)?;
            Some(TensorBinding { buffer, offset: guard })
        };
        let tensors = Tensors {
            x_h: binding(TensorId::XH),
            x_l: binding(TensorId::XL),
            x_p: binding(TensorId::XP),
            residual_h: binding(TensorId::ResidualH),
            residual_l: binding(TensorId::ResidualL),
            y_h: binding(TensorId::YH),
            y_l: binding(TensorId::YL),
            y_p: binding(TensorId::YP),
        };
        let layer = octconv.bind(&plan, &packed, &tensors)?;
        context.run(&[&layer])?;

        let inputs = data.inputs();
        let expected = reference::octave_conv(&self.spec, self.size, &weights, &inputs)?;
        let magnitude = reference::magnitude(&self.spec, self.size, &weights, &inputs)?;
        let tiles = plan.variant().winograd_tile();
        let magnitude = match tiles {
            None => magnitude,
            Some(m) => reference::magnitude_of_tiles(&self.spec, self.size, &weights, &inputs, Transform::of(m))?,
        };
        let bounds = self.bounds(&plan, &expected, &magnitude);

        let mut outcome = Outcome { variant: plan.variant(), kernels: plan.kernels(), worst: 0.0, failure: None };
        for (index, &(id, dims, written)) in interface.iter().enumerate() {
            let (_, buffer, before) = &buffers[index];
            if !written {
                continue;
            }
            let after = context.read_bytes(buffer, 0, buffer.size())?;
            let body = guard as usize..guard as usize + (dims.elements() * dtype.bytes()) as usize;
            if let Some(at) = (0..after.len()).find(|i| !body.contains(i) && after[*i] != before[*i]) {
                let place = at as i64 - body.start as i64;
                outcome.failure =
                    Some(format!("{} wrote outside of itself, at byte {place} of {}", id.name(), body.len()));
                continue;
            }
            let (Some(expected), Some(bound)) = (output(&expected, id), output(&bounds, id)) else { continue };
            let size = dtype.bytes() as usize;
            let (own, slice) = (expected.dims.c, self.slice(id).unwrap_or(Slice::whole(expected.dims.c)));
            let found = decode(&after[body.clone()], dtype);
            for (at, &found) in found.iter().enumerate() {
                let bytes = body.start + at * size..body.start + (at + 1) * size;
                let Some(i) = slice_index(dims, slice, own, at) else {
                    if after[bytes.clone()] != before[bytes] {
                        outcome.failure =
                            Some(format!("{} wrote outside of its channels, at {}", id.name(), place(dims, at)));
                    }
                    continue;
                };
                let error = (f64::from(found) - expected.data[i]).abs();
                let ratio = error / bound.data[i];
                // A NaN, wherever it comes from, is no ratio at all.
                if ratio.is_nan() || ratio > outcome.worst {
                    outcome.worst = if ratio.is_nan() { f64::INFINITY } else { ratio };
                    if outcome.worst > 1.0 {
                        outcome.failure = Some(format!(
                            "{} is {found} at {}, the reference {}, more than {:.3e} apart",
                            id.name(),
                            place(dims, at),
                            expected.data[i],
                            bound.data[i],
                        ));
                    }
                }
            }
        }
        Ok(outcome)
    }

    fn slice(&self, id: TensorId) -> Option<Slice> {
        match id {
            TensorId::YH => self.options.high_slice,
            TensorId::YL => self.options.low_slice,
            _ => None,
        }
    }

    fn channels(&self, plan: &Plan, id: TensorId) -> u32 {
        let dims = if id == TensorId::YH { plan.shapes().y_h } else { plan.shapes().y_l };
        dims.map_or(0, |dims| dims.c)
    }

    /// The largest error allowed for each element, as this module's documentation derives it.
    fn bounds(&self, plan: &Plan, expected: &Outputs, magnitude: &Outputs) -> Outputs {
        let bounds = Bounds::new(plan);
        let each = |y: &Tensor, other: &Tensor, bound: fn(&Bounds, f64, f64) -> f64| {
            let data = y.data.iter().zip(&other.data).map(|(&y, &other)| bound(&bounds, y, other));
            Tensor { dims: y.dims, data: data.collect() }
        };
        let output = |y: &Option<Tensor>, s: &Option<Tensor>| {
            let (y, s) = y.as_ref().zip(s.as_ref())?;
            Some(each(y, &each(y, s, Bounds::of_output), Bounds::stored))
        };
        let (y_h, y_l) = (output(&expected.y_h, &magnitude.y_h), output(&expected.y_l, &magnitude.y_l));
        // The mean of four errors, each at most its bound, then stored; the unfused variant pools what it has stored.
        let pooled = y_h.as_ref().map(|bound| reference::average_pool(bound, self.spec.rounding()));
        let y_p = pooled.zip(expected.y_p.as_ref()).map(|(bound, y)| each(y, &bound, Bounds::stored));
        Outputs { y_h, y_l, y_p }
    }
}

/// Which element of an output of `own` channels element `i` of the tensor `whole` is, of which it is a slice.
fn slice_index(whole: Dims, slice: Slice, own: u32, i: usize) -> Option<usize> {
    let plane = (whole.t * whole.h * whole.w) as usize;
    let (at, c, n) = (i % plane, (i / plane) as u32 % whole.c, i / plane / whole.c as usize);
    let c = c.checked_sub(slice.first).filter(|&c| c < own)?;
    Some((n * own as usize + c as usize) * plane + at)
}

fn output(outputs: &Outputs, id: TensorId) -> Option<&Tensor> {
    match id {
        TensorId::YH => outputs.y_h.as_ref(),
        TensorId::YL => outputs.y_l.as_ref(),
        TensorId::YP => outputs.y_p.as_ref(),
        _ => None,
    }
}

/// The coordinates of element `i`, for messages.
fn place(dims: Dims, i: usize) -> String {
    let (t, h, w, c) = (dims.t as usize, dims.h as usize, dims.w as usize, dims.c as usize);
    let (x, y, frame) = (i % w, i / w % h, i / (w * h) % t);
    let (channel, n) = (i / (w * h * t) % c, i / (w * h * t * c));
    format!("[n {n}, c {channel}, t {frame}, y {y}, x {x}] of {dims}")
}

/// The bytes of a tensor between guard bands. Outputs are NaN inside and a pattern outside; inputs NaN outside.
fn guarded(values: Option<&[f32]>, dims: Dims, written: bool, dtype: Dtype, guard: u64) -> Vec<u8> {
    let around = if written { 0xa5 } else { 0xff };
    let mut bytes = vec![around; guard as usize];
    match values {
        // All ones is a NaN in either type.
        None => bytes.resize(bytes.len() + (dims.elements() * dtype.bytes()) as usize, 0xff),
        Some(values) => {
            let mut body = encode(values, dtype);
            body.truncate((dims.elements() * dtype.bytes()) as usize);
            bytes.extend(body);
        }
    }
    bytes.resize((bytes.len() + guard as usize).next_multiple_of(4), around);
    bytes
}

/// The random tensors of a case, already rounded to what the device will hold.
struct Data {
    weights: [Option<Vec<f32>>; 4],
    biases: [Option<Vec<f32>>; 2],
    norms: [Option<[Vec<f32>; 4]>; 2],
    inputs: Vec<(TensorId, Vec<f32>)>,
}

impl Data {
    fn new(case: &Case, plan: &Plan) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(case.seed ^ 0x6f63_7463_6f6e_7600);
        let spec = &case.spec;
        let mut values = |count: u64, scale: f32, dtype: Dtype| -> Vec<f32> {
            let value = |_| {
                let value = scale * rng.random_range(-1.0f32..1.0);
                if dtype == Dtype::F16 { half::f16::from_f32(value).to_f32() } else { value }
            };
            (0..count).map(value).collect()
        };
        let weights = Path::ALL.map(|path| {
            let shape = spec.weight_shape(path);
            let count = shape.iter().map(|&d| u64::from(d)).product();
            let scale = 2.0 / (shape[1..].iter().product::<u32>() as f32).sqrt();
            spec.has(path).then(|| values(count, scale, case.options.weights))
        });
        let outputs = [Frequency::High, Frequency::Low];
        let channels = |frequency| u64::from(spec.output().of(frequency));
        let biases = outputs.map(|frequency| {
            let channels = channels(frequency);
            // Large enough for both ends of ReLU6 and hard-swish.
            let scale = if spec.activation() == Activation::None { 1.0 } else { 8.0 };
            (spec.has_bias() && channels > 0).then(|| values(channels, scale, Dtype::F32))
        });
        let norms = outputs.map(|frequency| {
            let channels = channels(frequency);
            (case.batch_norm && channels > 0).then(|| {
                let mut draw = || values(channels, 1.0, Dtype::F32);
                let (gamma, beta, mean) = (draw(), draw(), draw());
                [gamma, beta, mean, draw().into_iter().map(|v| 1.5 + v).collect()]
            })
        });
        let mut inputs: Vec<(TensorId, Vec<f32>)> = Vec::new();
        for (id, dims, _) in plan.interface().into_iter().filter(|&(_, _, written)| !written) {
            let x_h = inputs.iter().find(|(other, _)| *other == TensorId::XH).zip(plan.shapes().x_h);
            let values = match x_h {
                // pool(X_H) is what it says wherever there is an X_H beside it.
                Some(((_, x_h), dims)) if id == TensorId::XP => {
                    let x_h = Tensor { dims, data: x_h.iter().map(|&v| f64::from(v)).collect() };
                    let pooled = reference::average_pool(&x_h, spec.rounding()).to_f32();
                    let mut stored = decode(&encode(&pooled, case.options.activations), case.options.activations);
                    stored.truncate(pooled.len());
                    stored
                }
                _ => values(dims.elements(), 1.0, case.options.activations),
            };
            inputs.push((id, values));
        }
        Self { weights, biases, norms, inputs }
    }

    fn weights(&self) -> Weights<'_> {
        let [w_hh, w_hl, w_lh, w_ll] = self.weights.each_ref().map(|w| w.as_deref());
        let [bias_h, bias_l] = self.biases.each_ref().map(|b| b.as_deref());
        let [norm_h, norm_l] = self
            .norms
            .each_ref()
            .map(|norm| norm.as_ref().map(|[gamma, beta, mean, var]| BatchNorm { gamma, beta, mean, var, eps: 1e-5 }));
        Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, norm_h, norm_l }
    }

    fn tensor(&self, id: TensorId) -> Option<&[f32]> {
        self.inputs.iter().find(|(other, _)| *other == id).map(|(_, values)| values.as_slice())
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            x_h: self.tensor(TensorId::XH),
            x_l: self.tensor(TensorId::XL),
            x_p: self.tensor(TensorId::XP),
            residual_h: self.tensor(TensorId::ResidualH),
            residual_l: self.tensor(TensorId::ResidualL),
        }
    }
}

fn choose<T: Clone>(rng: &mut impl Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

/// Sometimes a place for an output in a larger tensor, where it may have one.
fn slice(rng: &mut impl Rng, spec: &Spec, frequency: Frequency) -> Option<Slice> {
    let channels = spec.output().of(frequency);
    let (first, behind) = (RngExt::random_range(rng, 0..=5), RngExt::random_range(rng, 0..=3));
    let sliced = RngExt::random_bool(rng, 0.15) && channels > 0 && !spec.has_residual(frequency);
    sliced.then_some(Slice { first, of: first + channels + behind })
}

/// One draw; many are no valid specification, and are drawn again.
fn draw(rng: &mut impl Rng, f16: bool, seed: u64) -> Case {
    loop {
        let groups = choose(rng, &[1, 1, 1, 1, 2, 3, 4, 8]);
        let split = |rng: &mut _| {
            let most = if groups == 1 { choose(rng, &[4, 9, 40]) } else { 4 };
            let part = |rng: &mut _| match choose(rng, &[0, 1, 1, 1]) {
                0 => 0,
                _ => groups * RngExt::random_range(rng, 1..=most),
            };
            Split { high: part(rng), low: part(rng) }
        };
        let (input, mut output) = (split(rng), split(rng));
        let depthwise = rng.random_bool(0.12);
        if depthwise {
            let multiple = choose(rng, &[1, 1, 2, 3]);
            output = Split { high: multiple * input.high, low: multiple * input.low };
        }
        let axis = |rng: &mut _| choose(rng, &[1, 1, 1, 3, 3, 3, 5, 7, 2]);
        let square = axis(rng);
        let kernel = if rng.random_bool(0.75) { [square; 2] } else { [axis(rng), axis(rng)] };
        let dilation = choose(rng, &[[1, 1], [1, 1], [1, 1], [2, 2], [1, 2], [3, 1]]);
        let same = [0, 1].map(|axis: usize| dilation[axis] * (kernel[axis] - 1) / 2);
        let padding = if rng.random_bool(0.8) { same } else { choose(rng, &[[0, 0], [1, 1], [2, 0], [3, 4]]) };
        let time = match rng.random_bool(0.25) {
            false => TimeAxis::IMAGE,
            true => TimeAxis {
                kernel: choose(rng, &[1, 2, 3, 3]),
                stride: choose(rng, &[1, 1, 2, 3]),
                padding: choose(rng, &[0, 1, 1, 2]),
                dilation: choose(rng, &[1, 1, 2]),
            },
        };
        let frames = if time == TimeAxis::IMAGE { choose(rng, &[1, 1, 1, 2]) } else { rng.random_range(1..=6) };
        let side = |rng: &mut _| match choose(rng, &[0, 1, 1, 2]) {
            0 => RngExt::random_range(rng, 1..=4),
            1 => RngExt::random_range(rng, 3..=14),
            _ => RngExt::random_range(rng, 8..=33),
        };
        let size = InputSize::video(choose(rng, &[1, 1, 2, 3]), frames, side(rng), side(rng));
        let activations = [
            Activation::None,
            Activation::Relu,
            Activation::Relu6,
            Activation::Silu,
            Activation::HardSwish,
            Activation::LeakyRelu { slope: 0.1 },
        ];
        let mut builder = Spec::builder(input.channels(), output.channels())
            .split(input, output)
            .kernel(kernel)
            .stride(choose(rng, &[1, 1, 1, 2]))
            .padding(padding)
            .dilation(dilation)
            .time(time)
            .groups(groups)
            .high_to_low(rng.random_bool(0.9))
            .low_to_high(rng.random_bool(0.9))
            .downsample(choose(rng, &[Downsample::AveragePool, Downsample::AveragePool, Downsample::StridedConv]))
            .rounding(choose(rng, &[Rounding::Ceil, Rounding::Ceil, Rounding::Floor]))
            .bias(rng.random())
            .activation(choose(rng, &activations))
            .residual(rng.random_bool(0.3), rng.random_bool(0.3));
        if depthwise {
            builder = builder.depthwise();
        }
        let Ok(spec) = builder.build() else { continue };
        let dtype = |rng: &mut _| if f16 && RngExt::random_bool(rng, 0.4) { Dtype::F16 } else { Dtype::F32 };
        let activations = dtype(rng);
        let weights = if rng.random_bool(0.3) { Dtype::F16 } else { Dtype::F32 };
        let f16 = (activations, weights) == (Dtype::F16, Dtype::F16);
        let options = Options {
            activations,
            weights,
            sums: if f16 && rng.random_bool(0.7) { Dtype::F16 } else { Dtype::F32 },
            pooled_input: rng.random_bool(0.25),
            pooled_output: rng.random_bool(0.3),
            high_slice: slice(rng, &spec, Frequency::High),
            low_slice: slice(rng, &spec, Frequency::Low),
            scratch_limit: None,
            variant: None,
        };
        return Case { spec, size, options, batch_norm: rng.random_bool(0.3), seed };
    }
}

/// Runs `cases` random cases from `seed` on, and says what ran after each: `report(seed, case, outcome)`. Stops where
/// `report` returns false.
pub fn run(
    context: &Context,
    seeds: impl IntoIterator<Item = u64>,
    mut report: impl FnMut(u64, &Case, &Result<Outcome, Error>) -> bool,
) {
    for seed in seeds {
        let case = Case::random(context, seed);
        let outcome = case.run(context);
        // Nearly every case compiles kernels of its own; thousands of cases would keep gigabytes of them.
        context.octconv().forget_pipelines();
        if !report(seed, &case, &outcome) {
            return;
        }
    }
}
