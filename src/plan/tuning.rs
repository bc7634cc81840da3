//! Whether tuning decided a plan.

use std::fmt;

/// Whether a plan has the variant that was measured to be the fastest, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tuning {
    /// It has it.
    Used,
    /// The options force a variant.
    Forced,
    /// Nothing that was tuned on this device is known.
    UnknownDevice,
    /// This layer was not tuned at this size, with these options.
    UnknownLayer,
    /// It was, but on a device that was opened with other features, which can run other kernels.
    OtherFeatures,
    /// The kernels that were measured have changed since.
    OtherKernels,
    /// This device cannot run the variant, or not within the scratch that is allowed.
    Illegal,
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Used => "tuned",
            Self::Forced => "the options force a variant",
            Self::UnknownDevice => "nothing is tuned on this device",
            Self::UnknownLayer => "not tuned at this size and with these options",
            Self::OtherFeatures => "tuned with other features of the device",
            Self::OtherKernels => "tuned with kernels that have changed since",
            Self::Illegal => "the tuned variant cannot run here",
        })
    }
}
