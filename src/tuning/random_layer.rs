//! A layer with random weights and tensors, on which all of its plans can run.

use std::ops::Range;

use crate::context::{Context, decode, encode};
use crate::dims::{Dims, InputSize};
use crate::engine::{Layer, Tensors};
use crate::error::Error;
use crate::kernels::job::TensorId;
use crate::layer::{Frequency, Groups, Path, Spec, Split, Weights};
use crate::memory::with_room;
use crate::noise::Noise;
use crate::plan::Plan;
use crate::precision::Dtype;
use crate::reference::{Inputs, Outputs, Tensor, average_pool, octave_conv};

/// A layer with random weights and tensors on the device, with which any of its plans can be timed.
#[derive(Debug)]
pub struct RandomLayer {
    spec: Spec,
    size: InputSize,
    weights: [Option<Vec<f32>>; 4],
    biases: [Option<Vec<f32>>; 2],
    /// Id, shape, and whether the layer writes it.
    tensors: Vec<(TensorId, Dims, bool, wgpu::Buffer)>,
    dtype: Dtype,
}

/// Elements that are converted and written at once, an even number. Few, so that it takes little host memory.
const PART: usize = 1 << 20;

impl RandomLayer {
    /// Makes weights and tensors for the layer, size and options of `plan`. Every plan of these can be bound to them.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if there is no room for the weights on the host; those of [`Context::tensor`].
    pub fn new(context: &Context, plan: &Plan) -> Result<Self, Error> {
        let (spec, dtype) = (plan.spec(), plan.options().precision.activations);
        let values = |name: &str, count: u64, scale: f32| {
            let mut values = with_room(count, "making random values")?;
            let noise = Noise::new(name, 1);
            values.extend((0..count).map(|i| scale * noise.number(i) as f32));
            Ok::<Vec<f32>, Error>(values)
        };
        let mut weights = [const { None }; 4];
        for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
            let [outputs, terms @ ..] = spec.weight_shape(path);
            let terms: u64 = terms.iter().map(|&d| u64::from(d)).product();
            // So that outputs are about 1.
            let scale = 2.0 / (terms as f32).sqrt();
            weights[path as usize] = Some(values(path.weight_name(), u64::from(outputs) * terms, scale)?);
        }
        let mut biases = [const { None }; 2];
        for (bias, (name, frequency)) in
            biases.iter_mut().zip([("bias_h", Frequency::High), ("bias_l", Frequency::Low)])
        {
            let channels = u64::from(spec.output().of(frequency));
            if spec.has_bias() && channels > 0 {
                *bias = Some(values(name, channels, 1.0)?);
            }
        }
        let mut tensors = Vec::new();
        for (id, dims, written) in plan.interface() {
            tensors.push((id, dims, written, context.tensor(dims.elements(), dtype)?));
        }
        let layer = Self { spec: spec.clone(), size: plan.size(), weights, biases, tensors, dtype };
        for (id, dims, written, buffer) in &layer.tensors {
            if !written {
                // One plane after another, because those of pool(X_H) are pooled.
                let planes = u64::from(dims.n) * u64::from(dims.c);
                let values = (0..planes).flat_map(|plane| layer.input(*id, *dims, plane..plane + 1));
                in_parts(values, |part, bytes| context.write_bytes(buffer, part * dtype.bytes(), bytes), dtype)?;
            }
        }
        Ok(layer)
    }

    /// Packs the weights for a plan of the same layer, size and options, and binds the plan.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::pack`](crate::Engine::pack) and [`Engine::bind`](crate::Engine::bind).
    pub fn bind(&self, context: &Context, plan: &Plan) -> Result<Layer, Error> {
        let packed = context.engine().pack(plan, &self.weights())?;
        let mut tensors = Tensors::default();
        for (id, _, _, buffer) in &self.tensors {
            tensors.set(id.name(), buffer.into())?;
        }
        context.engine().bind(plan, &packed, &tensors)
    }

    /// Some channels of an input as the device stores them. Channels of all samples are counted.
    fn input(&self, id: TensorId, dims: Dims, channels: Range<u64>) -> Vec<f32> {
        let x_h = self.tensors.iter().find(|(other, ..)| *other == TensorId::XH);
        let values = match x_h {
            // Must be pool(X_H), because some plans read it and others pool X_H themselves.
            Some((x_h, whole, ..)) if id == TensorId::XP => {
                let c = (channels.end - channels.start) as u32;
                let data = self.input(*x_h, *whole, channels);
                average_pool(&Tensor::new(Dims { n: 1, c, ..*whole }, &data), self.spec.rounding()).to_f32()
            }
            _ => {
                let (noise, volume) = (Noise::new(id.name(), 1), dims.with_channels(1).elements() / u64::from(dims.n));
                (volume * channels.start..volume * channels.end).map(|i| noise.number(i) as f32).collect()
            }
        };
        let count = values.len();
        let mut stored = decode(&encode(&values, self.dtype), self.dtype);
        stored.truncate(count);
        stored
    }

    /// What a channel of an output is in a sample, by the reference: of Y_H and pool(Y_H), or of Y_L.
    pub(super) fn exact(&self, frequency: Frequency, sample: u32, channel: u32) -> Result<Outputs, Error> {
        // The layer that has this channel alone, and what it reads.
        let split = |frequency, count| match frequency {
            Frequency::High => Split { high: count, low: 0 },
            Frequency::Low => Split { high: 0, low: count },
        };
        let mut spec = Spec { output: split(frequency, 1), input: split(frequency, 0), ..self.spec.clone() };
        spec.groups = Groups::Count(1);
        let (mut weights, mut first) = ([None; 4], [0; 2]);
        for path in Path::ALL.into_iter().filter(|&path| path.output() == frequency && self.spec.has(path)) {
            let [outputs, columns, taps @ ..] = self.spec.weight_shape(path);
            let terms = (columns * taps.iter().product::<u32>()) as usize;
            let row = channel as usize * terms..(channel as usize + 1) * terms;
            weights[path as usize] = self.weights[path as usize].as_deref().and_then(|weights| weights.get(row));
            let group = channel / (outputs / self.spec.path_groups(path)).max(1);
            match path.input() {
                Frequency::High => (spec.input.high, first[0]) = (columns, group * columns),
                Frequency::Low => (spec.input.low, first[1]) = (columns, group * columns),
            }
        }
        let [bias_h, bias_l] = self.biases.each_ref().map(|bias| Some(&bias.as_ref()?[channel as usize..][..1]));
        let [w_hh, w_hl, w_lh, w_ll] = weights;
        let [bias_h, bias_l] = match frequency {
            Frequency::High => [bias_h, None],
            Frequency::Low => [None, bias_l],
        };
        let weights = Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, ..Weights::default() };
        let input = |id: TensorId, first: u32, count: u32| {
            let (_, dims, ..) = self.tensors.iter().find(|(other, ..)| *other == id)?;
            let first = u64::from(sample) * u64::from(dims.c) + u64::from(first);
            Some(self.input(id, *dims, first..first + u64::from(count))).filter(|_| count > 0)
        };
        let x_h = input(TensorId::XH, first[0], spec.input.high);
        let x_l = input(TensorId::XL, first[1], spec.input.low);
        let x_p = input(TensorId::XP, first[0], spec.input.high).filter(|_| spec.pools_input());
        let residual = |of, id| input(id, channel, u32::from(of == frequency && self.spec.has_residual(of)));
        let residual_h = residual(Frequency::High, TensorId::ResidualH);
        let residual_l = residual(Frequency::Low, TensorId::ResidualL);
        spec.residual_high &= frequency == Frequency::High;
        spec.residual_low &= frequency == Frequency::Low;
        let inputs = Inputs {
            x_h: x_h.as_deref(),
            x_l: x_l.as_deref(),
            x_p: x_p.as_deref(),
            residual_h: residual_h.as_deref(),
            residual_l: residual_l.as_deref(),
        };
        octave_conv(&spec, InputSize { n: 1, ..self.size }, &weights, &inputs)
    }

    fn weights(&self) -> Weights<'_> {
        let [w_hh, w_hl, w_lh, w_ll] = self.weights.each_ref().map(|w| w.as_deref());
        let [bias_h, bias_l] = self.biases.each_ref().map(|b| b.as_deref());
        Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, ..Weights::default() }
    }

    fn written(&self) -> impl Iterator<Item = &(TensorId, Dims, bool, wgpu::Buffer)> {
        self.tensors.iter().filter(|(_, _, written, _)| *written)
    }

    /// Fills the outputs with NaN.
    pub(super) fn poison(&self, context: &Context) -> Result<(), Error> {
        self.written().try_for_each(|(_, _, _, buffer)| {
            // All ones is a NaN in either type. A part is small, so that it takes little host memory.
            let nans = vec![0xff; buffer.size().min(PART as u64) as usize];
            (0..buffer.size()).step_by(nans.len()).try_for_each(|offset| {
                let bytes = (buffer.size() - offset).min(nans.len() as u64);
                context.write_bytes(buffer, offset, &nans[..bytes as usize])
            })
        })
    }

    /// The outputs, in the order of the plan's tensors.
    pub(super) async fn outputs(&self, context: &Context) -> Result<Vec<Vec<f32>>, Error> {
        let mut outputs = Vec::new();
        for (_, dims, _, buffer) in self.written() {
            outputs.push(context.read_async(buffer, 0, dims.elements(), self.dtype).await?);
        }
        Ok(outputs)
    }

    /// Id and shape of each of [`Self::outputs`].
    pub(super) fn output_dims(&self) -> Vec<(TensorId, Dims)> {
        self.written().map(|&(id, dims, ..)| (id, dims)).collect()
    }

    /// A bound on the sum of the magnitudes of an output's terms. Inputs, biases and residuals are at most 1.
    pub(super) fn magnitude(&self, frequency: Frequency) -> f64 {
        let largest = |path: Path| {
            let terms = self.spec.weight_shape(path)[1..].iter().product::<u32>().max(1) as usize;
            let weights = self.weights[path as usize].as_deref().unwrap_or_default();
            let sum = |terms: &[f32]| terms.iter().map(|w| f64::from(w.abs())).sum::<f64>();
            weights.chunks(terms).map(sum).fold(0.0, f64::max)
        };
        let paths = Path::ALL.into_iter().filter(|path| path.output() == frequency);
        let others = u8::from(self.spec.has_bias()) + u8::from(self.spec.has_residual(frequency));
        paths.map(largest).sum::<f64>() + f64::from(others)
    }
}

