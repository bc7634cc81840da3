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
    /// 16-bit floats. Activations of f16 need the device feature `SHADER_F16`. Weights of f16 need no feature, only
    /// `DownlevelFlags::SHADER_F16_IN_F32`, which every WebGPU device has.
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

/// Which kernels a layer may run, by the bound of their errors. S is the sum of |w * x| over the terms of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Accuracy {
    /// Those whose error is at most a constant times S, whatever the values are. An output depends on nothing that it
    /// does not see: an infinity or a NaN stays where the definition puts it.
    #[default]
    Exact,
    /// Winograd convolutions too. Their error grows with the largest inputs near an output, also with those that it
    /// does not see. It is small if inputs near each other have about the same size.
    Fast,
}

/// The types in which a layer stores and adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Precision {
    /// The type of all tensors except weights and biases.
    pub activations: Dtype,
    /// The type of packed weights. Biases are always f32.
    pub weights: Dtype,
    /// The narrowest type that products may be added up in.
    ///
    /// f16 is allowed only if activations and weights are f16. It adds kernels with packed arithmetic to the
    /// candidates. They add up to 32 products in f16, where a sum beyond 65504 is infinite, and then add those sums in
    /// f32. With n products per f16 sum, the error of an output is at most (n + 2) 2⁻¹¹ times the sum of its terms'
    /// magnitudes. If signs are random, it is about (n + 2)^½ 2⁻¹¹ times that sum.
    pub sums: Dtype,
}

impl Precision {
    /// Activations and weights of one type, with sums in f32.
    pub fn of(dtype: Dtype) -> Self {
        Self { activations: dtype, weights: dtype, sums: Dtype::F32 }
    }
}
