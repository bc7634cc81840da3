//! facebookresearch/OctConv with MXNet's Symbol: ResNet, ResNeXt, SE-ResNet and DenseNet. Checked against its source. Its
//! networks add 1e-4 to variances.
//!
//! Batch norms stand before their convolutions in the released networks. The built-in networks have them behind the
//! convolutions before, where they can. A description may have them as nodes of their own:
//! `layer{n}.{i}.norm{k}`, `layer{n}.{i}.downsample.norm` and `tail`.

use super::table::How::{Columns, Same, Summand};
use super::table::{Dialect, Entry, plain, row};

pub(super) const DIALECT: Dialect = Dialect {
    eps: Some(1e-4),
    only_with: None,
    rows: &[
        row("conv1", "conv1", &[CONV, NORM]),
        plain("conv1", "conv1", &[PLAIN]),
        row("layer{n}.{i}.conv{k}", "L{n+1}_B{i+1:02}_conv{k}", &[CONV, NORM]),
        plain("layer{n}.{i}.conv{k}", "L{n+1}_B{i+1:02}_conv{k}", &[PLAIN]),
        row("layer{n}.{i}.downsample.0", "L{n+1}_B{i+1:02}_conv4", &[CONV, NORM]),
        plain("layer{n}.{i}.downsample.0", "L{n+1}_B{i+1:02}_conv4", &[PLAIN]),
        row("layer{n}.{i}.norm{k}", "L{n+1}_B{i+1:02}_conv{k}", &[NORM]),
        row("layer{n}.{i}.downsample.norm", "L{n+1}_B{i+1:02}_conv4", &[NORM]),
        row("tail", "tail", &[NORM]),
        row("layer{n}.{i}.se", "L{n+1}_B{i+1:02}_se", &[EXCITE]),
        row("fc", "classifier", &[CLASSIFIER]),
        // The built-in pre-activation networks.
        row("block{n}.{i}.conv{k}", "L{n+1}_B{i+1:02}_conv{k}", &[CONV]),
        plain("block{n}.{i}.conv{k}", "L{n+1}_B{i+1:02}_conv{k}", &[PLAIN]),
        row("block{n}.{i}.downsample.0", "L{n+1}_B{i+1:02}_conv4", &[CONV]),
        plain("block{n}.{i}.downsample.0", "L{n+1}_B{i+1:02}_conv4", &[PLAIN]),
        row("block{n}.{i}.norm", "L{n+1}_B{i+1:02}_conv1", &[NORM]),
        row("block{n}.{i}.conv{k}", "L{n+1}_B{i+1:02}_conv{k+1}", &[NORM]),
        row("block{n}.{i}.downsample.norm", "L{n+1}_B{i+1:02}_conv4", &[NORM]),
        row("block{n}.{i}.se", "L{n+1}_B{i+1:02}_se", &[EXCITE]),
        // DenseNet. The norm of its second convolution stands behind the first.
        row("denseblock{n}.{i}.norm", "L{n+1}_B{i+1:02}_conv1", &[NORM]),
        row("denseblock{n}.{i}.conv1", "L{n+1}_B{i+1:02}_conv1", &[CONV]),
        plain("denseblock{n}.{i}.conv1", "L{n+1}_B{i+1:02}_conv1", &[PLAIN]),
        row("denseblock{n}.{i}.conv1", "L{n+1}_B{i+1:02}_conv2", &[NORM]),
        row("denseblock{n}.{i}.conv2", "L{n+1}_B{i+1:02}_conv2", &[CONV]),
        plain("denseblock{n}.{i}.conv2", "L{n+1}_B{i+1:02}_conv2", &[PLAIN]),
        row("transition{n}.norm", "L{n+2}_Trans", &[NORM]),
        row("transition{n}.conv", "L{n+2}_Trans", &[CONV]),
        plain("transition{n}.conv", "L{n+2}_Trans", &[PLAIN]),
        row("norm5", "tail", &[NORM]),
    ],
};

const CONV: &[Entry] = &[("w_{own}", "_conv-{p}_weight", Same), ("bias_{to}", "_conv-{p}_bias", Summand)];

/// Names have no path in networks without octaves.
const PLAIN: &[Entry] = &[("w_hh", "_conv_weight", Same), ("bias_h", "_conv_bias", Summand)];

const NORM: &[Entry] = &[
    ("norm_{f}.gamma", "_bn-{f}_gamma", Same),
    ("norm_{f}.beta", "_bn-{f}_beta", Same),
    ("norm_{f}.mean", "_bn-{f}_moving_mean", Same),
    ("norm_{f}.mean", "_bn-{f}_running_mean", Same),
    ("norm_{f}.var", "_bn-{f}_moving_var", Same),
    ("norm_{f}.var", "_bn-{f}_running_var", Same),
    ("norm_h.gamma", "_bn_gamma", Same),
    ("norm_h.beta", "_bn_beta", Same),
    ("norm_h.mean", "_bn_moving_mean", Same),
    ("norm_h.mean", "_bn_running_mean", Same),
    ("norm_h.var", "_bn_moving_var", Same),
    ("norm_h.var", "_bn_running_var", Same),
];

/// The squeezed vector is the means of H, then those of L.
const EXCITE: &[Entry] = &[
    ("squeeze.weight", "_fc1_weight", Same),
    ("squeeze.weight", "_fc1-h2h_weight", Columns(0)),
    ("squeeze.weight", "_fc1-l2h_weight", Columns(1)),
    ("squeeze.bias", "_fc1_bias", Same),
    ("squeeze.bias", "_fc1-h2h_bias", Same),
    ("excite_h.weight", "_fc2_weight", Same),
    ("excite_h.bias", "_fc2_bias", Same),
    ("excite_h.weight", "_fc2-h2h_weight", Same),
    ("excite_h.bias", "_fc2-h2h_bias", Same),
    ("excite_l.weight", "_fc2-h2l_weight", Same),
    ("excite_l.bias", "_fc2-h2l_bias", Same),
];

const CLASSIFIER: &[Entry] = &[("weight", "_weight", Same), ("bias", "_bias", Same)];
