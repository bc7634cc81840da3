//! The random tensors of a case, and guard bands around tensors.

use super::case::Case;
use super::values::rounded;
use crate::context::{decode, encode};
use crate::dims::Dims;
use crate::kernels::job::TensorId;
use crate::layer::{Activation, BatchNorm, Frequency, Path, Weights};
use crate::noise::Noise;
use crate::plan::Plan;
use crate::precision::Dtype;
use crate::reference::{self, Inputs, Tensor};

/// The bytes of a tensor between guard bands of `guard` bytes. Outputs (`written`) are NaN, and their guard bands a
/// pattern. The guard bands of inputs are NaN.
pub(super) fn guarded(values: Option<&[f32]>, dims: Dims, written: bool, dtype: Dtype, guard: u64) -> Vec<u8> {
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

/// The random tensors of a case, already rounded to the types that the device stores.
pub(super) struct Data {
    weights: [Option<Vec<f32>>; 4],
    biases: [Option<Vec<f32>>; 2],
    norms: [Option<[Vec<f32>; 4]>; 2],
    inputs: Vec<(TensorId, Vec<f32>)>,
}

impl Data {
    pub(super) fn new(case: &Case, plan: &Plan) -> Self {
        let spec = &case.spec;
        let values = |name: &str, count: u64, scale: f32, dtype: Dtype| -> Vec<f32> {
            Noise::new(name, case.seed).values(count, scale).into_iter().map(|v| rounded(v, dtype)).collect()
        };
        let weights = Path::ALL.map(|path| {
            let shape = spec.weight_shape(path);
            let count = shape.iter().map(|&d| u64::from(d)).product();
            let scale = 2.0 / (shape[1..].iter().product::<u32>() as f32).sqrt();
            spec.has(path).then(|| values(path.weight_name(), count, scale, case.options.precision.weights))
        });
        let outputs = [("h", Frequency::High), ("l", Frequency::Low)];
        let channels = |frequency| u64::from(spec.output().of(frequency));
        let biases = outputs.map(|(of, frequency)| {
            let channels = channels(frequency);
            // Large enough to reach both ends of ReLU6 and hard-swish.
            let scale = if spec.activation() == Activation::None { 1.0 } else { 8.0 };
            (spec.has_bias() && channels > 0).then(|| values(&format!("bias_{of}"), channels, scale, Dtype::F32))
        });
        let norms = outputs.map(|(of, frequency)| {
            let channels = channels(frequency);
            (case.batch_norm && channels > 0).then(|| {
                let draw = |name: &str| values(&format!("{name}_{of}"), channels, 1.0, Dtype::F32);
                let var = draw("var").into_iter().map(|v| 1.5 + v).collect();
                [draw("gamma"), draw("beta"), draw("mean"), var]
            })
        });
        let mut inputs: Vec<(TensorId, Vec<f32>)> = Vec::new();
        for (id, dims, _) in plan.interface().into_iter().filter(|&(_, _, written)| !written) {
            let x_h = inputs.iter().find(|(other, _)| *other == TensorId::XH).zip(plan.shapes().x_h);
            let values = match x_h {
                // pool(X_H) must be the pooled X_H if X_H is given too.
                Some(((_, x_h), dims)) if id == TensorId::XP => {
                    let x_h = Tensor { dims, data: x_h.iter().map(|&v| f64::from(v)).collect() };
                    let pooled = reference::average_pool(&x_h, spec.rounding()).to_f32();
                    let mut stored = decode(
                        &encode(&pooled, case.options.precision.activations),
                        case.options.precision.activations,
                    );
                    stored.truncate(pooled.len());
                    stored
                }
                _ => {
                    let dtype = case.options.precision.activations;
                    case.values.draw(id.name(), case.seed, dims.elements(), dtype)
                }
            };
            inputs.push((id, values));
        }
        Self { weights, biases, norms, inputs }
    }

    pub(super) fn weights(&self) -> Weights<'_> {
        let [w_hh, w_hl, w_lh, w_ll] = self.weights.each_ref().map(|w| w.as_deref());
        let [bias_h, bias_l] = self.biases.each_ref().map(|b| b.as_deref());
        let [norm_h, norm_l] = self
            .norms
            .each_ref()
            .map(|norm| norm.as_ref().map(|[gamma, beta, mean, var]| BatchNorm { gamma, beta, mean, var, eps: 1e-5 }));
        Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, norm_h, norm_l }
    }

    pub(super) fn tensor(&self, id: TensorId) -> Option<&[f32]> {
        self.inputs.iter().find(|(other, _)| *other == id).map(|(_, values)| values.as_slice())
    }

    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            x_h: self.tensor(TensorId::XH),
            x_l: self.tensor(TensorId::XL),
            x_p: self.tensor(TensorId::XP),
            residual_h: self.tensor(TensorId::ResidualH),
            residual_l: self.tensor(TensorId::ResidualL),
        }
    }
}
