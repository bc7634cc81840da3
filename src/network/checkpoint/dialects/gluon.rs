//! facebookresearch/OctConv with MXNet's Gluon: ResNet, ResNeXt and SE-ResNet, with the stems of its variants v1e and v1f,
//! as `save_parameters` names tensors. Checked against its source. ResNetV2 has its batch norms before its convolutions: see
//! `symbol.rs`.

use super::table::How::{Same, Summand};
use super::table::{Dialect, Entry, row};

pub(super) const DIALECT: Dialect = Dialect {
    eps: None,
    only_with: None,
    rows: &[
        row("conv1", "conv1.0", &[STEM]),
        row("conv1", "conv1.1", &[NORM]),
        // The stems of v1e and v1f. Between the three convolutions stand batch norms and activations.
        row("stem.0", "conv1.0", &[STEM]),
        row("stem.0", "conv1.1", &[NORM]),
        row("stem.1", "conv1.3", &[STEM]),
        row("stem.1", "conv1.4", &[NORM]),
        row("stem.2", "conv1.6", &[STEM]),
        row("stem.2", "conv1.7", &[NORM]),
        row("stem.pool", "conv2.0", &[STEM]),
        row("stem.pool", "conv2.1", &[NORM]),
        row("stem.pool.conv{k}", "conv2.conv{k}", &[STEM]),
        row("stem.pool.conv{k}", "conv2.bn{k}", &[NORM]),
        row("stem.pool.downsample.0", "conv2.conv4", &[STEM]),
        row("stem.pool.downsample.0", "conv2.bn4", &[NORM]),
        row("layer{n}.{i}.conv{k}", "L{n}_B{i}.conv{k}", &[CONV]),
        row("layer{n}.{i}.conv{k}", "L{n}_B{i}.bn{k}", &[NORMS]),
        row("layer{n}.{i}.downsample.0", "L{n}_B{i}.conv4", &[CONV]),
        row("layer{n}.{i}.downsample.0", "L{n}_B{i}.bn4", &[NORMS]),
        // v1e with squeeze-and-excitation.
        row("layer{n}.{i}.norm0", "L{n}_B{i}.bn1a", &[NORMS]),
        row("layer{n}.{i}.downsample.norm0", "L{n}_B{i}.bn4a", &[NORMS]),
        row("layer{n}.{i}.norm{k}", "L{n}_B{i}.bn{k}", &[NORMS]),
        row("layer{n}.{i}.downsample.norm", "L{n}_B{i}.bn4", &[NORMS]),
        // The built-in pre-activation networks, whose norms are behind the convolutions before.
        row("block{n}.{i}.conv{k}", "L{n}_B{i}.conv{k}", &[CONV]),
        row("block{n}.{i}.downsample.0", "L{n}_B{i}.conv4", &[CONV]),
        row("block{n}.{i}.norm", "L{n}_B{i}.bn1", &[NORMS]),
        row("block{n}.{i}.conv{k}", "L{n}_B{i}.bn{k+1}", &[NORMS]),
        row("block{n}.{i}.downsample.norm", "L{n}_B{i}.bn4", &[NORMS]),
        row("block{n}.{i}.se", "L{n}_B{i}.se_block", &[EXCITE]),
        row("tail", "tail.0", &[NORM]),
        row("layer{n}.{i}.se", "L{n}_B{i}.se_block", &[EXCITE]),
        // Its source spells it so.
        row("fc", "classifer", &[CLASSIFIER]),
        row("fc", "classifier", &[CLASSIFIER]),
    ],
};

pub(super) const STEM: &[Entry] = &[("w_hh", ".weight", Same), ("bias_h", ".bias", Summand)];

pub(super) const CONV: &[Entry] = &[("w_{own}", ".conv_{p}.weight", Same), ("bias_{to}", ".conv_{p}.bias", Summand)];

/// The only batch norm of a plain convolution, as Gluon names it.
pub(super) const NORM: &[Entry] = &[
    ("norm_h.gamma", ".gamma", Same),
    ("norm_h.beta", ".beta", Same),
    ("norm_h.mean", ".running_mean", Same),
    ("norm_h.var", ".running_var", Same),
];

pub(super) const NORMS: &[Entry] = &[
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

pub(super) const CLASSIFIER: &[Entry] = &[("weight", ".weight", Same), ("bias", ".bias", Same)];
