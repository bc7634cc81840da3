//! The function that a layer applies to each output after the sum.

use crate::error::Error;

/// The function applied to each output after the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case", deny_unknown_fields))]
pub enum Activation {
    /// y = x.
    #[default]
    None,
    /// y = max(x, 0).
    Relu,
    /// y = min(max(x, 0), 6).
    Relu6,
    /// y = x / (1 + exp(-x)).
    Silu,
    /// y = x * min(max(x + 3, 0), 6) / 6.
    HardSwish,
    /// y = x where x >= 0, slope * x elsewhere.
    LeakyRelu {
        /// The factor of negative values; finite.
        slope: f32,
    },
}

impl Activation {
    /// The value at `x`, in f64.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::None => x,
            // Not f64::max, which would turn a NaN into 0.
            Self::Relu => x.clamp(0.0, f64::INFINITY),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Self::LeakyRelu { slope } => {
                if x >= 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
        }
    }

    /// Refuses a slope that is no number, or infinite.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self {
            Self::LeakyRelu { slope } if !slope.is_finite() => Err(Error::argument("slope", slope, "must be finite")),
            _ => Ok(()),
        }
    }

    /// A bound on |d apply / dx|.
    pub fn lipschitz(self) -> f64 {
        match self {
            Self::None | Self::Relu | Self::Relu6 => 1.0,
            // The maximum of the derivative is 1.0998, at x = 2.3994.
            Self::Silu => 1.1,
            // (2x + 3) / 6 at x = 3.
            Self::HardSwish => 1.5,
            Self::LeakyRelu { slope } => f64::from(slope).abs().max(1.0),
        }
    }
}
