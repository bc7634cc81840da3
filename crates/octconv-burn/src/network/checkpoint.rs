//! From checkpoints to parameters and back.

use burn::module::{Param, RunningState};
use burn::tensor::{Device, Tensor, TensorData};
use octconv::network::{Checkpoint, HostTensor, Op};
use octconv::{Frequency, Path};

use super::parts::Part;
use super::{NetworkError, OctNetwork};
use crate::conv::OctConv2d;

impl OctNetwork {
    /// The parameters as a checkpoint, with octconv's names and shapes, in f32.
    pub fn to_checkpoint(&self) -> Checkpoint {
        let mut checkpoint = Checkpoint::default();
        for wanted in self.description.graph.tensors() {
            let (part, name) = wanted.name.rsplit_once('.').expect("names of tensors begin with their node's");
            let found = self.parts.iter().find(|(of, _)| of == part);
            let (_, part) = found.expect("each tensor belongs to a part");
            checkpoint.tensors.insert(wanted.name.clone(), part.tensor(name));
        }
        checkpoint
    }

    /// The parameters as the bytes of a safetensors file, with octconv's names and shapes, in f32.
    ///
    /// # Errors
    ///
    /// If they are too many for the format.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, NetworkError> {
        Ok(self.to_checkpoint().to_safetensors()?)
    }

    /// The same network for inference alone: each convolution's batch norm is folded into its weights, and its residual and activation
    /// are part of it. On an accelerated device such a layer is one operation. Its description says so too.
    ///
    /// # Errors
    ///
    /// If the variance + eps of a batch norm is not positive.
    pub fn folded(&self, device: &Device) -> Result<Self, NetworkError> {
        let (mut network, mut checkpoint) = (self.network().clone(), self.to_checkpoint());
        let eps = f64::from(network.norm_eps);
        for node in &mut network.nodes {
            let Op::Conv(conv) = &mut node.op else { continue };
            if !conv.norm {
                continue;
            }
            (conv.norm, conv.bias) = (false, true);
            for frequency in [Frequency::High, Frequency::Low] {
                fold(&mut checkpoint, &node.name, frequency, eps)?;
            }
        }
        Self::from_checkpoint(&network, checkpoint, device)
    }

    /// The network with the tensors of a checkpoint that fits it.
    pub(super) fn with_tensors(self, checkpoint: &Checkpoint) -> Self {
        let Self { description, parts } = self;
        let parts = parts
            .into_iter()
            .map(|(name, part)| {
                let part = part.with_tensors(&|tensor| checkpoint.tensors.get(&format!("{name}.{tensor}")));
                (name, part)
            })
            .collect();
        Self { description, parts }
    }
}

/// Folds the batch norm of one frequency of a convolution into its weights and its bias.
fn fold(checkpoint: &mut Checkpoint, node: &str, frequency: Frequency, eps: f64) -> Result<(), octconv::Error> {
    let letter = if frequency == Frequency::High { 'h' } else { 'l' };
    let mut take = |name: &str| checkpoint.tensors.remove(&format!("{node}.{name}")).map(|tensor| tensor.data);
    let [gamma, beta, mean, var] = ["gamma", "beta", "mean", "var"].map(|name| take(&format!("norm_{letter}.{name}")));
    let (Some(gamma), Some(beta), Some(mean), Some(var)) = (gamma, beta, mean, var) else { return Ok(()) };
    let old = take(&format!("bias_{letter}")).unwrap_or_else(|| vec![0.0; gamma.len()]);
    let mut bias = Vec::with_capacity(gamma.len());
    let mut factors = Vec::with_capacity(gamma.len());
    for c in 0..gamma.len() {
        let variance = f64::from(var[c]) + eps;
        if variance.is_nan() || variance <= 0.0 {
            let name = format!("{node}.norm_{letter}.var");
            return Err(octconv::Error::Description {
                problem: format!("{name}: the variance + eps of channel {c} is {variance}"),
            });
        }
        let factor = f64::from(gamma[c]) / variance.sqrt();
        factors.push(factor);
        bias.push(((f64::from(old[c]) - f64::from(mean[c])) * factor + f64::from(beta[c])) as f32);
    }
    for path in Path::ALL.into_iter().filter(|path| path.output() == frequency) {
        let Some(weights) = checkpoint.tensors.get_mut(&format!("{node}.{}", path.weight_name())) else { continue };
        let each = weights.data.len() / factors.len();
        for (weights, factor) in weights.data.chunks_exact_mut(each.max(1)).zip(&factors) {
            weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * factor) as f32);
        }
    }
    let bias = HostTensor { shape: vec![bias.len()], data: bias };
    checkpoint.tensors.insert(format!("{node}.bias_{letter}"), bias);
    Ok(())
}

