//! facebookresearch/OctConv with MXNet's Gluon: ResNet, ResNeXt and SE-ResNet, as `save_parameters` names tensors. Checked
//! against its source. ResNetV2 has its batch norms before its convolutions: see `symbol.rs`.

use super::table::How::{Same, Summand};
use super::table::{Dialect, Entry, row};

pub(super) const DIALECT: Dialect = Dialect {
    eps: None,
    rows: &[
        row("conv1", "conv1.0", &[STEM]),
        row("conv1", "conv1.1", &[NORM]),
        row("layer{n}.{i}.conv{k}", "L{n}_B{i}.conv{k}", &[CONV]),
        row("layer{n}.{i}.conv{k}", "L{n}_B{i}.bn{k}", &[NORMS]),
        row("layer{n}.{i}.downsample.0", "L{n}_B{i}.conv4", &[CONV]),
        row("layer{n}.{i}.downsample.0", "L{n}_B{i}.bn4", &[NORMS]),
        row("layer{n}.{i}.norm{k}", "L{n}_B{i}.bn{k}", &[NORMS]),
        row("layer{n}.{i}.downsample.norm", "L{n}_B{i}.bn4", &[NORMS]),
        row("tail", "tail.0", &[NORM]),
        row("layer{n}.{i}.se", "L{n}_B{i}.se_block", &[EXCITE]),
        // Its source spells it so.
        row("fc", "classifer", &[CLASSIFIER]),
        row("fc", "classifier", &[CLASSIFIER]),
    ],
};

const STEM: &[Entry] = &[("w_hh", ".weight", Same), ("bias_h", ".bias", Summand)];

const CONV: &[Entry] = &[("w_{own}", ".conv_{p}.weight", Same), ("bias_{to}", ".conv_{p}.bias", Summand)];

/// The only batch norm of a plain convolution, as Gluon names it.
pub(super) const NORM: &[Entry] = &[
    ("norm_h.gamma", ".gamma", Same),
    ("norm_h.beta", ".beta", Same),
    ("norm_h.mean", ".running_mean", Same),
    ("norm_h.var", ".running_var", Same),
];

const NORMS: &[Entry] = &[
    ("norm_{f}.gamma", ".bn_{f}.gamma", Same),
    ("norm_{f}.beta", ".bn_{f}.beta", Same),
    ("norm_{f}.mean", ".bn_{f}.running_mean", Same),
    ("norm_{f}.var", ".bn_{f}.running_var", Same),
];

const EXCITE: &[Entry] = &[
    ("squeeze.weight", ".conv1.weight", Same),
    ("squeeze.bias", ".conv1.bias", Same),
    ("excite_{f}.weight", ".conv2_{f}.weight", Same),
    ("excite_{f}.bias", ".conv2_{f}.bias", Same),
];

const CLASSIFIER: &[Entry] = &[("weight", ".weight", Same), ("bias", ".bias", Same)];
