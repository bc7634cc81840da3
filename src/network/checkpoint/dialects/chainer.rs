//! xu3kev/octconv-chainer, as `serializers.save_npz` names tensors: its ResNet for ImageNet and the one for CIFAR-10.
//! Checked against its source. Chainer adds 2e-5 to variances.

use super::table::How::{Same, Summand};
use super::table::{Dialect, Entry, row};

pub(super) const DIALECT: Dialect = Dialect {
    eps: Some(2e-5),
    only_with: None,
    rows: &[
        row("conv1", "conv1", &[LAYER]),
        row("layer{n}.0.conv{k}", "res{n+1}/a/conv{k}", &[LAYER]),
        row("layer{n}.{i}.conv{k}", "res{n+1}/b{i}/conv{k}", &[LAYER]),
        row("layer{n}.0.downsample.0", "res{n+1}/a/residual_conv", &[LAYER]),
        row("fc", "fc6", &[CLASSIFIER]),
        // CIFAR-10.
        row("conv1", "conv_bn_act1", &[LAYER]),
        row("layer{n}.{i}.conv{k}", "res{n+2}/{i}/conv_bn_act{k}", &[LAYER]),
        row("layer{n}.{i}.conv{k}", "res{n+2}/{i}/conv_bn{k}", &[LAYER]),
        row("layer{n}.{i}.downsample.0", "res{n+2}/{i}/conv_bn4", &[LAYER]),
        row("fc", "fc7", &[CLASSIFIER]),
        // A layer by itself.
        row("{name}", "{name}", &[LAYER]),
    ],
};

const LAYER: &[Entry] = &[
    ("w_{own}", "/conv/conv_{p}/W", Same),
    ("bias_{to}", "/conv/conv_{p}/b", Summand),
    ("norm_{f}.gamma", "/bn_{f}/gamma", Same),
    ("norm_{f}.beta", "/bn_{f}/beta", Same),
    ("norm_{f}.mean", "/bn_{f}/avg_mean", Same),
    ("norm_{f}.var", "/bn_{f}/avg_var", Same),
];

const CLASSIFIER: &[Entry] = &[("weight", "/W", Same), ("bias", "/b", Same)];