impl Part {
    /// A tensor by octconv's name.
    fn tensor(&self, name: &str) -> HostTensor {
        match (self, name) {
            (Self::Conv(conv), "bias_h") => host(conv.bias(Frequency::High).map(Param::val)),
            (Self::Conv(conv), "bias_l") => host(conv.bias(Frequency::Low).map(Param::val)),
            (Self::Conv(conv), name) => {
                let path = Path::ALL.into_iter().find(|path| path.weight_name() == name);
                host(path.and_then(|path| conv.weight(path)).map(Param::val))
            }
            (Self::Norm(norm), "gamma") => host(Some(norm.gamma.val())),
            (Self::Norm(norm), "beta") => host(Some(norm.beta.val())),
            (Self::Norm(norm), "mean") => host(Some(norm.running_mean.value_sync())),
            (Self::Norm(norm), _) => host(Some(norm.running_var.value_sync())),
            (Self::Linear(linear), "bias") => host(linear.bias.as_ref().map(Param::val)),
            (Self::Linear(linear), _) => host(Some(linear.weight.val().transpose())),
        }
    }

    /// The module with tensors by octconv's names. It keeps those that there are none for.
    fn with_tensors<'a>(self, find: &dyn Fn(&str) -> Option<&'a HostTensor>) -> Self {
        match self {
            Self::Conv(conv) => Self::Conv(Box::new(OctConv2d::with_tensors(*conv, find))),
            Self::Norm(mut norm) => {
                norm.gamma = loaded(norm.gamma, find("gamma"));
                norm.beta = loaded(norm.beta, find("beta"));
                let state = |state: RunningState<Tensor<1>>, found: Option<&HostTensor>| match found {
                    Some(found) => RunningState::new(tensor(found, &state.value_sync().device())),
                    None => state,
                };
                norm.running_mean = state(norm.running_mean, find("mean"));
                norm.running_var = state(norm.running_var, find("var"));
                Self::Norm(norm)
            }
            Self::Linear(mut linear) => {
                linear.weight = loaded(linear.weight, find("weight").map(transposed).as_ref());
                linear.bias = linear.bias.map(|bias| loaded(bias, find("bias")));
                Self::Linear(linear)
            }
        }
    }
}

/// The parameter with the values of a tensor, if there is one.
pub(crate) fn loaded<const D: usize>(param: Param<Tensor<D>>, found: Option<&HostTensor>) -> Param<Tensor<D>> {
    let Some(found) = found else { return param };
    let (id, value) = (param.id, tensor(found, &param.lazy_device()));
    param.transform_for_load(value, id)
}

/// The matrix with rows and columns swapped.
fn transposed(matrix: &HostTensor) -> HostTensor {
    let [rows, columns] = matrix.shape[..] else { return matrix.clone() };
    let data = (0..columns).flat_map(|column| (0..rows).map(move |row| matrix.data[row * columns + column])).collect();
    HostTensor { shape: vec![columns, rows], data }
}

fn tensor<const D: usize>(host: &HostTensor, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(host.data.clone(), host.shape.clone()), device)
}

fn host<const D: usize>(tensor: Option<Tensor<D>>) -> HostTensor {
    let tensor = tensor.expect("the module has the tensors of its node");
    let shape = tensor.dims().to_vec();
    HostTensor { shape, data: crate::conv::read(tensor) }
}
