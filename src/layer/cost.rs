//! What a layer costs, independent of the implementation.

use super::spec::Spec;
use super::split::{Frequency, Path};
use crate::dims::{Dims, InputSize};
use crate::error::Error;

/// What a layer costs, independent of the implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cost {
    /// Multiply-adds of the convolutions.
    pub macs: u64,
    /// Weights, and biases if the layer has them.
    pub params: u64,
    /// Elements of the inputs that the layer reads.
    pub input_elements: u64,
    /// Elements of the outputs.
    pub output_elements: u64,
    /// Elements of the residuals.
    pub residual_elements: u64,
}

impl Cost {
    /// The bytes that any implementation must move: each tensor once.
    ///
    /// `activation` and `weight` are bytes per element (4 or 2).
    pub fn min_bytes(&self, activation: u64, weight: u64) -> u64 {
        let activations =
            self.input_elements.saturating_add(self.output_elements).saturating_add(self.residual_elements);
        activations.saturating_mul(activation).saturating_add(self.params.saturating_mul(weight))
    }
}

impl Spec {
    /// What the layer costs for an input of `size`. Counts saturate.
    ///
    /// # Errors
    ///
    /// Those of [`Spec::shapes`].
    pub fn cost(&self, size: InputSize) -> Result<Cost, Error> {
        let shapes = self.shapes(size)?;
        let elements = |dims: Option<Dims>| dims.map_or(0, Dims::elements);
        let mut macs = 0u64;
        let mut params = 0u64;
        for path in Path::ALL.into_iter().filter(|&path| self.has(path)) {
            let weights = self.weight_shape(path).iter().fold(1u64, |all, &d| all.saturating_mul(u64::from(d)));
            // The resolution of the convolution itself. L->H works at low resolution and is replicated after it.
            let at = match path {
                Path::LH if self.stride == 1 => shapes.y_h.map(|y| y.pooled(self.rounding)),
                Path::HH | Path::LH => shapes.y_h,
                Path::HL | Path::LL => shapes.y_l,
            };
            let positions = elements(at.map(|y| y.with_channels(1)));
            macs = macs.saturating_add(weights.saturating_mul(positions));
            params = params.saturating_add(weights);
        }
        if self.bias {
            params = params.saturating_add(u64::from(self.output.channels()));
        }
        Ok(Cost {
            macs,
            params,
            input_elements: elements(shapes.x_h.filter(|_| self.reads(Frequency::High)))
                .saturating_add(elements(shapes.x_l.filter(|_| self.reads(Frequency::Low)))),
            output_elements: elements(shapes.y_h).saturating_add(elements(shapes.y_l)),
            residual_elements: elements(shapes.y_h.filter(|_| self.residual_high))
                .saturating_add(elements(shapes.y_l.filter(|_| self.residual_low))),
        })
    }
}
