//! The weights of a layer on the host, in the layout of checkpoints, and batch norm as a factor and a shift.

#[cfg(feature = "network")]
use std::ops::Range;

use super::spec::Spec;
use super::split::{Frequency, Path};
use crate::dims::Dims;
use crate::error::{Error, Presence};

/// Batch norm at inference: y = (x - mean) / sqrt(var + eps) * gamma + beta. Each field has one value per channel.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// Scale.
    pub gamma: &'a [f32],
    /// Shift.
    pub beta: &'a [f32],
    /// Running mean.
    pub mean: &'a [f32],
    /// Running variance.
    pub var: &'a [f32],
    /// Added to the variance. It is 1e-5 in PyTorch and Gluon, 1e-4 in the official Symbol code.
    pub eps: f32,
}

impl BatchNorm<'_> {
    /// Refuses a variance unless variance + eps is positive. `name` is the caller's name of the variances.
    pub(crate) fn check_variance(&self, name: &'static str) -> Result<(), Error> {
        let positive = |var: f32| (var + self.eps).partial_cmp(&0.0).is_some_and(|order| order.is_gt());
        match self.var.iter().find(|&&var| !positive(var)) {
            Some(var) => Err(Error::argument(name, format!("{var} + eps {}", self.eps), "must be positive")),
            None => Ok(()),
        }
    }

    /// Factor and shift of channel `c`, which include its bias: y = x * factor + shift.
    pub(crate) fn affine(&self, c: usize, bias: f64) -> (f64, f64) {
        let factor = f64::from(self.gamma[c]) / (f64::from(self.var[c]) + f64::from(self.eps)).sqrt();
        (factor, (bias - f64::from(self.mean[c])) * factor + f64::from(self.beta[c]))
    }
}

/// Borrowed weights of one layer.
///
/// Kernels are contiguous, `[c_out, c_in / groups, kt, kh, kw]`, with the channels of the path's output and input. A
/// path's kernel must be given if [`Spec::has`] says that the layer has the path, and must be absent otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights<'a> {
    /// Kernel of H->H.
    pub w_hh: Option<&'a [f32]>,
    /// Kernel of H->L.
    pub w_hl: Option<&'a [f32]>,
    /// Kernel of L->H.
    pub w_lh: Option<&'a [f32]>,
    /// Kernel of L->L.
    pub w_ll: Option<&'a [f32]>,
    /// One value per channel of Y_H. Must be given if the specification has a bias and Y_H, and be absent otherwise.
    pub bias_h: Option<&'a [f32]>,
    /// One value per channel of Y_L. Must be given if the specification has a bias and Y_L, and be absent otherwise.
    pub bias_l: Option<&'a [f32]>,
    /// Optional batch norm of Y_H, after its sum and bias. It is folded into weights and bias.
    pub norm_h: Option<BatchNorm<'a>>,
    /// Optional batch norm of Y_L, after its sum and bias. It is folded into weights and bias.
    pub norm_l: Option<BatchNorm<'a>>,
}

impl<'a> Weights<'a> {
    /// The kernel of a path.
    pub fn path(&self, path: Path) -> Option<&'a [f32]> {
        match path {
            Path::HH => self.w_hh,
            Path::HL => self.w_hl,
            Path::LH => self.w_lh,
            Path::LL => self.w_ll,
        }
    }

    /// The kernel of H->H of `spec`, cut into that of the other input channels and that of these. `channels` are all
    /// channels, or the layer has one group.
    #[cfg(feature = "network")]
    pub(crate) fn apart(&self, spec: &Spec, channels: &Range<u32>) -> (Vec<f32>, Vec<f32>) {
        let [_, columns, taps @ ..] = spec.weight_shape(Path::HH).map(|d| d as usize);
        let taps = taps.iter().product::<usize>().max(1);
        let all = channels.len() == spec.input().high as usize;
        let chosen = |column: usize| all || channels.contains(&(column as u32));
        let (mut others, mut these) = (Vec::new(), Vec::new());
        for (i, weights) in self.w_hh.unwrap_or_default().chunks_exact(taps).enumerate() {
            if chosen(i % columns.max(1)) { &mut these } else { &mut others }.extend_from_slice(weights);
        }
        (others, these)
    }

    /// The bias of an output.
    pub fn bias(&self, frequency: Frequency) -> Option<&'a [f32]> {
        match frequency {
            Frequency::High => self.bias_h,
            Frequency::Low => self.bias_l,
        }
    }

    /// The batch norm of an output.
    pub fn norm(&self, frequency: Frequency) -> Option<BatchNorm<'a>> {
        match frequency {
            Frequency::High => self.norm_h,
            Frequency::Low => self.norm_l,
        }
    }

    /// Checks that every tensor is present if `spec` needs it, absent otherwise, and of the right length.
    ///
    /// # Errors
    ///
    /// [`Error::Presence`] or [`Error::Length`] with the name of the tensor; [`Error::Argument`] for a batch norm whose
    /// variance + eps is not positive.
    pub fn validate(&self, spec: &Spec) -> Result<(), Error> {
        for path in Path::ALL {
            let shape = spec.weight_shape(path);
            let [n, c, t, h, w] = shape;
            check_slice(path.weight_name(), self.path(path), spec.has(path), Dims { n, c, t, h, w })?;
        }
        for (frequency, bias, norm) in [
            (Frequency::High, "bias_h", ["gamma_h", "beta_h", "mean_h", "var_h"]),
            (Frequency::Low, "bias_l", ["gamma_l", "beta_l", "mean_l", "var_l"]),
        ] {
            let channels = spec.output().of(frequency);
            let shape = Dims { n: 1, c: channels, t: 1, h: 1, w: 1 };
            check_slice(bias, self.bias(frequency), spec.has_bias() && channels > 0, shape)?;
            if let Some(bn) = self.norm(frequency) {
                for (name, slice) in norm.into_iter().zip([bn.gamma, bn.beta, bn.mean, bn.var]) {
                    check_slice(name, Some(slice), channels > 0, shape)?;
                }
                bn.check_variance(norm[3])?;
            }
        }
        Ok(())
    }

    /// Factor and shift of every channel of an output, for batch norm and bias together: y = sum * factor + shift.
    pub(crate) fn affine(&self, spec: &Spec, frequency: Frequency) -> Vec<(f64, f64)> {
        (0..spec.output().of(frequency) as usize)
            .map(|c| {
                let bias = self.bias(frequency).map_or(0.0, |b| f64::from(b[c]));
                let Some(bn) = self.norm(frequency) else { return (1.0, bias) };
                bn.affine(c, bias)
            })
            .collect()
    }
}

pub(crate) fn check_slice(tensor: &'static str, slice: Option<&[f32]>, wanted: bool, shape: Dims) -> Result<(), Error> {
    match (slice, wanted) {
        (Some(_), false) => Err(Error::Presence { tensor, presence: Presence::Unused }),
        (None, true) => Err(Error::Presence { tensor, presence: Presence::Missing }),
        (Some(slice), true) if slice.len() as u64 != shape.elements() => {
            Err(Error::Length { tensor, found: slice.len() as u64, shape })
        }
        _ => Ok(()),
    }
}