/// Calls `write` for each part of the values with the number of its first one, and with its bytes in `dtype`.
fn in_parts(
    values: impl Iterator<Item = f32>,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), Error>,
    dtype: Dtype,
) -> Result<(), Error> {
    let mut values = values.peekable();
    let (mut first, mut part) = (0, with_room(PART as u64, "making random values")?);
    while values.peek().is_some() {
        part.clear();
        part.extend(values.by_ref().take(PART));
        write(first, &encode(&part, dtype))?;
        first += part.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ContextOptions;
    use crate::layer::{Activation, Downsample, Rounding, TimeAxis};
    use crate::plan::Options;

    #[test]
    fn values_are_written_in_parts() {
        let wanted: Vec<f32> = (0..PART * 2 + 3).map(|i| (i % 100) as f32).collect();
        for dtype in [Dtype::F32, Dtype::F16] {
            let (mut written, mut next, mut parts) = (Vec::new(), 0, 0);
            let write = |first: u64, bytes: &[u8]| {
                assert!(first == next && bytes.len() as u64 <= PART as u64 * dtype.bytes());
                assert_eq!(first * dtype.bytes() % 4, 0);
                written.extend(decode(bytes, dtype));
                next = written.len() as u64;
                parts += 1;
                Ok(())
            };
            in_parts(wanted.iter().copied(), write, dtype).unwrap();
            written.truncate(wanted.len());
            assert!(written == wanted && parts == 3);
        }
    }

    /// One channel of one sample is what it is in the whole layer.
    #[test]
    fn a_channel_alone_is_exact() {
        let context = Context::new(&ContextOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        let octave = || Spec::builder(12, 16).alpha(0.5, 0.5).kernel([3, 2]).padding([1, 0]).bias(true);
        let clip = TimeAxis { kernel: 2, stride: 1, padding: 1, dilation: 1 };
        let specs = [
            octave(),
            octave().residual(true, true).activation(Activation::Relu),
            octave().groups(2).rounding(Rounding::Floor),
            Spec::builder(5, 10).alpha(0.4, 0.4).kernel([3, 3]).depthwise(),
            octave().stride(2),
            octave().stride(2).downsample(Downsample::StridedConv),
            octave().high_to_low(false).time(clip),
            octave().alpha(0.0, 0.5),
            octave().alpha(0.5, 0.0),
        ];
        let facts = context.engine().facts();
        for (spec, pooled_input) in specs.iter().flat_map(|spec| [(spec, false), (spec, true)]) {
            let spec = spec.clone().build().unwrap();
            let (size, options) = (InputSize::video(2, 2, 9, 7), Options { pooled_input, ..Options::default() });
            // Some layers do not pool their input.
            let Ok(plan) = Plan::new(&spec, size, &options, facts) else { continue };
            let data = RandomLayer::new(&context, &plan).unwrap();
            let tensor = |id: TensorId| {
                let (_, dims, _, buffer) = data.tensors.iter().find(|(other, ..)| *other == id)?;
                Some(context.read(buffer, 0, dims.elements(), data.dtype).unwrap())
            };
            use TensorId::{ResidualH, ResidualL, XH, XL, XP};
            let [x_h, x_l, x_p, residual_h, residual_l] = [XH, XL, XP, ResidualH, ResidualL].map(tensor);
            let inputs = Inputs {
                x_h: x_h.as_deref(),
                x_l: x_l.as_deref(),
                x_p: x_p.as_deref(),
                residual_h: residual_h.as_deref(),
                residual_l: residual_l.as_deref(),
            };
            let whole = octave_conv(&spec, size, &data.weights(), &inputs).unwrap();
            let channel = |of: &Option<Tensor>, sample: u32, channel: u32| {
                let Tensor { dims, data } = of.as_ref()?;
                let volume = (dims.t * dims.h * dims.w) as usize;
                Some(data[(sample * dims.c + channel) as usize * volume..][..volume].to_vec())
            };
            for (frequency, channels) in [(Frequency::High, spec.output().high), (Frequency::Low, spec.output().low)] {
                for (sample, c) in (0..2).flat_map(|sample| (0..channels).map(move |c| (sample, c))) {
                    let exact = data.exact(frequency, sample, c).unwrap();
                    let of = |outputs: &Outputs, sample, c| match frequency {
                        Frequency::High => [channel(&outputs.y_h, sample, c), channel(&outputs.y_p, sample, c)],
                        Frequency::Low => [channel(&outputs.y_l, sample, c), None],
                    };
                    assert_eq!(of(&exact, 0, 0), of(&whole, sample, c), "{spec:?} {frequency:?} {sample} {c}");
                }
            }
        }
    }
}
