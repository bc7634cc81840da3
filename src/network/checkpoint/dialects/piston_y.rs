//! PistonY/OctConv (Gluon), its ResNets of both versions, as `save_parameters` names tensors. Checked against its source.
//! Version 2 has its batch norms before its convolutions: see `symbol.rs`.

use super::gluon::NORM;
use super::table::How::{Same, Summand};
use super::table::{Dialect, Entry, row};

pub(super) const DIALECT: Dialect = Dialect {
    eps: None,
    only_with: None,
    rows: &[
        row("conv1", "features.0", &[STEM]),
        row("conv1", "features.1", &[NORM]),
        row("layer{n}.{i}.conv{k}", "features.{n+3}.{i}.body.{k-1}.0", &[CONV]),
        row("layer{n}.{i}.conv{k}", "features.{n+3}.{i}.body.{k-1}.1", &[NORMS]),
        row("layer{n}.{i}.downsample.0", "features.{n+3}.{i}.downsample.0", &[CONV]),
        row("layer{n}.{i}.downsample.0", "features.{n+3}.{i}.downsample.1", &[NORMS]),
        row("fc", "output", &[CLASSIFIER]),
        // Version 2.
        row("layer{n}.{i}.norm{k}", "features.{n+3}.{i}.body.{k-1}.0", &[NORMS]),
        row("layer{n}.{i}.conv{k}", "features.{n+3}.{i}.body.{k-1}.2", &[CONV]),
        row("layer{n}.{i}.downsample.norm", "features.{n+3}.{i}.downsample.0", &[NORMS]),
        row("layer{n}.{i}.downsample.0", "features.{n+3}.{i}.downsample.2", &[CONV]),
        row("tail", "features.8", &[NORM]),
    ],
};

const STEM: &[Entry] = &[("w_hh", ".weight", Same)];

const CONV: &[Entry] = &[("w_{own}", ".W_{P}.weight", Same), ("bias_{to}", ".W_{P}.bias", Summand)];

const NORMS: &[Entry] = &[
    ("norm_{f}.gamma", ".{f}_bn.gamma", Same),
    ("norm_{f}.beta", ".{f}_bn.beta", Same),
    ("norm_{f}.mean", ".{f}_bn.running_mean", Same),
    ("norm_{f}.var", ".{f}_bn.running_var", Same),
];

const CLASSIFIER: &[Entry] = &[("weight", ".weight", Same), ("bias", ".bias", Same)];
