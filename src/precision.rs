//! The types that a layer stores and computes in.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The type of stored elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats. As activations they need the device feature `SHADER_F16`; as weights no feature, only what every
    /// WebGPU device has (`DownlevelFlags::SHADER_F16_IN_F32`).
    F16,
}

impl Dtype {
    /// Bytes per element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    pub(crate) fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wgsl())
    }
}

impl FromStr for Dtype {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        match s {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            _ => Err(Error::argument("dtype", s, "must be f32 or f16")),
        }
    }
}

/// The types of a layer that travel together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Precision {
    /// The type of all tensors but the weights.
    pub activations: Dtype,
    /// The type of packed weights; biases stay f32.
    pub weights: Dtype,
    /// The narrowest type that products may be added up in.
    ///
    /// f16 needs activations and weights of f16. Kernels with packed arithmetic are then among the candidates: they add
    /// up to 32 products in f16, where a sum beyond 65504 is infinite, and add those sums in f32. With n products per
    /// sum, an output errs by up to n + 2 times 2⁻¹¹ of the sum of its terms' magnitudes, and by about the root of that
    /// if signs are random.
    pub sums: Dtype,
}

impl Precision {
    /// All of one type, with sums in f32.
    pub fn of(dtype: Dtype) -> Self {
        Self { activations: dtype, weights: dtype, sums: Dtype::F32 }
    }
}
