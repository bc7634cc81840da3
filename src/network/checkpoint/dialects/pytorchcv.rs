//! pytorchcv (osmr/imgclsmob), `octresnet`: one weight that is sliced. Checked against its source.

use super::d_li14::NORM;
use super::table::How::{Same, Whole};
use super::table::{Dialect, Entry, row};

pub(super) const DIALECT: Dialect = Dialect {
    eps: None,
    only_with: None,
    rows: &[
        row("conv1", "features.init_block.conv.conv", &[STEM]),
        row("conv1", "features.init_block.conv.bn", &[NORM]),
        row("layer{n}.{i}.conv{k}", "features.stage{n}.unit{i+1}.body.conv{k}", &[BLOCK]),
        row("layer{n}.{i}.downsample.0", "features.stage{n}.unit{i+1}.identity_conv", &[BLOCK]),
        row("fc", "output", &[CLASSIFIER]),
    ],
};

const STEM: &[Entry] = &[("w_hh", ".weight", Same)];

const BLOCK: &[Entry] = &[
    ("w", ".conv.weight", Whole),
    ("norm_{f}.gamma", ".{f}_bn.weight", Same),
    ("norm_{f}.beta", ".{f}_bn.bias", Same),
    ("norm_{f}.mean", ".{f}_bn.running_mean", Same),
    ("norm_{f}.var", ".{f}_bn.running_var", Same),
];

const CLASSIFIER: &[Entry] = &[("weight", ".weight", Same), ("bias", ".bias", Same)];
