//! A layer with random weights and tensors, on which all of its plans can run.

use crate::context::{Context, decode, encode};
use crate::dims::Dims;
use crate::engine::{Layer, Tensors};
use crate::error::Error;
use crate::kernels::job::TensorId;
use crate::layer::{Frequency, Path, Spec, Weights};
use crate::memory::with_room;
use crate::noise::Noise;
use crate::plan::Plan;
use crate::precision::Dtype;
use crate::reference::{Tensor, average_pool};

/// A layer with random weights and tensors on the device, with which any of its plans can be timed.
#[derive(Debug)]
pub struct RandomLayer {
    spec: Spec,
    weights: [Option<Vec<f32>>; 4],
    biases: [Option<Vec<f32>>; 2],
    tensors: Vec<(TensorId, Dims, bool, wgpu::Buffer)>,
    dtype: Dtype,
}

impl RandomLayer {
    /// Makes weights and tensors for the layer, size and options of `plan`. Every plan of these can be bound to them.
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
        let mut x_h: Option<Tensor> = None;
        for (id, dims, written) in plan.interface() {
            let buffer = context.tensor(dims.elements(), dtype)?;
            if !written {
                let values = match &x_h {
                    // Must be pool(X_H), because some plans read it and others pool X_H themselves.
                    Some(x_h) if id == TensorId::XP => average_pool(x_h, spec.rounding()).to_f32(),
                    _ => values(id.name(), dims.elements(), 1.0)?,
                };
                let bytes = encode(&values, dtype);
                if id == TensorId::XH && plan.options().pooled_input {
                    let stored = decode(&bytes, dtype).into_iter().take(values.len());
                    x_h = Some(Tensor { dims, data: stored.map(f64::from).collect() });
                }
                context.write_bytes(&buffer, 0, &bytes)?;
            }
            tensors.push((id, dims, written, buffer));
        }
        Ok(Self { spec: spec.clone(), weights, biases, tensors, dtype })
    }

    /// Packs the weights for a plan of the same layer, size and options, and binds the plan.
    pub fn bind(&self, context: &Context, plan: &Plan) -> Result<Layer, Error> {
        let packed = context.engine().pack(plan, &self.weights())?;
        let mut tensors = Tensors::default();
        for (id, _, _, buffer) in &self.tensors {
            tensors.set(id.name(), buffer.into())?;
        }
        context.engine().bind(plan, &packed, &tensors)
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
            // All ones is a NaN in either type.
            context.write_bytes(buffer, 0, &vec![0xff; buffer.size() as usize])
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
