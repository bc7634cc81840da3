//! lxtGH/OctaveConv_pytorch: one weight that is sliced (`OctaveConv`, `OctaveConv1`), or four (`OctaveConv2`). Checked
//! against its source. Its last residual blocks are plain ones of torchvision.

use super::d_li14::{NORM, NORMS};
use super::table::How::{Same, Summand, Whole};
use super::table::{Dialect, Entry, plain, row};

pub(super) const DIALECT: Dialect = Dialect {
    eps: None,
    only_with: None,
    rows: &[
        row("layer{n}.{i}.conv{k}", "layer{n}.{i}.ocb{k}", &[SLICED, FOUR, NORMS]),
        plain("layer{n}.{i}.conv{k}", "layer{n}.{i}.bn{k}", &[NORM]),
        row("{name}", "{name}", &[SLICED, FOUR]),
    ],
};

const SLICED: &[Entry] = &[("w", ".conv.weights", Whole)];

const FOUR: &[Entry] = &[("w_{own}", ".conv.{p}.weight", Same), ("bias_{to}", ".conv.{p}.bias", Summand)];
