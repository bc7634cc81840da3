//! d-li14/octconv.pytorch, and braincreators/octconv, whose benchmarks name tensors alike. Checked against the source of
//! both. The layer of the latter by itself has no `conv.` in its names.

use super::table::How::{Same, Summand};
use super::table::{Dialect, Entry, plain, row};

pub(super) const DIALECT: Dialect = Dialect {
    eps: None,
    only_with: None,
    rows: &[
        row("{name}", "{name}", &[LAYER, BARE_LAYER, NORMS]),
        plain("{name}", "{name}", &[PLAIN]),
        // The stems are plain, and their batch norms have names of their own.
        plain("conv1", "bn1", &[NORM]),
        plain("features.0", "features.0.0", &[PLAIN]),
        plain("features.0", "features.0.1", &[NORM]),
    ],
};

const LAYER: &[Entry] = &[("w_{own}", ".conv.conv_{p}.weight", Same), ("bias_{to}", ".conv.conv_{p}.bias", Summand)];

const BARE_LAYER: &[Entry] = &[("w_{own}", ".conv_{p}.weight", Same), ("bias_{to}", ".conv_{p}.bias", Summand)];

const PLAIN: &[Entry] = &[
    ("w_hh", ".weight", Same),
    ("bias_h", ".bias", Summand),
    ("w_hh", ".conv.weight", Same),
    ("bias_h", ".conv.bias", Summand),
];

/// The batch norms of a layer.
pub(super) const NORMS: &[Entry] = &[
    ("norm_{f}.gamma", ".bn_{f}.weight", Same),
    ("norm_{f}.beta", ".bn_{f}.bias", Same),
    ("norm_{f}.mean", ".bn_{f}.running_mean", Same),
    ("norm_{f}.var", ".bn_{f}.running_var", Same),
];

/// The only batch norm of a plain convolution, as PyTorch names it.
pub(super) const NORM: &[Entry] = &[
    ("norm_h.gamma", ".weight", Same),
    ("norm_h.beta", ".bias", Same),
    ("norm_h.mean", ".running_mean", Same),
    ("norm_h.var", ".running_var", Same),
];
